"""Whether a network, and what reads it, computes the same where its maps lie otherwise in memory.

A map with the channels last has the same numbers, but `.view` cannot take it flat: torch raises an
error. So a network is tried first, on two small pictures, on the processor. (torch's meta device,
which knows shapes alone, does not say how a convolution's maps would lie.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

SIDE = 64
"""Pixels of the pictures that are tried; a network for one other size alone is left as it is."""


def is_tolerant(model: Any) -> bool:
    """Say whether a network may lie in memory with the channels last.

    Not where it fails so; where what it gives would lie otherwise, for a loss may take that flat;
    nor where hooks read its maps.

    Parameters
    ----------
    model
        The network; it is not changed, and neither is torch's random generator.

    Examples
    --------
    >>> from torch import nn
    >>> pooled = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> is_tolerant(pooled), is_tolerant(nn.Sequential(nn.Conv2d(3, 8, 3)))
    (True, False)
    """
    import torch

    channels = next((p.shape[1] for p in model.parameters() if p.ndim == 4), 3)
    try:
        if is_hooked(model):
            return False
        pictures = torch.zeros(2, channels, SIDE, SIDE)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            given = _turned(model)(pictures)
        return all(one.is_contiguous() for one in _tensors(given))
    except Exception:  # whatever a person's network raises for these pictures
        return False


def is_hooked(model: Any) -> bool:
    """Say whether somebody's function is called with what a part of a network takes or gives."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, kind, None) for part in model.modules() for kind in kinds)


def _turned(model: Any) -> Any:
    """Copy a network, its kernels with the channels last; other weights are not copied but shared.

    Buffers are copied: a look changes those of a batch norm.
    """
    import torch
    from torch import nn

    known: dict[int, Any] = {}
    for one in model.parameters():
        here = one.detach().cpu()
        last = here.to(memory_format=torch.channels_last) if here.ndim == 4 else here
        known[id(one)] = nn.Parameter(last, requires_grad=False)
    for one in model.buffers():
        known[id(one)] = one.detach().cpu().clone()
    return copy.deepcopy(model, known)


def _tensors(given: Any) -> Iterator[Any]:
    """Give all tensors of what a network gives."""
    import torch

    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, dict):
        yield from _tensors(tuple(given.values()))
    elif isinstance(given, (tuple, list)):
        for one in given:
            yield from _tensors(one)
