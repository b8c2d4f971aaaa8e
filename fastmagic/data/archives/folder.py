"""The folder that an archive is unpacked into: what may go where, and nothing anywhere else.

No link is ever made: one to a file inside becomes a copy of it, one that leads out is refused, and
so writing through a link is impossible. What a link leads to is found among the archive's own
names, through other links too; one to a folder or to nothing is left out. Modes and owners are not
taken over.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple, Protocol

from fastmagic.data.archives.limits import Meter
from fastmagic.data.archives.members import Names, inside

CHUNK = 1 << 20

LINKS_IN_A_ROW = 40
"""As many as Linux follows, which ends circles too."""

LONGEST_LINK = 4096
LONG_LINK = f"is a link of more than {LONGEST_LINK:,} letters"


class Stream(Protocol):
    """What a member's content is read from."""

    def read(self, most: int, /) -> bytes | memoryview:
        """Give some bytes; none at the end."""


class _Link(NamedTuple):
    """A member that is a link: from which folder, and to what."""

    member: str
    start: tuple[str, ...]
    target: str


class Folder:
    """Takes names and gives paths below one folder.

    Parameters
    ----------
    top
        The folder; it is there and empty.
    meter
        Counts, and makes the refusals.
    windows
        Whether names must be ones that Windows can have.
    """

    def __init__(self, top: Path, meter: Meter, windows: bool = os.name == "nt") -> None:
        self.meter = meter
        self._top = os.fspath(top)
        self._names = Names(meter.refusal, windows)
        self._links: dict[tuple[str, ...], _Link] = {}
        self._made = 0

    @property
    def is_empty(self) -> bool:
        """Whether no file has been named."""
        return not self._names.has_files

    def take_folder(self, member: str) -> None:
        """Take a folder's name."""
        self._names.folder(member)

    def take_file(self, member: str) -> str:
        """Take a file's name, and give the path to write it to."""
        return self._path(self._names.file(member))

    def make_folders(self) -> None:
        """Make the folders whose names were taken since the last time."""
        names = self._names.folders
        if len(names) > self._made:
            for name in names[self._made :]:
                os.mkdir(f"{self._top}{os.sep}{name}")  # noqa: PTH102
            self._made = len(names)

    def write(self, member: str, path: str, stream: Stream, size: int) -> None:
        """Write a file of exactly the size that the archive declares."""
        written = 0
        with open(path, "xb") as file:  # noqa: PTH123
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > size:
                    raise self.meter.refusal(member, "is larger than it says")
                file.write(chunk)
        if written != size:
            raise self.meter.refusal(member, "is shorter than it says")

    def link(self, member: str, target: str, *, from_top: bool = False) -> None:
        """Note a link, to be copied at the end; refuse one that leads out."""
        parts = self._names.file(member)
        if len(target) > LONGEST_LINK:
            raise self.meter.refusal(member, LONG_LINK)
        start = () if from_top else parts[:-1]
        if inside(target, start) is None:
            raise self.meter.refusal(
                member, f"is a link that leads out of the archive, to {target!r}"
            )
        self._links[parts] = _Link(member, start, target)

    def copy_links(self) -> list[str]:
        """Put copies of files where links to them were; give the links that lead to none."""
        left = []
        for parts, link in self._links.items():
            place = self._followed(parts)
            if place is not None and os.path.isfile(target := self._path(place)):  # noqa: PTH113
                self.meter.expect(os.stat(target).st_size)  # noqa: PTH116
                shutil.copyfile(target, self._path(parts))
            else:
                left.append(link.member)
        return left

    def _followed(self, name: tuple[str, ...]) -> tuple[str, ...] | None:
        """Follow a name through links, as a disk does; None where that leads out or in circles."""
        place, rest, followed = list[str](), list(reversed(name)), 0
        while rest:
            part = rest.pop()
            if part == ".." and not place:
                return None
            if part == "..":
                place.pop()
            elif part not in ("", "."):
                place.append(part)
            if link := self._links.get(tuple(place)):
                followed += 1
                if followed > LINKS_IN_A_ROW:
                    return None
                place = list(link.start)
                rest += reversed(link.target.replace("\\", "/").split("/"))
        return tuple(place)

    def _path(self, parts: tuple[str, ...]) -> str:
        return os.path.join(self._top, *parts)  # noqa: PTH118
