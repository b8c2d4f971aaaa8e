"""What has arrived of a file that is not whole yet, and of which version of it.

    NAME.part          its beginning: the file's own size says how much is there
    NAME.part.@START   a piece from further on, begun by another connection
    NAME.part.json     the record: where it comes from, and the server's marks of that version

Bytes are only ever added to an end, so that a process killed at any moment leaves nothing that is
not true; there is no list of finished ranges that could be wrong. A machine that lost its power may
have lost bytes that it had not brought to its disk, so the record says up to where the disk has
them, and after a restart of the machine only those count.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from fastmagic import whole
from fastmagic.data.web.verify import BLOCK, Digest

SYNC_EVERY = 10.0
"""Seconds between two times that what arrived is brought to the disk: a quick download waits for
none of it."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Version:
    """Which version of which file this is.

    Attributes
    ----------
    source
        The fingerprint of its address.
    etag, modified
        The server's marks (RFC 9110, 8.8); empty where it gives none.
    total
        Its size in bytes; None where the server does not say.
    """

    source: str
    etag: str = ""
    modified: str = ""
    total: int | None = None

    @property
    def strong(self) -> str:
        """The ETag, if it is one that says byte for byte the same."""
        return "" if self.etag.startswith("W/") else self.etag

    @property
    def mark(self) -> str:
        """What `If-Range` takes: a strong ETag, else the date, else nothing."""
        return self.strong or self.modified


@dataclass(frozen=True)
class Piece:
    """A piece from further on in the file; it begins at byte `start`."""

    start: int
    size: int
    file: Path

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size


class Partial:
    """The beginning of a file, the pieces beyond it, and their record.

    Parameters
    ----------
    archive
        The file that is to be made; what belongs to it lies beside it.
    boot
        What tells this start of the machine from others; empty where it cannot be told, and then
        everything that lies there counts.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        archive: Path,
        boot: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = archive.name
        self.part = archive.with_name(f"{archive.name}.part")
        self._record = archive.with_name(f"{archive.name}.part.json")
        self._ahead = f"{archive.name}.part.@"
        self.archive = archive
        self._boot = boot_id() if boot is None else boot
        self._clock, self._last_sync = clock, clock()
        self._synced = 0
        self.version: Version | None = None
        self._load()

    @property
    def have(self) -> int:
        """How many bytes of the beginning are there."""
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    @property
    def kept(self) -> int:
        """How many bytes are there, those of the pieces too."""
        have = self.have
        return have + sum(max(0, one.end - max(one.start, have)) for one in self.pieces())

    @property
    def total(self) -> int | None:
        """How many bytes the whole file has, where that is known."""
        return self.version.total if self.version else None

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return bool(self.total) and self.have == self.total

    def pieces(self) -> list[Piece]:
        """List the pieces in their order."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.part.parent) as files:
            for one in files:
                start = one.name.removeprefix(self._ahead)
                if start != one.name and start.isdecimal():
                    with suppress(FileNotFoundError):  # joined to the beginning just now
                        found.append(Piece(int(start), one.stat().st_size, Path(one.path)))
        return sorted(found, key=lambda piece: piece.start)

    def gaps(self) -> list[tuple[int, int]]:
        """List what is missing, as the first byte of each gap and the first one after it."""
        place, gaps = self.have, []
        for piece in self.pieces():
            if piece.start > place:
                gaps.append((place, piece.start))
            place = max(place, piece.end)
        if self.total and place < self.total:
            gaps.append((place, self.total))
        return gaps

    def piece_file(self, start: int) -> Path:
        """Name the file of the piece that begins at a byte."""
        return self.part.with_name(f"{self._ahead}{start:015d}")

    def begin(self, version: Version) -> None:
        """Start over with another version: first the old bytes go, then the record is written."""
        self.drop()
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.version = version
        self._save()

    def rename_version(self, version: Version) -> None:
        """Record another version for the bytes that are there."""
        if version != self.version:
            self.version = version
            self._save()

    def open(self, start: int) -> BinaryIO:
        """Open the beginning to be written on from a byte."""
        file = self.part.open("r+b" if start else "wb", buffering=0)
        file.seek(start)
        return file

    def sync_when_due(self, file: BinaryIO) -> None:
        """Now and then, bring what was written to the disk, and record that it is there."""
        if self._clock() - self._last_sync < SYNC_EVERY:
            return
        self._last_sync = self._clock()
        os.fsync(file.fileno())
        self._synced = os.fstat(file.fileno()).st_size
        self._save()

    def absorb(self, digest: Digest, edge: int | None = None) -> None:
        """Add the pieces that follow on the beginning.

        Parameters
        ----------
        digest
            Takes the bytes that are added.
        edge
            The first byte that a connection still writes at, or may; None where there is none.
        """
        for piece in self.pieces():
            have = self.have
            if piece.start > have or (edge is not None and piece.start >= edge):
                break
            if piece.end > have:
                digest.catch_up(self.part, have)
                self._append(piece, have, digest)
            piece.file.unlink()

    def finish(self) -> None:
        """Give the whole file its name, and forget what belonged to the partial one."""
        if self._synced:  # it took long: a moment more, and a machine that goes down loses nothing
            with self.part.open("r+b", buffering=0) as file:
                os.fsync(file.fileno())
        self.part.replace(self.archive)
        self.drop()

    def drop(self) -> None:
        """Forget everything; the record goes last, as the bytes need it."""
        self.part.unlink(missing_ok=True)
        for piece in self.pieces():
            piece.file.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        self.version, self._synced = None, 0

    def _append(self, piece: Piece, have: int, digest: Digest) -> None:
        with piece.file.open("rb", buffering=0) as source, self.open(have) as file:
            source.seek(have - piece.start)
            while block := source.read(BLOCK):
                write_all(file, block)
                digest.update(block)
            self.sync_when_due(file)

    def _save(self) -> None:
        """Write the record at once and whole: a kill leaves the old one or the new one."""
        record = {**asdict(self.version), "boot": self._boot, "synced": self._synced}  # type: ignore[arg-type]
        whole.write_text(self._record, json.dumps(record), lasting=False)

    def _load(self) -> None:
        try:
            record = json.loads(self._record.read_text("utf-8"))
            version, synced = _version(record), max(0, int(record.get("synced", 0)))
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return
        except (OverflowError, RecursionError):  # of numbers and brackets that nobody wrote
            return
        self.version, self._synced = version, synced
        boot = record.get("boot", "")
        if boot and self._boot and boot != self._boot:
            self._only_synced()

    def _only_synced(self) -> None:
        """Forget what the disk may have lost when the machine went down."""
        if self.have > self._synced:
            os.truncate(self.part, self._synced)
        for piece in self.pieces():
            piece.file.unlink()
        self._save()


def _version(record: dict[str, Any]) -> Version:
    """Read a version from its record; TypeError where it is damaged."""
    known = Version(**{one.name: record[one.name] for one in fields(Version)})
    texts = (known.source, known.etag, known.modified)
    if not all(isinstance(text, str) for text in texts) or type(known.total) not in (
        int,
        type(None),
    ):
        raise TypeError("damaged")
    return known


def boot_id() -> str:
    """Give what tells this start of the machine from others: on Linux; empty elsewhere."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def write_all(file: BinaryIO, chunk: bytes | memoryview) -> None:
    """Write every byte: an unbuffered file may take fewer at a time than it is given."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
