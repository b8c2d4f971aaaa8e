"""The folder that keeps archives for the next machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastmagic
from fastmagic.data import cache
from fastmagic.data.get import get_data, list_data
from fastmagic.data.web.room import Disk
from fastmagic.errors import ArchiveError
from fastmagic.progress import View

from .conftest import zip_bytes
from .server import FileServer

DATA = b"cats and dogs " * 100_000
HASH = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "archive" / "pets.zip"
    file.parent.mkdir()
    file.write_bytes(DATA)
    return file


def said(view: View) -> str:
    return " ".join(view.notes)


def test_what_is_kept_comes_back_as_it_was(archive: Path, tmp_path: Path) -> None:
    drive, view = tmp_path / "drive", View()
    assert cache.put(drive, archive, HASH, view)
    assert sorted(one.name for one in drive.iterdir()) == ["pets.zip", "pets.zip.sha256"]
    assert (drive / "pets.zip.sha256").read_text() == f"{HASH}  pets.zip\n"
    there = tmp_path / "other machine" / "pets.zip"
    assert cache.take(drive, "pets.zip", there, view) == HASH
    assert there.read_bytes() == DATA and list(there.parent.iterdir()) == [there]
    assert cache.names(drive) == {"pets.zip"}


def test_what_is_kept_already_is_not_copied_again(archive: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    cache.put(drive, archive, HASH, View())
    before = (drive / "pets.zip").stat().st_ino
    assert cache.put(drive, archive, HASH, View())
    assert (drive / "pets.zip").stat().st_ino == before


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-5]), "SHA-256 is another one"),
        (lambda file: file.write_bytes(b"X" + file.read_bytes()[1:]), "SHA-256 is another one"),
        (lambda file: Path(f"{file}.sha256").unlink(), "has no hash beside it"),
        (lambda file: Path(f"{file}.sha256").write_bytes(b"\xff\x00"), "has no hash beside it"),
    ],
)
def test_a_spoilt_copy_is_said_and_not_used(
    archive: Path, tmp_path: Path, spoil: object, what: str
) -> None:
    drive, view, there = tmp_path / "drive", View(), tmp_path / "there" / "pets.zip"
    cache.put(drive, archive, HASH, View())
    spoil(drive / "pets.zip")  # type: ignore[operator]
    assert cache.take(drive, "pets.zip", there, view) == ""
    assert what in said(view) and not (there.parent.exists() and list(there.parent.iterdir()))
    assert cache.put(drive, archive, HASH, View())  # and a good one takes its place
    assert cache.take(drive, "pets.zip", there, View()) == HASH


def test_nothing_kept_is_nothing_said(tmp_path: Path) -> None:
    view = View()
    assert cache.take(tmp_path / "none", "pets.zip", tmp_path / "pets.zip", view) == ""
    assert view.notes == []


@pytest.mark.parametrize("where", ["not/mounted/drive", "a-file", "/proc/self"])
def test_a_folder_that_cannot_be_used_stops_nothing(
    archive: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "a-file").write_text("mine")
    if where.startswith("/") and not Path(where).exists():
        pytest.skip(f"there is no {where} here")
    view = View()
    assert not cache.put(tmp_path / where, archive, HASH, view)
    assert "could not be kept" in said(view) and "used all the same" in said(view)
    assert not (tmp_path / "not").exists()  # a Drive could not be mounted over it


FULL = """
import resource, signal, sys
from pathlib import Path
from fastmagic.data import cache
from fastmagic.progress import View
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
view = View()
print(cache.put(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], view), *view.notes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix limits the size of files")
def test_a_write_that_fails_in_the_middle_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    line = [sys.executable, "-c", FULL, str(drive), str(archive), HASH]
    done = subprocess.run(line, env=child_env(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False pets.zip could not be kept")
    assert list(drive.iterdir()) == []


def test_what_a_killed_copy_left_is_swept_after_a_day(archive: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    old, young = drive / ".pets.zip.1.copying", drive / ".pets.zip.2.copying"
    for left in (old, young):
        left.write_bytes(b"cats")
    os.utime(old, (time.time() - 2 * cache.DAY,) * 2)
    cache.put(drive, archive, HASH, View())
    assert not old.exists() and young.exists()


def child_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])}


def machine(folder: Path) -> dict[str, str]:
    """Give the environment of a machine of its own."""
    return {"FASTAI_HOME": str(folder)}


def test_the_next_machine_needs_no_network(server: FileServer, tmp_path: Path) -> None:
    server.files["a.zip"] = zip_bytes()
    url, drive = server.url("a.zip"), tmp_path / "drive"
    get_data(url, cache=drive, env=machine(tmp_path / "one"))
    asked = len(server.asked)
    server.files.clear()
    path = get_data(url, cache=drive, env=machine(tmp_path / "two"))
    assert path == tmp_path / "two" / "data" / "a" and len(list(path.rglob("*.jpg"))) == 16
    assert len(server.asked) == asked


def test_a_rotten_copy_is_downloaded_again_and_mended(server: FileServer, tmp_path: Path) -> None:
    server.files["a.zip"] = zip_bytes()
    url, drive, view = server.url("a.zip"), tmp_path / "drive", View()
    get_data(url, cache=drive, env=machine(tmp_path / "one"))
    [kept] = drive.glob("*.zip")
    good = kept.read_bytes()
    kept.write_bytes(good[:-100])
    asked = len(server.asked)
    path = get_data(url, cache=drive, env=machine(tmp_path / "two"), show=view)
    assert len(list(path.rglob("*.jpg"))) == 16 and "is not used" in said(view)
    assert len(server.asked) > asked and kept.read_bytes() == good


def test_a_copy_with_another_checksum_than_is_asked_for_is_not_used(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["a.zip"] = zip_bytes()
    url, drive = server.url("a.zip"), tmp_path / "drive"
    get_data(url, cache=drive, env=machine(tmp_path / "one"))
    server.files["a.zip"] = new = zip_bytes(top="other/")
    wanted = f"sha256:{hashlib.sha256(new).hexdigest()}"
    env = machine(tmp_path / "two")
    assert len(list(get_data(url, cache=drive, checksum=wanted, env=env).rglob("*.jpg"))) == 16
    [kept] = drive.glob("*.zip")
    assert kept.read_bytes() == new
    with pytest.raises(ArchiveError, match="was unpacked from an archive whose SHA-256"):
        get_data(url, checksum="sha256:" + "0" * 64, env=env)


def test_a_set_that_is_here_already_is_kept_when_that_is_asked(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["a.zip"] = zip_bytes()
    url, env = server.url("a.zip"), machine(tmp_path / "one")
    get_data(url, env=env)
    get_data(url, cache=tmp_path / "drive", env=env)
    assert len(cache.names(tmp_path / "drive")) == 1


def test_a_drive_that_is_not_mounted_does_not_fail_the_call(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["a.zip"] = zip_bytes()
    view = View()
    drive, env = tmp_path / "content" / "drive", machine(tmp_path)
    get_data(server.url("a.zip"), cache=drive, env=env, show=view)
    assert said(view).count("could not be kept") == 1


def test_the_list_says_what_is_kept(tmp_path: Path) -> None:
    for name in ("dogscats.zip", "dogscats.zip.sha256", "mnist_png.tgz"):
        (tmp_path / name).write_text("x")
    listed = list_data(machine(tmp_path / "home"), cache=tmp_path)
    assert [one.name for one in listed.sets if one.where == "cache"] == ["dogscats"]


def test_what_does_not_fit_is_not_begun(archive: Path, tmp_path: Path) -> None:
    view = View()
    assert not cache.put(tmp_path / "drive", archive, HASH, view, lambda _: Disk(1, 1_000_000))
    assert "1.4 MB are needed, 1 MB are free" in said(view).replace("1.0 MB", "1 MB")
    assert list((tmp_path / "drive").iterdir()) == []
