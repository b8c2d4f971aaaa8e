"""Unpacks an archive so that its folder is either whole or absent, and nothing lands elsewhere.

`zipfile` has no filter and no limit, and `tarfile`'s filters exist only from Python 3.12 (and late
patch versions of 3.10 and 3.11), so every member is checked here. No link is ever made: one that
stays inside becomes a copy of what it points to, one that leads out is refused, and so writing
through a link is impossible. Modes and owners are not taken over.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from fastmagic import faces
from fastmagic.data.tree import is_junk
from fastmagic.errors import ArchiveError, DataError, FastMagicError, Stopped
from fastmagic.progress import View

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
CHUNK = 1 << 20

_STREAMS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""What opens a compressed stream, by its first bytes."""

_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError)  # RuntimeError: unknown compression
_TAR_ERRORS = (tarfile.TarError, lzma.LZMAError, EOFError)
_BROKEN = (*_ZIP_ERRORS, *_TAR_ERRORS, ValueError)
"""What the standard library raises on damaged or unknown archives."""


def split_name(name: str) -> tuple[str, str]:
    """Divide an archive's file name into its stem and what tells the kind of archive.

    Examples
    --------
    >>> split_name("dogscats.tar.gz"), split_name("pets.ZIP"), split_name("download")
    (('dogscats', '.tar.gz'), ('pets', '.ZIP'), ('download', ''))
    """
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


def unpack(
    archive: Path,
    target: Path,
    *,
    view: View | None = None,
    free: Callable[[Path], int] | None = None,
) -> Path:
    """Unpack an archive into a folder that is there only once everything is in it.

    Parameters
    ----------
    archive
        A zip or a tar, plain or compressed with gzip, bzip2 or xz; known by its first bytes.
    target
        The folder to make; a single folder at the archive's top becomes this folder.
    view
        Shows how far it is.
    free
        Says how many bytes are free in a folder; asks the disk by default.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    ArchiveError
        When the archive is broken, encrypted, or would write outside its folder; the member is
        named, and nothing is left behind.
    DataError
        When the disk has no room for what is in it, or cannot be written.
    Stopped
        On Ctrl-C; the next call unpacks from the start.
    """
    view = view or View()
    target.parent.mkdir(parents=True, exist_ok=True)
    # One name for one target: what a killed process left is found here and removed.
    work = target.with_name(f".{target.name}.unpacking")
    _remove(work)
    work.mkdir()
    try:
        room = (free or _free)(work)
        _fill(archive, _Folder(archive, work, room), view)
        _single_top(work).replace(_vacant(target))
    except KeyboardInterrupt as stop:
        if isinstance(stop, FastMagicError):
            raise
        msg = f"Stopped while unpacking {archive.name}; the archive itself is kept."
        raise Stopped(msg, "Run the same line again: only the unpacking is done anew.") from None
    except FastMagicError:
        raise
    except _BROKEN as error:
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 say so of bad data
            raise _broken(archive, error) from error
        msg = f"Unpacking {archive.name} failed: {error.strerror or error}."
        raise DataError(msg, f"Look at {target.parent}: is the disk full or read-only?") from error
    finally:
        _remove(work)
    return target


def _fill(archive: Path, folder: _Folder, view: View) -> None:
    with archive.open("rb") as file:
        head = file.read(512)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        _unzip(archive, folder, view)
        return
    opener = next((made for magic, made in _STREAMS.items() if head.startswith(magic)), None)
    if opener or head[257:262] == b"ustar":
        if not opener:
            _check_end(archive)
        with archive.open("rb") as raw, opener(raw) if opener else nullcontext(raw) as stream:
            _untar(raw, stream, archive.stat().st_size, folder, view)
        return
    msg = f"{archive.name} is not an archive: it begins like neither a zip nor a tar."
    raise ArchiveError(msg, "Look into it; a web page was perhaps saved under this name.")


def _check_end(archive: Path) -> None:
    """Refuse a plain tar that was cut between two members, which `tarfile` takes for its end.

    A tar ends with two blocks of 512 zero bytes (POSIX, pax format).
    """
    with archive.open("rb") as file:
        file.seek(-512, 2)
        if any(file.read()):
            raise tarfile.ReadError("its end is missing")


def _unzip(archive: Path, folder: _Folder, view: View) -> None:
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        folder.expect(sum(member.file_size for member in members))
        for done, member in enumerate(members, 1):
            if member.flag_bits & 0x1:
                raise folder.refusal(member.filename, "is encrypted")
            mode = member.external_attr >> 16
            if member.is_dir():
                folder.make(member.filename)
            elif stat.S_ISLNK(mode):
                folder.link(member.filename, zipped.read(member)[:4096].decode("utf-8"))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise folder.refusal(member.filename, "is a device, not a file")
            else:
                with zipped.open(member) as stream:  # checks the CRC at its end
                    folder.write(member.filename, stream, member.file_size)
            view.bar("unpacking", done, len(members), " files")
    folder.copy_links()


def _untar(raw: IO[bytes], stream: IO[bytes], size: int, folder: _Folder, view: View) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.isdir():
                folder.make(member.name)
            elif member.issym():
                folder.link(member.name, member.linkname)
            elif member.islnk():
                folder.link(member.name, member.linkname, from_top=True)
            elif not member.isreg():
                raise folder.refusal(member.name, "is a device, not a file")
            else:
                folder.expect(member.size)
                content = tar.extractfile(member)
                if content is not None:
                    folder.write(member.name, content, member.size)
            view.bar("unpacking", raw.tell(), size, "B")
    while stream.read(CHUNK):
        pass  # to the very end, where gzip and xz keep their checksums
    folder.copy_links()


class _Folder:
    """Writes members below one folder and nowhere else, and no more than it has room for."""

    def __init__(self, archive: Path, top: Path, room: int) -> None:
        self._archive = archive
        self._top = top
        self._room = room
        self._expected = 0
        self._made = {top}
        self._links: list[tuple[str, Path, Path]] = []

    def refusal(self, member: str, why: str) -> ArchiveError:
        """Make the error that names the member."""
        msg = f"{self._archive.name} was not unpacked: its member {member!r} {why}."
        return ArchiveError(msg, "Do not use this archive, or get it from its maker again.")

    def expect(self, size: int) -> None:
        """Refuse what the disk has no room for, before it is written."""
        self._expected += size
        if self._expected > self._room:
            amount, room = faces.size(self._expected), faces.size(self._room)
            msg = f"{self._archive.name} unpacks to {amount} or more, and {room} are free."
            raise DataError(msg, f"Free some space on the disk of {self._top.parent}.")

    def make(self, member: str) -> None:
        """Make a folder."""
        self._folder(self._place(member), member)

    def write(self, member: str, stream: IO[bytes], size: int) -> None:
        """Write a file of exactly the size that the archive declares."""
        path = self._place(member)
        self._folder(path.parent, member)
        written = 0
        with self._created(path, member) as file:
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > size:
                    raise self.refusal(member, "is larger than it says")
                file.write(chunk)
        if written != size:
            raise self.refusal(member, "is shorter than it says")

    def link(self, member: str, target: str, *, from_top: bool = False) -> None:
        """Note a link, to be copied at the end; refuse one that leads out."""
        path = self._place(member)
        start = self._top if from_top else path.parent
        place = self._inside(start, target)
        if place is None:
            raise self.refusal(member, f"is a link that leads out of the archive, to {target!r}")
        self._links.append((member, path, place))

    def copy_links(self) -> None:
        """Put copies of files where links to them were; links to folders or nothing are left."""
        for member, path, target in self._links:
            if target.is_file():
                self._folder(path.parent, member)
                self.expect(target.stat().st_size)
                with self._created(path, member) as new, target.open("rb") as old:
                    shutil.copyfileobj(old, new, CHUNK)

    def _created(self, path: Path, member: str) -> IO[Any]:
        try:
            return path.open("xb")
        except (FileExistsError, IsADirectoryError):
            raise self.refusal(member, "has the same name as another") from None

    def _folder(self, path: Path, member: str) -> None:
        if path in self._made:
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise self.refusal(member, "lies below a file") from None
        self._made.add(path)

    def _place(self, member: str) -> Path:
        place = self._inside(self._top, member)
        if place is None:
            raise self.refusal(member, "would be written outside its folder")
        return place

    def _inside(self, start: Path, name: str) -> Path | None:
        """Follow a name from a folder; None where it is absolute or leaves the top."""
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or "\0" in name:
            return None
        place = start
        for part in re.split(r"[/\\]", name):
            if part == "..":
                if place == self._top:
                    return None
                place = place.parent
            elif part not in ("", "."):
                place = place / part
        return place


def _single_top(work: Path) -> Path:
    """Give the one folder at the top, if it is the only thing there, else the folder itself."""
    names = [one for one in work.iterdir() if not is_junk(one.name)]
    return names[0] if len(names) == 1 and names[0].is_dir() else work


def _vacant(target: Path) -> Path:
    """Take an empty folder out of the way, where one stands in the target's place."""
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    return target


def _broken(archive: Path, error: BaseException) -> ArchiveError:
    msg = f"{archive.name} is broken or incomplete ({error or type(error).__name__})."
    return ArchiveError(msg, "Get the archive again.")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
