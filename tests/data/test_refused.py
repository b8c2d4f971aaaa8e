"""An archive that a wrong checksum refused is not downloaded a second time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fastmagic.data.get import get_data
from fastmagic.data.web import refused
from fastmagic.errors import ArchiveError, DownloadError

from .conftest import zip_bytes
from .downloads import DATA, fetch
from .server import FileServer

RIGHT = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
WRONG = "sha256:" + "0" * 64


@pytest.fixture
def archive(server: FileServer, tmp_path: Path) -> Path:
    """One that a wrong checksum has refused."""
    server.files["a.zip"] = DATA
    file = tmp_path / "archives" / "a.zip"
    with pytest.raises(DownloadError, match=f"than {WRONG}: it is {RIGHT}"):
        fetch(server, file, checksum=WRONG)
    return file


@pytest.mark.parametrize(
    "checksum", [RIGHT, "", f"md5:{hashlib.md5(DATA).hexdigest()}"], ids=["right", "none", "md5"]
)
def test_the_next_call_uses_what_was_put_aside(
    server: FileServer, archive: Path, checksum: str
) -> None:
    asked = len(server.asked)
    fetched, view = fetch(server, archive, checksum=checksum)
    assert len(server.asked) == asked and fetched.sha256 == RIGHT.split(":")[1]
    assert "put aside" in view.notes[0]


def test_one_that_has_changed_since_is_not_used(server: FileServer, archive: Path) -> None:
    asked = len(server.asked)
    refused.aside(archive).write_bytes(DATA[::-1])
    fetch(server, archive)  # and nothing is left of it
    assert len(server.asked) > asked


def test_what_came_from_elsewhere_is_used_only_for_its_checksum(
    server: FileServer, archive: Path
) -> None:
    asked = len(server.asked)
    fetch(server, archive, url=server.url("a.zip") + "?other")
    assert len(server.asked) > asked


def test_a_second_wrong_checksum_keeps_one_file(server: FileServer, archive: Path) -> None:
    with pytest.raises(DownloadError):
        fetch(server, archive, checksum=WRONG)
    names = sorted(one.name for one in archive.parent.iterdir())
    assert names == ["a.zip.refused", "a.zip.refused.sha256"]


def test_what_could_not_be_unpacked_is_not_put_back(server: FileServer, home: Path) -> None:
    server.files["a.zip"] = zip_bytes()[:-300]
    with pytest.raises(DownloadError, match="another checksum"):
        get_data(server.url("a.zip"), checksum=WRONG)
    with pytest.raises(ArchiveError, match="put aside"):
        get_data(server.url("a.zip"))
    server.files["a.zip"] = zip_bytes()
    assert get_data(server.url("a.zip")) == home / "data" / "a"
