"""Gradients belong to the state: fastai updates whatever has one, be it zero."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_attach import digest, make_learner  # noqa: E402


def in_two_groups(learn):
    """Let a learner be a body and a head, so that it can be frozen."""
    from fastai.torch_core import params
    from torch import nn

    learn.model = nn.Sequential(learn.model[:3], learn.model[3:])
    learn.splitter = lambda model: [params(model[0]), params(model[1])]
    return learn


def freezes_again(learn):
    learn.unfreeze()
    learn.fit(1, 1e-2, wd=0.1)
    learn.freeze()  # the body's gradients are zeros now: it decays all the same
    learn.fit(2, 1e-2, wd=0.1)


def accumulates_by_itself(learn):
    from fastai.callback.core import Callback, CancelBatchException

    class Accumulates(Callback):
        def after_backward(self):
            if self.iter % 2 == 0:
                raise CancelBatchException

    learn.add_cb(Accumulates())
    learn.fit(2, 1e-2)


def train(states, body, stop=None):
    from fastai.callback.core import Callback

    from fastmagic.guard import attach, positions

    class Stop(Callback):
        order = 100

        def before_batch(self):
            here = len(self.learn.watch.session.stages), self.epoch, self.iter
            if self.training and here == stop:
                raise KeyboardInterrupt

    with (
        positions.kept_apart(),
        attach.attached(Session(7, View(), states, save_every=0)),
    ):
        learn = in_two_groups(make_learner())
        learn.add_cb(Stop())
        try:
            body(learn)
        except KeyboardInterrupt:
            assert stop
    return learn


@pytest.mark.parametrize(
    ("body", "stops"),
    [
        (freezes_again, [(2, 0, 0)]),
        (freezes_again, [(2, 0, 2), (2, 1, 1)]),
        (accumulates_by_itself, [(1, 0, 1)]),
        (accumulates_by_itself, [(1, 1, 3)]),
    ],
)
def test_a_stopped_run_ends_with_the_very_weights_of_an_unstopped_one(tmp_path, body, stops):
    whole = train(tmp_path / "whole", body)
    for stop in stops:
        train(tmp_path / "stopped", body, stop)
    assert digest(train(tmp_path / "stopped", body)) == digest(whole)
