"""The partial file and its record: killed at any moment, restarted, cut off from power."""

from __future__ import annotations

import hashlib
import json
import random
import time
from pathlib import Path

import pytest

from fastmagic.data.web.partial import Partial, Version
from fastmagic.data.web.verify import Digest, hash_file

from .downloads import DATA, child, fetch
from .server import FileServer

VERSION = Version("here", '"one"', "", len(DATA))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


def with_pieces(archive: Path, *spans: tuple[int, int]) -> Partial:
    """A partial file of these spans; the first one is its beginning."""
    partial = Partial(archive)
    partial.begin(VERSION)
    partial.part.write_bytes(DATA[slice(*spans[0])])
    for start, end in spans[1:]:
        partial.piece_file(start).write_bytes(DATA[start:end])
    return partial


def test_pieces_are_added_in_their_order_and_hashed(archive: Path) -> None:
    partial = with_pieces(archive, (0, 1000), (2000, 2500), (1000, 2000), (5000, 6000))
    assert partial.kept == 3500 and partial.gaps() == [(2500, 5000), (6000, len(DATA))]
    digest = Digest()
    partial.absorb(digest)
    assert partial.part.read_bytes() == DATA[:2500] and partial.kept == 3500
    assert digest.hex() == hashlib.sha256(DATA[:2500]).hexdigest()


def test_a_piece_that_is_still_written_is_left_alone(archive: Path) -> None:
    partial = with_pieces(archive, (0, 1000), (1000, 2000), (2000, 2100))
    partial.absorb(Digest(), edge=2000)
    assert partial.have == 2000 and partial.piece_file(2000).exists()


def test_killed_while_a_piece_was_added_nothing_is_there_twice(archive: Path) -> None:
    partial = with_pieces(archive, (0, 1500), (1000, 2000), (1200, 1400))
    assert partial.kept == 2000
    partial.absorb(Digest())
    assert partial.part.read_bytes() == DATA[:2000] and partial.pieces() == []


def test_any_order_of_pieces_makes_the_same_file(archive: Path) -> None:
    dice = random.Random(3)
    for _ in range(20):
        cuts = sorted(dice.sample(range(1, len(DATA)), 6))
        spans = list(zip([0, *cuts], [*cuts, len(DATA)], strict=True))
        partial = with_pieces(archive, spans[0], *dice.sample(spans[1:], 6))
        digest = Digest("md5")
        partial.absorb(digest)
        assert partial.is_whole and digest.hex("md5") == hashlib.md5(DATA).hexdigest()


def test_after_a_power_cut_only_what_the_disk_had_counts(archive: Path) -> None:
    clock = iter([0.0, 20.0, 20.0, 21.0]).__next__
    partial = Partial(archive, "monday", clock)
    partial.begin(VERSION)
    with partial.open(0) as file:
        file.write(DATA[:1000])
        partial.sync_when_due(file)
        file.write(DATA[1000:3000])
        partial.sync_when_due(file)
    partial.piece_file(5000).write_bytes(DATA[5000:6000])
    assert Partial(archive, "monday").kept == 4000  # the same start of the machine: a kill
    assert Partial(archive, "").kept == 4000  # it cannot be told
    assert Partial(archive, "tuesday").kept == 1000
    assert Partial(archive, "tuesday").version == VERSION


DAMAGED = [
    "",
    "{",
    "[]",
    '{"source": 1}',
    '"x"',
    "[" * 100_000,
    '{"source": "here", "etag": 5, "modified": "", "total": 9}',
    '{"source": "here", "etag": "", "modified": "", "total": "9"}',
    '{"source": "here", "etag": "", "modified": "", "total": 9, "synced": Infinity}',
]


@pytest.mark.parametrize("record", DAMAGED, ids=range(len(DAMAGED)))
def test_a_record_that_cannot_be_read_is_none(archive: Path, record: str) -> None:
    with_pieces(archive, (0, 1000))
    archive.with_name("a.zip.part.json").write_text(record)
    assert Partial(archive).version is None


def test_the_record_is_whole_or_the_old_one(archive: Path) -> None:
    partial = with_pieces(archive, (0, 1000))
    archive.with_name("a.zip.part.json.partial").write_text('{"half')  # killed while it was written
    assert Partial(archive).version == VERSION
    partial.rename_version(Version("there"))
    assert json.loads(archive.with_name("a.zip.part.json").read_text())["source"] == "there"


def test_hashes_follow_a_file_that_is_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(DATA)
    digest = Digest()
    digest.catch_up(file, len(DATA))
    file.write_bytes(DATA[:1000])
    digest.catch_up(file, 1000)
    assert digest.hex() == hash_file(file) == hashlib.sha256(DATA[:1000]).hexdigest()


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_it_goes_on_in_another_process(
    server: FileServer, archive: Path, seed: int
) -> None:
    """kill -9, with one connection and with four; every byte that was written is kept."""
    dice, connections = random.Random(seed), 4 if seed % 2 else 1
    server.rate = 10e6 / connections
    process = child(server.url("a.zip"), archive, connections)
    deadline = time.monotonic() + 60
    wanted = dice.randrange(len(DATA))
    partial = Partial(archive)
    while partial.kept < wanted and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.communicate()[1] == b""
    assert archive.exists() or Partial(archive).kept >= wanted
    kept, server.rate, server.sent = Partial(archive).kept, 0.0, 0
    fetched, view = fetch(server, archive, checksum=f"md5:{hashlib.md5(DATA).hexdigest()}")
    assert not any("over" in note for note in view.notes) and fetched.size == len(DATA)
    assert not kept or server.sent <= len(DATA) - kept + (
        1 << 20
    )  # what was on its way is asked again
