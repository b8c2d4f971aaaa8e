"""The folder that an archive is unpacked into: what may go where, and nothing anywhere else.

No link is ever made: one that stays inside becomes a copy of what it points to, one that leads out
is refused, and so writing through a link is impossible. Modes and owners are not taken over.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

from fastmagic.data.archives.limits import Meter
from fastmagic.data.archives.members import Names, inside

CHUNK = 1 << 20


class Stream(Protocol):
    """What a member's content is read from."""

    def read(self, most: int, /) -> bytes | memoryview:
        """Give some bytes; none at the end."""


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
        self._links: list[tuple[str, str, str]] = []
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
        place = inside(target, () if from_top else parts[:-1])
        if place is None:
            raise self.meter.refusal(
                member, f"is a link that leads out of the archive, to {target!r}"
            )
        self._links.append((member, self._path(parts), self._path(place)))

    def copy_links(self) -> None:
        """Put copies of files where links to them were; links to folders or nothing are left."""
        for _, path, target in self._links:
            if os.path.isfile(target):  # noqa: PTH113
                self.meter.expect(os.stat(target).st_size)  # noqa: PTH116
                shutil.copyfile(target, path)

    def _path(self, parts: tuple[str, ...]) -> str:
        return os.path.join(self._top, *parts)  # noqa: PTH118
