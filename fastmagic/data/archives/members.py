"""What a member of an archive may be called, and where it then lies.

Two names that differ only in upper and lower case, or in how an accent is written, are one file on
macOS, on Windows and on a mounted Google Drive: one of the two would be lost without a word, so
such archives are refused everywhere, and a data set is the same on every machine. Names that only
Windows cannot have (`CON`, `a?.jpg`) are refused on Windows only: elsewhere they are plain names.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator

WINDOWS_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)
"""https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""

_DRIVE = re.compile("[A-Za-z]:")
_WINDOWS_SIGNS = re.compile(r'[<>:"|?*\x00-\x1f]')

Refuse = Callable[[str, str], Exception]
"""Makes the error of a member and what is wrong with it."""


def fold(name: str) -> str:
    """Give what a name is to a disk that knows neither case nor ways to write an accent.

    Examples
    --------
    >>> fold("Größe.JPG") == fold("GRÖSSE.jpg") == fold("Gro\u0308\u00dfe.jpg")
    True
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def inside(name: str, start: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Follow a name from a folder; None where it is absolute or leaves the top.

    Examples
    --------
    >>> inside("cats/../dogs/1.jpg"), inside("../1.jpg"), inside("C:\\\\1.jpg")
    (('dogs', '1.jpg'), None, None)
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name) or "\0" in name:
        return None
    parts = list(start)
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


class Names:
    """The names that an archive's members have taken so far.

    Parameters
    ----------
    refuse
        Makes the error for a member.
    windows
        Whether the names must be ones that Windows can have.
    """

    def __init__(self, refuse: Refuse, windows: bool = os.name == "nt") -> None:
        self._refuse = refuse
        self._windows = windows
        self._folders: dict[str, str] = {}  # folded: as it is written
        self._files: dict[str, str] = {}
        self.folders: list[str] = []  # as they are written, parents first
        self._folded: dict[tuple[str, ...], str] = {
            (): ""
        }  # exact folders that are known to be fine

    @property
    def has_files(self) -> bool:
        """Whether any file has been named."""
        return bool(self._files)

    def folder(self, member: str) -> tuple[str, ...]:
        """Take a folder's name; the same folder may come again."""
        parts = self._place(member)
        self._enter(parts, member)
        return parts

    def file(self, member: str) -> tuple[str, ...]:
        """Take a file's name, which no other may have."""
        parts = self._place(member)
        if not parts:
            raise self._refuse(member, "names no file")
        above = self._enter(parts[:-1], member)
        self._check(parts[-1], member)
        key = f"{above}/{fold(parts[-1])}"
        if key in self._files or key in self._folders:
            raise self._clash(member, parts, self._files.get(key) or self._folders[key])
        written = "/".join(parts)
        self._files[key] = written
        return parts

    def _place(self, member: str) -> tuple[str, ...]:
        parts = inside(member)
        if parts is None:
            raise self._refuse(member, "would be written outside its folder")
        return parts

    def _enter(self, parts: tuple[str, ...], member: str) -> str:
        known = self._folded.get(parts)
        if known is not None:
            return known
        above = self._enter(parts[:-1], member)
        self._check(parts[-1], member)
        key = f"{above}/{fold(parts[-1])}"
        written = "/".join(parts)
        if key in self._files:
            raise self._refuse(member, "lies below a file")
        if self._folders.setdefault(key, written) != written:
            raise self._clash(member, parts, self._folders[key])
        self._folded[parts] = key
        self.folders.append(written)
        return key

    def _clash(self, member: str, parts: tuple[str, ...], other: str) -> Exception:
        if other == "/".join(parts):
            return self._refuse(member, "has the same name as another")
        return self._refuse(
            member,
            f"would be one with {other!r} on macOS, Windows and Google Drive: the names differ "
            "only in upper and lower case or in how accents are written",
        )

    def _check(self, part: str, member: str) -> None:
        if self._windows:
            for trouble in _on_windows(part):
                raise self._refuse(member, trouble)


def _on_windows(part: str) -> Iterator[str]:
    """Say why Windows cannot have this name."""
    if _WINDOWS_SIGNS.search(part):
        yield "has a sign in its name that Windows does not allow"
    if part.endswith((" ", ".")):
        yield "has a name that ends in a dot or a space, which Windows takes away"
    if part.split(".")[0].rstrip().lower() in WINDOWS_DEVICES:
        yield "has the name of a device of Windows"
