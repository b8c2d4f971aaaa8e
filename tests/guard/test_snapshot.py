"""`lr_find` leaves a learner as it was, whatever happens in it."""

from __future__ import annotations

import copy
import random

import pytest

from fastmagic.guard.session import Session
from fastmagic.progress import View

from .test_attach import make_learner

pytestmark = pytest.mark.train


def everything(learn):
    """Give all of a learner that a try may touch, as plain values."""
    import torch

    optimizer = learn.opt
    return {
        "weights": {name: value.clone() for name, value in learn.model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()],
        "trained": [p.requires_grad for p in learn.model.parameters()],
        "modes": [module.training for module in learn.model.modules()],
        "opt": None if optimizer is None else copy.deepcopy(optimizer.state_dict()["state"]),
        "rates": None if optimizer is None else [dict(h) for h in optimizer.hypers],
        "random": (random.getstate(), torch.get_rng_state().clone()),
    }


def equal(one, two):
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


class Boom(Exception):
    pass


@pytest.mark.parametrize("error", [None, Boom("mine"), KeyboardInterrupt(), MemoryError("full")])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_rate_is_found_without_a_trace(tmp_path, error, fitted):
    import fastai.callback.schedule  # noqa: F401
    from fastai.callback.core import Callback

    from fastmagic.guard import attach

    class Fail(Callback):
        order = 70

        def before_step(self):
            if error is not None and self.train_iter == 5:
                raise error

    with attach.attached(Session(7, View(), tmp_path)):
        learn = make_learner()
        if fitted:
            learn.fit(1)
            learn.freeze()
        learn.path = tmp_path
        before = everything(learn)
        learn.add_cb(Fail())
        if error is None:
            assert learn.lr_find(show_plot=False, num_it=20).valley > 0
        else:
            with pytest.raises(type(error)):
                learn.lr_find(show_plot=False, num_it=20)
        learn.remove_cbs(Fail)
        assert (learn.opt is None) is not fitted
        assert equal(before, everything(learn))
        assert learn.xb == (None,)
