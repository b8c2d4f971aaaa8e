"""What a loss function holds beside the network: buffers, weights of its own, a running average."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from fastmagic.guard import held


def held_by(learner: Any) -> dict[str, Any]:
    """Keep what a learner's loss function holds, as far as training changes it.

    The networks in a GANLoss are the learner's own, and that of a perceptual loss is frozen:
    neither is kept. What is too large beside the network is left out.

    Parameters
    ----------
    learner
        fastai's; its loss function is a module, or has one in `func`, as fastai's own do.

    Returns
    -------
    dict
        `tensors`, by their names, and `modules`, as of `held.of_modules`; empty for a function.
    """
    module = _module(learner)
    if module is None:
        return {}
    room, tensors = held.Room(learner.model), {}
    for name, one in _changing(module):
        with contextlib.suppress(held.LeftOut):
            tensors[name] = room.kept(one)
    return {"tensors": tensors, "modules": held.of_modules(module)}


def put_back(learner: Any, kept: Mapping[str, Any]) -> None:
    """Give a loss function what `held_by` kept of it."""
    module = _module(learner)
    if module is None or not kept:
        return
    own = dict(_changing(module))
    for name, value in kept["tensors"].items():
        tensor = held.again(value)
        if name in own and own[name].shape == tensor.shape:
            own[name].detach().copy_(tensor)
    held.put_into_modules(module, kept["modules"])


def _module(learner: Any) -> Any:
    import torch

    loss = getattr(learner, "loss_func", None)
    found = (one for one in (loss, getattr(loss, "func", None)) if isinstance(one, torch.nn.Module))
    return next(found, None)


def _changing(module: Any) -> Iterator[tuple[str, Any]]:
    """Give the weights that are trained, and the buffers, but for those of a frozen network."""
    yield from ((name, one) for name, one in module.named_parameters() if one.requires_grad)
    frozen = {id(one) for part in module.modules() if _is_frozen(part) for one in part.buffers()}
    yield from ((name, one) for name, one in module.named_buffers() if id(one) not in frozen)


def _is_frozen(module: Any) -> bool:
    """Say whether a module has weights, none of which is trained, and is not in training."""
    weights = list(module.parameters())
    return bool(weights) and not module.training and not any(one.requires_grad for one in weights)
