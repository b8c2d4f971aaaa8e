"""Which pictures lie below a folder: found once, in an order that every machine agrees on.

Hidden files and folders (`.ipynb_checkpoints` among them, which would become a class) and what
macOS adds to archives (`__MACOSX`, `._cat.jpg`) are not there, as far as this package goes.
"""

from __future__ import annotations

import errno
import hashlib
import marshal
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

_COMMON = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_RARE = (".ppm", ".pgm", ".heic", ".heif", ".avif")
SUFFIXES = frozenset({*_COMMON, *_RARE})
"""What is taken for a picture by its name; whether it is one, `readable` finds out."""


Seen = tuple[tuple[str, ...], int, int]
"""A picture's path in parts, its bytes, and nanoseconds since 1970."""


@dataclass(frozen=True)
class Found:
    """A file that calls itself a picture.

    Attributes
    ----------
    path
        The file.
    parts
        Its path below the folder that was searched, in parts.
    size, mtime
        Bytes, and nanoseconds since 1970: what tells a changed file.
    """

    path: Path
    parts: tuple[str, ...]
    size: int
    mtime: int


def is_junk(name: str) -> bool:
    """Say whether a file or folder of this name is never part of a data set."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(name: str) -> bool:
    """Say whether a file of this name calls itself a picture.

    Examples
    --------
    >>> is_picture("cat.0.JPG"), is_picture("._cat.0.jpg"), is_picture("labels.csv")
    (True, False, False)
    """
    return not is_junk(name) and _suffix(name) in SUFFIXES


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()  # without a dot, one letter, which is no suffix


def subfolders(folder: Path) -> list[str]:
    """Name the folders in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(one.name for one in entries if not is_junk(one.name) and _is(one.is_dir))


def own_pictures(folder: Path) -> list[str]:
    """Name the pictures that lie directly in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(one.name for one in entries if is_picture(one.name) and _is(one.is_file))


def has_pictures(folder: Path) -> bool:
    """Say whether any picture that may be read lies in or below a folder; stops at the first."""
    try:
        return next(_walk(os.fspath(folder), (), []), None) is not None
    except PermissionError:
        return False


def pictures_below(folder: Path) -> list[Found]:
    """Give every picture in and below a folder, sorted by its path.

    Links to files and folders are followed, except to a folder that the link itself lies in. What
    may not be read below the folder is left out; `snapshot` tells what that is.
    """
    return [
        Found(folder.joinpath(*parts), parts, size, mtime)
        for parts, size, mtime in snapshot(folder)
    ]


def snapshot(folder: Path, closed: list[Path] | None = None) -> list[Seen]:
    """Give every picture's path in parts, bytes and time, sorted.

    The folders below that may not be read are added to `closed`: a drive's `lost+found`.

    Two that are equal say that nothing has to be looked at again. Every file is asked for its size
    and time: 25,000 take some 0.07 s, most of it the system's answers. A picture whose bytes were
    changed in place, with the same size and the time set back, is not noticed.
    """
    return list(_walk(os.fspath(folder), (), [] if closed is None else closed))


def fingerprint(seen: list[Seen]) -> str:
    """Give the checksum of a snapshot."""
    # of what Python can write, the quickest; its version 2 writes what is equal as equal bytes
    return hashlib.sha256(marshal.dumps(seen, 2)).hexdigest()


def _is(ask: Callable[[], bool]) -> bool:
    """Ask what an entry is; a link to itself or to where nobody may look is like one to nothing."""
    try:
        return ask()
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM):
            return False
        raise


def _walk(folder: str, parts: tuple[str, ...], closed: list[Path]) -> Iterator[Seen]:
    try:
        yield from _walk_open(folder, parts, closed)
    except PermissionError:
        if not parts:  # all that was asked for
            raise
        closed.append(Path(folder))


def _walk_open(folder: str, parts: tuple[str, ...], closed: list[Path]) -> Iterator[Seen]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=attrgetter("name"))  # so that all of them come in order
    for one in ordered:
        name = one.name
        if name[0] == "." or name == "__MACOSX" or (one.is_symlink() and _leads_nowhere(one)):
            continue
        if one.is_dir():
            yield from _walk(one.path, (*parts, name), closed)
        elif _suffix(name) in SUFFIXES and one.is_file():
            known = one.stat()
            yield (*parts, name), known.st_size, known.st_mtime_ns


def _leads_nowhere(link: os.DirEntry[str]) -> bool:
    """Say whether a link leads to itself, to nothing, or to a folder that it lies in."""
    if not _is(link.is_dir):
        return not _is(link.is_file)
    path = Path(link.path)
    target = path.resolve()
    return target == path.parent.resolve() or target in path.parent.resolve().parents
