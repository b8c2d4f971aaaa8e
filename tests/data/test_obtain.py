"""Where a data set comes from: mirrors, records, secrets, and how little a second call does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import fastmagic
from fastmagic.data import places
from fastmagic.data.catalogue import CATALOGUE
from fastmagic.data.entry import Source
from fastmagic.data.fill import Order, fill
from fastmagic.data.get import get_data, list_data
from fastmagic.data.places import Record
from fastmagic.errors import ArchiveError, BadInput, DownloadError, FastMagicError, PicturesError
from fastmagic.progress import View

from .conftest import LESSON_NAMES, picture_bytes, zip_bytes
from .server import FileServer

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")

FLAT = tuple(f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(5))


def tgz_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def catalogue(server: FileServer, home: Path) -> dict[str, str]:
    """Give the environment in which the catalogue's archives come from the test's server."""
    return {"FASTAI_HOME": str(home), "FASTMAGIC_CATALOGUE": server.url()}


def test_another_archive_of_the_set_is_taken_where_the_first_is_gone(
    server: FileServer, catalogue: dict[str, str], home: Path
) -> None:
    server.files["dogscats.zip"] = zip_bytes()
    view = View()
    path = get_data("dogscats", env=catalogue, show=view)
    assert path == home / "data" / "dogscats" and len(list(path.rglob("*.jpg"))) == 16
    assert [one.path for one in server.asked] == ["/dogscats.tgz", "/dogscats.zip"]
    assert (home / "archive" / "dogscats.zip").is_file()
    assert any("Trying another archive" in note for note in view.notes)
    assert get_data("dogscats", env=catalogue) == path and len(server.asked) == 2


def test_a_broken_archive_gives_way_to_another_one(
    server: FileServer, catalogue: dict[str, str], home: Path
) -> None:
    server.files["dogscats.tgz"] = zip_bytes()[:-300]
    server.files["dogscats.zip"] = zip_bytes()
    path = get_data("dogscats", env=catalogue)
    assert len(list(path.rglob("*.jpg"))) == 16
    assert (home / "archive" / "dogscats.tgz.refused").is_file()


def test_when_all_fail_each_has_its_say(server: FileServer, catalogue: dict[str, str]) -> None:
    server.files["dogscats.zip"] = b"<html>Log in</html>"
    with pytest.raises(DownloadError, match="none of its 2 archives") as caught:
        get_data("dogscats", env=catalogue)
    assert "dogscats.tgz: " in caught.value.what and "HTTP 404" in caught.value.what
    assert "dogscats.zip: " in caught.value.what and "web page" in caught.value.what


def test_where_no_server_of_several_archives_answers_it_is_said_once(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    urls = [f"http://{host}:{port}/{file}" for host in ("127.0.0.1", "localhost") for file in "ab"]
    place = places.for_entry(CATALOGUE["dogscats"], None, {"FASTAI_HOME": str(home)})
    with pytest.raises(DownloadError) as caught:
        fill(place, Order(tuple(map(Source, urls)), "", None, lambda _: None), View())
    assert caught.value.what == (
        "dogscats could not be downloaded: none of its servers (127.0.0.1, localhost) could be "
        "reached (refused)."
    )


def test_one_server_that_does_not_answer_is_named_once(home: Path) -> None:
    env = {"FASTAI_HOME": str(home), "FASTMAGIC_CATALOGUE": "http://127.0.0.1:9"}
    with pytest.raises(DownloadError) as caught:
        get_data("dogscats", env=env, sleep=lambda _: None)
    assert caught.value.what == (
        "dogscats could not be downloaded. The connection to 127.0.0.1 failed (refused)."
    )


def test_the_archive_whose_checksum_is_asked_for_goes_first(
    server: FileServer, catalogue: dict[str, str], home: Path
) -> None:
    server.files["dogscats.zip"] = zip_bytes()
    (home / "archive").mkdir(parents=True)
    (home / "archive" / "dogscats.zip").write_bytes(zip_bytes())
    get_data("dogscats", env=catalogue)  # one that is here goes before one that is not
    assert server.asked == []


def test_pets_from_the_archive_that_holds_the_pictures_alone(
    server: FileServer, catalogue: dict[str, str], home: Path
) -> None:
    names = [f"{breed}_{n}.jpg" for breed in ("pug", "Bengal") for n in range(5)]
    packed = {f"images/{name}": picture_bytes(n) for n, name in enumerate(names)}
    server.files["images.tar.gz"] = tgz_bytes(packed)
    path = get_data("pets", env=catalogue)
    assert path == home / "data" / "oxford-iiit-pet"
    assert [one.name for one in fastmagic.data_card(path).classes] == ["Bengal", "pug"]


def test_what_is_not_as_fastai_recorded_it_is_said(home: Path) -> None:
    (home / "archive").mkdir(parents=True)
    view = View()
    (home / "archive" / "dogscats.tgz").write_bytes(tgz_bytes({"x/labels.csv": b"x"}))
    with pytest.raises(PicturesError):
        get_data("dogscats", show=view)
    assert "SHA-256 is" in " ".join(view.notes)


def test_the_hash_that_was_seen_is_recorded_and_shown(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = data = zip_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    view = View()
    path = get_data(server.url("a.zip"), show=view)
    assert any(f"--checksum sha256:{sha256}" in note for note in view.notes)
    [(folder, record)] = list_data().unpacked
    assert (folder, record.sha256, record.archive_bytes) == (path, sha256, len(data))
    assert record.is_ours and record.checked
    text = str(list_data(verbose=True)).replace("\n", " ")
    assert f"sha256:{sha256}" in text and server.url("a.zip") in text
    assert sha256 not in str(list_data())


def test_a_later_call_is_held_to_the_recorded_hash_without_reading_the_archive(
    server: FileServer, home: Path
) -> None:
    server.files["a.zip"] = data = zip_bytes()
    url, right = server.url("a.zip"), f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = get_data(url, checksum=right)
    for archive in (home / "archive").glob("a-*.zip"):
        archive.unlink()
    assert get_data(url, checksum=right) == path
    with pytest.raises(ArchiveError, match="was unpacked from an archive whose SHA-256 is"):
        get_data(url, checksum="sha256:" + "1" * 64)


def test_a_record_that_is_damaged_is_as_none(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = zip_bytes()
    path = get_data(server.url("a.zip"))
    [record] = (home / "archive" / "fastmagic").glob("origin-*.json")
    whole = json.loads(record.read_text())
    for wrong in ({"archive": 5}, {"archive": "../a"}, {"sha256": []}, {"archive_bytes": "x"}):
        record.write_text(json.dumps({**whole, **wrong}))
        [(_, known)] = list_data().unpacked
        assert known == Record()
    for text in ("", "[]", '{"folder": 1}', "\x00", "[" * 100_000):
        record.write_text(text)
        assert list_data().unpacked == ()
        assert get_data(path) == path


def test_a_folder_with_a_packed_training_set_is_unpacked_elsewhere(
    tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "dogs-vs-cats"
    folder.mkdir()
    (folder / "train.zip").write_bytes(zip_bytes(FLAT, "train/"))
    (folder / "test1.zip").write_bytes(zip_bytes(("1.jpg",), "test1/"))
    path = get_data(folder)
    assert path == home / "data" / "dogs-vs-cats-train" and len(list(path.iterdir())) == 10
    assert len(list(folder.iterdir())) == 2


TRAIN, VALID = (
    tuple(one.partition("/")[2] for one in LESSON_NAMES if one.startswith(part))
    for part in ("train", "valid")
)


@pytest.mark.parametrize(
    ("train", "valid", "tops"),
    [
        ("train.zip", "valid.zip", ("", "")),
        ("train.zip", "valid.zip", ("train/", "valid/")),
        ("Training.zip", "VALIDATION.zip", ("set/Training/", "set/VALIDATION/")),
    ],
)
def test_training_and_validation_pictures_packed_each_by_itself(
    tmp_path: Path, home: Path, train: str, valid: str, tops: tuple[str, str]
) -> None:
    packed = {train: zip_bytes(TRAIN, tops[0]), valid: zip_bytes(VALID, tops[1])}
    (tmp_path / "pets").mkdir()
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as outer:
        for name, data in packed.items():
            outer.writestr(name, data)
            (tmp_path / "pets" / name).write_bytes(data)
    for source in ("nested.zip", "pets"):
        path = get_data(tmp_path / source)
        card = fastmagic.data_card(path)
        assert (card.kind, card.train, card.valid) == ("train/valid folders", 12, 4)
        assert {one.name for one in path.iterdir()} == {"train", "valid"}
        inode = path.stat().st_ino
        assert get_data(tmp_path / source) == path and path.stat().st_ino == inode
    assert not list((home / "data").glob(".*"))
    (tmp_path / "pets" / valid).write_bytes(zip_bytes(VALID[1:], tops[1]))
    assert fastmagic.data_card(get_data(tmp_path / "pets")).valid == 3  # another archive


def test_a_packed_test_set_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "train.zip").write_bytes(zip_bytes(TRAIN, ""))
    (tmp_path / "pets" / "test.zip").write_bytes(zip_bytes(("1.jpg",), ""))
    view = View()
    assert fastmagic.data_card(get_data(tmp_path / "pets", show=view)).kind == "class folders"
    [note] = view.notes
    assert note.startswith("test.zip beside it is left out") and "unpack both archives" in note


@pytest.mark.parametrize(
    ("here", "packed", "doing"), [("train", "valid", "validate"), ("Valid", "Train", "train")]
)
def test_one_part_that_is_still_packed_is_named(
    tmp_path: Path, fill: Fill, here: str, packed: str, doing: str
) -> None:
    folder = fill(tmp_path / "set", *(f"{here}/{one}" for one in TRAIN))
    file = folder / f"{packed}.zip"
    file.write_bytes(zip_bytes(VALID, ""))
    view = View()
    get_data(folder, show=view)
    assert view.notes == [f"{file} is not used: unpack it there, to {doing} with its pictures."]


def test_what_cannot_be_read_is_moved_only_where_we_unpacked(
    server: FileServer, tmp_path: Path, home: Path, fill: Fill
) -> None:
    own = fill(tmp_path / "own", *LESSON_NAMES)
    (own / LESSON_NAMES[0]).write_bytes(b"no picture")
    get_data(own)
    assert (own / LESSON_NAMES[0]).exists() and list(tmp_path.glob("*-rejected")) == []
    members = {f"a/{name}": picture_bytes(n) for n, name in enumerate(LESSON_NAMES)}
    server.files["a.tgz"] = tgz_bytes({**members, f"a/{LESSON_NAMES[0]}": b"no picture"})
    path = get_data(server.url("a.tgz"))
    assert not (path / LESSON_NAMES[0]).exists()
    assert (home / "data" / "a-rejected" / LESSON_NAMES[0]).read_bytes() == b"no picture"
    assert len(list(get_data(server.url("a.tgz")).rglob("*.jpg"))) == 15


SECRET = "hunter2"


@pytest.mark.parametrize(
    "source",
    [
        "ftp://me:hunter2@example.org/a.zip",
        "http://me:hunter2@[broken/a.zip",
        "https:/me:hunter2@example.org/a.zip",
        "http://me:hunter2@127.0.0.1:9/a.zip?token=hunter2",
    ],
)
def test_a_password_in_an_address_is_shown_nowhere(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FastMagicError) as caught:
        get_data(source, show=True, sleep=lambda _: None)
    printed = capsys.readouterr()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value) + printed.out + printed.err + told


def test_a_password_in_an_address_is_written_nowhere(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = zip_bytes()
    url = server.url("a.zip").replace("http://", f"http://me:{SECRET}@") + f"?key={SECRET}"
    view = View()
    path = get_data(url, show=view)
    assert SECRET not in str(path) + " ".join(view.notes)
    for file in home.rglob("*"):
        assert SECRET not in file.name
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert SECRET not in json.dumps([str(one) for one in list_data().unpacked])


SECOND = """
import sys, fastmagic
path = fastmagic.get_data(sys.argv[1])
heavy = {"requests", "urllib3", "pooch", "PIL", "numpy", "torch", "fastai", "filelock", "tqdm"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_second_call_loads_nothing_heavy(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = zip_bytes()
    get_data(server.url("a.zip"))
    done = subprocess.run(
        [sys.executable, "-c", SECOND, server.url("a.zip")],
        env={**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_folder_of_a_catalogues_name_is_named_before_anything_is_fetched(
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"FASTAI_HOME": str(tmp_path / "home"), "FASTMAGIC_CATALOGUE": "http://127.0.0.1:9"}
    fill(tmp_path / "pets", *LESSON_NAMES)
    monkeypatch.chdir(tmp_path)
    view = View()
    with pytest.raises(DownloadError):
        get_data("pets", env=env, show=view, sleep=lambda _: None)
    assert view.notes[0] == "There is a folder pets here too: for that write ./pets"
    view = View()
    assert get_data("./pets", show=view) == tmp_path / "pets" and view.notes == []
    fill(tmp_path / "dogscats", *LESSON_NAMES)  # the data set itself is no other one
    assert get_data("dogscats", dest=tmp_path, show=view) == tmp_path / "dogscats"
    assert view.notes == []


def test_a_name_that_is_nearly_one_gets_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'imagenette2'"):
        get_data("imagenette")


@pytest.mark.parametrize("path", [r"C:\Users\me@work\cats", "d:/me@work/cats"])
def test_a_drive_letter_is_no_user_and_no_password(path):
    from fastmagic.data.obtain import without_secrets

    assert without_secrets(path) == path
    assert without_secrets("m:secret@example.org/a.zip") == "example.org/a.zip"
