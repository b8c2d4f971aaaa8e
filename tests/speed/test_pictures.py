"""Small copies: one picture whether stored, half built or not; a kill, a change, a full disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from fastmagic.speed.pictures import Pictures, folder_of, small_copy

pytestmark = pytest.mark.train


@pytest.fixture
def photographs(tmp_path):
    """Draw some pictures of different shapes and modes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    files = []
    for number, (size, mode) in enumerate(
        [((90, 60), "RGB"), ((60, 91), "RGB"), ((40, 40), "L"), ((20, 70), "RGBA"), ((75, 50), "P")]
    ):
        noise = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
        files.append(folder / f"{number}.png")
        noise.convert(mode).save(files[-1])
    return files


def looks(pictures, files):
    return [(one.size, one.tobytes()) for one in map(pictures.load, files)]


def test_a_picture_is_the_same_from_the_store_without_it_and_half_built(photographs, tmp_path):
    size = (32, 32)
    none = looks(Pictures(None, size), photographs)
    store = Pictures(tmp_path / "store", size)
    assert store.make(photographs[:2], threads=2) == 2
    assert looks(store, photographs) == none
    assert store.make(photographs, threads=2) == 3
    assert looks(store, photographs) == none
    again = Pictures(tmp_path / "store", size)
    assert again.missing(photographs) == []
    assert looks(again, photographs) == none


def test_fastais_own_cut_out_of_it_is_what_fastai_cuts_out_of_the_photograph(photographs):
    import numpy as np
    from fastai.vision.augment import Resize
    from fastai.vision.core import PILImage

    smooth = Image.linear_gradient("L").resize((300, 200), Image.Resampling.BICUBIC).convert("RGB")
    smooth.save(photographs[0])
    for split in (0, 1):
        cuts = []
        for picture in (
            PILImage.create(photographs[0]),
            Pictures(None, (64, 64)).load(photographs[0]),
        ):
            resize = Resize(64)
            resize.before_call(None, split)
            resize.pcts = (0.3, 0.5) if split == 0 else resize.pcts
            cuts.append(np.asarray(resize.encodes(picture), dtype=float))
        assert cuts[0].shape == cuts[1].shape == (64, 64, 3)
        assert np.abs(cuts[0] - cuts[1]).mean() < 2  # of 255


def test_a_copy_is_as_small_as_the_cut_allows_and_never_enlarged(photographs):
    assert small_copy(photographs[0], (32, 32)).size == (48, 32)
    assert small_copy(photographs[1], (32, 32)).size == (32, 49)
    assert small_copy(photographs[3], (32, 32)).size == (20, 70)
    assert small_copy(photographs[0], (64, 32)).size == (64, 43)


def test_a_picture_that_has_changed_is_made_again(photographs, tmp_path):
    store = Pictures(tmp_path / "store", (32, 32))
    store.make(photographs, threads=1)
    Image.new("RGB", (50, 50), "red").save(photographs[1])
    assert store.missing(photographs) == [photographs[1]]
    assert store.load(photographs[1]).getpixel((0, 0)) == (255, 0, 0)
    assert store.make(photographs, threads=1) == 1
    assert Pictures(tmp_path / "store", (32, 32)).load(photographs[1]).getpixel((0, 0)) == (
        (255, 0, 0)
    )


def test_a_limit_is_kept_and_what_is_beyond_it_is_made_each_time(photographs, tmp_path):
    none = looks(Pictures(None, (32, 32)), photographs)
    store = Pictures(tmp_path / "store", (32, 32), limit=100)
    store.make(photographs, threads=1)
    assert store.missing(photographs) == photographs
    assert looks(store, photographs) == none


def test_at_the_limit_what_fits_is_kept_and_used(photographs, tmp_path):
    from fastmagic.speed.store import SEAL, AtLimit

    none = looks(Pictures(None, (32, 32)), photographs)
    store = Pictures(tmp_path / "store", (32, 32), limit=10_000)
    assert store.make(photographs, threads=2) == 2
    assert isinstance(store.trouble, AtLimit)
    assert store.missing(photographs) == photographs[2:]
    assert looks(store, photographs) == none
    assert (tmp_path / "store" / "pictures").stat().st_size == SEAL + 4608 + 4704
    store.limit = float("inf")
    assert store.make(photographs, threads=2) == 3 and store.trouble is None
    assert looks(Pictures(tmp_path / "store", (32, 32)), photographs) == none


def test_on_a_full_disk_what_fits_is_kept_and_used(photographs, small_disk):
    none = looks(Pictures(None, (32, 32)), photographs)
    store = Pictures(small_disk(6 * 4096) / "store", (32, 32))
    assert store.make(photographs, threads=2) == 3
    assert store.trouble.errno == errno.ENOSPC
    assert Pictures(store.folder, (32, 32)).missing(photographs) == photographs[3:]
    assert looks(store, photographs) == none


def test_a_file_that_is_cut_short_or_a_line_that_is_costs_only_its_pictures(photographs, tmp_path):
    none = looks(Pictures(None, (32, 32)), photographs)
    Pictures(tmp_path / "store", (32, 32)).make(photographs, threads=1)
    file, index = tmp_path / "store" / "pictures", tmp_path / "store" / "index.jsonl"
    os.truncate(file, file.stat().st_size - 10)
    index.write_text(index.read_text()[:-4] + "\n[]\nnot json")
    store = Pictures(tmp_path / "store", (32, 32))
    assert store.missing(photographs) == [photographs[-1]]
    assert looks(store, photographs) == none
    store.make(photographs, threads=1)
    assert looks(Pictures(tmp_path / "store", (32, 32)), photographs) == none


def test_another_process_that_makes_them_is_left_to_it(photographs, tmp_path):
    from filelock import FileLock, Timeout

    store = Pictures(tmp_path / "store", (32, 32))
    (tmp_path / "store").mkdir()
    with FileLock(str(tmp_path / "store" / ".lock")):
        assert store.make(photographs, threads=1) == 0
    assert isinstance(store.trouble, Timeout)
    assert looks(store, photographs) == looks(Pictures(None, (32, 32)), photographs)


def test_a_place_that_cannot_be_written_is_done_without(photographs, tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = Pictures(tmp_path / "file", (32, 32))
    assert store.make(photographs, threads=1) == 0
    assert looks(store, photographs) == looks(Pictures(None, (32, 32)), photographs)


def test_copies_that_another_notebook_has_removed_are_made_each_time(photographs, tmp_path):
    import shutil

    Pictures(tmp_path / "store", (32, 32)).make(photographs, threads=1)
    store = Pictures(tmp_path / "store", (32, 32))
    shutil.rmtree(tmp_path / "store")
    assert looks(store, photographs) == looks(Pictures(None, (32, 32)), photographs)


def test_what_was_not_used_for_longest_makes_room(photographs, tmp_path):
    from fastmagic.speed.room import make_room

    folders = [tmp_path / name for name in "abc"]
    for when, folder in enumerate(folders):
        Pictures(folder, (32, 32)).make(photographs, threads=1)
        os.utime(folder, (when, when))
    each = (folders[0] / "pictures").stat().st_size
    assert make_room(folders[0], 1.5 * each) == each
    assert [(folder / "pictures").exists() for folder in folders] == [True, False, True]
    assert folders[0].stat().st_mtime > 1000


def test_two_sizes_and_two_data_sets_never_mix(tmp_path):
    one = folder_of(tmp_path, tmp_path / "a", (32, 32))
    assert one == folder_of(tmp_path, tmp_path / "b" / ".." / "a", (32, 32))
    assert one != folder_of(tmp_path, tmp_path / "a", (64, 64))
    assert one != folder_of(tmp_path, tmp_path / "b", (32, 32))


KILLED = """
import sys
from pathlib import Path
from fastmagic.speed import pictures
pictures.TOGETHER = 2
store = pictures.Pictures(Path(sys.argv[1]), (32, 32))
files = [Path(name) for name in sys.argv[2:]] * 1
def tell(made, of):
    print(made, flush=True)
    if made >= 4:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
store.make(files, 1, tell)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_kill_leaves_what_was_made(photographs, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "store"), *map(str, photographs)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = Pictures(tmp_path / "store", (32, 32))
    assert len(store.missing(photographs)) == 1
    assert looks(store, photographs) == looks(Pictures(None, (32, 32)), photographs)


def test_a_process_does_not_hold_all_that_it_has_read(tmp_path, monkeypatch):
    import psutil

    from fastmagic.speed import store as stores

    monkeypatch.setattr(stores, "HELD", 2**20)
    many = [tmp_path / f"{number}.png" for number in range(60)]
    for file in many:
        Image.new("RGB", (512, 512), (5, 6, 7)).save(file)
    Pictures(tmp_path / "store", (512, 512)).make(many, threads=2)
    store = Pictures(tmp_path / "store", (512, 512))
    before = psutil.Process().memory_info().shared
    for file in many:
        assert store.pixels(file).sum() == 18 * 512 * 512
    size = (tmp_path / "store" / "pictures").stat().st_size
    assert psutil.Process().memory_info().shared - before < size / 4
