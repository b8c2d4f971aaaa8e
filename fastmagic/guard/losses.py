"""What a loss function holds beside the network: buffers, weights of its own, a running average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastmagic.guard import held


def held_by(learner: Any) -> dict[str, Any]:
    """Keep what a learner's loss function holds, without what is the network's.

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
    tensors = {name: one.detach().clone() for name, one in _own_tensors(module, learner.model)}
    return {"tensors": tensors, "modules": held.of_modules(module)}


def put_back(learner: Any, kept: Mapping[str, Any]) -> None:
    """Give a loss function what `held_by` kept of it."""
    module = _module(learner)
    if module is None or not kept:
        return
    for name, one in _own_tensors(module, learner.model):
        if name in kept["tensors"] and kept["tensors"][name].shape == one.shape:
            one.detach().copy_(kept["tensors"][name])
    held.put_into_modules(module, kept["modules"])


def _module(learner: Any) -> Any:
    import torch

    loss = getattr(learner, "loss_func", None)
    found = (one for one in (loss, getattr(loss, "func", None)) if isinstance(one, torch.nn.Module))
    return next(found, None)


def _own_tensors(module: Any, model: Any) -> Iterator[tuple[str, Any]]:
    """Give a module's parameters and buffers that are not the network's, as a GANLoss has it."""
    of_the_network = {id(one) for one in (*model.parameters(), *model.buffers())}
    for named in (module.named_parameters(), module.named_buffers()):
        for name, one in named:
            if id(one) not in of_the_network:
                yield name, one
