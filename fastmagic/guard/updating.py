"""The optimizer's step, taken so that it can be taken again where memory runs out in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fastmagic.guard.memory import Attempt
from fastmagic.speed import together


def careful_step(
    optimizer: Any,
    told: Callable[[], None] = lambda: None,
    like: Callable[[Any], Any] | None = None,
) -> None:
    """Take an optimizer's step so that it can be taken again where memory runs out in it.

    Parameters that are updated together have their room before anything of them is changed; where
    there is none, each is updated alone. One that fails alone is put back, the cache is emptied,
    and it is updated again; those before it are done.

    Parameters
    ----------
    optimizer
        fastai's. Of another kind, the whole step is taken as it is.
    told
        Called where memory ran out.
    like
        Gives memory like a tensor's; torch's `empty_like` by default.

    Raises
    ------
    RuntimeError
        torch's own, where memory runs out a second time.
    """
    import torch
    from fastai.optimizer import Optimizer

    if getattr(type(optimizer), "step", None) is not Optimizer.step:  # torch's has no own
        optimizer.step()
        return
    for piece in list(together.alike(optimizer)):
        if piece.parts is not None:
            with Attempt() as tried:
                spare = piece.room(like or torch.empty_like)
            if tried.trouble is None:
                piece.update(spare)
                continue
            told()
        for p, state in zip(piece.params, piece.states, strict=True):
            _update_alone(optimizer, p, state, piece.hyper, told)


def _update_alone(
    optimizer: Any, p: Any, state: dict[str, Any], hyper: Any, told: Callable[[], None]
) -> None:
    from fastai.optimizer import _update

    weights, kept = p.data.clone(), copy.copy(state)
    tensors = {k: v.clone() for k, v in state.items() if hasattr(v, "clone")}
    for again in (True, False):
        now = dict(state)
        with Attempt() as tried:
            for part in optimizer.cbs:
                now = _update(now, part(p, **{**now, **hyper}))
            optimizer.state[p] = now
        if tried.trouble is None:
            return
        if not again:
            raise tried.trouble
        p.data.copy_(weights)
        for name, value in tensors.items():
            kept[name].copy_(value)
        state = kept
        told()
