"""Exact copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.survey.card import data_card
from fastmagic.data.survey.pictures import survey

from .conftest import LESSON_NAMES

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")


def copy(folder: Path, name: str, new: str) -> None:
    (folder / new).write_bytes((folder / name).read_bytes())


def test_where_nothing_is_there_twice(tmp_path: Path, fill: Fill) -> None:
    found = survey(fill(tmp_path / "set", *LESSON_NAMES)).duplicates
    assert (found.train, found.valid, found.leaked, found.mixed, found.examples) == (0, 0, 0, 0, ())


def test_copies_within_and_across_the_parts(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    copy(folder, "train/cats/cat.0.jpg", "train/cats/again.jpg")
    copy(folder, "train/cats/cat.1.jpg", "valid/cats/seen.jpg")
    copy(folder, "train/cats/cat.1.jpg", "valid/dogs/seen.jpg")
    copy(folder, "train/dogs/dog.0.jpg", "train/cats/a-dog.jpg")
    found = survey(folder).duplicates
    assert (found.train, found.valid, found.leaked, found.mixed) == (2, 1, 2, 2)
    first = [file.relative_to(folder).as_posix() for file in found.examples[0]]
    assert first == ["train/cats/cat.1.jpg", "valid/cats/seen.jpg", "valid/dogs/seen.jpg"]
    assert len(found.examples) == 3
    text = " ".join(str(data_card(folder)).split())
    assert "2 validation pictures are also among the training pictures" in text
    assert "3 pictures are an exact copy of another (2 for training, 1 for validation)" in text
    assert "2 groups of copies lie in more than one class" in text
    assert "train/cats/cat.1.jpg = valid/cats/seen.jpg = valid/dogs/seen.jpg;" in text


def test_unreadable_files_are_no_copies(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    for name in ("a", "b"):
        (folder / f"train/cats/{name}.jpg").write_text("the same, and no picture")
    assert survey(folder).duplicates.train == 0
