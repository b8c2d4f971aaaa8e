"""A card that is remembered for as long as nothing has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.survey import tree
from fastmagic.data.survey.card import look
from fastmagic.data.survey.recall import Recall
from fastmagic.progress import View

from .conftest import LESSON_NAMES, picture_bytes

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def folder(tmp_path: Path, fill: Fill) -> Path:
    made = fill(tmp_path / "set", *LESSON_NAMES)
    (made / "train/cats/cat.9.png").write_bytes(picture_bytes(3))
    (made / "valid/cats/bad.jpg").touch()
    return made


class Forbids(View):
    """No picture may be looked at."""

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        raise AssertionError(label)


def test_the_second_card_is_the_first_one(folder: Path, tmp_path: Path) -> None:
    first = look(folder, memory=tmp_path / "m")
    for book in (tmp_path / "m").glob("pictures-*"):
        book.unlink()  # so that looking again would be noticed
    second = look(folder, memory=tmp_path / "m", view=Forbids())
    assert second == first and second.png == first.png and len(first.png) > 1000
    assert second.face().html() == first.face().html()
    assert first.odd == (("named for another format", 1, folder / "train/cats/cat.9.png"),)


def change_bytes(folder: Path) -> None:
    (folder / "train/cats/cat.0.jpg").write_bytes(picture_bytes(99, (50, 50)))


def change_time(folder: Path) -> None:
    os.utime(folder / "train/cats/cat.0.jpg", ns=(1, 1))


def rename(folder: Path) -> None:
    (folder / "train/cats/cat.0.jpg").rename(folder / "train/cats/cat.00.jpg")


def add(folder: Path) -> None:
    (folder / "train/dogs/new.jpg").write_bytes(picture_bytes(98))


def remove(folder: Path) -> None:
    (folder / "valid/dogs/dog.6.jpg").unlink()


@pytest.mark.parametrize("change", [change_bytes, change_time, rename, add, remove])
def test_any_change_is_noticed(
    folder: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    look(folder, memory=tmp_path / "m")
    before = tree.fingerprint(tree.snapshot(folder))
    change(folder)
    assert tree.fingerprint(tree.snapshot(folder)) != before
    assert look(folder, memory=tmp_path / "m") == look(folder, memory=tmp_path / "n")


def test_a_picture_that_may_not_be_read_is_asked_for_again(guarded: Path, fill: Fill) -> None:
    folder = fill(guarded / "set", *LESSON_NAMES)
    file = folder / "train/cats/cat.0.jpg"
    file.chmod(0)
    closed = look(folder, memory=guarded / "m")
    assert closed.unreadable == (file,) and closed.faults == (("not to be opened", 1),)
    file.chmod(0o644)  # its bytes and its time are what they were
    assert look(folder, memory=guarded / "m").unreadable == ()


def test_another_question_has_another_answer(folder: Path, tmp_path: Path) -> None:
    plain = look(folder, memory=tmp_path / "m")
    by_name = look(folder, memory=tmp_path / "m", label_pattern=r"^(cat|dog|bad)")
    assert [one.name for one in plain.classes] == ["cats", "dogs"]
    assert [one.name for one in by_name.classes] == ["cat", "dog"]
    assert look(folder, memory=tmp_path / "m") == plain


def test_damaged_memory_is_made_again(folder: Path, tmp_path: Path) -> None:
    first = look(folder, memory=tmp_path / "m")
    [kept] = (tmp_path / "m").glob("card-*")
    text = kept.read_text()
    for wrong in ("", "[]", "{}", text[:-30], text.replace('"classes"', '"klasses"')):
        kept.write_text(wrong)
        assert look(folder, memory=tmp_path / "m") == first
    (tmp_path / "file").touch()
    assert look(folder, memory=tmp_path / "file") == first  # nothing can be kept there


def test_an_answer_of_another_fingerprint_is_not_given(tmp_path: Path) -> None:
    recall = Recall(tmp_path, tmp_path / "set", "how")
    recall.keep("one", {"a": 1})
    assert recall.find("one") == {"a": 1} and recall.find("two") is None
    assert Recall(tmp_path, tmp_path / "set", "else").find("one") is None


@pytest.mark.parametrize("wrong", [{"smallest": []}, {"kind": None, "rejected": 5}, "deep"])
def test_a_damaged_card_is_made_again(folder: Path, tmp_path: Path, wrong: object) -> None:
    first = look(folder, memory=tmp_path / "m")
    [file] = (tmp_path / "m").glob("card-*.json")
    if isinstance(wrong, dict):
        kept = json.loads(file.read_text())
        file.write_text(json.dumps({**kept, "answer": {**kept["answer"], **wrong}}))
    else:
        file.write_text("[" * 100_000)
    assert look(folder, memory=tmp_path / "m") == first
