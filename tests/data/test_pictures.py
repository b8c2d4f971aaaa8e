"""The three layouts, the split, and what is said where nothing can be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.survey.pictures import Layout, lay_out
from fastmagic.errors import BadInput, PicturesError

from .conftest import LESSON_NAMES

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")


def labels(layout: Layout, files: tuple[Path, ...]) -> Counter[str]:
    return Counter(layout.label(file) for file in files)


def test_lesson_one_layout(tmp_path: Path, fill: Fill) -> None:
    layout = lay_out(fill(tmp_path / "set", *LESSON_NAMES))
    assert layout.kind == "train/valid folders"
    assert layout.classes == ("cats", "dogs")
    assert labels(layout, layout.train) == {"cats": 6, "dogs": 6}
    assert labels(layout, layout.valid) == {"cats": 2, "dogs": 2}
    assert layout.label_pattern == "" and layout.unreadable == ()


@pytest.mark.parametrize("name", ["val", "test"])
def test_the_validation_folder_may_have_other_names(tmp_path: Path, fill: Fill, name: str) -> None:
    renamed = [one.replace("valid/", f"{name}/") for one in LESSON_NAMES]
    layout = lay_out(fill(tmp_path / "set", *renamed))
    assert layout.kind == "train/valid folders"
    assert labels(layout, layout.valid) == {"cats": 2, "dogs": 2}


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        *[("Train", "Valid"), ("TRAIN", "VAL"), ("training", "validation"), ("train", "Valid")],
        *[("Training", "Validation"), ("Train", "Test")],
    ],
)
def test_the_two_folders_may_be_spelled_otherwise(
    tmp_path: Path, fill: Fill, train: str, valid: str
) -> None:
    renamed = [one.replace("train/", f"{train}/", 1) for one in LESSON_NAMES]
    renamed = [one.replace("valid/", f"{valid}/", 1) for one in renamed]
    layout = lay_out(fill(tmp_path / "set", *renamed))
    assert layout.kind == "train/valid folders" and layout.classes == ("cats", "dogs")
    assert labels(layout, layout.train) == {"cats": 6, "dogs": 6}
    assert labels(layout, layout.valid) == {"cats": 2, "dogs": 2}


def test_where_two_spellings_are_there_the_plain_one_is_taken(tmp_path: Path, fill: Fill) -> None:
    (tmp_path / "A").mkdir()
    if (tmp_path / "a").exists():
        pytest.skip("names that differ in case alone are one name here")
    fill(tmp_path / "set", "TRAIN/cats/1.jpg", "Valid/dogs/1.jpg", *LESSON_NAMES)
    layout = lay_out(tmp_path / "set")
    assert (len(layout.train), len(layout.valid)) == (12, 4)


def test_a_class_may_be_called_train(tmp_path: Path, fill: Fill) -> None:
    names = [f"{label}/{n}.jpg" for label in ("Bus", "Car", "Train") for n in range(3)]
    assert lay_out(fill(tmp_path, *names)).classes == ("Bus", "Car", "Train")


def test_kaggles_heap_may_be_spelled_otherwise(tmp_path: Path, fill: Fill) -> None:
    names = [f"Training/{label}/{n}.jpg" for label in ("cat", "dog") for n in range(5)]
    layout = lay_out(fill(tmp_path, *names, "Test/1.jpg", "Test/2.jpg"))
    assert layout.kind == "class folders" and layout.classes == ("cat", "dog")


def test_what_fastai_has_beside_train_and_valid_is_ignored(tmp_path: Path, fill: Fill) -> None:
    extras = ["test1/1.jpg", "sample/train/cats/cat.1.jpg", "models/x.jpg", "stray.jpg"]
    layout = lay_out(fill(tmp_path / "set", *LESSON_NAMES, *extras, "train/stray.jpg"))
    assert len(layout.train) == 12 and len(layout.valid) == 4


def test_class_folders_are_split_by_seed_and_by_class(tmp_path: Path, fill: Fill) -> None:
    names = [f"a/{n}.jpg" for n in range(10)] + [f"b/{n}.png" for n in range(30)]
    folder = fill(tmp_path / "set", *names)
    layout = lay_out(folder)
    assert layout.kind == "class folders"
    assert labels(layout, layout.valid) == {"a": 2, "b": 6}
    assert not set(layout.train) & set(layout.valid)
    assert lay_out(folder) == layout
    assert lay_out(folder, seed=7).valid != layout.valid
    assert len(lay_out(folder, valid_pct=0.5).valid) == 20


def test_the_split_does_not_depend_on_where_the_folder_is(tmp_path: Path, fill: Fill) -> None:
    names = [f"{label}/{n}.jpg" for label in "ab" for n in range(12)]
    one, two = (lay_out(fill(tmp_path / name, *names)) for name in ("one", "two"))
    assert [f.relative_to(one.path) for f in one.valid] == [
        f.relative_to(two.path) for f in two.valid
    ]


def test_flat_files_take_their_class_from_the_pattern(tmp_path: Path, fill: Fill) -> None:
    names = [f"{breed}_{n}.jpg" for breed in ("great_dane", "Abyssinian") for n in range(5)]
    layout = lay_out(fill(tmp_path, *names), label_pattern=r"^(.*)_\d+\.jpg$")
    assert layout.kind == "flat files"
    assert layout.classes == ("Abyssinian", "great_dane")
    assert labels(layout, layout.valid) == {"Abyssinian": 1, "great_dane": 1}


def test_the_catalogue_knows_the_pattern_of_its_own_folder(tmp_path: Path, fill: Fill) -> None:
    names = [f"{breed}_{n}.jpg" for breed in ("pug", "Bengal") for n in range(3)]
    layout = lay_out(fill(tmp_path / "oxford-iiit-pet" / "images", *names))
    assert layout.classes == ("Bengal", "pug")


def test_kaggles_names_are_understood(tmp_path: Path, fill: Fill) -> None:
    names = [f"train/{label}.{n}.jpg" for label in ("cat", "dog") for n in range(5)]
    layout = lay_out(fill(tmp_path, *names, *(f"test1/{n}.jpg" for n in range(3))))
    assert layout.kind == "flat files" and layout.classes == ("cat", "dog")
    assert layout.path == tmp_path / "train"
    assert len(layout.train) + len(layout.valid) == 10


def test_a_heap_called_test_is_no_validation_set(tmp_path: Path, fill: Fill) -> None:
    names = [f"train/{label}/{n}.jpg" for label in ("cat", "dog") for n in range(5)]
    layout = lay_out(fill(tmp_path, *names, "test/1.jpg", "test/2.jpg"))
    assert layout.kind == "class folders" and layout.classes == ("cat", "dog")


def test_flat_files_in_train_and_valid(tmp_path: Path, fill: Fill) -> None:
    names = [f"{part}/{k}.{n}.jpg" for part in ("train", "valid") for k in "ab" for n in range(2)]
    layout = lay_out(fill(tmp_path, *names))
    assert layout.kind == "train/valid folders" and layout.classes == ("a", "b")
    assert len(layout.train) == len(layout.valid) == 4


def test_wrapping_folders_are_gone_through(tmp_path: Path, fill: Fill) -> None:
    wrapped = [f"download/PetImages/{name}" for name in LESSON_NAMES]
    assert lay_out(fill(tmp_path, *wrapped)).path == tmp_path / "download" / "PetImages"


def test_unreadable_pictures_are_left_out_and_named(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    bad = folder / "train" / "cats" / "cat.0.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    (folder / "valid" / "dogs" / "empty.jpg").touch()
    layout = lay_out(folder)
    assert layout.unreadable == (bad, folder / "valid" / "dogs" / "empty.jpg")
    assert len(layout.train) == 11 and len(layout.valid) == 4
    assert bad.is_file()  # nothing is deleted


@pytest.mark.parametrize(
    ("names", "pattern", "what"),
    [
        ([], "", "it is empty"),
        (["notes.txt"], "", r"no pictures in .* \(there is 'notes.txt'\)"),
        (["cats/1.jpg", "cats/2.jpg"], "", "only one class, 'cats'"),
        (["cat.1.jpg", "cat.2.jpg"], "", "only one class, 'cat'"),
        (["IMG_1.jpg", "IMG_2.jpg"], "", "names like 'IMG_1.jpg' tell no class"),
        (["a/1.jpg", "b/1.jpg"], "", "no validation pictures"),
        (["train/a/1.jpg", "train/b/1.jpg", "valid/notes.txt"], "", "no validation pictures"),
        (["train/a/1.jpg", "train/b/1.jpg", "valid/c/1.jpg"], "", "training ones lack: 'c'"),
        (
            [*("train/cats/1.jpg", "train/dogs/1.jpg"), *("valid/Cats/1.jpg", "valid/dogs/1.jpg")],
            "",
            "'cats' and the validation pictures 'Cats': the names differ in case alone",
        ),
        (["a_1.jpg", "b_2.jpg", "c.jpg"], r"^(.*)_\d", "no class in the file name 'c.jpg'"),
        (["a_1.jpg"], "(", "not a regular expression"),
        (["a_1.jpg"], r"\d", "has no group"),
    ],
)
def test_what_is_said_where_nothing_can_be_learnt(
    tmp_path: Path, fill: Fill, names: list[str], pattern: str, what: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    fill(folder, *names)
    with pytest.raises(PicturesError, match=what) as caught:
        lay_out(folder, label_pattern=pattern)
    assert caught.value.next_step


def test_no_readable_picture_at_all(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    for name in LESSON_NAMES:
        (folder / name).write_text("nothing")
    with pytest.raises(PicturesError, match="None of the 16 pictures"):
        lay_out(folder)


def test_a_missing_folder_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "dogscats").mkdir()
    with pytest.raises(PicturesError, match="Did you mean 'dogscats'"):
        lay_out(tmp_path / "dogcats")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(PicturesError, match="is a file"):
        lay_out(tmp_path / "a.zip")


def test_a_share_must_be_a_share(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        lay_out(tmp_path, valid_pct=20)
