"""Batches made in one go, on the device too: the training that fastai's feed, bit for bit."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import random
from types import SimpleNamespace

import pytest
import torch
from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
from fastai.data.core import TfmdDL
from fastai.data.transforms import IndexSplitter, RegexLabeller, parent_label
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.augment import Contrast, Resize, aug_transforms
from fastai.vision.data import ImageBlock, MaskBlock
from fastcore.basics import using_attr
from torch import nn

from fastmagic.guard import attach, state
from fastmagic.guard.session import Session
from fastmagic.speed.augment import Drawing
from fastmagic.speed.batches import made_plainly, targets_of
from fastmagic.speed.resident import never
from fastmagic.speed.shelf import Shelf
from tests.views import Notes

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


HOWS = ("one by one", "host", "device")
"""Pictures put together as fastai does; cut in one go where they are loaded, or where they lie."""


@contextlib.contextmanager
def watched(tmp_path, how="device"):
    """Attach the guard, with small copies and batches that are made in some way."""
    view = Notes()
    session = Session(7, view, tmp_path / "states")
    fits = (lambda *_: True) if how == "device" else never
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
        made = [batches.resident for _, batches in shelf._batches.values()]
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


@pytest.mark.parametrize(("how", "processes"), [("host", 2), ("device", 0)])
def test_no_process_is_started_for_pictures_on_the_device(small_folder, tmp_path, how, processes):
    from fastai.callback.core import Callback

    seen = []

    class Look(Callback):
        def after_batch(self):
            if self.training and self.iter == 0:
                seen.append(len(multiprocessing.active_children()))

    with watched(tmp_path, how):
        make_learner(make_loaders(small_folder, workers=2)).fit(1, 1e-2, cbs=Look())
    assert seen == [processes]


def test_released_the_pictures_are_loaded_and_the_training_is_the_same(small_folder, tmp_path):
    from fastai.callback.core import Callback

    weights, *_ = trained(tmp_path / "a", small_folder, "one by one")

    class Release(Callback):
        def after_batch(self):
            if self.training and self.iter == 0 and self.epoch == 0:
                assert session.splits.halve("k", 4, 1, 0.1, norms=False) == 1

    with watched(tmp_path / "b") as (session, _):
        learn = make_learner(make_loaders(small_folder))
        learn.fit(2, 1e-2, cbs=Release())
        assert learn.dls.train._batches.resident is None  # nor was it brought again
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
            n=dls.train.n,
            bs=4,
            indexed=True,
            before_batch=dls.train.before_batch,
        )
        assert shelf.batches_for(broken, pictures, TfmdDL).resident is None
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


def test_pictures_that_got_their_copies_later_are_brought_later(small_folder, tmp_path):
    with watched(tmp_path) as (_, shelf):
        dls = make_loaders(small_folder)
        pictures = shelf.pictures_for(dls.train, [0, 1])
        assert shelf.batches_for(dls.train, pictures, TfmdDL).resident is None
        pictures = shelf.pictures_for(dls.train)
        assert shelf.batches_for(dls.train, pictures, TfmdDL).resident.bytes


def test_a_few_pictures_are_not_brought_and_what_is_gone_takes_nothing(small_folder, tmp_path):
    with watched(tmp_path) as (_, shelf):
        dls = make_loaders(small_folder)
        some = dls.train.new(dls.train_ds, n=3)
        pictures = shelf.pictures_for(some, [0, 1, 2])
        assert shelf.batches_for(some, pictures, TfmdDL).resident is None
        assert len(shelf._batches) == 1
        del dls, some
        gc.collect()
        assert len(shelf._batches) == 0


def test_what_is_held_already_counts(small_folder, tmp_path):
    asked = []

    def fits(device, size, held):
        asked.append((size, held))
        return True

    with watched(tmp_path) as (_, shelf):
        shelf._fits = fits
        make_learner(make_loaders(small_folder)).fit(1)
    assert [held for _, held in asked] == [0, asked[0][0]]


def test_a_batch_that_does_not_fit_beside_the_pictures_sends_them_away_first(
    small_folder, tmp_path
):
    weights, *_ = trained(tmp_path / "a", small_folder, "one by one")
    with watched(tmp_path / "b") as (session, _):
        dls = make_loaders(small_folder)
        learn = make_learner(dls)
        learn.watch.place(dls.train, session.seed, "before")
        resident = dls.train._batches.resident
        batch, left = resident.batch, [3]

        def full(*args):
            left[0] -= 1
            if left[0] == 0:
                raise RuntimeError("CUDA out of memory")
            return batch(*args)

        resident.batch = full
        learn.fit(2, 1e-2)
        assert dls.train._batches.resident is None
    assert state.weights_sha256(learn.model.state_dict()) == weights
    assert len(session.incidents) == 1


def test_pictures_that_are_taken_out_between_two_fits_are_out(small_folder, tmp_path):
    def seen(how):
        with watched(tmp_path / how, how):
            dls = make_loaders(small_folder)
            learn = make_learner(dls)
            learn.fit(1, 1e-2)
            for items in (one.items for one in dls.train_ds.tls):
                del items[:2]
            dls.train.n = len(dls.train_ds)
            learn.fit(1, 1e-2)
        return state.weights_sha256(learn.model.state_dict())

    assert len({seen(how) for how in HOWS}) == 1


@pytest.mark.parametrize("kind", [ImageBlock, MaskBlock])
def test_targets_that_are_pictures_are_cut_by_fastai_with_their_own(small_folder, tmp_path, kind):
    files = sorted(small_folder.glob("train/*/*.png"))
    block = DataBlock(
        blocks=(ImageBlock, kind),
        get_items=lambda _: files,
        get_y=lambda file: file,
        splitter=IndexSplitter(range(4)),
        item_tfms=Resize(20),
    )
    with watched(tmp_path) as (session, _):
        dls = block.dataloaders(small_folder, bs=4, num_workers=0, device="cpu")
        make_learner(make_loaders(small_folder)).watch.place(dls.train, session.seed, "here")
        x, y = dls.train.one_batch()
        assert x.shape[-2:] == y.shape[-2:] == (20, 20)


def test_transforms_that_are_added_between_two_fits_are_drawn_by_the_processor_too(
    small_folder, tmp_path
):
    with watched(tmp_path):
        learn = make_learner(make_loaders(small_folder))
        learn.fit(1)
        added = Contrast()
        learn.dls.add_tfms([added], "after_batch")
        learn.fit(1)
        assert isinstance(vars(added)["before_call"], Drawing)
    assert not isinstance(vars(added).get("before_call"), Drawing)


def datasets(folder, block, label):
    files = sorted(folder.glob("train/*/*.png"))
    return DataBlock((ImageBlock, block), get_y=label, splitter=IndexSplitter([0])).datasets(files)


@pytest.mark.parametrize(
    "label",
    [
        parent_label,
        RegexLabeller(r"/(\w+)/[^/]+$"),
        using_attr(RegexLabeller(r"^(\w+)\."), "name"),
    ],
    ids=["folder", "pattern", "name"],
)
def test_targets_by_fastais_own_functions_are_a_table(small_folder, label):
    whole = datasets(small_folder, CategoryBlock, label)
    [table] = targets_of(whole.train)
    assert type(table) is type(whole.train[0][1])
    assert table.tolist() == [int(whole.train[number][1]) for number in range(len(whole.train))]


@pytest.mark.parametrize(
    ("block", "label"),
    [
        (CategoryBlock, lambda file: file.parent.name),
        (RegressionBlock, lambda file: random.random()),
        (CategoryBlock, using_attr(lambda name: name[0], "name")),
        (MaskBlock, lambda file: file),
    ],
    ids=["a person's function", "draws", "of an attribute", "masks"],
)
def test_targets_in_which_a_person_has_a_word_are_looked_up_each_time(small_folder, block, label):
    assert targets_of(datasets(small_folder, block, label).train) is None
