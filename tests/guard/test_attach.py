"""The guard on a learner that is small enough to train in milliseconds."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard import state  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402


def make_learner(dropout: float = 0.5, workers: int = 0, kind=None):
    """Make a learner with shuffling and dropout, whose weights show every random draw."""
    import torch
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    from torch import nn
    from torch.utils.data import TensorDataset

    torch.manual_seed(0)
    x = torch.randn(96, 8)
    y = (x[:, 0] > 0).long()
    sets = TensorDataset(x[:64], y[:64]), TensorDataset(x[64:], y[64:])
    dls = DataLoaders.from_dsets(*sets, bs=16, device=torch.device("cpu"), num_workers=workers)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(dropout), nn.Linear(16, 2)
    )
    return (kind or Learner)(dls, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy)


def body(learn, stop=None):
    """Train in three stages with ordinary code between them."""
    import fastai.callback.schedule  # noqa: F401 - gives learners fit_one_cycle and lr_find
    from fastai.callback.core import Callback

    class Stop(Callback):
        order = 100

        def before_batch(self):
            here = len(self.learn.watch.session.stages), self.epoch, self.iter
            if self.training and here == stop and self.learn.watch.stage is not None:
                raise KeyboardInterrupt

    if stop:
        learn.add_cb(Stop())
    learn.fit_one_cycle(2, 1e-2)
    found = learn.lr_find(show_plot=False, num_it=20)
    learn.fit_sgdr(2, 1, lr_max=1e-2)
    learn.fit(1, found.valley)
    return found.valley


def train(states, stop=None, save_every=60.0):
    from fastmagic.guard import attach, positions

    session = Session(7, View(), states, save_every=save_every)
    learn = valley = None
    with positions.kept_apart(), attach.attached(session):
        try:
            learn = make_learner()
            valley = body(learn, stop)
        except KeyboardInterrupt:
            pass
    return learn, session, valley


def digest(learn) -> str:
    from fastmagic.guard.state import weights_sha256

    return weights_sha256(learn.model.state_dict())


@pytest.mark.parametrize(
    "stops", [[(1, 0, 0)], [(1, 1, 2)], [(2, 1, 1)], [(3, 0, 3)], [(1, 1, 0), (2, 2, 2), (3, 0, 1)]]
)
def test_a_stopped_run_ends_with_the_very_weights_of_an_unstopped_one(tmp_path, stops):
    whole, _, rate = train(tmp_path / "whole")
    for stop in stops:
        train(tmp_path / "stopped", stop)
    again, session, rate_again = train(tmp_path / "stopped")
    assert digest(again) == digest(whole)
    assert rate_again == rate
    assert [len(stage.epochs) for stage in session.stages] == [2, 3, 1]
    assert any(stage.resumed for stage in session.stages) or stops == [(1, 0, 0)]


@pytest.mark.parametrize(
    "stops", [[(1, 0, 3)], [(1, 1, 2)], [(2, 1, 1), (2, 1, 3)], [(1, 0, 1), (2, 2, 2), (3, 0, 3)]]
)
def test_a_fit_goes_on_in_the_middle_of_an_epoch(tmp_path, stops):
    whole, before, _ = train(tmp_path / "whole")
    for stop in stops:
        train(tmp_path / "stopped", stop, save_every=0)
    again, session, _ = train(tmp_path / "stopped", save_every=0)
    said = " ".join(session.view.notes)
    assert f"in epoch {stops[-1][1] + 1}, step {stops[-1][2]}" in said
    assert digest(again) == digest(whole)
    assert again.recorder.losses == whole.recorder.losses
    assert again.recorder.values == whole.recorder.values
    assert session.curve == before.curve


def test_the_newest_state_being_damaged_the_one_before_it_is_taken(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    for stop in [(1, 0, 2), (1, 1, 2)]:  # two states at least, however slow the disk is
        train(tmp_path / "stopped", stop, save_every=0)
    newest = max((tmp_path / "stopped").glob("fit-001-*.pt"))
    newest.write_bytes(newest.read_bytes()[:-9] + b"overwrite")
    before, damaged = state.read(tmp_path / "stopped", "fit-001", "cpu")
    step = before["progress"]["step"]
    assert damaged == [newest.name]
    assert (len(before["stage"].epochs), step) < (1, 2)
    again, session, _ = train(tmp_path / "stopped")
    assert "the one before it was taken" in session.incidents[0].done
    epoch = len(before["stage"].epochs) + 1
    where = f"in epoch {epoch}, step {step}" if step else "after epoch 1 of 2"
    assert where in " ".join(session.view.notes)
    assert digest(again) == digest(whole)


def test_the_curves_of_a_resumed_fit_are_whole(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    train(tmp_path / "stopped", (2, 1, 1))
    train(tmp_path / "stopped", (2, 2, 1))
    again, _, _ = train(tmp_path / "stopped")
    assert again.recorder.losses == whole.recorder.losses
    assert [list(row) for row in again.recorder.values] == [
        list(row) for row in whole.recorder.values
    ]


def test_finished_fits_are_not_trained_again(tmp_path):
    train(tmp_path, (3, 0, 1))
    _, session, _ = train(tmp_path)
    assert [stage.resumed for stage in session.stages] == [True, True, False]
    assert "already trained" in " ".join(session.view.notes)


def test_an_unreadable_state_is_an_incident_and_the_fit_starts_again(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    train(tmp_path / "stopped", (1, 1, 1))
    for file in (tmp_path / "stopped").glob("fit-*.pt"):
        file.write_bytes(file.read_bytes()[:1000])
    again, session, _ = train(tmp_path / "stopped")
    assert "is damaged" in session.incidents[0].what
    assert digest(again) == digest(whole)


def test_a_state_that_cannot_be_saved_is_an_incident_and_training_goes_on(tmp_path):
    (tmp_path / "states").write_text("a file where the folder should be")
    _, session, _ = train(tmp_path / "states")
    assert [len(stage.epochs) for stage in session.stages] == [2, 3, 1]
    assert "could not be saved" in session.incidents[0].what


@pytest.mark.parametrize("stop", [None, (2, 0, 1)])
def test_after_the_cell_nothing_of_ours_is_left(tmp_path, stop):
    from fastai.learner import Learner, defaults

    before = list(defaults.callbacks)
    learn, _, _ = train(tmp_path, stop)
    assert defaults.callbacks == before
    assert type(learn) is Learner
    assert not any("fastmagic" in type(cb).__module__ for cb in learn.cbs)
    assert not any("fastmagic" in name for name in vars(learn))
    assert hasattr(learn, "progress")
    assert learn.logger is print
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ == "Stop"])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)


def test_the_persons_random_generators_are_as_they_were(tmp_path):
    import random

    import numpy
    import torch

    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    want = random.random(), numpy.random.rand(), torch.rand(1).item()
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    train(tmp_path)
    assert (random.random(), numpy.random.rand(), torch.rand(1).item()) == want


def test_the_accuracy_counted_is_the_one_that_fastai_measures(tmp_path):
    _, session, _ = train(tmp_path)
    for stage in session.stages:
        for epoch in stage.epochs:
            assert epoch.accuracy == pytest.approx(epoch.values["accuracy"], abs=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_waiting_for_the_loader_is_told_from_working(tmp_path, workers):
    import time

    from fastai.callback.core import Callback

    from fastmagic.guard import attach

    class Slow:
        """Adds to each of the four batches of an epoch what it takes to load it."""

        def __init__(self, items):
            self.items = items

        def __len__(self):
            return len(self.items)

        def __getitem__(self, index):
            time.sleep(0.4 / 64)
            return self.items[index]

    class Busy(Callback):
        def before_batch(self):
            time.sleep(0.05)

    session = Session(7, View(), tmp_path)
    with attach.attached(session):
        learn = make_learner(workers=workers)
        learn.dls.train.dataset = Slow(learn.dls.train.dataset)
        learn.add_cb(Busy())
        learn.validate()
        assert (session.waiting_seconds, session.working_seconds) == (0, 0)
        learn.fit(1)
    assert session.working_seconds >= 6 * 0.05
    assert session.waiting_seconds >= (0.4 if workers == 0 else 0.05)
    epoch = session.stages[0].epochs[0]
    assert session.waiting_seconds + session.working_seconds <= epoch.seconds


def test_finding_a_rate_is_not_counted(tmp_path):
    import fastai.callback.schedule  # noqa: F401

    from fastmagic.guard import attach

    session = Session(7, View(), tmp_path)
    with attach.attached(session):
        make_learner().lr_find(show_plot=False, num_it=10)
    assert (session.waiting_seconds, session.working_seconds) == (0, 0)


def test_a_learner_exported_inside_the_cell_loads_without_fastmagic(tmp_path, small_folder):
    from fastai.vision.all import ImageDataLoaders, Resize, vision_learner
    from torchvision.models import squeezenet1_1

    from fastmagic.guard import attach

    with attach.attached(Session(7, View(), tmp_path / "states")):
        dls = ImageDataLoaders.from_folder(
            small_folder, valid="valid", item_tfms=Resize(32), bs=16, num_workers=0
        )
        learn = vision_learner(dls, squeezenet1_1, pretrained=False, path=tmp_path)
        learn.fit(1)
        learn.export("inside.pkl")
        learn.fit(1)
    photo = next(small_folder.rglob("*.png"))
    code = f"""
import sys, warnings
sys.modules["fastmagic"] = None  # as where it is not installed
warnings.simplefilter("ignore")
from fastai.vision.all import load_learner
learn = load_learner({str(tmp_path / "inside.pkl")!r})
with learn.no_bar():
    print(type(learn).__module__, learn.predict({str(photo)!r})[0] in ("cats", "dogs"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["fastai.learner", "True"]
    named = rb"fastmagic[.\n]"  # a module of ours; the folder of the checkout may be called so too
    assert not re.search(named, (tmp_path / "inside.pkl").read_bytes())


def test_a_broken_metric_keeps_its_own_error(tmp_path):
    from fastmagic.guard import attach

    def broken(pred, target):
        raise RuntimeError("my metric is broken")

    with attach.attached(Session(7, View(), tmp_path)):
        learn = make_learner()
        learn.metrics = [broken]
        with pytest.raises(RuntimeError, match="my metric is broken"):
            learn.fit(1)


def test_learners_that_a_cell_lets_go_are_not_kept(tmp_path):
    import gc
    import weakref

    from fastmagic.guard import attach

    gone = []
    session = Session(7, View(), tmp_path)
    with attach.attached(session):
        for _ in range(3):
            learn = make_learner()
            learn.fit(1, 1e-2)
            gone.append(weakref.ref(learn.model))
        gc.collect()
        assert [one() is None for one in gone] == [True, True, False]
        assert list(session.learners) == [learn]
