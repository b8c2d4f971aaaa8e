"""Downloads from a real server: whole, resumed, verified, stopped."""

from __future__ import annotations

import hashlib
import random
import socket
import time
import traceback
from pathlib import Path

import pytest

from fastmagic.data.web.download import download
from fastmagic.errors import DataError, DownloadError, Stopped

from .downloads import DATA, QUICK, PressesStop, Waits, fetch, nothing_left
from .server import FileServer, Quirk


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


def test_a_file_arrives_whole_quietly_and_with_its_hash(
    server: FileServer, archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetched, view = fetch(server, archive)
    assert view.notes == [] and capfd.readouterr() == ("", "")
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (fetched.path, fetched.size, fetched.etag) == (archive, len(DATA), '"one"')
    assert fetched.url == server.url("a.zip") and len(server.asked) == 1


def test_other_hashes_are_made_on_the_way(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=1_000_000)]
    fetched, _ = fetch(server, archive, hashes=["md5"])
    assert fetched.hashes["md5"] == hashlib.md5(DATA).hexdigest()
    assert fetched.hashes["sha256"] == fetched.sha256


def test_a_second_call_downloads_nothing(server: FileServer, archive: Path) -> None:
    fetch(server, archive)
    fetched, _ = fetch(server, archive)
    assert len(server.asked) == 1 and (fetched.size, fetched.sha256) == (len(DATA), "")


@pytest.mark.parametrize("seed", range(20))
def test_cut_anywhere_it_goes_on_from_there(server: FileServer, archive: Path, seed: int) -> None:
    dice = random.Random(seed)
    server.quirks = [Quirk(cut=dice.choice([0, 1, dice.randrange(len(DATA))])) for _ in range(6)]
    fetched, view = fetch(server, archive)
    ends = time.monotonic() + 10
    while server.sent < len(DATA) and time.monotonic() < ends:  # the server counts what it has sent
        time.sleep(0.01)
    starts = [one.start for one in server.asked]
    assert starts == sorted(starts) and server.sent == len(DATA)
    assert all(one.if_range == server.etag for one in server.asked if one.range)
    assert not any("over" in note for note in view.notes)
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()


def test_nothing_is_hashed_twice_in_one_go_and_once_after_a_restart(
    server: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(cut=2_000_000)]
    with pytest.raises(Stopped):
        fetch(server, archive, view=PressesStop())
    kept = archive.with_name("a.zip.part").stat().st_size
    bars: list[tuple[str, float]] = []

    class Listens(PressesStop):
        def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
            bars.append((label, done))

    fetched, _ = fetch(server, archive, view=Listens())
    assert [done for label, done in bars if label == "reading what is there"][-1] == kept
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_date_will_do_where_there_is_no_etag(server: FileServer, archive: Path) -> None:
    server.etag, server.modified = "", "Wed, 21 Oct 2015 07:28:00 GMT"
    server.quirks = [Quirk(cut=400_000)]
    fetch(server, archive)
    assert server.asked[1].if_range == server.modified


def test_a_date_of_this_very_second_tells_nothing(server: FileServer, archive: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.etag, server.modified = "", date
    server.quirks = [Quirk(cut=400_000, headers={"Last-Modified": "Wed, 21 Oct 2099 07:28:00 GMT"})]
    fetch(server, archive)
    assert server.asked[1].range == ""


def test_without_any_mark_of_the_version_it_starts_over(server: FileServer, archive: Path) -> None:
    server.etag = 'W/"weak"'
    server.quirks = [Quirk(cut=400_000)]
    _, view = fetch(server, archive)
    assert server.asked[1].range == ""
    assert any("starting over" in note for note in view.notes)


def test_with_a_checksum_it_goes_on_without_any_mark(server: FileServer, archive: Path) -> None:
    server.etag = 'W/"weak"'
    server.quirks = [Quirk(cut=400_000)]
    fetch(server, archive, checksum=f"sha256:{hashlib.sha256(DATA).hexdigest()}")
    assert server.asked[1].start == 400_000 and server.asked[1].if_range == ""


def test_what_a_checksum_shows_to_be_spliced_is_fetched_in_one_go(
    server: FileServer, archive: Path
) -> None:
    server.etag = ""
    server.quirks = [Quirk(cut=1_000_000, body=DATA[::-1])]  # the file changed, and nothing says so
    _, view = fetch(server, archive, checksum=f"md5:{hashlib.md5(DATA).hexdigest()}")
    assert "once more in one go" in view.notes[-1]
    assert [one.start for one in server.asked] == [0, 1_000_000, 0]


def test_a_file_that_changed_is_fetched_anew_and_said(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(status=404)]
    with pytest.raises(DownloadError):
        fetch(server, archive)
    server.files["a.zip"], server.etag = DATA[::-1], '"two"'
    fetched, view = fetch(server, archive)
    assert view.notes == ["a.zip has changed on the server: starting over."]
    assert fetched.sha256 == hashlib.sha256(DATA[::-1]).hexdigest()


def test_a_server_that_cannot_go_on_in_the_middle(server: FileServer, archive: Path) -> None:
    server.ranges = False
    server.quirks = [Quirk(cut=700_000)]
    _, view = fetch(server, archive)
    assert view.notes[-1] == "127.0.0.1 cannot go on in the middle: starting over."


def test_a_checksum_is_compared(server: FileServer, archive: Path) -> None:
    fetch(server, archive, checksum=f"md5:{hashlib.md5(DATA).hexdigest()}")
    archive.unlink()
    with pytest.raises(DownloadError, match="another checksum than sha256:0"):
        fetch(server, archive, checksum="sha256:" + "0" * 64)
    assert not archive.exists()


def test_an_archive_that_lies_there_is_compared_too(server: FileServer, archive: Path) -> None:
    checksum = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    archive.parent.mkdir()
    archive.write_bytes(DATA)
    fetched, _ = fetch(server, archive, checksum=checksum)
    assert server.asked == [] and fetched.sha256 == hashlib.sha256(DATA).hexdigest()
    archive.write_bytes(DATA[:-1])
    _, view = fetch(server, archive, checksum=checksum)
    assert "another checksum: fetching it anew" in view.notes[0] and len(server.asked) == 1


def test_a_size_that_is_wanted_is_insisted_on(server: FileServer, archive: Path) -> None:
    with pytest.raises(DownloadError, match=r"is 3,000,000 bytes at .*, not 999\."):
        fetch(server, archive, size=999)
    server.chunked = True
    with pytest.raises(DownloadError, match=r"arrived with 3,000,000 bytes, not 999\."):
        fetch(server, archive, size=999)
    assert nothing_left(archive)


def test_another_size_than_recorded_is_said_and_kept(server: FileServer, archive: Path) -> None:
    assert "999 were recorded" in fetch(server, archive, expected=999)[1].notes[0]


def test_stop_keeps_what_has_arrived(server: FileServer, archive: Path) -> None:
    with pytest.raises(Stopped) as caught:
        download(server.url("a.zip"), archive, view=PressesStop())
    assert "of 3.0 MB are kept" in caught.value.what
    assert "goes on from" in caught.value.next_step
    fetch(server, archive)
    assert server.asked[1].start > len(DATA) / 3


def test_killed_after_the_last_byte_it_asks_for_nothing(server: FileServer, archive: Path) -> None:
    with pytest.raises(Stopped):
        download(server.url("a.zip"), archive, view=PressesStop())
    archive.with_name("a.zip.part").write_bytes(DATA)
    fetched, _ = fetch(server, archive)
    assert len(server.asked) == 1 and fetched.sha256 == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("whole", [False, True])
def test_a_partial_file_of_another_address_is_not_gone_on_with(
    server: FileServer, archive: Path, whole: bool
) -> None:
    server.files["b.zip"] = DATA[::-1]
    with pytest.raises(Stopped):
        download(server.url("b.zip"), archive, view=PressesStop())
    if whole:
        archive.with_name("a.zip.part").write_bytes(DATA[::-1])
    _, view = fetch(server, archive)
    assert server.asked[1].range == "" and "starting over" in view.notes[0]


def test_a_partial_file_without_its_record_is_not_gone_on_with(
    server: FileServer, archive: Path
) -> None:
    archive.parent.mkdir()
    archive.with_name("a.zip.part").write_bytes(DATA[:500])
    archive.with_name("a.zip.part.json").write_text('{"source": "http')
    fetch(server, archive)
    assert server.asked[0].range == ""


def test_nobody_there_is_said_with_what_to_do(archive: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits = Waits()
    url = f"http://127.0.0.1:{port}/a.zip?token=x"
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 failed \(refused\)") as caught:
        download(url, archive, sleep=waits, dice=lambda: 0.5)
    assert waits.seconds == [1, 2, 4]
    assert "Settings > Internet" in caught.value.next_step and "token" not in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    assert "ConnectionRefusedError" in told and "token" not in told


@pytest.mark.parametrize("url", ["http://[broken/a.zip", "http://127.0.0.1:99999/a.zip"])
def test_an_address_that_is_none(archive: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot be used"):
        download(url, archive, sleep=Waits(), patience=QUICK)


def test_a_full_disk_is_said_before_the_first_byte(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(length=10**18)]
    with pytest.raises(DataError, match=r"needs 1000000\.0 TB|needs 1000000 TB"):
        download(server.url("a.zip"), archive)
    assert not archive.with_name("a.zip.part").exists()


def test_no_secret_is_kept_in_a_file(server: FileServer, archive: Path) -> None:
    with pytest.raises(Stopped):
        download(server.url("a.zip?token=geheim"), archive, view=PressesStop())
    assert "geheim" not in archive.with_name("a.zip.part.json").read_text()
    fetched, _ = fetch(server, archive, url=server.url("a.zip?token=geheim"))
    assert "geheim" not in repr(fetched)
