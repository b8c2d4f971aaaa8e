"""The data set that the package draws: the same everywhere, whole or absent, hard for a glance."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fastmagic.data.drawn.sample import draw_picture, draw_sample
from fastmagic.errors import BadInput, DataError, Stopped

# Of the decoded pixels; the same on Python 3.10, 3.11 and 3.13, numpy 1.26 to 2.5, Pillow 10 to 13.
PIXELS = {
    ("cat", 0): "1b9d5df1fe45381bf91118535edd68ef716f987368090b6177587c51400583b9",
    ("dog", 0): "769a1e2ab48d1cfae2d0366ef2d6d2c15deaee851e88096f7aeeeee03b97474b",
    ("cat", 7): "548498826ca816547304d62e42ec185bb0e4fa0c30ba9c1b402a22906a34b74c",
    ("dog", 26): "423667304105cbe2927ed6f9a9abd51a3961e64c612a828521f93241bfeee912",
    ("cat", 310): "f4395763723d252e0b8814ddf5595de938e1949f6b8cc3fb6353e31d672d1834",
}


def digest(pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def tree(folder) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(("kind", "index"), PIXELS)
def test_the_pixels_are_the_same_on_every_numpy_and_pillow(kind, index):
    assert digest(draw_picture(kind, index)) == PIXELS[kind, index]


def test_the_files_hold_exactly_what_was_drawn(tmp_path):
    folder = draw_sample(tmp_path / "sample", train=4, valid=2, side=32)
    with Image.open(folder / "valid" / "dogs" / "dog.2.png") as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), draw_picture("dog", 2, side=32))


def test_another_seed_draws_other_pictures():
    assert digest(draw_picture("cat", 0, seed=1)) != digest(draw_picture("cat", 0, seed=2))


def test_the_cat_and_the_dog_of_one_number_share_their_scene():
    def apart(a, b):
        return np.abs(a.astype(int) - b.astype(int)).mean()

    cats, dogs = ([draw_picture(kind, i) for i in range(12)] for kind in ("cat", "dog"))
    within = np.mean([apart(cat, dog) for cat, dog in zip(cats, dogs, strict=True)])
    across = np.mean([apart(cats[i], dogs[i - 1]) for i in range(12)])
    assert within < across / 2


def test_the_layout_is_that_of_lesson_1(tmp_path):
    calls = []
    folder = draw_sample(
        tmp_path / "deep" / "sample",
        train=4,
        valid=2,
        side=16,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert tree(folder) == [
        "train/cats/cat.0.png",
        "train/cats/cat.1.png",
        "train/dogs/dog.0.png",
        "train/dogs/dog.1.png",
        "valid/cats/cat.2.png",
        "valid/dogs/dog.2.png",
    ]
    assert calls == [(2, 6), (4, 6), (6, 6)]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_second_call_draws_nothing(tmp_path):
    draw_sample(tmp_path / "sample", train=2, valid=2, side=16)
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))]
    calls = []
    again = draw_sample(tmp_path / "sample", progress=lambda *numbers: calls.append(numbers))
    assert again == tmp_path / "sample"
    assert not calls
    assert [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))] == before


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "sample").mkdir()
    assert len(tree(draw_sample(tmp_path / "sample", train=2, valid=2, side=16))) == 4


def test_something_else_in_its_place_is_left_alone(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="something else"):
        draw_sample(tmp_path / "sample", train=2, valid=2, side=16)
    assert tree(tmp_path) == ["sample/thesis.txt"]


def test_a_stop_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(Stopped, match="next call draws it anew"):
        draw_sample(tmp_path / "sample", train=4, valid=2, side=16, progress=stop)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from fastmagic.data.drawn.sample import draw_sample
def killed(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
draw_sample(Path(sys.argv[1]), train=4, valid=2, side=16, progress=killed)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "sample")])
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (left / "half.png").write_text("half a picture")
    others = tmp_path / ".sample-k3x9q_w1"  # what earlier versions left may still be drawn into
    others.mkdir()
    made = draw_sample(tmp_path / "sample", train=4, valid=2, side=16)
    assert len(tree(made)) == 6
    assert sorted(tmp_path.iterdir()) == [others, made]


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path):
    def full(done, total):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="is full"):
        draw_sample(tmp_path / "sample", train=4, valid=2, side=16, progress=full)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        draw_sample(tmp_path / "file" / "sample", train=2, valid=2, side=16)


def test_of_two_that_draw_at_once_the_second_takes_what_the_first_made(tmp_path):
    def other(done, total):
        draw_sample(tmp_path / "sample", train=2, valid=2, side=16)

    made = draw_sample(tmp_path / "sample", train=2, valid=2, side=16, progress=other)
    assert len(tree(made)) == 4
    assert list(tmp_path.iterdir()) == [made]


def test_there_are_only_cats_and_dogs():
    with pytest.raises(BadInput, match="'bird'"):
        draw_picture("bird", 0)


# ---------------------------------------------------------------- hard for a glance, yet learnable


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return draw_sample(tmp_path_factory.mktemp("drawn") / "sample")


@pytest.fixture(scope="module")
def pictures(sample):
    """Give the training and the validation pictures with their classes."""
    parts = []
    for part in ("train", "valid"):
        files = sorted((sample / part).rglob("*.png"))
        pixels = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        parts.append((pixels, np.array([file.parent.name == "dogs" for file in files])))
    return parts


def rgb_thumbnail(pixels):
    return np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX)).ravel() / 255


def grey_thumbnail(pixels):
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((8, 8), Image.Resampling.BOX)).ravel() / 255


def colour_histogram(pixels):
    cells = (pixels // 32).reshape(-1, 3).astype(int) @ [64, 8, 1]
    return np.bincount(cells, minlength=512) / len(cells)


def channel_histograms(pixels):
    counts = [np.bincount(pixels[:, :, c].ravel() // 8, minlength=32) for c in range(3)]
    return np.concatenate(counts) / pixels[:, :, 0].size


def logistic_regression(x, y, penalty, steps=400, rate=0.1):
    """Fit by plain gradient descent with momentum; give weights and bias."""
    weights, bias, speed, bias_speed = np.zeros(x.shape[1]), 0.0, 0.0, 0.0
    for _ in range(steps):
        wrong = 1 / (1 + np.exp(-(x @ weights + bias).clip(-30, 30))) - y
        speed = 0.9 * speed + x.T @ wrong / len(y) + penalty * weights
        bias_speed = 0.9 * bias_speed + wrong.mean()
        weights, bias = weights - rate * speed, bias - rate * bias_speed
    return weights, bias


@pytest.mark.parametrize(
    "look", [rgb_thumbnail, grey_thumbnail, colour_histogram, channel_histograms]
)
def test_a_linear_model_of_a_glance_stays_below_three_quarters(pictures, look):
    (seen, classes), (unseen, truth) = pictures
    x, new = np.array([look(p) for p in seen]), np.array([look(p) for p in unseen])
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, new = (x - middle) / spread, np.clip((new - middle) / spread, -10, 10)
    for penalty in (0.001, 0.01, 0.1, 1.0):
        weights, bias = logistic_regression(x, classes, penalty, rate=0.02)
        assert ((new @ weights + bias > 0) == truth).mean() < 0.75, penalty


def test_there_are_as_many_cats_as_dogs_in_each_part(pictures):
    assert [(len(classes), int(classes.sum())) for _, classes in pictures] == [
        (480, 240),
        (160, 80),
    ]
