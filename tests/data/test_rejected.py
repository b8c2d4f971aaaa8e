"""What cannot be read is moved beside the data set, out of our own folders only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.survey import rejected
from fastmagic.data.survey.card import look
from fastmagic.data.survey.pictures import lay_out, survey

from .conftest import LESSON_NAMES

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")
BAD = {
    "train/cats/empty.jpg": b"",
    "train/dogs/größe <b>.jpg": b"<html>",
    "valid/dogs/phone.heic": b"\0\0\0\x18ftypheic",
}


@pytest.fixture
def folder(tmp_path: Path, fill: Fill) -> Path:
    made = fill(tmp_path / "data" / "set", *LESSON_NAMES)
    for name, data in BAD.items():
        (made / name).write_bytes(data)
    return made


def names(folder: Path) -> set[str]:
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}


def test_a_readers_own_folder_is_never_touched(folder: Path) -> None:
    found = survey(folder)
    assert {one.relative_to(folder).as_posix() for one in found.layout.unreadable} == set(BAD)
    assert names(folder) == {*LESSON_NAMES, *BAD} and found.rejected is None
    assert [one.name for one in folder.parent.iterdir()] == ["set"]
    assert len(found.layout.train) == 12 and len(found.layout.valid) == 4


def test_what_we_unpacked_is_cleared_and_what_was_moved_is_told(folder: Path) -> None:
    found = survey(folder, unpacked=folder)
    aside = folder.parent / "set-rejected"
    moved = set(BAD) - {"valid/dogs/phone.heic"}  # it may be read where a package is installed
    assert names(folder) == {*LESSON_NAMES, "valid/dogs/phone.heic"}
    assert names(aside) == {*moved, "WHY.txt"}
    assert (aside / "train/dogs/größe <b>.jpg").read_bytes() == b"<html>"
    why = (aside / "WHY.txt").read_text("utf-8")
    assert "empty\ttrain/cats/empty.jpg\n" in why and str(folder) in why
    assert found.rejected is not None and found.rejected.folder == aside
    assert set(found.rejected.files) == {
        ("train/cats/empty.jpg", "empty"),
        ("train/dogs/größe <b>.jpg", "not a picture"),
    }
    assert [one.name for one in found.layout.unreadable] == ["phone.heic"]
    assert lay_out(folder).classes == ("cats", "dogs")  # no class came of it


def test_the_card_tells_it_now_and_later(folder: Path, tmp_path: Path) -> None:
    first = look(folder, unpacked=folder, memory=tmp_path / "m")
    text = " ".join(str(first).split())
    assert "2 files that cannot be read were moved out of the way (1 empty, 1 not a pic" in text
    assert "1 picture cannot be read and is left out: valid/dogs/phone.heic" in text
    assert look(folder, unpacked=folder, memory=tmp_path / "m") == first
    assert survey(folder, unpacked=folder).rejected == first.rejected


def test_a_second_one_of_the_same_name_overwrites_nothing(folder: Path) -> None:
    survey(folder, unpacked=folder)
    (folder / "train/cats/empty.jpg").write_bytes(b"other")
    found = survey(folder, unpacked=folder)
    aside = folder.parent / "set-rejected"
    assert (aside / "train/cats/empty.jpg").read_bytes() == b""
    assert (aside / "train/cats/empty (2).jpg").read_bytes() == b"other"
    assert found.rejected is not None and len(found.rejected.files) == 3


def test_pictures_a_level_below_keep_their_paths(tmp_path: Path, fill: Fill) -> None:
    top = fill(tmp_path / "top", *(f"images/{name}" for name in LESSON_NAMES))
    (top / "images/train/cats/bad.jpg").write_text("no")
    found = survey(top, unpacked=top)
    assert found.layout.path == top / "images"
    assert (tmp_path / "top-rejected/images/train/cats/bad.jpg").is_file()


def test_a_read_only_place_is_left_as_it_is(folder: Path) -> None:
    # A file where the folder should be stops root too, whom permissions do not.
    rejected.place_of(folder).write_text("in the way")
    found = survey(folder, unpacked=folder)
    assert names(folder) == {*LESSON_NAMES, *BAD}
    assert len(found.layout.unreadable) == 3 and found.rejected is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not stop root")
def test_a_folder_that_may_not_be_written(folder: Path) -> None:
    for part in ("train/cats", "train/dogs"):
        (folder / part).chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(survey(folder, unpacked=folder).layout.unreadable) == 3
        assert [one.name for one in folder.parent.iterdir()] == ["set"]
    finally:
        for part in ("train/cats", "train/dogs"):
            (folder / part).chmod(stat.S_IRWXU)
