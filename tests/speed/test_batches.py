"""Batches made in one go, on the device too: the training that fastai's feed, bit for bit."""

from __future__ import annotations

import contextlib
import random
from types import SimpleNamespace

import pytest
import torch
from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
from fastai.data.core import TfmdDL
from fastai.data.transforms import IndexSplitter, parent_label
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageBlock
from torch import nn

from fastmagic.guard import attach, state
from fastmagic.guard.session import Session
from fastmagic.progress import View
from fastmagic.speed.batches import made_plainly, targets_of
from fastmagic.speed.resident import never
from fastmagic.speed.shelf import Shelf

pytestmark = pytest.mark.train


def make_loaders(folder, workers=0, **options):
    files = sorted(folder.glob("train/*/*.png"))
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=lambda _: files,
        get_y=parent_label,
        splitter=IndexSplitter(range(0, len(files), 4)),
        item_tfms=Resize(40),
        batch_tfms=aug_transforms(size=40),
    )
    return block.dataloaders(folder, bs=4, num_workers=workers, device="cpu", **options)


def make_learner(dls):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2))
    return Learner(dls, nn.Sequential(body, head), loss_func=CrossEntropyLossFlat())


class Notes(View):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


HOWS = ("one by one", "host", "device")
"""Pictures put together as fastai does; cut in one go where they are loaded, or where they lie."""


@contextlib.contextmanager
def watched(tmp_path, how="device"):
    """Attach the guard, with small copies and batches that are made in some way."""
    view = Notes()
    session = Session(7, view, tmp_path / "states")
    fits = {"host": never, "device": lambda device, size: True}.get(how, never)
    shelf = Shelf(tmp_path / "cache", 1e9, 1, fits=fits, note=view.note)
    session.pictures_for = shelf.pictures_for
    if how != "one by one":
        session.batches_for, session.release = shelf.batches_for, shelf.release
    with attach.attached(session):
        yield session, shelf


def trained(tmp_path, folder, how, workers=0):
    with watched(tmp_path, how) as (_, shelf):
        learn = make_learner(make_loaders(folder, workers))
        learn.fit(2, 1e-2)
        preds = learn.tta(n=2)[0]
        made = [batches.resident for *_, batches in shelf._batches]
    return state.weights_sha256(learn.model.state_dict()), preds, made


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_is_the_same_and_so_is_what_it_predicts(small_folder, tmp_path, workers):
    found = {how: trained(tmp_path / how, small_folder, how, workers) for how in HOWS}
    assert len({weights for weights, *_ in found.values()}) == 1
    assert all(torch.equal(found["host"][1], preds) for _, preds, _ in found.values())
    assert found["one by one"][2] == []
    assert found["host"][2] == [None, None]  # to train with, and to validate with
    assert None not in found["device"][2]


def test_a_pass_that_is_entered_in_the_middle_goes_on_with_the_same_batches(small_folder, tmp_path):
    from fastmagic.guard import loaders

    with watched(tmp_path) as (session, _):
        dls = make_loaders(small_folder)
        learn = make_learner(dls)
        learn.watch.place(dls.train, session.seed, "fit", 1, 0)
        whole = list(loaders.batches(dls.train))
        learn.watch.place(dls.train, session.seed, "fit", 1, 0)
        rest = list(loaders.batches(dls.train, 1))
    assert len(rest) == len(whole) - 1 > 0
    assert all(torch.equal(a[1], b[1]) for a, b in zip(rest, whole[1:], strict=True))


def test_no_process_is_started(small_folder, tmp_path):
    with watched(tmp_path):
        dls = make_loaders(small_folder, workers=2)
        dls.train.fake_l.num_workers = 10**6  # would be refused
        make_learner(dls).fit(1, 1e-2)


def test_released_the_pictures_are_loaded_and_the_training_is_the_same(small_folder, tmp_path):
    from fastai.callback.core import Callback

    weights, *_ = trained(tmp_path / "a", small_folder, "one by one")

    class Release(Callback):
        def after_batch(self):
            if self.training and self.iter == 0 and self.epoch == 0:
                assert session.splits.halve("k", 4, 1, 0.1, norms=False) == 1

    with watched(tmp_path / "b") as (session, shelf):
        learn = make_learner(make_loaders(small_folder))
        learn.fit(2, 1e-2, cbs=Release())
        assert shelf._batches[0][2].resident is None
        assert learn.dls.train._batches is shelf._batches[0][2]
    assert state.weights_sha256(learn.model.state_dict()) == weights
    assert [str(one.what) for one in session.incidents] == [
        "memory ran out beside the pictures that lay in it"
    ]
    assert session.splits.most == {}


def test_a_device_that_fails_is_told_of_and_done_without(small_folder, tmp_path):
    with watched(tmp_path) as (session, shelf):
        dls = make_loaders(small_folder)
        pictures = shelf.pictures_for(dls.train)
        broken = SimpleNamespace(
            dataset=dls.train.dataset,
            device="no such device",
            bs=4,
            indexed=True,
            before_batch=dls.train.before_batch,
        )
        assert shelf.batches_for(broken, pictures, TfmdDL).resident is None
    [said] = session.view.notes
    assert said.startswith("The pictures are not kept in the GPU's memory (")


def test_a_loader_that_makes_its_batches_itself_is_left_to_it(small_folder):
    class Own(TfmdDL):
        def create_batch(self, b):
            return super().create_batch(b)

    dls = make_loaders(small_folder)
    assert made_plainly(dls.train, TfmdDL) and made_plainly(dls.valid, TfmdDL)
    assert not made_plainly(dls.train, Own)
    assert not made_plainly(make_loaders(small_folder, before_batch=[list]).train, TfmdDL)
    given = TfmdDL(dls.train_ds, bs=2, create_batch=lambda b: b)
    assert not made_plainly(given, TfmdDL)
    assert not made_plainly(TfmdDL(dls.train_ds, bs=None), TfmdDL)


def datasets(folder, block, label):
    files = sorted(folder.glob("train/*/*.png"))
    return DataBlock((ImageBlock, block), get_y=label, splitter=IndexSplitter([0])).datasets(files)


def test_targets_are_a_table_of_what_the_data_set_gives(small_folder):
    whole = datasets(small_folder, CategoryBlock, parent_label)
    [table] = targets_of(whole.train)
    assert type(table) is type(whole.train[0][1])
    assert table.tolist() == [int(whole.train[number][1]) for number in range(len(whole.train))]


@pytest.mark.parametrize(
    "label",
    [
        lambda file: random.random(),
        lambda file: float(torch.rand(1)),
        lambda file: [0.0] * (1 + len(file.name) % 2 + int("1" in file.name)),
        lambda file: [0.0] * 1000,
        lambda file: 1 / 0,
    ],
    ids=["draws", "draws by torch", "of many shapes", "large", "fails"],
)
def test_targets_that_draw_or_differ_or_are_large_are_looked_up_each_time(small_folder, label):
    block = RegressionBlock
    try:
        sets = datasets(small_folder, block, label)
    except ZeroDivisionError:
        sets = datasets(small_folder, block, lambda file: 0.0)
        sets.train.tls[1].tfms.fs[0].encodes = label
    assert targets_of(sets.train) is None


def test_the_next_batch_is_made_before_the_loss_of_this_one_is_asked_for(small_folder, tmp_path):
    from fastai.callback.core import Callback

    order = []

    class Order(Callback):
        order = -100  # before fastai's Recorder

        def after_batch(self):
            order.append(("asked", self.training, self.iter))

    with watched(tmp_path) as (session, _):
        dls = make_loaders(small_folder)
        learn = make_learner(dls)
        for loader in dls.loaders:
            learn.watch.place(loader, session.seed, "made")
            make, training = loader._batches.make, loader is dls.train
            loader._batches.make = lambda *a, m=make, t=training: order.append(("made", t)) or m(*a)
        learn.fit(1, 1e-2, cbs=Order())
    for training, loader in zip((True, False), dls.loaders, strict=True):
        told = [event[0] for event in order if event[1] is training]
        assert told == ["made", *["made", "asked"] * (len(loader) - 1), "asked"]
