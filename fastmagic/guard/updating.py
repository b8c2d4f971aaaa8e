"""The optimizer's step, taken so that it can be taken again where memory runs out in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fastmagic.guard.memory import Attempt


def careful_step(optimizer: Any, told: Callable[[], None] = lambda: None) -> None:
    """Take an optimizer's step so that it can be taken again where memory runs out in it.

    fastai's optimizer updates one parameter after another. One that fails is put back, the cache is
    emptied, and it is updated again; those before it are done.

    Parameters
    ----------
    optimizer
        fastai's. Of another kind, the whole step is taken as it is.
    told
        Called where memory ran out.

    Raises
    ------
    RuntimeError
        torch's own, where memory runs out a second time.
    """
    from fastai.optimizer import Optimizer, _update

    if type(optimizer).step is not Optimizer.step:
        optimizer.step()
        return
    for p, _, state, hyper in optimizer.all_params(with_grad=True):
        weights, kept = p.data.clone(), copy.copy(state)
        tensors = {k: v.clone() for k, v in state.items() if hasattr(v, "clone")}
        for again in (True, False):
            now = dict(state)
            with Attempt() as tried:
                for part in optimizer.cbs:
                    now = _update(now, part(p, **{**now, **hyper}))
                optimizer.state[p] = now
            if tried.trouble is None:
                break
            if not again:
                raise tried.trouble
            p.data.copy_(weights)
            for name, value in tensors.items():
                kept[name].copy_(value)
            state = kept
            told()
