"""Files that are written whole or not at all."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from fastmagic import whole

SIZE = 200_000


def write_often(file: Path, letter: str) -> None:
    for _ in range(50):
        whole.write_text(file, letter * SIZE, lasting=False, shared=True)


def test_what_cannot_be_written_leaves_the_file_as_it_was_and_nothing_beside(tmp_path: Path):
    file = tmp_path / "a.txt"
    whole.write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        whole.write_text(file, "\ud800")
    with pytest.raises(OSError):
        whole.write_text(tmp_path / "no folder" / "a.txt", "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_two_processes_that_write_one_file_leave_one_of_the_two(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_text("a" * SIZE)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(file, one)) for one in "ab"]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        assert file.read_text() in ("a" * SIZE, "b" * SIZE)
    assert [one.exitcode for one in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [file]


def test_what_only_saves_time_makes_its_folder_and_stops_nothing(tmp_path: Path):
    whole.remember(tmp_path / "cache" / "memory.json", "{}")
    assert (tmp_path / "cache" / "memory.json").read_text() == "{}"
    (tmp_path / "file").touch()
    whole.remember(tmp_path / "file" / "memory.json", "{}")
