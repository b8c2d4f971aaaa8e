"""Downloads from a real server that misbehaves."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastmagic
from fastmagic.data.download import TRIES, download
from fastmagic.errors import DataError, DownloadError, Stopped
from fastmagic.progress import View

from .server import FileServer, Quirk

DATA = random.Random(1).randbytes(1_000_000)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


def get(server: FileServer, archive: Path, **more: object) -> View:
    view = View()
    download(server.url("a.zip"), archive, view=view, sleep=lambda _: None, **more)  # type: ignore[arg-type]
    assert archive.read_bytes() == server.files["a.zip"]
    assert [one.name for one in archive.parent.iterdir()] == ["a.zip"]
    return view


def test_a_file_arrives_whole_and_quietly(
    server: FileServer, archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    view = get(server, archive)
    assert view.notes == []
    assert capfd.readouterr() == ("", "")


def test_a_second_call_downloads_nothing(server: FileServer, archive: Path) -> None:
    get(server, archive)
    get(server, archive)
    assert len(server.asked) == 1


@pytest.mark.parametrize("seed", range(5))
def test_cut_anywhere_it_goes_on_from_there(server: FileServer, archive: Path, seed: int) -> None:
    dice = random.Random(seed)
    server.quirks = [Quirk(cut=dice.randrange(len(DATA))) for _ in range(4)]
    view = get(server, archive)
    starts = [int(one.range[6:-1]) for one in server.asked if one.range]
    assert starts == sorted(starts) and starts
    assert all(one.if_range == server.etag for one in server.asked if one.range)
    assert not any("over" in note for note in view.notes)


def test_a_date_will_do_where_there_is_no_etag(server: FileServer, archive: Path) -> None:
    server.etag, server.modified = "", "Wed, 21 Oct 2015 07:28:00 GMT"
    server.quirks = [Quirk(cut=400_000)]
    get(server, archive)
    assert server.asked[1].if_range == server.modified


def test_without_any_mark_of_the_version_it_starts_over(server: FileServer, archive: Path) -> None:
    server.etag = 'W/"weak"'
    server.quirks = [Quirk(cut=400_000)]
    view = get(server, archive)
    assert server.asked[1].range == ""
    assert any("starting over" in note for note in view.notes)


def test_a_file_that_changed_is_fetched_anew_and_said(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(status=404)]
    with pytest.raises(DownloadError):
        get(server, archive)
    server.files["a.zip"], server.etag = DATA[::-1], '"two"'
    view = get(server, archive)
    assert view.notes == ["a.zip has changed on the server: starting over."]


def test_a_server_that_cannot_go_on_in_the_middle(server: FileServer, archive: Path) -> None:
    server.ranges = False
    server.quirks = [Quirk(cut=700_000)]
    view = get(server, archive)
    assert view.notes[-1] == "127.0.0.1 cannot go on in the middle: starting over."


def test_a_part_that_does_not_fit_is_not_added(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(shift=10)]
    view = get(server, archive)
    assert any("another part" in note for note in view.notes)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_passes_is_waited_for(server: FileServer, archive: Path, status: int) -> None:
    server.quirks = [Quirk(status=status)] * 2
    waits: list[float] = []
    download(server.url("a.zip"), archive, sleep=waits.append)
    assert archive.read_bytes() == DATA and waits == [1, 2]


def test_trouble_that_stays_ends(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=300_000)] + [Quirk(status=503)] * 10
    waits: list[float] = []
    with pytest.raises(DownloadError, match=r"HTTP 503.* are kept") as caught:
        download(server.url("a.zip"), archive, sleep=waits.append)
    assert len(waits) == TRIES - 1 and "what has arrived is kept" in caught.value.next_step


@pytest.mark.parametrize(
    ("status", "what"), [(404, "There is no file"), (403, "refuses"), (401, "refuses")]
)
def test_a_refusal_is_not_asked_twice(
    server: FileServer, archive: Path, status: int, what: str
) -> None:
    server.quirks = [Quirk(status=status)]
    with pytest.raises(DownloadError, match=f"{what}.*HTTP {status}"):
        get(server, archive)
    assert len(server.asked) == 1 and not list(archive.parent.iterdir())


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n <html><body>Log in"])
def test_a_web_page_is_no_archive(server: FileServer, archive: Path, page: bytes) -> None:
    server.quirks = [Quirk(body=page)]
    with pytest.raises(DownloadError, match="sent a web page instead of an archive"):
        get(server, archive)
    assert not list(archive.parent.iterdir())


def test_a_checksum_is_compared(server: FileServer, archive: Path) -> None:
    get(server, archive, checksum=f"md5:{hashlib.md5(DATA).hexdigest()}")
    archive.unlink()
    with pytest.raises(DownloadError, match="another checksum than sha256:0"):
        get(server, archive, checksum="sha256:" + "0" * 64)
    assert not list(archive.parent.iterdir())


def test_another_size_than_recorded_is_said_and_kept(server: FileServer, archive: Path) -> None:
    assert "999 were recorded" in get(server, archive, expected=999).notes[0]


class PressesStop(View):
    """Ctrl-C when half of it has arrived."""

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        if total and done > total / 2:
            raise KeyboardInterrupt


def test_stop_keeps_what_has_arrived(server: FileServer, archive: Path) -> None:
    with pytest.raises(Stopped) as caught:
        download(server.url("a.zip"), archive, view=PressesStop())
    assert "of 1.0 MB are kept" in caught.value.what
    assert "goes on from 5" in caught.value.next_step
    get(server, archive)
    assert int(server.asked[1].range[6:-1]) > len(DATA) / 2


CHILD = """
import sys
from pathlib import Path
from fastmagic.data.download import download
download(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_killed_download_goes_on_in_another_process(server: FileServer, archive: Path) -> None:
    server.pause = 0.02
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url("a.zip"), str(archive)],
        env={**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])},
    )
    part = archive.with_name("a.zip.part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 300_000):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not archive.exists()
    server.pause = 0
    get(server, archive)
    assert int(server.asked[-1].range[6:-1]) > 300_000


def test_killed_after_the_last_byte_it_asks_for_nothing(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=999_999)]
    with pytest.raises(Stopped):
        download(server.url("a.zip"), archive, view=PressesStop())
    part = archive.with_name("a.zip.part")
    part.write_bytes(DATA)
    get(server, archive)
    assert len(server.asked) == 1


def test_a_partial_file_of_another_address_is_not_gone_on_with(
    server: FileServer, archive: Path
) -> None:
    server.files["b.zip"] = DATA[::-1]
    with pytest.raises(Stopped):
        download(server.url("b.zip"), archive, view=PressesStop())
    get(server, archive)
    assert server.asked[1].range == ""


def test_nobody_there_is_said_with_what_to_do(archive: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits: list[float] = []
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 failed \(refused\)") as caught:
        download(f"http://127.0.0.1:{port}/a.zip?token=x", archive, sleep=waits.append)
    assert waits == [1, 2, 4]
    assert "Settings > Internet" in caught.value.next_step and "token" not in str(caught.value)


def test_an_address_that_is_none(archive: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be used"):
        download("http://[broken/a.zip", archive)


def test_a_full_disk_is_said_before_the_first_byte(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(length=10**18)]
    with pytest.raises(DataError, match=r"needs 1000000\.0 TB|needs 1000000 TB"):
        download(server.url("a.zip"), archive)
    assert not archive.with_name("a.zip.part").exists()


def test_no_secret_is_kept_in_a_file(server: FileServer, archive: Path) -> None:
    with pytest.raises(Stopped):
        download(server.url("a.zip?token=geheim"), archive, view=PressesStop())
    assert "geheim" not in archive.with_name("a.zip.part.json").read_text()
