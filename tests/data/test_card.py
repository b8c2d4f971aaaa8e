"""The card: one table, the sizes, what is odd, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fastmagic.data.get import data_card, get_data
from fastmagic.errors import DataError, PicturesError

from .conftest import LESSON_NAMES

pytestmark = pytest.mark.usefixtures("home")
Fill = Callable[..., Path]


def test_counts_and_sizes(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    Image.new("RGB", (640, 480)).save(folder / "train/dogs/large.jpg")
    card = data_card(folder)
    assert [(one.name, one.train, one.valid) for one in card.classes] == [
        ("cats", 6, 2),
        ("dogs", 7, 2),
    ]
    assert (card.smallest, card.largest, card.typical) == ((32, 24), (640, 480), (32, 24))
    text = str(card)
    assert "17 pictures of 2 classes (train/valid folders): 13 for training, 4 for" in text
    assert "32 x 24 to 640 x 480 pixels" in text and "cats   6      2" in text
    assert "uneven" not in text and "cannot be read" not in text


def test_what_is_odd_is_said(tmp_path: Path, fill: Fill) -> None:
    names = [f"few/{n}.jpg" for n in range(5)] + [f"many/{n}.jpg" for n in range(20)]
    folder = fill(tmp_path / "set", *names)
    (folder / "many" / "<b>bad.jpg").write_text("no")
    card = data_card(folder)
    assert card.imbalance == 4
    text = " ".join(str(card).split())
    assert "'many' has 4.0 times as many training pictures as 'few'" in text
    assert "1 picture cannot be read and is left out: many/<b>bad.jpg" in text
    assert "many/&lt;b&gt;bad.jpg" in card.face().html() and "<b>bad" not in card.face().html()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (
            "valid/dogs",
            "'dogs' has no pictures to validate with: accuracy says nothing of it. Move",
        ),
        ("valid/none", ""),
    ],
)
def test_a_class_without_validation_pictures_is_said(
    tmp_path: Path, fill: Fill, missing: str, words: str
) -> None:
    folder = fill(tmp_path / "set", *(one for one in LESSON_NAMES if missing not in one))
    for card in (data_card(folder), data_card(folder)):  # looked at, and recalled
        text = " ".join(str(card).split())
        assert words in text and ("validate with" in text) == bool(words)
        assert [words in line for line in card.cautions] == ([True] if words else [])


def test_what_fastai_makes_white_is_said_with_what_helps(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    for number in range(3):
        file = folder / f"train/cats/x-ray.{number}.png"
        Image.frombytes("I;16", (8, 8), bytes([number, 200]) * 64).save(file)
    card = data_card(folder)
    [line] = card.cautions
    assert line.startswith("3 pictures are 16-bit with values above 255 (train/cats/x-ray.0.png)")
    assert "white in fastai" in line and "worth a look" not in str(card)
    namespace = {"Image": Image, "old": file, "new": folder / "train/cats/x-ray.2.png"}
    exec(line.partition("for example: ")[2], namespace)
    with Image.open(file) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("L", 200)


def test_a_class_of_one_picture_has_none_to_validate_with(tmp_path: Path, fill: Fill) -> None:
    names = [f"{label}/{n}.jpg" for label in "ab" for n in range(4)]
    [line] = data_card(fill(tmp_path / "set", *names, "c/1.jpg", "d/1.jpg")).cautions
    assert line.startswith("'c' and 'd' have no pictures to validate with")
    assert "every class needs at least two" in line


def test_a_folder_that_may_not_be_read_is_left_out_and_named(guarded: Path, fill: Fill) -> None:
    folder = fill(guarded / "set", *LESSON_NAMES, "lost+found/1.jpg", "train/birds/1.jpg")
    (folder / "lost+found").chmod(0)
    (folder / "train" / "birds").chmod(0o444)  # its names are seen, and no more
    for card in (data_card(folder), data_card(folder)):  # looked at, and recalled
        assert (card.train, card.valid) == (12, 4)
        assert card.closed == (folder / "lost+found", folder / "train" / "birds")
        assert "2 folders may not be read and are left out" in " ".join(str(card).split())
    assert list((guarded / "fastai-home").rglob("card-*.json"))
    (folder / "lost+found").chmod(0o755)
    assert data_card(folder).closed == (folder / "train" / "birds",)


def test_a_folder_that_may_not_be_read_itself_is_an_error(guarded: Path, fill: Fill) -> None:
    folder = fill(guarded / "set", *LESSON_NAMES)
    folder.chmod(0)
    for source in (folder, folder / "train"):
        with pytest.raises(DataError, match=r"Permission denied|may not enter") as caught:
            get_data(source)
        assert caught.value.next_step == "Check the path and who may read it."
    with pytest.raises(PicturesError, match="may not enter"):
        data_card(folder / "train")


def test_the_faces_say_the_same_and_hold_the_sheet(tmp_path: Path, fill: Fill) -> None:
    card = data_card(fill(tmp_path / "set", *LESSON_NAMES))
    face = card.face()
    assert "[contact sheet, row 1: cats; row 2: dogs]" in face.text()
    assert 'alt="contact sheet, row 1: cats; row 2: dogs"' in face.html()
    assert str(card.path) in face.html()


def test_as_plain_data(tmp_path: Path, fill: Fill) -> None:
    data = json.loads(json.dumps(data_card(fill(tmp_path / "set", *LESSON_NAMES)).to_dict()))
    assert data["classes"][0] == {"name": "cats", "train": 6, "valid": 2}
    assert "shown" not in data


def test_very_many_classes_are_summed_up(tmp_path: Path, fill: Fill) -> None:
    names = [f"{label:03}/{n}.jpg" for label in range(50) for n in range(2)]
    assert "and 10 more  10     10" in str(data_card(fill(tmp_path / "set", *names)))


def test_a_folder_that_cannot_be_learnt_from(tmp_path: Path) -> None:
    with pytest.raises(PicturesError):
        data_card(tmp_path)
