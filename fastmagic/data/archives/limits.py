"""How much an archive may unpack to, so that a small file cannot fill a disk or a memory.

A bomb is an archive whose contents are out of all proportion to its size. Pictures are compressed
already and hardly shrink again, so a data set of pictures is far from every limit here; each can be
raised by whoever knows better.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastmagic import faces
from fastmagic.errors import ArchiveError, DataError

MEMBERS = 2_000_000
"""Files and folders: ImageNet has 1.43 million, dogs and cats 25,000. A zip's directory is held in
memory while it is unpacked, about 1 kB a member."""

SIZE = 500 * 10**9
"""Bytes unpacked: three times ImageNet's 155 GB, and more than a free notebook's disk holds."""

RATIO = 200.0
"""Bytes unpacked for each byte of the archive, of one member or of all. Photographs have about 1,
text 3 to 10, drawn masks up to 100; deflate can reach 1,032 (zlib's technical notes), bzip2 and xz
far more, and bombs do."""

RATIO_FROM = 100_000_000
"""Bytes unpacked below which no ratio is a danger, and none is looked at."""

HEADER = 1 << 20
"""Bytes of a tar's extended header, which is read into memory: names and times, some hundred."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes
    ----------
    members
        Files, folders and links.
    size
        Bytes, of all members together.
    ratio
        Bytes unpacked for each byte of the archive, looked at from `ratio_from` bytes on.
    ratio_from
        Bytes.

    Examples
    --------
    >>> Limits(members=5_000_000).ratio
    200.0
    """

    members: int = MEMBERS
    size: int = SIZE
    ratio: float = RATIO
    ratio_from: int = RATIO_FROM


class Meter:
    """Counts what an archive says and gives, and refuses what is too much.

    Parameters
    ----------
    name
        The archive's file name, for the messages.
    limits
        What is allowed.
    room
        Bytes free on the disk.
    place
        Where, for the message.
    """

    def __init__(self, name: str, limits: Limits, room: int, place: str) -> None:
        self._name = name
        self._limits = limits
        self._room = room
        self._place = place
        self._members = 0
        self._size = 0

    def refusal(self, member: str, why: str) -> ArchiveError:
        """Make the error that names the member."""
        msg = f"{self._name} was not unpacked: its member {member!r} {why}."
        return ArchiveError(msg, "Do not use this archive, or get it from its maker again.")

    def count(self) -> None:
        """Count one member more."""
        self._members += 1
        if self._members > self._limits.members:
            raise self._too_much(f"it has more than {self._limits.members:,} files")

    def expect(self, size: int) -> None:
        """Count bytes before they are written: against the limit, and against the disk."""
        self._size += size
        if self._size > self._limits.size:
            raise self._too_much(f"it unpacks to more than {faces.size(self._limits.size)}")
        if self._size > self._room:
            amount, room = faces.size(self._size), faces.size(self._room)
            msg = f"{self._name} unpacks to {amount} or more, and {room} are free."
            raise DataError(msg, f"Free some space on the disk of {self._place}.")

    def weigh(self, unpacked: int, packed: int, member: str = "") -> None:
        """Compare what is unpacked with what it was unpacked from."""
        if unpacked > self._limits.ratio_from and unpacked > self._limits.ratio * max(packed, 1):
            what = f"its member {member!r}" if member else "it"
            raise self._too_much(
                f"{what} unpacks to more than {self._limits.ratio:g} times its size"
            )

    def _too_much(self, why: str) -> ArchiveError:
        msg = f"{self._name} was not unpacked: {why}, as archives do that are made to fill a disk."
        return ArchiveError(msg, "If you trust its maker, unpack it yourself and name the folder.")
