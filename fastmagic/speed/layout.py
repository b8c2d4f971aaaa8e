"""The order in which a network's weights lie in memory: channels last is quicker on processors.

And on GPUs with tensor cores, where these compute. The numbers are the same; convolutions of oneDNN
and of tensor cores read them as they lie, instead of turning them round in every step.
"""

from __future__ import annotations

from typing import Any

from fastmagic.lesson.precision import NO_TENSOR_CORES, TENSOR_CORES

TF32 = (8, 0)
"""From this capability on tensor cores compute in fp32 too, rounded to TF32, which torch allows
convolutions to (its notes on CUDA semantics); before, in half precision alone."""


def channels_last(learn: Any, device: Any) -> None:
    """Let a network's convolutions keep their weights with the channels last, where that pays.

    Parameters
    ----------
    learn
        fastai's learner; its network is changed in place, and its weights stay the same numbers.
    device
        Where it trains.
    """
    import torch

    if pays(learn, device) and any(p.ndim == 4 for p in learn.model.parameters()):
        learn.model.to(memory_format=torch.channels_last)


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
    """Put a network's weights back as torch makes them."""
    import torch

    if any(p.ndim == 4 for p in model.parameters()):
        model.to(memory_format=torch.contiguous_format)
