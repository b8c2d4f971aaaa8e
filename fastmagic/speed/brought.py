"""What goes to a GPU and comes from it, without the processor waiting for all that it has to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


def brought(tensor: Any, device: Any) -> Any:
    """Bring a tensor of the host's memory to a device; what is done there with it comes after it.

    A copy out of memory that the system may move is one that the processor waits for, and with it
    for all that the GPU still has to do (CUDA C++ Programming Guide, "Asynchronous Concurrent
    Execution"). So the tensor is put into memory that stays in its place first, which torch keeps
    for the next one. Towards Apple's GPU the copy is waited for: nothing else keeps the memory
    that it comes from.

    Parameters
    ----------
    tensor
        Of any shape.
    device
        Where to; the host itself gives the tensor back.

    Examples
    --------
    >>> import torch
    >>> here = torch.ones(2)
    >>> brought(here, "cpu") is here
    True
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # the system gives no such memory: it is waited for
            tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "mps")


class OnItsWay:
    """A number that is on its way from a GPU, which goes on computing meanwhile.

    fastai reads the loss of every step when the step is over, and so waits until the GPU has done
    all that it was told. The loss itself is there long before, and is sent off at once.

    Parameters
    ----------
    tensor
        On a GPU.
    mark
        Gives what tells when a device will have done all that it was told until now; torch's event
        by default.

    Attributes
    ----------
    tensor
        The same, on the GPU.
    """

    def __init__(self, tensor: Any, mark: Callable[[Any], Any] | None = None) -> None:
        self.tensor = tensor
        self._here = tensor.detach().to("cpu", non_blocking=True)
        self._sent = (mark or marked)(tensor.device)

    def here(self) -> Any:
        """Wait until it has come, and give it."""
        self._sent.synchronize()
        return self._here


def marked(device: Any) -> Any:
    """Give what tells when a GPU will have done all that it was told until now.

    Who waits for it leaves the core to others.

    Parameters
    ----------
    device
        The GPU, which need not be the current one.
    """
    import torch

    event = torch.cuda.Event(enable_timing=True, blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event
