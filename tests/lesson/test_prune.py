"""Older runs go only when that is asked for, and never one that goes on."""

from __future__ import annotations

import json
import os

import pytest

import fastmagic
from fastmagic.errors import BadInput
from fastmagic.lesson import runs


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


def test_a_folder_that_is_not_there_and_a_wrong_number_are_errors(tmp_path):
    with pytest.raises(BadInput, match="no folder"):
        fastmagic.prune(runs_folder=tmp_path / "none")
    with pytest.raises(BadInput, match="out of range"):
        fastmagic.prune(keep=-1)
    assert fastmagic.prune().left == 0
