"""A batch in parts: how it is parted and joined, and what must not notice that it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


class WholeDropout:
    """Lets a module's dropout layers draw for the whole batch while it runs in parts.

    The first part that comes to a layer draws the mask of all pictures; the others, and the second
    run, take their own pictures' part of it.
    """

    def __init__(self, module: Any, pictures: int) -> None:
        from torch.nn.modules.dropout import _DropoutNd

        self._layers = [one for one in module.modules() if isinstance(one, _DropoutNd)]
        self._pictures = pictures
        self._masks: list[Any] = []  # in the order in which the layers come
        self._next = self._begin = self._end = 0

    def begin(self, pictures: int, begin: int | None = None) -> None:
        """Say that a part of so many pictures comes now; the first one, or where `begin` says."""
        self._begin = self._end if begin is None else begin
        self._end, self._next = self._begin + pictures, 0

    def __enter__(self) -> WholeDropout:
        for layer in self._layers:
            layer.forward = self._replacement(layer)
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            del layer.forward

    def _replacement(self, layer: Any) -> Callable[[Any], Any]:
        plain = type(layer).forward

        def forward(x: Any) -> Any:
            if not layer.training or not layer.p:
                return x
            if self._next == len(self._masks):
                whole = x.detach().new_ones((self._pictures, *x.shape[1:]))
                self._masks.append(plain(layer, whole))
            mask = self._masks[self._next]
            self._next += 1
            return x * mask[self._begin : self._end]

        return forward


class Averaged:
    """Moves a module's averages once for a batch that runs in parts: by the mean over the parts."""

    def __init__(self, module: Any, pictures: int) -> None:
        self._pictures = pictures
        self._buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        self._sums = [
            buffer.new_zeros(buffer.shape) if buffer.is_floating_point() else None
            for buffer, _ in self._buffers
        ]

    @contextlib.contextmanager
    def of(self, pictures: int) -> Iterator[None]:
        """Run a part of so many pictures."""
        for buffer, before in self._buffers:
            buffer.copy_(before)
        yield
        for (buffer, _), total in zip(self._buffers, self._sums, strict=True):
            if total is not None:
                total.add_(buffer, alpha=pictures / self._pictures)

    def __enter__(self) -> Averaged:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for (buffer, before), total in zip(self._buffers, self._sums, strict=True):
            if kind is not None:
                buffer.copy_(before)
            elif total is not None:
                buffer.copy_(total)


@contextlib.contextmanager
def stands_for(module: Any, output: Any) -> Iterator[None]:
    """Let a module give an output that is there already."""
    module.forward = lambda *args, **kwargs: output  # noqa: ARG005 - whatever it is called with
    try:
        yield
    finally:
        del module.forward


def pictures_of(inputs: Any) -> int:
    return next((len(one) for one in inputs if getattr(one, "ndim", 0)), 1)


def split(inputs: Any, parts: int) -> list[tuple[Any, ...]]:
    """Part a batch into pieces whose sizes differ by one at most."""
    import torch

    pictures = pictures_of(inputs)
    pieces = []
    for one in inputs:
        is_batch = isinstance(one, torch.Tensor) and one.ndim and len(one) == pictures
        pieces.append(torch.tensor_split(one, parts) if is_batch else [one] * parts)
    return list(zip(*pieces, strict=True))


def tensors_of(output: Any) -> list[Any]:
    import torch

    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, (tuple, list)):
        return [tensor for one in output for tensor in tensors_of(one)]
    return []


def replaced(output: Any, change: Callable[[Any], Any]) -> Any:
    import torch

    if isinstance(output, torch.Tensor):
        return change(output)
    if isinstance(output, (tuple, list)):
        return _like(output, [replaced(one, change) for one in output])
    return output


def _like(output: Any, pieces: list[Any]) -> Any:
    """Put pieces together as a tuple or list is; torchvision's networks give named tuples."""
    return type(output)(*pieces) if hasattr(output, "_fields") else type(output)(pieces)


def joined(outs: list[Any]) -> Any:
    import torch

    if isinstance(outs[0], torch.Tensor):
        return torch.cat(outs)
    if not isinstance(outs[0], (tuple, list)):
        return outs[0]  # as `replaced` leaves it; a named tuple may hold None
    return _like(outs[0], [joined(list(pieces)) for pieces in zip(*outs, strict=True)])


def go_back(outs: list[Any], grads: list[Any]) -> None:
    """Go back from what a body gave, as far as it learns and the loss hangs on it."""
    import torch

    pairs = [
        (out, grad)
        for out, grad in zip(outs, grads, strict=True)
        if out.requires_grad and grad is not None
    ]
    if pairs:
        torch.autograd.backward([one for one, _ in pairs], [one for _, one in pairs])
