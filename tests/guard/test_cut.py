"""The cut behind the body: what works in plain fastai gives the same step with it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_steps import Room, apart, make_learner  # noqa: E402


@pytest.fixture
def room():
    return Room()


def step_by_hand(learn):
    """Take one training step of a learner, plain or protected; give it."""
    batch = learn.dls.train.one_batch()
    learn.create_opt()
    learn.opt.set_hypers(lr=1e-2)
    learn.model.train()
    learn.training, learn.epoch, learn.iter = True, 0, 0
    learn.xb, learn.yb = batch[:1], batch[1:]
    learn._do_one_batch()
    return learn


def both_ways(tmp_path, room, change):
    """Take the same step in plain fastai and in ours, with learners that `change` has changed."""
    from fastmagic.guard import attach

    plain = step_by_hand(change(make_learner(room, dropout=0.0)))
    with attach.attached(Session(7, View(), tmp_path)):
        ours = step_by_hand(change(make_learner(room, dropout=0.0)))
    return plain, ours


def goes_back_itself(learn):
    from fastai.callback.core import Callback, CancelBackwardException

    class Own(Callback):
        def before_backward(self):
            self.learn.loss_grad.backward()
            raise CancelBackwardException

        def after_backward(self):
            self.learn.seen = [float(p.grad.abs().sum()) for p in self.learn.model.parameters()]

    learn.add_cb(Own())
    return learn


def has_a_head_that_works_in_place(learn):
    from torch import nn

    learn.model[1][0] = nn.ReLU(inplace=True)
    return learn


def gives_a_named_tuple(learn):
    from collections import namedtuple

    from torch import nn

    Both = namedtuple("Both", "first second")

    class Two(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return Both(self.body(x), None)

    class First(nn.Module):
        def forward(self, both):
            return both.first

    learn.model = nn.Sequential(Two(learn.model[0]), nn.Sequential(First(), *learn.model[1]))
    return learn


@pytest.mark.parametrize(
    "change", [goes_back_itself, has_a_head_that_works_in_place, gives_a_named_tuple]
)
def test_what_works_in_plain_fastai_gives_the_same_step(tmp_path, room, change):
    plain, ours = both_ways(tmp_path, room, change)
    assert apart(plain, ours) == 0
    assert getattr(plain, "seen", None) == getattr(ours, "seen", None)


def test_a_head_that_spoils_what_the_body_needs_is_an_error_as_in_plain_fastai(tmp_path, room):
    from torch import nn

    def spoiled(learn):
        learn.model[0].append(nn.Sigmoid())  # its way back needs what it gave
        learn.model[1][0] = nn.ReLU(inplace=True)
        return learn

    from fastmagic.guard import attach

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        step_by_hand(spoiled(make_learner(room, dropout=0.0)))
    with (
        attach.attached(Session(7, View(), tmp_path)),
        pytest.raises(RuntimeError, match="modified by an inplace operation"),
    ):
        step_by_hand(spoiled(make_learner(room, dropout=0.0)))


def test_the_memory_of_the_way_back_is_free_before_the_update(tmp_path, room):
    from fastai.callback.core import Callback

    class Holds(Callback):
        def before_step(self):
            held = self.learn.pred, self.learn.loss, self.learn.loss_grad
            self.learn.seen = [one.grad_fn for one in held]

    def with_it(learn):
        learn.add_cb(Holds())
        return learn

    _, ours = both_ways(tmp_path, room, with_it)
    assert ours.seen == [None, None, None]


def test_a_learner_that_goes_back_in_its_own_way_trains_its_body_too(tmp_path, room):
    from fastai.learner import Learner

    from fastmagic.guard import attach

    class Own(Learner):
        def _do_grad_opt(self):
            self.loss_grad.backward()
            self.opt.step()
            self.opt.zero_grad()

    def own():
        learn = make_learner(room, dropout=0.0)
        learn.__class__ = Own
        return learn

    plain, ours = step_by_hand(own()), own()
    with attach.attached(Session(7, View(), tmp_path)) as watching:
        watching.adopt(ours, "before-ours")
        step_by_hand(ours)
    assert apart(plain, ours) == 0
