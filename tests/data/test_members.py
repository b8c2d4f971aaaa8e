"""What a member of an archive may be called."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
from fastmagic.data.archives.members import Names
from fastmagic.errors import ArchiveError


def of_zip(names: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, b"1")
    return buffer.getvalue()


def of_tar(names: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name in names:
            made.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


COLLISIONS = [
    ("cats/A.jpg", "cats/a.jpg"),
    ("Cats/1.jpg", "cats/2.jpg"),
    ("größe.jpg", "GRÖSSE.JPG"),
    ("caf\u00e9/1.jpg", "cafe\u0301/1.jpg"),
    ("a", "A/1.jpg"),
    ("a/1.jpg", "A"),
]


@pytest.mark.parametrize("names", COLLISIONS)
@pytest.mark.parametrize("make", [of_zip, of_tar])
def test_names_that_are_one_on_other_disks_are_refused(
    tmp_path: Path, names: tuple[str, ...], make: Callable[[tuple[str, ...]], bytes]
) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(make(("fine.jpg", *names)))
    with pytest.raises(ArchiveError, match=r"macOS, Windows and Google Drive|below a file") as said:
        unpack(archive, tmp_path / "in" / "mine")
    assert repr(names[1]) in said.value.what
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("name", ["con.jpg", "a/AUX", "what?.jpg", "dot./1.jpg", "10:b", "end "])
def test_names_that_windows_cannot_have_are_refused_there_only(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(of_zip((name, "fine.jpg")))
    with pytest.raises(ArchiveError, match="Windows"):
        unpack(archive, tmp_path / "there", windows=True)
    assert not (tmp_path / "there").exists()
    assert (unpack(archive, tmp_path / "here", windows=False) / name).is_file()


def test_a_folder_may_be_named_twice_and_comes_after_its_parents() -> None:
    names = Names(lambda member, why: ArchiveError(f"{member} {why}"), windows=False)
    for folder in ("a/b/c", "a/b", "a/b/c", "d"):
        names.folder(folder)
    assert names.folders == ["a", "a/b", "a/b/c", "d"]
    assert names.file("a/./x/../1.jpg") == ("a", "1.jpg")
    for again in ("a/1.jpg", "a/b", "./a//1.jpg"):
        with pytest.raises(ArchiveError, match="same name as another"):
            names.file(again)
    for empty in ("", ".", "a/.."):
        with pytest.raises(ArchiveError, match="names no file"):
            names.file(empty)
