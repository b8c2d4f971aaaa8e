"""Older runs go only when that is asked for, and never one that goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

import fastmagic
from fastmagic.errors import BadInput, LessonError
from fastmagic.lesson import prune, runs


@pytest.fixture
def several(tmp_path):
    for number, status in enumerate(["finished", "stopped", "finished", "finished"]):
        run = runs.claim(tmp_path, f"cell {number}", name=f"run{number}", stem="x")
        (run.folder / "export.pkl").write_bytes(b"x" * 1000)
        run.mark(status)
        run.release()
        os.utime(run.folder / "run.json", (number, number))
    return tmp_path


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_the_newest_are_kept_and_what_can_go_on(several):
    told = fastmagic.prune(keep=1, runs_folder=several)
    assert names(several) == ["run1", "run3"]
    assert [one.folder.name for one in told.removed] == ["run0", "run2"]
    assert told.left == 2
    assert "2 runs removed, 2" in str(told)
    assert json.dumps(told.to_dict())


def test_what_is_left_because_it_did_not_finish_is_said(several):
    words = " ".join(str(fastmagic.prune(keep=1, runs_folder=several)).split())
    assert "1 of those left did not finish and can be gone on with" in words
    assert "unfinished=True removes it too" in words
    told = fastmagic.prune(keep=0, runs_folder=several, unfinished=True)
    assert told.unfinished == 0 and "did not finish" not in str(told)


def test_unfinished_ones_go_where_that_is_asked_for(several):
    assert len(fastmagic.prune(0, several, unfinished=True).removed) == 4
    assert names(several) == []


def test_a_dry_run_removes_nothing(several):
    told = fastmagic.prune(keep=0, runs_folder=several, dry_run=True)
    assert "3 runs would be removed" in str(told)
    assert len(names(several)) == 4


def test_a_run_that_goes_on_now_is_not_touched(several):
    going = runs.claim(several, "cell 1", name="run1", stem="x")
    fastmagic.prune(keep=0, runs_folder=several, unfinished=True)
    assert names(several) == ["run1"]
    going.release()


def test_a_copy_goes_with_its_run_which_does_not_come_back(tmp_path):
    copies, folder = tmp_path / "drive", tmp_path / "runs"

    def claim():
        return runs.claim(folder, "cell", name="mine", stem="x", copies=copies)

    run = claim()
    (run.copy / "states").mkdir()
    run.mark("stopped")
    run.release()
    told = fastmagic.prune(0, folder, copies=copies, unfinished=True, dry_run=True)
    assert f"1 copy would be removed with them, in {copies}" in " ".join(str(told).split())
    assert names(copies) == ["mine"]
    told = fastmagic.prune(0, folder, copies=copies, unfinished=True)
    assert f"1 copy removed with them, in {copies}" in " ".join(str(told).split())
    assert json.dumps(told.to_dict())
    assert names(folder) == names(copies) == []
    again = claim()
    assert not again.resumed
    again.release()


def test_a_run_knows_where_its_copy_is(tmp_path):
    """`%config FastMagics.copies` was set when it was made, and `prune` is not told."""
    for name, drive in (("one", "drive"), ("two", "disk")):
        run = runs.claim(tmp_path / "runs", name, name=name, stem="x", copies=tmp_path / drive)
        run.mark("finished")
        run.release()
    told = fastmagic.prune(0, tmp_path / "runs")
    assert sorted(told.copies) == [tmp_path / "disk", tmp_path / "drive"]
    assert "2 copies removed with them" in " ".join(str(told).split())
    assert names(tmp_path / "drive") == names(tmp_path / "disk") == []


def test_the_copy_of_another_run_of_that_name_stays(tmp_path):
    for place, cell in (("here", "one"), ("there", "two")):
        copies = tmp_path / "drive" if place == "there" else None
        run = runs.claim(tmp_path / place, cell, name="mine", stem="x", copies=copies)
        run.mark("finished")
        run.release()
    told = fastmagic.prune(0, tmp_path / "here", copies=tmp_path / "drive")
    assert told.removed[0].copy is None
    assert names(tmp_path / "drive") == ["mine"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can mount")
def test_where_a_copy_cannot_be_removed_its_run_stays_to_be_removed_again(tmp_path):
    run = runs.claim(tmp_path / "runs", "cell", name="mine", stem="x", copies=tmp_path / "drive")
    run.mark("finished")
    run.release()
    busy = run.copy / "busy"
    busy.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(busy)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(LessonError, match=r"drive/mine cannot be removed") as caught:
            fastmagic.prune(0, tmp_path / "runs", copies=tmp_path / "drive")
        assert caught.value.next_step
        assert names(tmp_path / "runs") == ["mine"]
    finally:
        subprocess.run(["umount", str(busy)], check=True)
    fastmagic.prune(0, tmp_path / "runs", copies=tmp_path / "drive")
    assert names(tmp_path / "runs") == names(tmp_path / "drive") == []


REMOVED = """
import sys
from pathlib import Path
from filelock import FileLock, Timeout
import fastmagic
from fastmagic.lesson import runs
run = runs.claim(Path(sys.argv[1]), "cell", name="mine", stem="x")
run.states.mkdir()
(run.states / "state").write_text("x")
run.mark("stopped")
run.release()
def look(event, args):
    if event == "shutil.rmtree" and run.states.is_dir():
        lock = FileLock(str(run.folder / ".lock"))
        try:
            lock.acquire(timeout=0)
            print("free")
            lock.release()
        except Timeout:
            print("held")
sys.addaudithook(look)
fastmagic.prune(0, sys.argv[1], unfinished=True)
print(run.folder.exists())
"""


def test_nobody_can_begin_in_a_run_that_is_being_removed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", REMOVED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["held", "False"]


def test_a_folder_that_is_not_there_and_a_wrong_number_are_errors(tmp_path):
    with pytest.raises(BadInput, match="no folder"):
        fastmagic.prune(runs_folder=tmp_path / "none")
    with pytest.raises(BadInput, match="out of range"):
        fastmagic.prune(keep=-1)
    assert fastmagic.prune().left == 0


def test_a_copy_that_has_another_name_goes_with_its_run(tmp_path):
    copies = tmp_path / "drive"
    for place, cell in (("one", "cats"), ("two", "dogs")):
        run = runs.claim(tmp_path / place, cell, name="mine", stem="x", copies=copies)
        run.mark("finished")
        run.release()
    assert names(copies) == ["mine", "mine-2"]
    fastmagic.prune(0, tmp_path / "two", copies=copies)
    assert names(copies) == ["mine"]


AT_ONCE = """
import sys, time
import fastmagic
while time.time() < float(sys.argv[2]):
    pass
told = fastmagic.prune(keep=0, runs_folder=sys.argv[1])
print(told.left, *(one.folder.name for one in told.removed))
"""


def test_of_two_at_once_each_says_what_it_has_removed(tmp_path):
    for number in range(60):
        figures = tmp_path / f"run{number}" / "figures"
        figures.mkdir(parents=True)
        (figures.parent / "run.json").write_text('{"identity": "x", "status": "finished"}')
        for picture in range(10):
            (figures / f"{picture}.png").write_text("x")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, str(tmp_path), str(time.time() + 2)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said, wrong = zip(*(one.communicate() for one in both), strict=True)
    assert not any(wrong)
    removed = [name for words in said for name in words.split()[1:]]
    assert sorted(removed) == sorted(f"run{number}" for number in range(60))
    assert names(tmp_path) == []


VANISHES = """
import shutil, sys
from pathlib import Path
import fastmagic
folder, where, gone = (Path(sys.argv[1], one) for one in ("", sys.argv[3], sys.argv[4]))
def look(event, args):
    if event == sys.argv[2] and str(args[0]).startswith(str(where)) and gone.is_dir():
        shutil.rmtree(gone)  # as another call does
sys.addaudithook(look)
told = fastmagic.prune(0, folder)
print(told.left, told.unfinished, *(one.folder.name for one in told.removed))
"""


@pytest.mark.parametrize(
    ("event", "where", "gone", "said"),
    [
        ("os.scandir", "run0/figures", "run0/figures", "1 1 run0 run2 run3"),  # for its size
        ("os.scandir", "run0", "run0", "1 1 run2 run3"),
        ("os.scandir", "run0", "run2", "1 1 run0 run3"),
        ("os.remove", "run0", "run2", "1 1 run0 run3"),  # the first run is being removed
    ],
)
def test_what_vanishes_meanwhile_is_passed_over(several, event, where, gone, said):
    (several / "run0" / "figures").mkdir()
    command = [sys.executable, "-c", VANISHES, str(several), event, where, gone]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == said, done.stderr
    assert names(several) == ["run1"]


def test_a_run_that_vanishes_before_its_age_is_known_is_passed_over(several):
    files = [several / f"run{number}" / "run.json" for number in range(4)]
    shutil.rmtree(several / "run2")
    assert [one.parent.name for one in prune._newest_first(files)] == ["run3", "run1", "run0"]
