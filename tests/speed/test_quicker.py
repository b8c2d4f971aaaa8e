"""What makes a lesson quicker changes nothing else, has its switch, and is gone after the cell."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

import fastmagic
from fastmagic.progress import View
from fastmagic.speed.shelf import Shelf

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 24, "bs": 8}


def lesson(folder, runs, body="learn.unfreeze()\nlearn.fit(2, 1e-3)", **options):
    names: dict = {}
    result = fastmagic.train_lesson1(
        folder, body, runs_folder=runs, namespace=names, **{**SMALL, **options}
    )
    return result, names


def test_the_weights_are_the_same_from_an_empty_store_and_a_full_one_with_any_workers(
    small_folder, tmp_path
):
    digests = set()
    for number, workers in enumerate((0, 0, 2)):
        result, names = lesson(small_folder, tmp_path / str(number), workers=workers)
        digests.add(result.weights_sha256)
    assert len(digests) == 1
    assert list(Path(platformdirs.user_cache_dir("fastmagic")).glob("pictures/*/pictures"))
    assert not hasattr(names["dls"].train, "_pictures")
    assert type(names["dls"].train).__mro__[1].__name__ != "Positioned"


def test_a_store_that_cannot_be_kept_changes_nothing(small_folder, tmp_path):
    kept, _ = lesson(small_folder, tmp_path / "kept")
    none, _ = lesson(small_folder, tmp_path / "none", cache_limit=1e-9)
    assert none.weights_sha256 == kept.weights_sha256


def test_the_report_says_how_many_photographs_are_decoded_each_time(small_folder, tmp_path):
    limited, _ = lesson(small_folder, tmp_path / "runs", "learn.fit(2)", cache_limit=20_000 / 1e9)
    said = limited.choices["pictures"]
    assert " of 48 have no small copy and are decoded in every pass" in said
    assert "--cache-limit GB" in said and int(said.split()[0]) < 48


def test_copies_that_another_process_makes_are_looked_for_at_the_next_pass(small_folder, tmp_path):
    from fastai.vision.all import ImageDataLoaders, Resize
    from filelock import FileLock

    dls = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(24), bs=4, num_workers=0
    )
    notes = []
    shelf = Shelf(tmp_path, 1e9, 2, note=notes.append)
    for loader in dls:
        folder = shelf.pictures_for(loader, []).folder
        with FileLock(str(folder / ".lock")):
            assert shelf.pictures_for(loader).missing(loader.dataset.items)
            shelf.pictures_for(loader)
    assert shelf.lacking().startswith("48 of 48 have no small copy")
    assert len(notes) == 1 and "another process is making them" in notes[0]
    for loader in dls:
        assert shelf.pictures_for(loader).missing(loader.dataset.items) == []
    assert shelf.lacking() == ""


def test_each_has_a_switch_and_its_line(small_folder, tmp_path):
    quick, _ = lesson(small_folder, tmp_path / "quick")
    assert {"pictures", "layout"} <= quick.choices.keys()
    plain, _ = lesson(
        small_folder,
        tmp_path / "plain",
        no_cache=True,
        no_channels_last=True,
        no_allocator=True,
    )
    assert not {"pictures", "layout", "memory"} & plain.choices.keys()
    assert plain.accuracy is not None
    assert "--no-cache" in str(quick)


def test_what_is_done_is_said_before_the_start_with_its_switches(small_folder, tmp_path):
    notes = []

    class Notes(View):
        def note(self, text):
            notes.append(text)

    def said(**options):
        notes.clear()
        lesson(small_folder, tmp_path / "runs", "learn.fit(1)", show=Notes(), **options)
        return next((one for one in notes if one.startswith("Quicker")), "")

    everything = said()
    assert "(--no-cache)" in everything and "(--no-channels-last)" in everything
    assert "(--no-cache)" not in said(no_cache=True)
    assert "(--no-channels-last)" not in said(no_channels_last=True)
    assert said(no_cache=True, no_channels_last=True, no_allocator=True) == ""


BOTH = """
learn.freeze()
with learn.precomputed() as head:
    pictures = len(head.dls.train_ds)
    whole = hasattr(head.dls.train_ds, "tls")
    learn.fit(1, 1e-3)
learn.freeze()
learn.fit(1, 1e-3)
"""


def test_without_precomputing_the_whole_frozen_network_trains(small_folder, tmp_path):
    _, quick = lesson(small_folder, tmp_path / "quick", BOTH)
    result, plain = lesson(small_folder, tmp_path / "plain", BOTH, no_precompute=True)
    assert not quick["whole"] and plain["whole"]
    assert [stage.layers for stage in result.stages] == ["head", "head"]


def test_features_are_computed_from_small_copies_and_are_those_of_the_files(small_folder, tmp_path):
    kept, names = lesson(small_folder, tmp_path / "kept", BOTH)
    store = Path(platformdirs.user_cache_dir("fastmagic")) / "pictures"
    assert list(store.glob("*/pictures"))
    assert not hasattr(names["dls"].train, "_lends")
    none, _ = lesson(small_folder, tmp_path / "none", BOTH, cache_limit=1e-9)
    assert none.weights_sha256 == kept.weights_sha256


def test_only_the_pictures_that_are_looked_at_are_copied(small_folder, tmp_path):
    from fastmagic.speed.store import Store

    own = shutil.copytree(small_folder, tmp_path / "own")
    store = Path(platformdirs.user_cache_dir("fastmagic")) / "pictures"
    before = set(store.glob("*"))
    body = "learn.freeze()\nwith learn.precomputed(most=6, seed=1):\n    learn.fit(1, 1e-3)\n"
    result, _ = lesson(own, tmp_path / "runs", body)
    assert result.choices["training"].startswith("6 of the 32 pictures, as many of each class")
    assert "Training: 6 of the 32 pictures" in str(result)
    made = [Store(folder).copies for folder in set(store.glob("*")) - before]
    assert sorted(map(len, made)) == [6, 16]  # of those to train, of those to validate


def test_the_network_lies_as_torch_makes_it_when_the_cell_is_over(small_folder, tmp_path):
    body = """
import torch
weights = [p for p in learn.model.parameters() if p.ndim == 4]
inside = [p.is_contiguous(memory_format=torch.channels_last) for p in weights]
learn.fit(1)
"""
    _, names = lesson(small_folder, tmp_path, body)
    assert all(names["inside"])
    assert all(p.is_contiguous() for p in names["learn"].model.parameters())


def test_a_network_that_the_person_has_laid_with_the_channels_last_stays_so(small_folder, tmp_path):
    import torch

    _, names = lesson(small_folder, tmp_path / "first", "learn.fit(1)")
    names["mine"] = names.pop("learn")
    names["mine"].model.to(memory_format=torch.channels_last)
    fastmagic.train_lesson1(
        small_folder, "mine.fit(1)", runs_folder=tmp_path / "second", namespace=names, **SMALL
    )
    weights = [p for p in names["mine"].model.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.parametrize(
    ("items", "served"),
    [
        ("Resize(24)", True),
        ("Resize((24, 32))", True),
        ("Resize(24, method='squish')", False),
        ("RandomResizedCrop(24)", False),
        ("[Resize(24), FlipItem()]", False),
    ],
)
def test_only_what_fastai_cuts_from_photographs_is_read_from_copies(
    small_folder, tmp_path, items, served
):
    import fastai.vision.all as fastai

    dls = fastai.ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=eval(items, vars(fastai)), bs=4, num_workers=0
    )
    said = []
    shelf = Shelf(tmp_path, 1e9, 2, lambda made, of: said.append((made, of)))
    for loader in dls:
        found = shelf.pictures_for(loader)
        assert (found is not None) == served
        if found is not None:
            assert found.missing(loader.dataset.items) == []
    assert said == ([(32, 32), (16, 16)] if served else [])


def by_fastai(loader, item):
    """Load an item at its position by fastai's own Resize and ToTensor."""
    from fastmagic.guard import positions

    seed, position = loader._at
    with positions.at_item(seed, *position, "item", item):
        return loader.after_item(loader.create_item(item))


@pytest.mark.parametrize("size", [24, (24, 20), 32, 40, (48, 31)])
@pytest.mark.parametrize("split", [0, 1])
def test_what_is_cut_is_to_the_byte_what_fastai_cuts_from_the_same_copy(
    small_folder, tmp_path, size, split
):
    import torch
    from fastai.vision.all import ImageDataLoaders, Resize

    from fastmagic.guard.loaders import Loaders

    dls = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(size), bs=4, num_workers=0
    )
    loader = dls[split]
    shelf = Shelf(tmp_path, 1e9, 2, lambda *_: None)
    loaders = Loaders(lambda: None, shelf.pictures_for)
    loaders.place(loader, 7, "here")
    loader.before_iter()
    quickly = [loader.do_item(i) for i in range(12)]
    slowly = [by_fastai(loader, i) for i in range(12)]
    for a, b in zip(quickly, slowly, strict=True):
        assert type(a[0]) is type(b[0])
        assert torch.equal(a[0], b[0])
        assert int(a[1]) == int(b[1])


def test_a_loader_that_shows_a_part_does_not_have_all_copies_made(small_folder, tmp_path):
    from fastai.vision.all import ImageDataLoaders, Resize

    dls = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(24), bs=4, num_workers=0
    )
    part = dls.train.new(n=3, get_idxs=lambda: [0, 1, 2])
    said = []
    shelf = Shelf(tmp_path, 1e9, 2, lambda made, of: said.append(of))
    assert shelf.pictures_for(part) is not None
    assert not said
    assert shelf.pictures_for(dls.train).missing(dls.train.items) == []
    assert said == [32]


def test_a_table_or_a_loader_of_tensors_is_left_alone(tmp_path):
    import torch
    from fastai.data.core import DataLoaders
    from torch.utils.data import TensorDataset

    data = TensorDataset(torch.zeros(8, 3), torch.zeros(8))
    loader = DataLoaders.from_dsets(data, data, bs=4).train
    assert Shelf(tmp_path, 1e9, 1, lambda *_: None).pictures_for(loader) is None


def test_the_making_of_the_copies_is_seen(small_folder, tmp_path):
    seen = []

    class Bars(View):
        def bar(self, label, *rest, **more):
            seen.append(label)
            super().bar(label, *rest, **more)

    view = Bars()
    fastmagic.train_lesson1(small_folder, "learn.fit(1)", runs_folder=tmp_path, show=view, **SMALL)
    assert "small copies of the pictures" in seen


def test_nothing_is_said_of_copies_where_a_body_reads_in_its_own_way(small_folder, tmp_path):
    body = """
from fastai.vision.all import *
own = ImageDataLoaders.from_folder(
    path, valid="valid", item_tfms=RandomResizedCrop(24), bs=8, num_workers=0
)
mine = vision_learner(own, squeezenet1_1, pretrained=False)
mine.fit(1)
"""
    result, _ = lesson(small_folder, tmp_path, body)
    assert "pictures" not in result.choices


def test_copies_are_made_while_fastai_is_loaded(small_folder, tmp_path):
    """In a fresh process: here it is loaded already."""
    script = """
import sys, threading
import fastmagic
from fastmagic.speed.pictures import Pictures
seen, make = [], Pictures.make
def watched(self, *args, **kwargs):
    seen.append((threading.current_thread().name, make(self, *args, **kwargs)))
Pictures.make = watched
fastmagic.train_lesson1(sys.argv[1], "learn.fit(1)", runs_folder=sys.argv[2], arch="squeezenet1_1",
                        weights="none", size=24, bs=8)
print(seen)
"""
    own = shutil.copytree(small_folder, tmp_path / "own")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(own), str(tmp_path / "runs")]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    seen = ast.literal_eval(said.splitlines()[-1])
    assert seen[:2] == [("fastmagic-ahead", 32), ("fastmagic-ahead", 16)]
    assert all(made == 0 for _, made in seen[2:])


LOOKS = """
learn.fit(1, 1e-3)
looks = []
class Counts(Callback):
    def before_validate(self):
        looks.append(1)
learn.add_cb(Counts())
learn.show_confusion()
shown = len(looks)
learn.model[1][-1].weight.data += 1
learn.show_confusion()
changed = len(looks)
learn.get_preds()
asked = len(looks)
"""


def test_what_a_validation_said_is_shown_without_looking_again(small_folder, tmp_path):
    body = "from fastai.callback.core import Callback\n" + LOOKS
    _, names = lesson(small_folder, tmp_path, body)
    assert (names["shown"], names["changed"], names["asked"]) == (0, 1, 2)


@pytest.mark.parametrize(
    ("card", "capability", "half", "pays"),
    [
        ("Tesla K80", (3, 7), False, False),
        ("Tesla P100-PCIE-16GB", (6, 0), False, False),
        ("Tesla T4", (7, 5), False, False),
        ("Tesla T4", (7, 5), True, True),
        ("NVIDIA GeForce GTX 1650", (7, 5), True, False),
        ("NVIDIA L4", (8, 9), False, True),
    ],
)
def test_channels_lie_last_on_cards_whose_tensor_cores_compute_them(
    card, capability, half, pays, monkeypatch
):
    import types

    import torch

    from fastmagic.speed import layout

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: card)
    learn = types.SimpleNamespace(**({"mixed_precision": None} if half else {}))
    assert layout.pays(learn, torch.device("cuda")) is pays


def test_a_network_of_ones_own_that_flattens_by_view_trains(small_folder, tmp_path):
    body = """
from fastai.vision.all import *
net = sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), Flatten(), nn.Linear(8 * 12 * 12, 2))
mine = Learner(dls, net, loss_func=F.cross_entropy)
mine.fit(1)
"""
    result, _ = lesson(small_folder, tmp_path, body)
    assert result.status == "finished"
    assert result.choices["layout"].startswith("a network that may take its maps flat")
