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


def container(brand: bytes) -> bytes:
    """Make what begins as HEIC and AVIF do, and cannot be decoded."""
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(100)


HEIC, AVIF = container(b"heic"), container(b"avif")
FILM = container(b"isom").replace(b"mif1", b"mp41")


def put(folder: Path, data: bytes, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def refused(folder: Path) -> tuple[str, str]:
    with pytest.raises(PicturesError) as caught:
        lay_out(folder)
    return caught.value.what.replace(str(folder), "HERE"), caught.value.next_step


def test_photographs_of_a_phone_are_called_what_they_are(tmp_path: Path) -> None:
    put(tmp_path, HEIC, *(f"{label}/{n}.HEIC" for label in ("cats", "dogs") for n in range(5)))
    what, step = refused(tmp_path)
    assert what == (
        "The 10 pictures in HERE are HEIC files, as iPhones make them, which fastai does not read."
    )
    assert step.startswith("Save them as JPEG (iPhone: Settings > Camera")
    put(tmp_path, HEIC, "cats/5.jpg")  # a name does not mislead
    assert refused(tmp_path)[0].startswith("The 11 pictures in HERE are HEIC files")


@pytest.mark.parametrize(
    ("data", "why", "step"),
    [
        (AVIF, "4 AVIF", "Save them as JPEG."),
        (FILM, "4 of a format not read here", "Save them as JPEG."),
        (b"<html>", "4 not a picture", "Are they really pictures? Download or copy them again."),
        (b"", "4 empty", "Are they really pictures? Download or copy them again."),
    ],
)
def test_why_none_can_be_read_is_said(tmp_path: Path, data: bytes, why: str, step: str) -> None:
    put(tmp_path, data, "cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png")
    assert refused(tmp_path) == (f"None of the 4 pictures in HERE can be read ({why}).", step)
    put(tmp_path, HEIC, "dogs/3.png")
    what, step = refused(tmp_path)
    assert what.endswith(f"({why}, 1 HEIC).") and "iPhone" in step


@pytest.mark.parametrize(
    ("data", "are", "step"),
    [
        (HEIC, "are HEIC files", "Save them as JPEG (iPhone"),
        (AVIF, "are AVIF files", "Save them as JPEG."),
        (b"", "cannot be read (5 empty)", "Are they really pictures?"),
    ],
)
def test_a_class_that_cannot_be_read_is_not_called_missing(
    tmp_path: Path, fill: Fill, data: bytes, are: str, step: str
) -> None:
    fill(tmp_path, *(f"cats/{n}.jpg" for n in range(5)))
    put(tmp_path, data, *(f"dogs/{n}.png" for n in range(5)))
    what, next_step = refused(tmp_path)
    assert what == f"Only 'cats' has pictures that can be read; the 5 of 'dogs' {are}."
    assert next_step.startswith(step)


def test_training_pictures_alone_may_be_unreadable(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, *LESSON_NAMES)
    dogs = [name for name in LESSON_NAMES if name.startswith("train/dogs")]
    put(tmp_path, HEIC, *dogs)
    only = "Only 'cats' has training pictures that can be read; the 6 of 'dogs' are HEIC files."
    assert refused(tmp_path)[0] == only
    put(tmp_path, HEIC, *(name.replace("dog", "cat") for name in dogs))
    assert refused(tmp_path)[0] == (
        "No class has training pictures that can be read; the 12 of 'cats' and 'dogs' are HEIC "
        "files."
    )


def test_pictures_that_may_not_be_read_are_no_false_ones(guarded: Path, fill: Fill) -> None:
    for file in fill(guarded / "set", "cats/1.jpg", "dogs/1.jpg").rglob("*.jpg"):
        file.chmod(0)
    assert refused(guarded / "set")[1] == "Change who may read them."


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
