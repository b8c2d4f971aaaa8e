"""`get_data`, from every kind of source to a folder of pictures."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

import fastmagic
from fastmagic.data.get import get_data, list_data
from fastmagic.data.places import for_url
from fastmagic.data.sets import S3
from fastmagic.errors import (
    ArchiveError,
    BadInput,
    DataError,
    DownloadError,
    PicturesError,
    Stopped,
)
from fastmagic.progress import NestedView, View

from .conftest import LESSON_NAMES, picture_bytes, zip_bytes
from .server import FileServer

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")


class Watching(View):
    """Keeps what it was told, as a notebook would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: set[str] = set()
        self.ends: list[str] = []

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        self.bars.add(label)

    def _finish(self, face: object) -> None:
        self.ends.append(str(face.text()))  # type: ignore[attr-defined]


def tgz_bytes(top: str, names: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for number, name in enumerate(names):
            data = picture_bytes(number)
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


PETS = tuple(f"images/{breed}_{n}.jpg" for breed in ("pug", "Bengal") for n in range(5))


def test_an_address_becomes_a_folder(server: FileServer, home: Path) -> None:
    server.files["photos.zip"] = zip_bytes()
    view = Watching()
    path = get_data(server.url("photos.zip"), show=view)
    assert type(path) is type(Path()) and path == home / "data" / "photos"
    assert sorted(one.name for one in path.iterdir()) == ["train", "valid"]
    assert view.bars == {"downloading", "unpacking", "checking pictures"}
    [end] = view.ends
    assert "16 pictures of 2 classes" in end and "Data: photos" in end


def test_a_second_call_does_nothing_and_needs_no_network(server: FileServer) -> None:
    server.files["photos.zip"] = zip_bytes()
    url = server.url("photos.zip")
    path = get_data(url)
    server.files.clear()
    view = Watching()
    assert get_data(url, show=view) == path
    assert len(server.asked) == 1 and view.bars == set() and len(view.ends) == 1


def test_the_python_twin_prints_nothing(
    tmp_path: Path, fill: Fill, capfd: pytest.CaptureFixture[str]
) -> None:
    get_data(fill(tmp_path / "set", *LESSON_NAMES))
    assert capfd.readouterr() == ("", "")
    get_data(tmp_path / "set", show=True)
    assert capfd.readouterr().out.count("16 pictures of 2 classes") == 1


def test_a_name_is_fetched_from_the_address_that_is_set(
    server: FileServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMAGIC_CATALOGUE", server.url())
    server.files["dogscats.tgz"] = tgz_bytes("dogscats", LESSON_NAMES)
    view = Watching()
    assert get_data("dogscats", show=view) == home / "data" / "dogscats"
    assert (home / "archive" / "dogscats.tgz").is_file()
    assert sum("FASTMAGIC_CATALOGUE is set" in note for note in view.notes) == 1
    monkeypatch.delenv("FASTMAGIC_CATALOGUE")
    view = Watching()
    get_data("dogscats", show=view)
    assert f"It came from {server.url('dogscats.tgz')}" in view.ends[0]
    assert len(server.asked) == 1


def test_pets_lie_in_images_and_bring_their_pattern(server: FileServer, home: Path) -> None:
    env = {"FASTAI_HOME": str(home), "FASTMAGIC_CATALOGUE": server.url()}
    server.files["oxford-iiit-pet.tgz"] = tgz_bytes("oxford-iiit-pet", (*PETS, "annotations/x"))
    path = get_data("pets", env=env)
    assert path == home / "data" / "oxford-iiit-pet" / "images"
    assert [one.name for one in fastmagic.data_card(path).classes] == ["Bengal", "pug"]


def test_what_fastai_fetched_is_found_without_network(home: Path, fill: Fill) -> None:
    fill(home / "data" / "dogscats", *LESSON_NAMES)
    view = Watching()
    assert get_data("dogscats", show=view) == home / "data" / "dogscats"
    assert "expects 25,000 pictures, here are 16" in view.ends[0].replace("\n", " ")


def test_fastai_finds_what_was_fetched_here(server: FileServer, home: Path) -> None:
    fastdownload = pytest.importorskip("fastdownload", reason="fastai is not installed")
    server.files["dogscats.tgz"] = tgz_bytes("dogscats", LESSON_NAMES)
    path = get_data("dogscats", env={"FASTAI_HOME": str(home), "FASTMAGIC_CATALOGUE": server.url()})
    found = fastdownload.FastDownload(base=home).get(server.url("dogscats.tgz"))
    assert Path(found) == path and len(server.asked) == 1


def test_an_archive_that_fastai_fetched_is_only_unpacked(home: Path) -> None:
    (home / "archive").mkdir(parents=True)
    (home / "archive" / "dogscats.tgz").write_bytes(tgz_bytes("dogscats", LESSON_NAMES))
    assert get_data("dogscats") == home / "data" / "dogscats"


def test_the_sample_is_drawn_once(home: Path) -> None:
    view = Watching()
    path = get_data("sample", show=view)
    assert "drawing" in view.bars and {one.name for one in path.iterdir()} == {"train", "valid"}
    view = Watching()
    assert get_data("sample", show=view) == path and view.bars == set()


def test_a_local_archive_is_unpacked_once(tmp_path: Path, home: Path) -> None:
    archive = tmp_path / "my photos.zip"
    archive.write_bytes(zip_bytes())
    path = get_data(str(archive))
    assert path == home / "data" / "my photos"
    view = Watching()
    assert get_data(archive, show=view) == path and view.bars == set()
    assert archive.is_file()


def test_two_archives_of_one_name_do_not_mix(tmp_path: Path, server: FileServer) -> None:
    paths = []
    for number, name in enumerate("ab"):
        archive = tmp_path / name / "photos.zip"
        archive.parent.mkdir()
        archive.write_bytes(zip_bytes(LESSON_NAMES[number:]))
        paths.append(get_data(archive))
    server.files["photos.zip"] = zip_bytes()
    server.files["other/photos.zip"] = zip_bytes(LESSON_NAMES[2:])
    paths += [get_data(server.url("photos.zip")), get_data(server.url("other/photos.zip"))]
    counts = [sum(1 for _ in path.rglob("*.jpg")) for path in paths]
    assert counts == [16, 15, 16, 14] and len(set(paths)) == 4


def test_dest_says_where(tmp_path: Path, server: FileServer) -> None:
    server.files["photos.zip"] = zip_bytes()
    path = get_data(server.url("photos.zip"), dest=tmp_path / "here")
    assert path == tmp_path / "here" / "photos"


def test_a_folder_is_used_in_place(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *LESSON_NAMES)
    before = sorted(folder.rglob("*"))
    assert get_data(folder) == folder
    assert sorted(folder.rglob("*")) == before


def test_a_lesson_is_told_what_spoils_its_result(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", *(one for one in LESSON_NAMES if "valid/dogs" not in one))
    lesson, alone = View(), Watching()
    get_data(folder, show=NestedView(lesson))
    assert any("'dogs' has no pictures to validate with" in note for note in lesson.notes)
    get_data(folder, show=alone)  # the card says it, and once
    assert alone.notes == [] and alone.ends[0].count("validate with") == 1


def test_a_relative_path_comes_back_absolute(
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "pets", *LESSON_NAMES)
    monkeypatch.chdir(tmp_path)
    assert get_data("./pets") == tmp_path / "pets"


def test_a_data_set_attached_on_kaggle_is_used_in_place(
    tmp_path: Path, home: Path, fill: Fill
) -> None:
    root = tmp_path / "input"
    fill(root / "dogscats", *LESSON_NAMES)
    fill(root / "datasets" / "someone" / "birds", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    assert get_data("dogscats", kaggle_input=root) == root / "dogscats"
    assert get_data("birds", kaggle_input=root) == root / "datasets" / "someone" / "birds"
    assert not (home / "data").exists()


def test_flat_files_with_a_pattern(tmp_path: Path, fill: Fill) -> None:
    folder = fill(tmp_path / "set", "a-1.jpg", "a-2.jpg", "b-1.jpg", "b-2.jpg")
    assert get_data(folder, label_pattern=r"^(\w)-") == folder


@pytest.mark.parametrize(
    ("source", "kind", "what"),
    [
        ("dogcats", BadInput, "Did you mean 'dogscats'"),
        ("", BadInput, "No data set was named"),
        ("ftp://x.org/a.zip", BadInput, "no http or https address"),
        ("http://[x/a.zip", BadInput, "no http or https address"),
        ("/nowhere/photos", PicturesError, "There is nothing at /nowhere/photos"),
        ("photos.tar.gz", PicturesError, "There is nothing at"),
        ("~nobody-of-that-name/x", PicturesError, "There is nothing at"),
    ],
)
def test_what_cannot_be_had(source: str, kind: type[Exception], what: str) -> None:
    with pytest.raises(kind, match=what):
        get_data(source)


@pytest.mark.parametrize("text", ["md5:12", "crc:00000000", "x" * 64, "md5:" + "g" * 32])
def test_a_malformed_checksum(text: str) -> None:
    with pytest.raises(BadInput, match="is not a checksum"):
        get_data("dogscats", checksum=text)


def test_a_wrong_checksum_of_a_local_archive(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_bytes())
    with pytest.raises(ArchiveError, match="The md5 checksum"):
        get_data(archive, checksum="md5:" + "0" * 32)


def test_a_folder_takes_neither_checksum_nor_dest(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "set", *LESSON_NAMES)
    for more in ({"checksum": "md5:" + "0" * 32}, {"dest": tmp_path}):
        with pytest.raises(BadInput, match="used where it is"):
            get_data(tmp_path / "set", **more)  # type: ignore[arg-type]


def test_a_broken_archive_is_put_aside_and_fetched_anew(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = zip_bytes()[:-300]
    with pytest.raises(ArchiveError, match="put aside"):
        get_data(server.url("a.zip"))
    assert not (home / "data" / "a").exists()
    server.files["a.zip"] = zip_bytes()
    assert get_data(server.url("a.zip")) == home / "data" / "a"


def test_no_network_says_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits: list[float] = []
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        get_data(f"http://127.0.0.1:{port}/a.zip", sleep=waits.append)
    assert "has internet" in caught.value.next_step and waits


def test_an_archive_without_pictures(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a/labels.csv", "x")
    with pytest.raises(PicturesError, match=r"no pictures in .*there is 'labels\.csv'"):
        get_data(archive)


@pytest.mark.parametrize(
    ("name", "data", "what", "step"),
    [
        (
            "0.jpg",
            picture_bytes(0),
            "0.jpg is a picture, and no archive",
            "Give its folder, {}, or",
        ),
        ("labels.csv", b"file,label\n", "labels.csv is a table", "ImageDataLoaders.from_csv does"),
        ("labels.xlsx", zip_bytes(), "labels.xlsx is a table", "Give the folder of the pictures"),
        ("page.zip", b"<html>", "page.zip is not an archive", "a web page was perhaps saved"),
    ],
)
def test_a_file_that_is_no_archive_is_called_what_it_is(
    tmp_path: Path, name: str, data: bytes, what: str, step: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        get_data(tmp_path / name)
    assert caught.value.what.startswith(what)
    assert step.format(tmp_path) in caught.value.next_step


def test_an_archive_under_a_pictures_name_is_unpacked(tmp_path: Path, home: Path) -> None:
    (tmp_path / "photos.jpg").write_bytes(zip_bytes())
    assert get_data(tmp_path / "photos.jpg") == home / "data" / "photos.jpg"


def test_a_file_where_the_folder_should_be(tmp_path: Path, home: Path) -> None:
    archive = tmp_path / "photos.zip"
    archive.write_bytes(zip_bytes())
    (home / "data").mkdir(parents=True)
    (home / "data" / "photos").write_text("mine")
    with pytest.raises(DataError, match=r"Unpacking photos\.zip failed"):
        get_data(archive)
    assert (home / "data" / "photos").read_text() == "mine"


class PressesStop(View):
    """Ctrl-C when this is under way."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self._when = when

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        if label == self._when:
            raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["downloading", "unpacking", "checking pictures"])
def test_stop_at_any_point_is_gone_on_from(server: FileServer, home: Path, when: str) -> None:
    server.files["a.zip"] = zip_bytes()
    with pytest.raises(Stopped) as caught:
        get_data(server.url("a.zip"), show=PressesStop(when))
    assert "Run the same line again" in caught.value.next_step
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (home / "data" / "a").exists() == (when == "checking pictures")
    assert len(list(get_data(server.url("a.zip")).rglob("*.jpg"))) == 16


CHILD = "import sys, fastmagic; print(fastmagic.get_data(sys.argv[1], dest=sys.argv[2] or None))"


def child(url: str, dest: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, dest],
        env={**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("several", [2, 8])
def test_several_processes_make_one_download(server: FileServer, home: Path, several: int) -> None:
    server.files["a.zip"] = zip_bytes()
    server.pause = 0.3
    children = [child(server.url("a.zip")) for _ in range(several)]
    answers = [one.communicate(timeout=120)[0].strip() for one in children]
    assert answers == [str(home / "data" / "a")] * several
    assert len(server.asked) == 1


def test_processes_with_different_folders_make_one_download_too(
    server: FileServer, home: Path, tmp_path: Path, fill: Fill
) -> None:
    fill(home / "data" / "a", *LESSON_NAMES)  # another data set has the plain name there
    server.files["a.zip"] = zip_bytes()
    server.pause = 2.0
    children = [child(server.url("a.zip")), child(server.url("a.zip"), str(tmp_path / "mine"))]
    first, second = (Path(one.communicate(timeout=120)[0].strip()) for one in children)
    assert first.parent == home / "data" and first.name.startswith("a-")
    assert second == tmp_path / "mine" / "a" and len(list(second.rglob("*.jpg"))) == 16
    assert len(server.asked) == 1


def test_a_process_that_waits_takes_over_from_one_that_is_killed(
    server: FileServer, home: Path
) -> None:
    server.files["a.zip"] = zip_bytes()
    server.pause = 60  # the first answer's end never comes
    first = child(server.url("a.zip"))
    while not server.asked:
        time.sleep(0.01)
    server.pause = 0
    second = child(server.url("a.zip"))
    time.sleep(0.2)
    first.kill()
    first.communicate()
    assert second.communicate(timeout=120)[0].strip() == str(home / "data" / "a")


def test_the_list_changes_with_what_is_here(home: Path, fill: Fill) -> None:
    assert not any(one.here for one in list_data().sets)
    fill(home / "data" / "dogscats", *LESSON_NAMES)
    assert [one.name for one in list_data().sets if one.here] == ["dogscats"]


def test_real_photographs_from_a_server(server: FileServer, home: Path) -> None:
    given = os.environ.get("FASTMAGIC_TEST_PHOTOS", "")
    if not given:
        pytest.skip("FASTMAGIC_TEST_PHOTOS names no zip of photographs in lesson 1's layout")
    (home / "archive").mkdir(parents=True)
    copy = shutil.copy(given, home / "photos.zip")
    server.files["photos.zip"] = Path(copy).read_bytes()
    card = fastmagic.data_card(get_data(server.url("photos.zip")))
    assert card.kind == "train/valid folders" and not card.unreadable and card.valid > 0


def test_half_an_archive_that_lay_there_is_fetched_anew_at_once(
    server: FileServer, home: Path
) -> None:
    server.files["dogscats.tgz"] = tgz_bytes("dogscats", LESSON_NAMES)
    (home / "archive").mkdir(parents=True)
    half = home / "archive" / "dogscats.tgz"
    half.write_bytes(server.files["dogscats.tgz"][:900])
    view = Watching()
    env = {"FASTAI_HOME": str(home), "FASTMAGIC_CATALOGUE": server.url().rstrip("/")}
    path = get_data("dogscats", env=env, show=view)
    assert len(list(path.rglob("*.jpg"))) == 16
    assert any("fetching it anew" in note for note in view.notes)
    assert half.with_name("dogscats.tgz.refused").stat().st_size == 900


@pytest.mark.parametrize("source", [None, 5, b"x", "a\0b", "\ud800", "http://h/\udc80.zip"])
def test_what_is_no_source_is_said(source: object) -> None:
    with pytest.raises(BadInput):
        get_data(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [{"checksum": 5}, {"dest": "a\0b"}, {"dest": 5}, {"cache": b"x"}, {"label_pattern": 1}],
)
def test_what_is_no_option_is_said(more: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(more))):
        get_data("sample", **more)  # type: ignore[arg-type]


def test_a_nul_or_a_long_name_in_an_address_makes_a_usable_folder(
    server: FileServer, home: Path
) -> None:
    long = "x" * 240 + ".zip"
    server.files[long] = zip_bytes()
    assert get_data(server.url(long)) == home / "data" / ("x" * 100)
    place = for_url(f"{S3}imageclas/a%00b.tgz", None, {"FASTAI_HOME": str(home)})
    assert place.lock.name == "a_b.tgz.lock"


def test_a_long_name_in_letters_of_several_bytes_makes_a_usable_folder(
    server: FileServer, home: Path, tmp_path: Path
) -> None:
    name = "\u732b" * 80 + ".zip"
    server.files[quote(name)] = zip_bytes()
    assert get_data(server.url(name)) == home / "data" / ("\u732b" * 33)
    (tmp_path / name).write_bytes(zip_bytes())
    assert get_data(tmp_path / name).parent == home / "data"


def test_a_path_that_is_too_long_gets_advice_for_reading() -> None:
    with pytest.raises(DataError) as caught:
        get_data("/" + "x" * 300)
    assert caught.value.next_step == "Check the path and who may read it."


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_bytes())
    with pytest.raises(DataError) as caught:
        get_data(archive, dest=tmp_path / "out", env={"FASTAI_HOME": str(tmp_path / "home")})
    assert caught.value.next_step == "Set FASTAI_HOME to a folder that can be written."


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not stop root"
)
def test_an_archive_that_may_not_be_read_gets_advice_for_reading(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_bytes())
    archive.chmod(0)
    with pytest.raises(DataError) as caught:
        get_data(archive, checksum="md5:" + "0" * 32)
    assert caught.value.next_step == "Check the path and who may read it."
