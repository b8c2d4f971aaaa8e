"""The head trained on features that are computed once: the same as on the frozen network."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.train


def learner(folder, arch="squeezenet1_1", augment=True, size=32, **options):
    """Make a frozen learner on a few pictures, the same at every call."""
    from fastai.vision import all as vision
    from torchvision import models

    vision.set_seed(1, True)
    tfms = vision.aug_transforms() if augment else []
    dls = vision.ImageDataLoaders.from_folder(
        folder,
        valid="valid",
        item_tfms=vision.Resize(size, method="squish"),
        batch_tfms=[*tfms, vision.Normalize.from_stats(*vision.imagenet_stats)],
        bs=8,
        num_workers=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = vision.vision_learner(
            dls, getattr(models, arch), pretrained=False, metrics=vision.accuracy, **options
        )
    learn.freeze()
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    learn.logger = lambda values: None
    return learn


@pytest.fixture(scope="module")
def trained(small_folder):
    """Give a learner of the smallest network, for tests that only look at it."""
    return learner(small_folder)


def fit(learn, epochs=2):
    """Train with every generator set, so that two learners see the same order and dropout."""
    import torch

    torch.manual_seed(5)
    learn.dls.train.rng = random.Random(5)
    learn.fit(epochs, 1e-3)


def weights_of(learn, part):
    state = learn.model.state_dict()
    return {name: value.clone() for name, value in state.items() if name.startswith(part)}


def within(learn):
    from fastmagic.lesson.additions.precomputed import precomputed

    return precomputed(learn)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_head_is_the_one_that_the_frozen_network_would_have_got(small_folder, dropout):
    import torch

    slow = learner(small_folder, augment=False, ps=dropout)
    fast = learner(small_folder, augment=False, ps=dropout)
    fit(slow)
    with within(fast):
        fit(fast)
    wanted, found = weights_of(slow, "1."), weights_of(fast, "1.")
    assert wanted.keys() == found.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)
    assert fast.recorder.values[-1][1] == pytest.approx(slow.recorder.values[-1][1], rel=1e-4)


def test_a_body_with_batch_norm_is_not_changed_by_a_bit(small_folder):
    import torch

    learn = learner(small_folder, "resnet18")
    body, head = weights_of(learn, "0."), weights_of(learn, "1.")
    with within(learn):
        learn.fit(1, 1e-2)
    assert all(torch.equal(value, body[name]) for name, value in weights_of(learn, "0.").items())
    assert not all(torch.equal(v, head[name]) for name, v in weights_of(learn, "1.").items())
    assert learn.model[0][1].weight.requires_grad  # fastai trains batch norms of a frozen body
    learn.fit(1, 1e-3)  # the whole network trains on, batch norms too
    assert not all(torch.equal(v, body[name]) for name, v in weights_of(learn, "0.").items())


def test_features_are_those_of_pictures_that_are_not_augmented(trained):
    import torch

    with trained.dls.train_ds.set_split_idx(1):
        x, y = next(iter(trained.dls.train.new(shuffle=False)))
    with torch.no_grad():
        wanted = trained.model.eval()[1][0](trained.model[0](x))
    with within(trained):
        items = [trained.dls.train_ds[i] for i in range(len(x))]
        assert len(trained.dls.train_ds) == 32
        assert len(trained.dls.valid_ds) == 16
    torch.testing.assert_close(torch.stack([f for f, _ in items]), torch.Tensor(wanted))
    assert [int(t) for _, t in items] == y.tolist()


def test_inside_the_learner_is_the_head_under_its_own_names(trained):
    head = dict(trained.model[1].named_parameters(prefix="1"))
    pictures = trained.dls
    with within(trained) as same:
        assert same is trained
        inside = dict(trained.model.named_parameters())
        assert inside.keys() == head.keys()
        assert all(inside[name] is head[name] for name in head)
        for mine, theirs in zip(trained.dls.loaders, pictures.loaders, strict=True):
            for name in ("bs", "shuffle", "drop_last", "n", "device"):
                assert getattr(mine, name) == getattr(theirs, name)
        assert trained.dls.vocab == pictures.vocab
        trained.dls.train.rng = pictures.train.rng = random.Random(3)
        first = trained.dls.train.get_idxs()
        pictures.train.rng = random.Random(3)
        assert pictures.train.get_idxs() == first


@pytest.mark.parametrize("ends", ["well", "by an error", "by a stop"])
def test_afterwards_the_learner_is_the_whole_network_again(trained, ends):
    trained.freeze()
    before = (trained.model, trained.dls, trained.splitter, trained.metrics, trained.loss_func)
    needs = [p.requires_grad for p in trained.model.parameters()]
    groups = [len(group) for group in trained.opt.param_lists]
    error = {"well": None, "by an error": RuntimeError, "by a stop": KeyboardInterrupt}[ends]
    try:
        with within(trained):
            trained.unfreeze()
            trained.fit(1, 1e-3)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt) as caught:
        assert type(caught) is error
    assert (trained.model, trained.dls, trained.splitter, trained.metrics, trained.loss_func) == (
        before
    )
    assert [p.requires_grad for p in trained.model.parameters()] == needs
    assert [len(group) for group in trained.opt.param_lists] == groups
    assert trained.opt.frozen_idx == len(groups) - 1
    assert not any("mom" in s or "step" in s for s in trained.opt.state_dict()["state"])


def test_schedules_freezing_and_rates_for_each_group_work_inside(trained):
    with within(trained):
        trained.fit_one_cycle(1, slice(1e-5, 1e-3))
        trained.unfreeze()
        trained.freeze()
        trained.fit(1, [1e-5, 1e-4, 1e-3])
        assert trained.opt.hypers[-1]["lr"] == 1e-3
        trained.fit(1, 1e-3, reset_opt=True)
        trained.lr_find(num_it=4, show_plot=False)


def test_a_learner_without_an_optimizer_gets_none(small_folder):
    learn = learner(small_folder)
    for parameter in learn.model[0].parameters():
        parameter.requires_grad_(False)
    learn.opt = None
    with within(learn):
        learn.fit(1)
    assert learn.opt is None


def test_a_body_that_is_not_frozen_is_refused_and_nothing_changes(trained):
    model = trained.model
    trained.unfreeze()
    with pytest.raises(ValueError, match=r"learn\.freeze\(\)"), within(trained):
        pass
    trained.freeze()
    assert trained.model is model


def test_a_network_that_is_no_body_and_head_is_refused(trained):
    import torch

    model, trained.model = trained.model, torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="a body and a head"), within(trained):
        pass
    trained.model = model


def test_a_head_that_does_not_begin_with_a_pool_gets_the_features_whole(small_folder):
    import torch

    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 2))
    learn = learner(small_folder, custom_head=head)
    before = head[1].weight.clone()
    with within(learn):
        assert learn.dls.train_ds[0][0].shape == (512, 1, 1)
        assert learn.model[1] is head
        learn.fit(1, 1e-2)
    assert not torch.equal(head[1].weight, before)


def test_a_part_of_the_pictures_stays_a_part(small_folder):
    learn = learner(small_folder)
    learn.dls.train.n = 20
    with within(learn):
        assert len(learn.dls.train_ds) == 20
        learn.fit(1, 1e-3)


def test_of_many_pictures_a_balanced_part_is_taken_by_the_seed(trained):
    from fastmagic.lesson.additions.precomputed import balanced

    loader = trained.dls.train
    labels = [int(label) for label in loader.dataset.tls[-1]]
    chosen = balanced(loader, 10, 1)
    assert len(chosen) == 10 == len(set(chosen))
    assert sorted(labels[number] for number in chosen) == [0] * 5 + [1] * 5
    assert chosen == balanced(loader, 10, 1) != balanced(loader, 10, 2)
    assert balanced(loader, None, 1) == balanced(loader, 10_000, 1) == list(range(loader.n))


def test_only_that_part_is_loaded(small_folder):
    from fastmagic.lesson.additions.precomputed import precomputed

    learn = learner(small_folder)
    with precomputed(learn, most=12):
        assert (learn.dls.train.n, learn.dls.valid.n) == (12, 16)
        learn.fit(1, 1e-3)
    assert learn.dls.train.n == 32


ON_A_FULL_DISK = """
import sys
from tests.lesson.test_precomputed import fit, learner, within
learn = learner(sys.argv[1], augment=False)
with within(learn):
    fit(learn)
print(type(learn.model[1]).__name__, learn.recorder.values[-1][1])
"""


def test_where_the_temporary_disk_is_full_small_features_lie_in_memory(small_folder, small_disk):
    def trained_in(temporary):
        done = subprocess.run(
            [sys.executable, "-c", ON_A_FULL_DISK, str(small_folder)],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 0, (done.returncode, done.stderr)  # -7 is SIGBUS
        return done.stdout

    assert trained_in(small_disk(60_000)) == trained_in("/tmp")


@pytest.mark.parametrize("allocates", [True, False])
def test_features_that_fit_nowhere_are_an_error_with_the_next_step(
    small_disk, monkeypatch, allocates
):
    from fastmagic.lesson.additions.precomputed import reserve, room_for

    disk = small_disk(1_000_000)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    with tempfile.TemporaryFile() as file:
        with pytest.raises(OSError, match="tempdir") as caught:
            room_for((1000, 2000), file, memory=8_000_000)
        assert caught.value.errno == errno.ENOSPC
        assert "1,000 pictures take 8 MB" in str(caught.value)
        assert f"{disk} has 1 MB free" in str(caught.value)
        room_for((100, 1000), file)[:] = 1
        assert os.fstat(file.fileno()).st_blocks * 512 >= 400_000
        file.truncate(0)
        allocate = os.posix_fallocate if allocates else None
        with pytest.raises(OSError, match="No space left"):
            reserve(file, 2_000_000, allocate)
        file.truncate(0)
        reserve(file, 500_000, allocate)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 500_000
