"""When a download is tried again: waits, Retry-After, and what counts as progress."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

import pytest

import fastmagic
from fastmagic.data.web.download import download
from fastmagic.data.web.retry import LATER, Patience, back_off, retry_after
from fastmagic.errors import DownloadError

from .downloads import DATA, QUICK, Waits, fetch
from .server import FileServer, Quirk


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


def test_waits_are_spread_below_a_bound_that_doubles() -> None:
    dice = random.Random(0).random
    for failures, bound in ((1, 2), (2, 4), (3, 8), (20, 30)):
        waits = [back_off(failures, 30.0, dice) for _ in range(2000)]
        assert min(waits) < 0.05 * bound and 0.95 * bound < max(waits) <= bound


@pytest.mark.parametrize("text", ["", "soon", "-3", "1.5", "Thu, 99 Foo", "²"])
def test_a_retry_after_that_says_nothing(text: str) -> None:
    assert retry_after(text, 0.0) is None


def test_a_date_that_is_past_means_now() -> None:
    assert retry_after(formatdate(0, usegmt=True), 1e9) == 0


@pytest.mark.parametrize("status", sorted(LATER))
def test_trouble_that_passes_is_waited_for(server: FileServer, archive: Path, status: int) -> None:
    server.quirks = [Quirk(status=status)] * 2
    waits = Waits()
    fetch(server, archive, sleep=waits)
    assert waits.seconds == [2, 4]


def test_a_try_that_brought_something_is_followed_at_once(
    server: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(cut=1)] * 30
    waits = Waits()
    fetch(server, archive, sleep=waits)
    assert waits.seconds == [] and len(server.asked) == 31


def test_trouble_that_stays_ends(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=300_000)] + [Quirk(status=503)] * 10
    waits = Waits()
    with pytest.raises(DownloadError, match=r"HTTP 503.* are kept") as caught:
        fetch(server, archive, sleep=waits)
    assert waits.seconds == [2, 4, 8] and "what has arrived is kept" in caught.value.next_step


@pytest.mark.parametrize(
    ("header", "wait"),
    [("17", 17), ("3600", 120), (formatdate(1_000_040, usegmt=True), 40), ("nonsense", 2)],
)
def test_what_the_server_asks_for_is_waited(
    server: FileServer, archive: Path, header: str, wait: float
) -> None:
    server.quirks = [Quirk(status=429, headers={"Retry-After": header})]
    waits = Waits()
    _, view = fetch(server, archive, sleep=waits, now=lambda: 1_000_000.0)
    assert waits.seconds == [wait]
    assert ("as the server asks" in view.notes[0]) == (wait != 2)
    assert f"in {wait} s" in view.notes[0]


def test_a_server_that_says_nothing_more_is_left_and_asked_again(
    server: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(cut=500_000, stall=5.0)]
    _, view = fetch(server, archive, patience=QUICK)
    assert "no answer in time" in view.notes[0] and server.asked[1].start == 500_000


def test_bytes_that_drip_are_no_progress_but_are_kept(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(drip=0.05)] * 3
    waits = Waits()
    _, view = fetch(server, archive, patience=QUICK, sleep=waits)
    assert waits.seconds == [2, 4, 8] and "sent only" in view.notes[0]
    starts = [one.start for one in server.asked]
    assert starts == sorted(set(starts)) and server.sent < len(DATA) + 50


def test_a_server_that_only_drips_is_given_up(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(drip=0.05)] * 10
    with pytest.raises(DownloadError, match="sent only"):
        fetch(server, archive, patience=QUICK)
    assert len(server.asked) == Patience().tries


WAITING = """
import sys
from pathlib import Path
from fastmagic.data.web.download import download
from fastmagic.errors import Stopped
from fastmagic.progress import LogView
try:
    download(sys.argv[1], Path(sys.argv[2]), view=LogView(), dice=lambda: 1.0)
except Stopped as stop:
    print(stop.what)
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_ends_a_wait_at_once(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(cut=1000)] + [Quirk(status=503, headers={"Retry-After": "100"})] * 9
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, server.url("a.zip"), str(archive)],
        env={**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert "connection" in child.stdout.readline()
    assert "in 100 s, as the server asks" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)  # less than the wait
    assert said == "Stopped the download of a.zip; 1.0 kB of 3.0 MB are kept.\n"
    server.quirks = []
    fetch(server, archive)
    assert server.asked[-1].start == 1000


def test_no_try_is_made_when_the_patience_is_one(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(status=500)] * 2
    with pytest.raises(DownloadError):
        download(server.url("a.zip"), archive, patience=Patience(tries=1))
    assert len(server.asked) == 1
