"""What a person may bring of their own: optimizers, a learner's methods, callbacks, loaders."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_attach import digest, make_learner  # noqa: E402


def run(states, do, stop=None, kind=None):
    """Do something with a learner; it is stopped before a batch of a fit, where one is given."""
    import fastai.callback.schedule  # noqa: F401 - gives learners fit_one_cycle and lr_find
    from fastai.callback.core import Callback

    from fastmagic.guard import attach, positions

    class Stop(Callback):
        order = 100

        def before_batch(self):
            watch = self.learn.watch
            here = watch.stage and (watch.stage.number, self.epoch, self.iter)
            if self.training and here and here == stop:
                raise KeyboardInterrupt

    session = Session(7, View(), states, save_every=0)
    with positions.kept_apart(), attach.attached(session):
        learn = make_learner(kind=kind)
        learn.add_cb(Stop())
        with contextlib.suppress(KeyboardInterrupt):
            do(learn)
    return learn, session


def same(tmp_path, do, stop, kind=None):
    """Make sure that a stopped run ends as one that is not; give the learners of both."""
    whole, _ = run(tmp_path / "whole", do, kind=kind)
    run(tmp_path / "stopped", do, stop, kind)
    again, session = run(tmp_path / "stopped", do, kind=kind)
    assert session.stages[0].resumed
    assert digest(again) == digest(whole)
    return whole, again


def with_torchs_optimizer(learn):
    import torch
    from fastai.optimizer import OptimWrapper

    learn.opt_func = partial(OptimWrapper, opt=torch.optim.AdamW)


def test_torchs_optimizers_train_and_go_on(tmp_path):
    from fastai.callback.core import Callback

    class Halves(Callback):
        def after_epoch(self):
            self.opt.set_hyper("lr", self.opt.hypers[0]["lr"] / 2)

    def do(learn):
        with_torchs_optimizer(learn)
        learn.lr_find(show_plot=False, num_it=10)
        learn.fit_one_cycle(1, 1e-2)
        learn.fit(4, 1e-2, cbs=Halves())

    whole, again = same(tmp_path, do, (2, 3, 2))
    assert again.opt.hypers == whole.opt.hypers
    assert whole.opt.hypers[0]["lr"] == 1e-2 / 16


def test_a_learner_of_an_earlier_cell_goes_on_with_torchs_optimizer(tmp_path):
    from fastmagic.guard import attach

    learn = make_learner()
    with_torchs_optimizer(learn)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    for _ in range(2):  # the second time its state is put back
        with attach.attached(Session(7, View(), tmp_path)) as watching:
            assert watching.adopt(learn, "start-001") == ""
            learn.fit(1)
            reached = digest(learn)
    with attach.attached(Session(7, View(), tmp_path)) as watching:
        watching.adopt(learn, "start-001")
        learn.fit(1)
    assert digest(learn) == reached


OWN = ("all_batches", "_do_one_batch", "_do_grad_opt", "_backward", "_step")


def a_learner_of_ones_own(name, does):
    from fastai.learner import Learner

    return type("Mine", (Learner,), {name: does})


def by_super(name, called):
    """Give a method that calls the one behind it."""

    def method(self):
        called.append(name)
        getattr(super(type(self)._plain, self), name)()

    return method


@pytest.mark.parametrize("name", OWN)
def test_a_learners_own_way_is_taken(tmp_path, name):
    def do(learn):
        learn.fit(2, 1e-2)

    called: list[str] = []
    plain, _ = run(tmp_path / "plain", do)
    whole, _ = same(tmp_path, do, (1, 1, 2), a_learner_of_ones_own(name, by_super(name, called)))
    assert called
    assert digest(whole) == digest(plain)


def goes_back(self):
    self.own = True
    self.loss_grad.backward()


def runs_its_batches(self):
    self.own = True
    self.n_iter = len(self.dl)
    for number, batch in enumerate(self.dl):
        self.one_batch(number, batch)


def does_its_batch(self):
    self.own = True
    self.pred = self.model(*self.xb)
    self("after_pred")
    self.loss_grad = self.loss_func(self.pred, *self.yb)
    self.loss = self.loss_grad.clone()
    self("after_loss")
    if self.training:
        self._do_grad_opt()


ALONE = {"_backward": goes_back, "all_batches": runs_its_batches, "_do_one_batch": does_its_batch}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("patched", [False, True])
def test_a_way_that_leaves_fastais_out_trains_and_goes_on(tmp_path, monkeypatch, name, patched):
    from fastai.learner import Learner

    def do(learn):
        learn.fit(2, 1e-2)

    plain, _ = run(tmp_path / "plain", do)
    if patched:
        monkeypatch.setattr(Learner, name, ALONE[name])
    kind = None if patched else a_learner_of_ones_own(name, ALONE[name])
    whole, again = same(tmp_path, do, (1, 1, 2), kind)
    assert digest(whole) == digest(plain)
    assert whole.own and again.own


def looks_again():
    """Give a callback that looks at the training pictures after every epoch."""
    from fastai.callback.core import Callback

    class Second(Callback):
        busy = False

        def after_epoch(self):
            if not self.busy:
                self.busy = True
                self.learn.validate(dl=self.dls.train.new(shuffle=False))
                self.busy = False

    return Second()


def test_a_validation_within_a_fit_is_no_epoch_of_it(tmp_path):
    def do(learn):
        learn.add_cb(looks_again())
        learn.fit(4, 1e-2)

    plain, session = run(tmp_path / "plain", lambda learn: learn.fit(4, 1e-2))
    want = [epoch.accuracy for epoch in session.stages[0].epochs]
    same(tmp_path, do, (1, 2, 1))
    looked, session = run(tmp_path / "looked", do)
    assert [epoch.accuracy for epoch in session.stages[0].epochs] == want
    assert digest(looked) == digest(plain)
    assert looked.logger is print


def test_a_callback_that_validates_does_not_wait_for_itself(tmp_path):
    """As the lesson does at its end for a run that was finished before."""

    def do(learn):
        learn.add_cb(looks_again())
        validates = threading.Thread(target=learn.validate, daemon=True)
        validates.start()
        validates.join(60)
        assert not validates.is_alive()

    run(tmp_path, do)


def test_predictions_between_two_steps_leave_the_fit_where_it_is(tmp_path):
    from fastai.callback.core import Callback

    class Looks(Callback):
        order = 90

        def after_batch(self):
            if self.training and self.iter == 1:
                self.learn.get_preds(inner=True)
                self.model.train()
                self.learn.training = True

    def do(learn):
        learn.add_cb(Looks())
        learn.fit(2, 1e-2)

    plain, _ = run(tmp_path / "plain", lambda learn: learn.fit(2, 1e-2))
    whole, _ = same(tmp_path, do, (1, 0, 3))
    assert digest(whole) == digest(plain)


def test_a_stop_while_pictures_are_mixed_leaves_the_learners_own_loss(tmp_path):
    from fastai.callback.mixup import MixUp
    from fastai.losses import CrossEntropyLossFlat

    learn, _ = run(tmp_path, lambda learn: learn.fit(1, cbs=MixUp()), (1, 0, 2))
    assert type(learn.loss_func) is CrossEntropyLossFlat


@pytest.mark.parametrize("stop", [(1, 1, 2), (2, 0, 2)])
def test_the_rates_of_a_fit_can_be_plotted_when_it_was_done_before(tmp_path, stop):
    rates = []

    def do(learn):
        learn.fit_one_cycle(2, 1e-2)
        rates.append(learn.recorder.hps)
        learn.fit(1)

    same(tmp_path, do, stop)
    assert rates[0] == rates[-1]
    assert len(rates[0]["lr"]) == 8


def test_what_a_callback_counts_anew_each_epoch_goes_on_within_it(tmp_path):
    import torch
    from fastai.callback.core import Callback
    from fastai.learner import CancelStepException

    class EveryThird(Callback):
        run_valid = False

        def before_epoch(self):
            self.seen, self.held = 0, torch.zeros(1)

        def before_step(self):
            self.seen += 1
            self.held += 1
            if self.seen % 3 or self.held % 3:
                raise CancelStepException

    def do(learn):
        learn.add_cb(EveryThird())
        learn.fit(2, 1e-2)

    same(tmp_path, do, (1, 1, 2))


def test_passes_that_find_a_rate_do_not_count(tmp_path):
    from torch import nn

    def do(learn):
        learn.fit(1, 1e-2)
        learn.lr_find(show_plot=False, num_it=10)
        learn.validate()
        learn.model[3] = nn.Linear(16, 2)
        learn.create_opt()
        learn.fit(1, 1e-2)

    same(tmp_path, do, (2, 0, 0))  # the new layer is drawn again


def test_a_scaler_that_was_off_is_begun_anew_where_it_is_on(tmp_path):
    """As where a run goes on with a card that has no bf16."""
    import torch
    from fastai.callback.core import Callback

    class Scales(Callback):
        def __init__(self, on):
            self.on = on

        def before_fit(self):
            self.learn.scaler = torch.amp.GradScaler("cpu", enabled=self.on)

    run(tmp_path, lambda learn: learn.fit(1, cbs=Scales(on=False)), (1, 0, 2))
    learn, session = run(tmp_path, lambda learn: learn.fit(1, cbs=Scales(on=True)))
    assert len(session.stages[0].epochs) == 1
    assert learn.scaler.is_enabled()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_that_draws_goes_on_in_torchs_own_loader(tmp_path, workers):
    import torch
    from fastai.data.core import DataLoaders
    from torch.utils.data import DataLoader

    class Noisy(torch.utils.data.Dataset):
        def __init__(self, items):
            self.items = items

        def __len__(self):
            return len(self.items)

        def __getitem__(self, number):
            x, y = self.items[number]
            return x + 0.1 * torch.randn(8), y

    def do(learn):
        train = DataLoader(
            Noisy(learn.dls.train.dataset), batch_size=16, shuffle=True, num_workers=workers
        )
        valid = DataLoader(Noisy(learn.dls.valid.dataset), batch_size=16)
        learn.dls = DataLoaders(train, valid, device=torch.device("cpu"))
        learn.fit(2, 1e-2)

    same(tmp_path, do, (1, 1, 2))


def test_a_learner_without_fastais_recorder_trains_and_goes_on(tmp_path):
    from fastai.learner import Recorder

    def do(learn):
        learn.remove_cb(Recorder)
        learn.fit(2, 1e-2)

    _, session = run(tmp_path / "first", do)
    assert [epoch.epoch for epoch in session.stages[0].epochs] == [0, 1]
    assert not session.incidents
    same(tmp_path, do, (1, 1, 2))
