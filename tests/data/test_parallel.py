"""Several connections: used where they help, checked like one, stopped together."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fastmagic.data.web.download import download
from fastmagic.data.web.parallel import Ramp
from fastmagic.data.web.partial import Partial
from fastmagic.errors import DataError, Stopped

from .downloads import DATA, QUICK, PressesStop, Waits, fetch
from .server import FileServer, Quirk


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA
    server.rate = 4e6


def eager(most: int = 4, piece: int = 1 << 17) -> Ramp:
    """A ramp that takes on helpers at once, and does not ask whether it pays."""
    return Ramp(most, settle=0.0, window=0.0, enough=1e12, worth=0.0, gain=0.0, piece=piece)


def together(server: FileServer) -> int:
    """How many parts were asked for."""
    return sum(bool(one.range) for one in server.asked)


def test_four_connections_make_the_same_file(server: FileServer, archive: Path) -> None:
    ramp = eager()
    fetched, view = fetch(server, archive, ramp=ramp)
    assert ramp.count == 4 and together(server) > 10 and view.notes == []
    assert all(one.if_range == '"one"' for one in server.asked if one.range)
    starts = [one.start for one in server.asked]
    assert len(set(starts)) == len(starts)  # nothing is asked for twice
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("seed", range(10))
def test_cut_anywhere_the_file_is_the_same(server: FileServer, archive: Path, seed: int) -> None:
    dice = random.Random(seed)
    server.rate = 0
    server.pause = 0.002
    server.quirks = [
        Quirk() if dice.random() < 0.4 else Quirk(cut=dice.randrange(1 << 17)) for _ in range(40)
    ]
    fetched, _ = fetch(server, archive, ramp=eager())
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()
    assert together(server) > 10


@pytest.mark.parametrize(
    "server_is",
    [{"ranges": False}, {"etag": ""}, {"etag": 'W/"weak"'}, {"chunked": True}],
    ids=["no ranges", "no mark", "weak mark", "no length"],
)
def test_where_it_would_not_be_safe_there_is_one(
    server: FileServer, archive: Path, server_is: dict[str, Any]
) -> None:
    for name, value in server_is.items():
        setattr(server, name, value)
    fetch(server, archive, ramp=eager())
    assert len(server.asked) == 1


def test_a_server_that_wants_no_more_connections_gets_one(
    server: FileServer, archive: Path
) -> None:
    server.most, server.rate = 1, 2e6  # the first part takes longer than a helper is patient
    ramp = eager(most=2, piece=2 << 20)
    _, view = fetch(server, archive, ramp=ramp, sleep=lambda _: time.sleep(0.1))
    assert ramp.count == 1 and ramp.settled and len(server.asked) >= 3 and view.notes == []


def test_connections_that_are_turned_away_again_and_again(
    server: FileServer, archive: Path
) -> None:
    server.most = 2
    fetch(server, archive, ramp=eager(piece=1 << 19), sleep=lambda _: time.sleep(0.1))
    assert together(server) > 2


def test_a_helper_whose_connection_hangs_is_replaced(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(), Quirk(cut=1000, stall=5.0), Quirk(cut=0, stall=5.0)]
    fetch(server, archive, ramp=eager(), patience=QUICK)


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changes_meanwhile_is_fetched_anew(
    server: FileServer, archive: Path, heeds: bool
) -> None:
    server.heeds_if_range = heeds
    server.quirks = [Quirk(body=DATA[::-1], etag='"old"'), Quirk(), Quirk()]
    fetched, view = fetch(server, archive, ramp=eager())
    assert fetched.etag == '"one"' and view.notes
    assert any("changed" in note or "another version" in note for note in view.notes)


@pytest.mark.parametrize("shift", [1, -1, 1 << 17])
def test_a_wrong_part_is_not_added(server: FileServer, archive: Path, shift: int) -> None:
    server.quirks = [Quirk(), Quirk(shift=shift)]
    fetch(server, archive, ramp=eager())


def test_servers_that_mark_one_file_differently_are_asked_by_one_connection(
    server: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(etag=f'"backend {number % 2}"') for number in range(200)]
    ramp = eager()
    _, view = fetch(server, archive, ramp=ramp)
    assert ramp.count == 1
    [note] = view.notes
    assert "one connection from now on" in note


def test_where_no_part_ends_as_asked_the_first_connection_goes_on_alone(
    server: FileServer, archive: Path
) -> None:
    server.heeds_end, server.rate = False, 1.5e6
    ramp = eager(most=2, piece=1 << 20)  # the first part takes longer than a helper is patient
    _, view = fetch(server, archive, ramp=ramp)
    assert ramp.count == 1 and view.notes == [] and len(server.asked) <= 4


def test_stopped_they_all_stop_and_the_next_goes_on_with_the_holes(
    server: FileServer, archive: Path
) -> None:
    with pytest.raises(Stopped):
        download(server.url("a.zip"), archive, ramp=eager(), view=PressesStop())
    assert not [one for one in threading.enumerate() if one.name == "fastmagic-download"]
    kept = Partial(archive).kept
    assert kept >= len(DATA) // 3 and Partial(archive).pieces()
    server.rate, before = 0.0, len(server.asked)
    server.sent = 0
    fetch(server, archive, ramp=Ramp(most=1))
    assert server.sent <= len(DATA) - kept + (1 << 20)
    assert all(one.range for one in server.asked[before:])


def test_a_piece_that_cannot_be_written_ends_it(server: FileServer, archive: Path) -> None:
    for place in range(100):  # folders where the pieces would be
        Partial(archive).piece_file(place << 16).mkdir(parents=True)
    with pytest.raises(DataError, match="could not be written"):
        download(server.url("a.zip"), archive, ramp=eager(), sleep=Waits())
    assert not archive.exists()


class Line:
    """A made-up line: what comes in a second with so many connections."""

    def __init__(self, *rates: float) -> None:
        self._rates = dict(zip((1, 2, 4), rates, strict=True))

    def final(self, ramp: Ramp, total: float = 1e9) -> int:
        """Let a ramp run on it until it has decided."""
        received = now = 0.0
        while not ramp.settled:
            count = ramp.advise(now, received, total - received)
            now += 0.1
            received += 0.1 * self._rates[count]
            assert now < 60
        return ramp.count


@pytest.mark.parametrize(
    ("rates", "count"),
    [
        ((5e6, 10e6, 20e6), 4),  # each connection gets its share
        ((5e6, 10e6, 10.1e6), 2),  # two fill the line
        ((5e6, 5.1e6, 5.2e6), 1),  # one fills it
        ((5e6, 2e6, 1e6), 1),  # more are punished
        ((500e6, 1e9, 2e9), 1),  # one is quick enough
    ],
)
def test_connections_are_added_while_that_pays(rates: tuple[float, ...], count: int) -> None:
    assert Line(*rates).final(Ramp()) == count


def test_for_a_moment_more_nobody_is_taken_on() -> None:
    assert Line(5e6, 10e6, 20e6).final(Ramp(), total=20e6) == 1


def test_one_and_never_more_can_be_asked_for() -> None:
    ramp = Ramp(most=1)
    assert [ramp.advise(second, 0.0, 1e9) for second in range(9)] == [1] * 9
