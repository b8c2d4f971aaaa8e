"""How a pass spends its time, on a device that is done when the step is, and on one that is not."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard.pace import OfGPU, Pace  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_attach import make_learner  # noqa: E402


class Card:
    """A GPU that does what it is told one after another, and the clock beside it.

    Attributes
    ----------
    now
        Seconds that have passed.
    free
        When it will have done what it was told.
    """

    def __init__(self):
        self.now = self.free = 0.0

    def told(self, seconds):
        self.free = max(self.free, self.now) + seconds

    def mark(self, device):
        assert device == "cuda:1"
        return Event(self)


class Event:
    """When the card has come so far; the form is that of `torch.cuda.Event`."""

    def __init__(self, card):
        self.card, self.at = card, max(card.free, card.now)

    def query(self):
        return self.card.now >= self.at

    def synchronize(self):
        self.card.now = max(self.card.now, self.at)

    def elapsed_time(self, other):
        assert self.query() and other.query()
        return 1000 * (other.at - self.at)


class Loss:
    """A number on the card."""

    is_cuda, ndim, device = True, 0, "cuda:1"

    def detach(self):
        return self

    def to(self, device, *, non_blocking):
        assert (device, non_blocking) == ("cpu", True)
        return 0.5


def steps(card, pace, *, loading, computing):
    """Take steps: each is told of in a second, and its loss read when a third of it is done."""
    for _ in range(5):
        pace.asks()
        card.now += loading
        pace.begins()
        card.told(computing / 3)
        loss = Loss()
        pace.send(loss)
        card.told(computing * 2 / 3)
        card.now += 1
        assert pace.told(loss) == 0.5
        pace.ends()


def test_a_card_that_still_computes_does_not_wait():
    card = Card()
    pace = OfGPU("cuda:1", lambda: card.now, card.mark)
    steps(card, pace, loading=4, computing=12)
    assert pace.waiting == 4  # for the first batch
    assert pace.waiting + pace.working == card.now
    assert card.now < 5 * 12 + 4  # the loading is done meanwhile


def test_a_card_waits_from_when_it_is_done():
    card = Card()
    pace = OfGPU("cuda:1", lambda: card.now, card.mark)
    steps(card, pace, loading=10, computing=6)
    # Of a step's 6 seconds 2 are over when its loss is read, so 4 of the next 10 are its own.
    assert pace.waiting == 10 + 4 * (10 - 4)
    assert pace.waiting + pace.working == card.now


def test_a_loss_that_a_callback_has_changed_or_that_is_no_number_stays():
    card = Card()
    pace = OfGPU("cuda:1", lambda: card.now, card.mark)
    first, other, several = Loss(), Loss(), Loss()
    several.ndim = 1
    pace.send(first)
    assert pace.told(other) is other
    pace.send(several)
    assert pace.told(several) is several
    pace.send(None)
    assert pace.told(None) is None


def test_fastai_reads_the_loss_that_was_brought(tmp_path):
    import torch
    from fastai.callback.core import Callback

    from fastmagic.guard import attach

    class Brings(Pace):
        sent = None

        def send(self, loss):
            self.sent = loss.detach().clone()

        def told(self, loss):
            return self.sent

    class Looks(Callback):
        def __init__(self):
            self.losses = []

        def after_step(self):
            self.losses.append(self.loss)

        def after_batch(self):
            assert not self.training or self.loss is not self.losses[-1]

    plain, looks = make_learner(), Looks()
    with attach.attached(Session(7, View(), tmp_path / "plain")):
        plain = make_learner()
        plain.fit(1)
    session = Session(7, View(), tmp_path / "brought")
    session.pace_of = lambda device: Brings()
    with attach.attached(session):
        learn = make_learner()
        learn.add_cb(looks)
        learn.fit(1)
    assert looks.losses
    assert torch.equal(torch.stack(learn.recorder.losses), torch.stack(plain.recorder.losses))


@pytest.mark.gpu
def test_on_a_gpu_losses_and_weights_are_those_that_are_waited_for(tmp_path):
    import torch

    from fastmagic.guard import attach

    found = []
    for name, pace_of in (("waited", lambda device: Pace()), ("brought", None)):
        session = Session(7, View(), tmp_path / name)
        session.pace_of = pace_of or session.pace_of
        with attach.attached(session):
            learn = make_learner()
            learn.dls.to(torch.device("cuda"))
            learn.model.cuda()
            learn.fit(2)
        assert session.waiting_seconds > 0 and session.working_seconds > 0
        found.append((torch.stack(learn.recorder.losses), next(learn.model.parameters())))
    assert all(torch.allclose(a, b) for a, b in zip(*found, strict=True))
