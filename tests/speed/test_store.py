"""Small copies that several notebooks make, read and remove at once: never the wrong pixels."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from fastmagic.speed import store as stores
from fastmagic.speed.pictures import Pictures, folder_of, small_copy
from fastmagic.speed.room import make_room
from fastmagic.speed.shelf import Shelf

pytestmark = pytest.mark.train

SIZE = (8, 8)

BEGIN = """
import sys
from pathlib import Path
from fastmagic.speed import pictures
from fastmagic.speed.pictures import Pictures
from fastmagic.speed.shelf import make_room
folder, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
def wait():
    print("here", flush=True)
    sys.stdin.readline()
"""

REMAKES = "make_room(folder.parent / 'other', 0); Pictures(folder, (8, 8)).make(files[::-1], 1)"

MAKES = """
pictures.TOGETHER = 2
Pictures(folder, (8, 8)).make(files, 1, lambda made, of: wait() if made == 2 else None)
"""

LOADER = """
from fastai.data.block import DataBlock
from fastai.vision.augment import Resize
from fastai.vision.data import ImageBlock
def loader_of(files):
    block = DataBlock(
        blocks=ImageBlock, get_items=lambda files: files, item_tfms=Resize(8),
        splitter=lambda files: (range(len(files)), [0]),
    )
    return block.dataloaders(files, bs=2, num_workers=0).train
"""

READS = f"""
{LOADER}
from fastmagic.speed.shelf import Shelf
one = Shelf(folder.parent.parent, 1e9, 1)
assert one.pictures_for(loader_of(files)).folder == folder
wait()
"""


@pytest.fixture
def files(tmp_path):
    """Draw pictures of one size, each in a grey of its own: their copies can be told apart."""
    (tmp_path / "data").mkdir()
    drawn = [tmp_path / "data" / f"{number}.png" for number in range(6)]
    for number, file in enumerate(drawn):
        Image.new("RGB", (12, 12), (40 * number,) * 3).save(file)
    return drawn


@pytest.fixture
def folder(tmp_path):
    """Give the folder of their copies."""
    return folder_of(tmp_path / "cache", tmp_path / "data", SIZE)


def wrong(pictures, files):
    """Give the pictures that are not what they are without a store."""
    right = {file: small_copy(file, pictures.size).tobytes() for file in files}
    return [file.name for file in files if pictures.pixels(file).tobytes() != right[file]]


def command(script, folder, files):
    return [sys.executable, "-c", BEGIN + script, str(folder), *map(str, files)]


ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def elsewhere(script, folder, files):
    """Let another process do something."""
    subprocess.run(command(script, folder, files), env=ENV, check=True, timeout=60)


@contextmanager
def waiting(script, folder, files):
    """Let another process do something up to its `wait()`, and the rest when the block is over."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(script, folder, files), env=ENV, **pipes) as other:
        try:
            assert other.stdout.readline() == "here\n"
            yield other
            if other.poll() is None:
                other.communicate("\n", timeout=60)
                assert other.returncode == 0
        finally:
            other.kill()


def test_what_others_have_removed_and_remade_is_never_read_by_the_old_index(files, folder):
    pictures = Pictures(folder, SIZE)
    pictures.make(files, threads=1)
    elsewhere(REMAKES, folder, files)
    assert wrong(pictures, files) == []
    assert wrong(Pictures(folder, SIZE), files) == []


@pytest.mark.parametrize("how", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_loading_process_never_reads_it_by_the_old_index_either(files, folder, how):
    pictures = Pictures(folder, SIZE)
    pictures.make(files, threads=1)
    elsewhere(REMAKES, folder, files)
    with multiprocessing.get_context(how).Pool(1) as crew:
        assert crew.apply(wrong, (pictures, files)) == []


def test_who_has_read_from_it_goes_on_with_what_it_has_open(files, folder):
    pictures = Pictures(folder, SIZE)
    pictures.make(files, threads=1)
    assert wrong(pictures, files[:1]) == []
    elsewhere(REMAKES, folder, files)
    assert wrong(pictures, files) == []


def test_copies_that_are_being_made_make_no_room(files, folder):
    with waiting(MAKES, folder, files):
        make_room(folder.parent / "other", 0)
        assert (folder / "pictures").exists()
        assert Pictures(folder, SIZE).make(files, threads=1) == 0  # the lock is seen
    after = Pictures(folder, SIZE)
    assert after.missing(files) == [] and wrong(after, files) == []


def test_a_folder_that_is_removed_by_hand_while_copies_are_made_is_not_spoiled(files, folder):
    """The lock is gone with it: two processes make copies at once."""
    with waiting(MAKES, folder, files):
        shutil.rmtree(folder)
        pictures = Pictures(folder, SIZE)
        assert pictures.make(files[::-1], threads=1) == 6
    after = Pictures(folder, SIZE)
    assert after.missing(files) == [] and wrong(after, files) == []
    assert wrong(pictures, files) == []


def test_copies_that_a_living_notebook_reads_make_no_room(files, folder):
    with waiting(READS, folder, files) as other:
        taken = (folder / "pictures").stat().st_size
        assert make_room(folder.parent / "other", 0) == taken
        assert Pictures(folder, SIZE).missing(files) == []
        other.kill()
        other.wait()
        assert make_room(folder.parent / "other", 0) == 0
    assert not (folder / "pictures").exists()


def loader_of(files):
    """Give fastai's loader of pictures, of all in their order."""
    names: dict = {}
    exec(LOADER, names)
    return names["loader_of"](files)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "cache", 1e9, 1)


def test_what_was_removed_is_made_again_at_the_next_pass(files, folder, shelf):
    loader = loader_of(files)
    pictures = shelf.pictures_for(loader)
    shutil.rmtree(folder)
    assert wrong(pictures, files) == []
    assert shelf.pictures_for(loader) is pictures
    assert pictures.missing(files) == [] and wrong(pictures, files) == []
    assert Pictures(folder, SIZE).missing(files) == []
    assert shelf.lacking() == ""


def test_what_has_no_room_when_it_is_made_again_is_told(files, folder, shelf):
    shelf._limit = 3000
    loader = loader_of(files)
    assert shelf.pictures_for(loader).missing(files) == []
    shutil.rmtree(folder)
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "pictures").write_bytes(bytes(4000))
    assert wrong(shelf.pictures_for(loader), files) == []
    assert shelf.lacking().startswith("6 of 6 have no small copy")
    assert (folder.parent / "other" / "pictures").exists()


def test_a_lesson_that_is_over_marks_nothing(files, folder, shelf):
    shelf.pictures_for(loader_of(files))
    assert make_room(folder.parent / "other", 0) > 0
    shelf.release()
    assert make_room(folder.parent / "other", 0) == 0


def test_files_of_two_makings_do_not_belong_together(files, folder, tmp_path):
    Pictures(folder, SIZE).make(files, threads=1)
    Pictures(tmp_path / "other", SIZE).make(files[::-1], threads=1)
    shutil.copy(tmp_path / "other" / "pictures", folder)
    pictures = Pictures(folder, SIZE)
    assert pictures.missing(files) == files and wrong(pictures, files) == []
    assert pictures.make(files, threads=1) == 6
    assert wrong(Pictures(folder, SIZE), files) == []


def test_a_store_of_an_earlier_version_is_not_read(files, folder):
    folder.mkdir(parents=True)
    (folder / "pictures").write_bytes(bytes(6 * 192))
    with (folder / "index.jsonl").open("w") as index:
        for number, file in enumerate(files):
            told = file.stat()
            line = [str(file), told.st_size, told.st_mtime_ns, 192 * number, 8, 8]
            index.write(json.dumps(line) + "\n")
    pictures = Pictures(folder, SIZE)
    assert pictures.missing(files) == files and wrong(pictures, files) == []
    assert pictures.make(files, threads=1) == 6
    assert wrong(Pictures(folder, SIZE), files) == []


@pytest.mark.parametrize("name", ["pictures", "index.jsonl"])
@pytest.mark.parametrize("left", [None, 0, 5])
def test_a_kill_before_the_seals_are_written_costs_nothing(files, folder, name, left):
    Pictures(folder, SIZE).make(files[:1], threads=1)
    if left is None:
        (folder / name).unlink()
    else:
        os.truncate(folder / name, left)
    pictures = Pictures(folder, SIZE)
    assert wrong(pictures, files) == []
    assert pictures.make(files, threads=1) == 6
    assert wrong(Pictures(folder, SIZE), files) == []


def test_a_line_that_was_cut_does_not_cost_the_one_after_it(files, folder):
    Pictures(folder, SIZE).make(files[:2], threads=1)
    index = folder / "index.jsonl"
    os.truncate(index, index.stat().st_size - 3)
    assert Pictures(folder, SIZE).make(files[2:], threads=1) == 4
    after = Pictures(folder, SIZE)
    assert after.missing(files) == [files[1]] and wrong(after, files) == []


def test_a_file_that_became_shorter_since_it_was_looked_at_is_no_error(files, folder):
    Pictures(folder, SIZE).make(files, threads=1)
    pictures = Pictures(folder, SIZE)
    os.truncate(folder / "pictures", stores.SEAL + 192)
    assert wrong(pictures, files) == []


def test_removing_leaves_the_lock_where_others_see_it(files, folder):
    Pictures(folder, SIZE).make(files, threads=1)
    assert make_room(folder.parent / "other", 0) == 0
    assert {file.name for file in Path(folder).iterdir()} <= {".lock"}
