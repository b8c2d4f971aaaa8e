"""Whether a step fits in the GPU's memory: what it took, what there is, and what is let go of."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Memory:
    """What a step of the whole network takes of the memory of the GPU.

    Attributes
    ----------
    fits
        Whether it went well at the lesson's own batch.
    needs
        Bytes that it took, or would take, optimizer included; None where not even one picture fits.
    room
        Bytes that there were for it.
    batch
        The largest batch that went well: the lesson's own, or by halving; 0 where none did.
    """

    fits: bool
    needs: int | None
    room: int
    batch: int


class Gauge(Protocol):
    """Reads a device's memory. `Cuda` is the real one; tests hand in their own."""

    def begin(self) -> None:
        """Forget the peak before."""

    def room(self) -> int:
        """Give the bytes that this process could have: free, or kept by torch for reuse."""

    def peak(self) -> int:
        """Give the most bytes that were taken at once since `begin`."""

    def release(self) -> None:
        """Give back what torch keeps for reuse."""


class Cuda:
    """The memory of one NVIDIA GPU, as torch tells it.

    Parameters
    ----------
    device
        A `torch.device` of type `cuda`.
    """

    def __init__(self, device: Any) -> None:
        self.device = device

    def begin(self) -> None:
        """Forget the peak before."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)

    def room(self) -> int:
        """Give the bytes that this process could have."""
        import torch

        free, _ = torch.cuda.mem_get_info(self.device)
        return int(free + torch.cuda.memory_reserved(self.device))

    def peak(self) -> int:
        """Give the most bytes that were taken at once since `begin`."""
        import torch

        return int(torch.cuda.max_memory_allocated(self.device))

    def release(self) -> None:
        """Give back what torch keeps for reuse, and what a learner's circles of references hold."""
        import torch

        gc.collect()
        torch.cuda.empty_cache()


def at_full_batch(peak: int, batch: int, fixed: int, full: int) -> int:
    """Work out what the full batch would take from a smaller one that fitted.

    What the network keeps for its backward pass grows with the batch; weights, gradients and the
    optimizer's state (`fixed` bytes) do not.

    Examples
    --------
    >>> at_full_batch(peak=300, batch=16, fixed=100, full=64)
    900
    """
    return fixed + max(0, peak - fixed) * full // batch
