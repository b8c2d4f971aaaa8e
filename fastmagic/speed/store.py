"""The two files that keep the small copies of one data set and size.

`pictures` begins with a seal, and then holds the copies, one after another. `index.jsonl` begins
with the same seal; each line after it says where a copy lies and of which picture (its size and
time of change) it was made. The seal is drawn when the two are begun: whoever removes and makes
them again meanwhile, an index is never used with the pictures of another making. Files that do not
belong together, and those of earlier versions, which have no seal, are begun anew.

Lines are written when their pictures are on the disk, so a kill at any moment leaves what is there
usable, and a picture that has changed is made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

PICTURES = "pictures"
INDEX = "index.jsonl"

SEAL = 16
"""Bytes of the seal."""

HELD = 2**24
"""Bytes of the copies that a process holds in its memory, when it has read them."""


class AtLimit(OSError):
    """The copies may not take more."""


@dataclass(frozen=True)
class Copy:
    """Where a picture's copy lies in the file, and of what it was made."""

    size: int  # bytes of the original
    changed: int  # ns, the original's time of change
    offset: int
    width: int
    height: int

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.offset + 3 * self.width * self.height


class Store:
    """What a folder keeps, as it was when it was read.

    Parameters
    ----------
    folder
        Where the two files are; None for nowhere.

    Examples
    --------
    >>> Store(None).copies
    {}
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seal, self.copies = (b"", {}) if folder is None else _read(folder)
        self._bytes: Any = None
        self._read_bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out, for a process that loads pictures."""
        return {**vars(self), "_bytes": None}

    def is_there(self) -> bool:
        """Say whether the folder still keeps what was read, perhaps with more behind it."""
        return self.folder is None or _seal_in(self.folder) == self.seal

    def pixels(self, copy: Copy) -> Any:
        """Give the bytes of a copy, `[height, width, 3]`; None where they are gone by now."""
        import numpy as np

        if not self._is_mapped() or copy.end > len(self._bytes):
            return None
        size = copy.end - copy.offset
        self._let_go(size)
        flat = np.frombuffer(self._bytes, np.uint8, size, copy.offset)
        return flat.reshape(copy.height, copy.width, 3)

    def _is_mapped(self) -> bool:
        """Open the pictures where they are not yet; others may have removed or remade them."""
        if self._bytes is None and self.seal and self.folder is not None:
            self._bytes = _mapped(self.folder, self.seal)
            if self._bytes is None:
                self.copies = {}
        return self._bytes is not None

    def _let_go(self, size: int) -> None:
        """Take out of this process's memory what was read: the system keeps it, and may drop it.

        A process that has read all copies of a large data set would otherwise look as large.
        """
        self._read_bytes += size
        if self._read_bytes > HELD and hasattr(mmap, "MADV_DONTNEED"):
            self._read_bytes = 0
            self._bytes.madvise(mmap.MADV_DONTNEED)  # pages that are read again come back


class Adding(contextlib.AbstractContextManager["Adding"]):
    """A store's two files, open to be added to by the one process that holds the folder's lock.

    They stay the same two files to the end, whatever becomes of their names meanwhile.

    Parameters
    ----------
    store
        What was read while the lock was held; it learns of each copy that is kept.
    limit
        Bytes that the pictures may take.
    """

    def __init__(self, store: Store, limit: float) -> None:
        assert store.folder is not None
        self._store, self._limit = store, limit
        if not store.seal:
            store.seal = _begin(store.folder)
        self._end = max((one.end for one in store.copies.values()), default=SEAL)
        self._new: dict[str, Copy] = {}
        with contextlib.ExitStack() as opened:
            self._pictures = opened.enter_context(_open(store.folder / PICTURES))
            self._index = opened.enter_context(_open(store.folder / INDEX))
            self._cut(self._end)  # what a kill left without a line
            self._index.seek(0, os.SEEK_END)
            self._opened = opened.pop_all()

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._opened.close()

    def add(self, name: str, made_of: tuple[int, int], picture: Any) -> None:
        """Write a picture's copy.

        Parameters
        ----------
        name
            The picture's.
        made_of
            Its size and time of change.
        picture
            The copy, Pillow's.

        Raises
        ------
        AtLimit
            Where it would take too much.
        OSError
            Where the disk is full; the copy before it makes room for the lines of the others.
        """
        copy = Copy(*made_of, self._end, *picture.size)
        if copy.end > self._limit:
            raise AtLimit
        try:
            _write(self._pictures, picture.tobytes())
        except OSError:
            self._cut(self._new.popitem()[1].offset if self._new else self._end)
            raise
        self._new[name], self._end = copy, copy.end

    def keep(self) -> int:
        """Write the lines of what was added, when that is on the disk; give how many."""
        new, self._new = self._new, {}
        os.fsync(self._pictures.fileno())
        _write(self._index, "".join(map(_line, new.items())).encode())
        self._store.copies.update(new)
        return len(new)

    def _cut(self, end: int) -> None:
        """Let the pictures end here."""
        self._end = end
        self._pictures.truncate(end)
        self._pictures.seek(end)


def lock_of(folder: Path) -> Any:
    """Give the lock of who changes a folder's files: it stays there when they go.

    Whoever removed it would let two processes hold it at once.
    """
    return FileLock(str(folder / ".lock"))


def remove(folder: Path) -> None:
    """Remove a folder's two files, with its lock held.

    Raises
    ------
    OSError
        Where the pictures cannot be removed; all is as it was.
    """
    (folder / PICTURES).unlink()
    with contextlib.suppress(OSError):  # alone it says nothing
        (folder / INDEX).unlink()


def _begin(folder: Path) -> bytes:
    """Make two files with a new seal; the old ones stay whole for those who have them open."""
    seal = secrets.token_bytes(SEAL)
    for name, head in ((PICTURES, seal), (INDEX, json.dumps(seal.hex()).encode())):
        (folder / name).unlink(missing_ok=True)
        with (folder / name).open("xb", buffering=0) as file:
            _write(file, head)
    return seal


def _read(folder: Path) -> tuple[bytes, dict[str, Copy]]:
    """Give the seal and the copies; none where the two files do not belong together."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        first, *lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
        seal = bytes.fromhex(json.loads(first))
        if len(seal) == SEAL and seal == _seal_in(folder):
            there = (folder / PICTURES).stat().st_size
            return seal, {name: one for name, one in _copies(lines).items() if one.end <= there}
    return b"", {}


def _copies(lines: Iterable[str]) -> dict[str, Copy]:
    known = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            name, *numbers = json.loads(line)
            known[str(name)] = Copy(*map(int, numbers))
    return known


def _seal_in(folder: Path) -> bytes:
    """Give the seal of the pictures; none where there are none."""
    try:
        with (folder / PICTURES).open("rb", buffering=0) as file:
            return file.read(SEAL)
    except OSError:
        return b""


def _mapped(folder: Path, seal: bytes) -> Any:
    """Give the bytes of the pictures; None where they do not bear this seal."""
    try:
        with (folder / PICTURES).open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    return whole if whole[:SEAL] == seal else None


def _open(file: Path) -> io.FileIO:
    return file.open("r+b", buffering=0)


def _line(named: tuple[str, Copy]) -> str:
    """Give a copy's line; it ends the one before, which a kill may have cut."""
    name, known = named
    told = [name, known.size, known.changed, known.offset, known.width, known.height]
    return "\n" + json.dumps(told)


def _write(file: io.FileIO, data: bytes) -> None:
    """Write all at once, with nothing left in a buffer where the disk is full."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
