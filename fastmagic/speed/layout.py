"""The order in which a network's weights lie in memory: channels last is quicker on processors.

And on GPUs with tensor cores, where these compute. The numbers are the same; convolutions of oneDNN
and of tensor cores read them as they lie, instead of turning them round in every step.
"""

from __future__ import annotations

import weakref
from typing import Any

from fastmagic.lesson.precision import NO_TENSOR_CORES, TENSOR_CORES
from fastmagic.speed.tolerant import is_hooked, is_tolerant

TF32 = (8, 0)
"""From this capability on tensor cores compute in fp32 too, rounded to TF32, which torch allows
convolutions to (its notes on CUDA semantics); before, in half precision alone."""

_turned: weakref.WeakSet[Any] = weakref.WeakSet()
"""The networks that were laid so here, and not by the person."""

_tried: weakref.WeakKeyDictionary[Any, tuple[tuple[int, ...], bool]] = weakref.WeakKeyDictionary()
"""Of each network that was tried its parts, and whether it may lie so."""


def channels_last(learn: Any, device: Any) -> bool:
    """Let a network's convolutions keep their weights with the channels last, where that pays.

    A network that cannot be computed so, or may be taken flat with `.view`, stays as it is.

    Parameters
    ----------
    learn
        fastai's learner; its network is changed in place, and its weights stay the same numbers.
    device
        Where it trains.

    Returns
    -------
    bool
        False where it would have paid, and was not done.
    """
    import torch

    model, last = learn.model, torch.channels_last
    kernels = (p for p in model.parameters() if p.ndim == 4)
    lie_so = all(one.is_contiguous(memory_format=last) for one in kernels)
    if (lie_so and model not in _turned) or not pays(learn, device):
        return True
    if not _may_lie_so(model):  # any more, where layers were changed
        contiguous(model)
        return False
    _lay(model, last)
    _turned.add(model)
    return True


def _may_lie_so(model: Any) -> bool:
    """Try a network, once as long as it has the same parts."""
    if is_hooked(model):
        return False
    parts = tuple(id(part) for part in model.modules())
    if _tried.get(model, ((), False))[0] != parts:
        _tried[model] = parts, is_tolerant(model)
    return _tried[model][1]


def _lay(model: Any, form: Any) -> None:
    """Lay what has four dimensions; torch's own `to` refuses a network with others beside."""
    for one in (*model.parameters(), *model.buffers()):
        if one.ndim == 4:
            one.data = one.data.to(memory_format=form)
            if one.grad is not None:
                one.grad.data = one.grad.data.to(memory_format=form)


def pays(learn: Any, device: Any) -> bool:
    """Say whether a device computes a learner's convolutions quicker so.

    Parameters
    ----------
    learn
        fastai's learner, which says whether it trains in half precision.
    device
        Where it trains.
    """
    if device.type == "cuda":
        return _on_tensor_cores(device, half=hasattr(learn, "mixed_precision"))
    return bool(device.type == "cpu")


def _on_tensor_cores(device: Any, *, half: bool) -> bool:
    import torch

    if torch.version.hip is not None:
        return False
    capability = torch.cuda.get_device_capability(device)
    if capability >= TF32:
        return True
    named = NO_TENSOR_CORES.search(torch.cuda.get_device_name(device))
    return half and capability >= TENSOR_CORES and not named


def contiguous(model: Any) -> None:
    """Put a network's weights back as torch makes them, unless the person has laid them so."""
    import torch

    if model in _turned:
        _lay(model, torch.contiguous_format)
        _turned.discard(model)
