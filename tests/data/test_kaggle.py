"""Kaggle: handles, credentials, a server that answers as its API does, and attached data sets."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fastmagic.data import kaggle
from fastmagic.data.get import get_data
from fastmagic.errors import BadInput, DownloadError, PicturesError
from fastmagic.progress import View

from .conftest import LESSON_NAMES, zip_bytes
from .server import FileServer, Quirk

Fill = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("home")

FLAT = tuple(f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(5))
DATASET = "api/v1/datasets/download/someone/birds"
CONTEST = "api/v1/competitions/data/download-all/dogs-vs-cats"
BASIC = "Basic " + base64.b64encode(b"me:s3cret").decode()


@dataclass
class Storage(FileServer):
    """Where Kaggle keeps the files; remembers who was let in by a header."""

    signed: list[str | None] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.signed.append(request.headers.get("Authorization"))
        super().answer(request)


@dataclass
class Api(FileServer):
    """Answers as Kaggle's API does: a redirect to signed storage for those who may."""

    accepts: tuple[str | None, ...] = (BASIC, "Bearer t0ken")
    routes: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.lstrip("/")
        status = 302 if path in self.routes else 404
        if request.headers.get("Authorization") not in self.accepts:
            status = 401
        status = self.refusals.get(path, status)
        request.send_response(status)
        if status == 302:
            request.send_header("Location", self.routes[path])
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def storage() -> Iterator[Storage]:
    one = Storage()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def api(storage: Storage) -> Iterator[Api]:
    one = Api()
    one.start()
    storage.files["birds.zip"] = zip_bytes()
    one.routes[DATASET] = storage.url("birds.zip?X-Goog-Signature=abc")
    yield one
    one.stop()


def env_of(home: Path, **more: str) -> dict[str, str]:
    """Give an environment with credentials in it."""
    return {"FASTAI_HOME": str(home), "KAGGLE_USERNAME": "me", "KAGGLE_KEY": "s3cret", **more}


def contest_zip() -> bytes:
    """Pack as Kaggle packs dogs vs cats: archives in an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("sampleSubmission.csv", "id,label\n")
        zipped.writestr("test1.zip", zip_bytes(("1.jpg", "2.jpg"), "test1/"))
        zipped.writestr("train.zip", zip_bytes(FLAT, "train/"))
    return buffer.getvalue()


def test_a_data_set_comes_from_kaggle_and_the_second_call_asks_nobody(
    api: Api, storage: Storage, home: Path
) -> None:
    path = get_data("kaggle:someone/birds", env=env_of(home), kaggle_site=api.url())
    assert path == home / "data" / "birds" and len(list(path.rglob("*.jpg"))) == 16
    asked = len(storage.asked)
    api.routes.clear()
    again = get_data("kaggle:someone/birds", env={"FASTAI_HOME": str(home)}, kaggle_site=api.url())
    assert again == path and len(storage.asked) == asked


def test_credentials_are_not_carried_to_the_storage_nor_written_anywhere(
    api: Api, storage: Storage, home: Path
) -> None:
    view = View()
    get_data("kaggle:someone/birds", env=env_of(home), kaggle_site=api.url(), show=view)
    assert storage.signed and set(storage.signed) == {None}
    assert not any("s3cret" in note for note in view.notes)
    written = [one for one in home.rglob("*") if one.is_file()]
    assert written and not any(b"s3cret" in one.read_bytes() for one in written)
    assert "s3cret" not in repr(kaggle.credentials(env_of(home)))


def test_a_download_that_was_cut_goes_on_through_a_new_redirect(
    api: Api, storage: Storage, home: Path
) -> None:
    storage.quirks.append(Quirk(cut=2000))
    path = get_data("kaggle:someone/birds", env=env_of(home), kaggle_site=api.url())
    assert len(list(path.rglob("*.jpg"))) == 16
    assert [one.range for one in storage.asked] == ["", "bytes=2000-"]


def test_a_competition_is_unpacked_down_to_its_training_pictures(
    api: Api, storage: Storage, home: Path
) -> None:
    storage.files["all.zip"] = contest_zip()
    api.routes[CONTEST] = storage.url("all.zip")
    path = get_data("kaggle:dogs-vs-cats", env=env_of(home), kaggle_site=api.url())
    assert path == home / "data" / "dogs-vs-cats-train"
    assert sorted(one.name for one in path.iterdir()) == sorted(FLAT)
    api.routes.clear()
    assert get_data("kaggle:dogs-vs-cats", env=env_of(home), kaggle_site=api.url()) == path


@pytest.mark.parametrize(
    ("more", "header"),
    [
        ({"KAGGLE_API_TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "s3cret"}, BASIC),
        ({}, None),
    ],
)
def test_credentials_from_the_environment(more: dict[str, str], header: str | None) -> None:
    assert signature(kaggle.credentials(more)) == header


@pytest.mark.parametrize(
    ("name", "text", "header"),
    [
        ("kaggle.json", json.dumps({"username": "me", "key": "s3cret"}), BASIC),
        ("access_token", "t0ken\n", "Bearer t0ken"),
        ("kaggle.json", "{}", None),
        ("kaggle.json", "not json", None),
        ("kaggle.json", "[]", None),
    ],
)
def test_credentials_from_a_file(tmp_path: Path, name: str, text: str, header: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert signature(kaggle.credentials({"KAGGLE_CONFIG_DIR": str(tmp_path)})) == header
    (Path.home() / ".kaggle").mkdir()
    (Path.home() / ".kaggle" / name).write_text(text)
    assert signature(kaggle.credentials({})) == header


def signature(found: kaggle.Credentials | None) -> str | None:
    import requests

    if found is None:
        return None
    request = requests.Request("GET", "http://example.org", auth=found).prepare()
    return request.headers["Authorization"]


@pytest.mark.parametrize(
    ("source", "signed", "status", "what", "step"),
    [
        ("kaggle:someone/birds", False, 0, "no credentials were found", "(1) On https://www.kag"),
        ("kaggle:dogs-vs-cats", False, 0, "no credentials were found", "kaggle.json"),
        ("kaggle:someone/birds", True, 401, "did not accept the credentials", "Make new ones"),
        ("kaggle:dogs-vs-cats", True, 403, "refuses", "accept the competition's rules at http"),
        ("kaggle:someone/birds", True, 403, "refuses", "/datasets/someone/birds"),
        ("kaggle:someone/nothing", True, 0, "There is no kaggle:someone/nothing", "Check the name"),
    ],
)
def test_every_refusal_says_what_to_do(
    api: Api, home: Path, source: str, signed: bool, status: int, what: str, step: str
) -> None:
    if status:
        api.refusals = {DATASET: status, CONTEST: status}
    env = env_of(home) if signed else {"FASTAI_HOME": str(home)}
    with pytest.raises(DownloadError) as caught:
        get_data(source, env=env, kaggle_site=api.url(), sleep=lambda _: None)
    assert what in caught.value.what and step in caught.value.next_step
    assert "s3cret" not in str(caught.value)


def test_a_public_data_set_needs_no_credentials(api: Api, home: Path) -> None:
    api.accepts = (None,)
    path = get_data("kaggle:someone/birds", env={"FASTAI_HOME": str(home)}, kaggle_site=api.url())
    assert path.is_dir()


@pytest.mark.parametrize("text", ["kaggle:", "kaggle:a/b/c", "kaggle:../x", "kaggle:a b"])
def test_a_handle_that_names_nothing(text: str) -> None:
    with pytest.raises(BadInput, match="names no data set on Kaggle"):
        get_data(text)


def test_what_is_attached_is_not_fetched(tmp_path: Path, fill: Fill, api: Api) -> None:
    root = tmp_path / "input"
    fill(root / "birds", *LESSON_NAMES)
    view = View()
    found = get_data("kaggle:someone/birds", kaggle_input=root, kaggle_site=api.url(), show=view)
    assert found == root / "birds" and "attached to this notebook" in view.notes[0]


def test_an_attached_archive_is_unpacked_where_one_can_write(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "input"
    contest = root / "competitions" / "dogs-vs-cats"
    contest.mkdir(parents=True)
    (contest / "train.zip").write_bytes(zip_bytes(FLAT, "train/"))
    (contest / "test1.zip").write_bytes(zip_bytes(("1.jpg",), "test1/"))
    before = sorted(root.rglob("*"))
    for name in ("dogs-vs-cats", "dogs-vs-cats/train.zip", "kaggle:dogs-vs-cats"):
        path = get_data(name, kaggle_input=root)
        assert path == home / "data" / "dogs-vs-cats-train" and len(list(path.iterdir())) == 10
    assert sorted(root.rglob("*")) == before


def test_of_several_attached_archives_one_has_to_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "input" / "both"
    folder.mkdir(parents=True)
    for name in ("a.zip", "b.zip"):
        (folder / name).write_bytes(zip_bytes())
    with pytest.raises(PicturesError, match=r"several archives: 'a\.zip', 'b\.zip'"):
        get_data("both", kaggle_input=folder.parent)
    assert get_data("both/b.zip", kaggle_input=folder.parent).name == "both-b"


def test_a_name_near_to_an_attached_one(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "datasets" / "someone" / "my-birds", "a/1.jpg")
    with pytest.raises(BadInput, match="Did you mean 'my-birds'"):
        get_data("my-bird", kaggle_input=tmp_path)
