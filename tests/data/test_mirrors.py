"""Several addresses of one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import requests

from fastmagic.data.web.download import download
from fastmagic.errors import DownloadError

from .downloads import DATA, Waits, fetch, nothing_left
from .server import FileServer, Quirk

CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


@pytest.fixture
def other() -> Iterator[FileServer]:
    """A second server with the same file, marked otherwise."""
    one = FileServer({"a.zip": DATA}, etag='"other"')
    one.start()
    yield one
    one.stop()


@pytest.mark.parametrize("status", [401, 403, 404, 410, 418])
def test_a_refusal_sends_to_the_next_at_once(
    server: FileServer, other: FileServer, archive: Path, status: int
) -> None:
    server.quirks = [Quirk(status=status)]
    waits = Waits()
    fetched, view = fetch(server, archive, mirrors=[other.url("a.zip")], sleep=waits)
    assert fetched.url == other.url("a.zip") and waits.seconds == []
    assert f"HTTP {status}" in view.notes[0] and view.notes[0].endswith("Trying the next address.")


def test_an_address_that_stays_in_trouble_is_left(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(status=503)] * 4
    fetched, _ = fetch(server, archive, mirrors=[other.url("a.zip")])
    assert fetched.url == other.url("a.zip") and len(server.asked) == 4


def test_wrong_content_sends_to_the_next(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(body=DATA[::-1])]
    fetched, view = fetch(server, archive, mirrors=[other.url("a.zip")], checksum=CHECKSUM)
    assert fetched.url == other.url("a.zip") and "another checksum" in view.notes[0]


def test_a_wrong_size_sends_to_the_next(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(body=DATA[:-1])]
    fetched, _ = fetch(server, archive, mirrors=[other.url("a.zip")], size=len(DATA))
    assert fetched.url == other.url("a.zip")


def test_a_web_page_sends_to_the_next(server: FileServer, other: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(body=b"<html>Log in</html>")]
    assert fetch(server, archive, mirrors=[other.url("a.zip")])[0].url == other.url("a.zip")


def test_another_address_goes_on_where_the_checksum_of_the_whole_is_known(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(cut=1000000), Quirk(status=404)]
    fetched, _ = fetch(server, archive, mirrors=[other.url("a.zip")], checksum=CHECKSUM)
    assert other.asked[0].start == 1_000_000 and other.sent == 2_000_000
    assert fetched.etag == '"other"'


def test_what_two_addresses_do_not_agree_on_is_fetched_in_one_go(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(body=DATA[::-1], cut=1000000), Quirk(status=404)]
    _, view = fetch(server, archive, mirrors=[other.url("a.zip")], checksum=CHECKSUM)
    assert "once more in one go" in view.notes[-1]
    assert [one.start for one in other.asked] == [1_000_000, 0]


def test_another_address_goes_on_with_the_same_strong_etag_and_size(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    other.etag = server.etag
    server.quirks = [Quirk(cut=1000000), Quirk(status=404)]
    fetch(server, archive, mirrors=[other.url("a.zip")])
    assert (other.asked[0].start, other.asked[0].if_range) == (1_000_000, '"one"')


@pytest.mark.parametrize("heeds", [True, False])
def test_another_address_starts_over_where_nothing_says_that_it_is_the_same(
    server: FileServer, other: FileServer, archive: Path, heeds: bool
) -> None:
    other.files["a.zip"] = server.files["a.zip"] = DATA[::-1]
    other.heeds_if_range = heeds
    server.quirks = [Quirk(body=DATA, cut=1_000_000), Quirk(status=404)]
    _, view = fetch(server, archive, mirrors=[other.url("a.zip")])
    assert other.sent >= len(DATA)
    assert any("over" in note or "another version" in note for note in view.notes)


def test_another_size_elsewhere_is_never_gone_on_with(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    other.etag = server.etag
    other.files["a.zip"] = server.files["a.zip"] = DATA + b"more"
    server.quirks = [Quirk(body=DATA, cut=1000000), Quirk(status=404)]
    _, view = fetch(server, archive, mirrors=[other.url("a.zip")])
    assert any("another version" in note for note in view.notes)


def test_the_next_run_goes_on_with_the_address_that_the_part_came_from(
    server: FileServer, other: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(status=404)]
    other.quirks = [Quirk(cut=1_000_000), Quirk(status=403)]
    with pytest.raises(DownloadError):
        fetch(server, archive, mirrors=[other.url("a.zip")])
    fetch(server, archive, mirrors=[other.url("a.zip")])
    assert len(server.asked) == 1 and other.asked[-1].start == 1_000_000


def test_when_all_fail_each_is_quoted(server: FileServer, other: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(status=404)]
    other.quirks = [Quirk(status=503)] * 9
    with pytest.raises(DownloadError) as caught:
        fetch(server, archive, mirrors=[other.url("a.zip"), server.url("none.zip")])
    what = caught.value.what
    assert what.startswith("a.zip could be had from none of its 3 addresses. (1) There is no file")
    assert "HTTP 503" in what.split("(2)")[1] and "none.zip" in what.split("(3)")[1]
    assert nothing_left(archive)


class NoNetwork:
    """A session that finds no server of these names, and loses the others' first byte."""

    def __init__(self, *unknown: str) -> None:
        self.unknown = unknown

    def get(self, url: str, **_: object) -> NoReturn:
        words = "Failed to resolve" if any(one in url for one in self.unknown) else "reset"
        raise requests.ConnectionError(words)


MIRRORS = ("https://a.example/a.zip", "https://b.example/a.zip", "https://b.example/old/a.zip")


def test_when_all_fail_for_one_reason_it_is_said_once(archive: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(
            *(MIRRORS[0], archive),
            mirrors=MIRRORS[1:],
            session=NoNetwork("a.example", "b.example"),
            sleep=Waits(),
        )
    assert caught.value.what == (
        "a.zip could not be downloaded: none of its servers (a.example, b.example) was found."
    )
    assert "Settings > Internet" in caught.value.next_step
    assert caught.value._render_traceback_()[0].startswith("DownloadError: a.zip")


def test_when_all_fail_for_several_reasons_each_is_said(archive: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(
            *(MIRRORS[0], archive),
            mirrors=MIRRORS[1:],
            session=NoNetwork("a.example"),
            sleep=Waits(),
        )
    assert "none of its 3 addresses" in caught.value.what
    assert "(its name was not found)" in caught.value.what and "(it was cut)" in caught.value.what


def test_what_is_kept_is_said_where_all_fail(
    server: FileServer, archive: Path, other: FileServer
) -> None:
    server.quirks = [Quirk(cut=1_000_000), *[Quirk(cut=0)] * 9]
    other.stop()
    with pytest.raises(DownloadError, match=r"1\.0 MB are kept"):
        fetch(server, archive, mirrors=[other.url("a.zip")], checksum=CHECKSUM)


def test_the_same_address_twice_is_one(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(status=404)] * 2
    with pytest.raises(DownloadError, match=r"^There is no file"):
        fetch(server, archive, mirrors=[server.url("a.zip")])
    assert len(server.asked) == 1
