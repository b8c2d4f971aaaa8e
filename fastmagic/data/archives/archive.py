"""Unpacks an archive so that its folder is either whole or absent, and nothing lands elsewhere.

`zipfile` has no filter and no limit, and `tarfile`'s filters exist only from Python 3.12 (and late
patch versions of 3.10 and 3.11), so every member is checked here: its name in `members`, its size
in `limits`, its place in `folder`. `zips` and `tars` read the two kinds. Everything is written into
a hidden folder beside the target, which is renamed when all of it is there; what a killed process
leaves is never taken for the data set, and the next call removes it.
"""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from fastmagic.data.archives.folder import Folder
from fastmagic.data.archives.limits import Limits, Meter
from fastmagic.data.archives.streams import STREAMS
from fastmagic.data.archives.tars import untar
from fastmagic.data.archives.zips import unzip
from fastmagic.data.survey.tree import is_junk, is_picture
from fastmagic.errors import ArchiveError, DataError, FastMagicError, Stopped
from fastmagic.progress import View

_PACKED = ("gz", "bz2", "xz", "zst")
SUFFIXES = (".zip", ".tar", *(f".t{one}" for one in _PACKED), *(f".tar.{one}" for one in _PACKED))

TABLES = (".csv", ".tsv", ".xls", ".xlsx", ".parquet")
"""What labels are written into; none is ever an archive of pictures."""

_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, struct.error)  # a version not known, yet
_TAR_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_BROKEN = (*_ZIP_ERRORS, *_TAR_ERRORS, ValueError)
"""What the standard library raises on damaged archives."""


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
    limits: Limits | None = None,
    threads: int | None = None,
    windows: bool = os.name == "nt",
) -> Path:
    """Unpack an archive into a folder that is there only once everything is in it.

    Parameters
    ----------
    archive
        A zip or a tar, plain or compressed with gzip, bzip2, xz or zstd; known by its first bytes.
    target
        The folder to make; a single folder at the archive's top becomes this folder.
    view
        Shows how far it is.
    free
        Says how many bytes are free in a folder; asks the disk by default.
    limits
        How much it may unpack to; raise them for an archive that you trust.
    threads
        How many threads write; as many as there are cores by default.
    windows
        Whether to refuse names that Windows cannot have.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    ArchiveError
        When the archive is broken, encrypted, a bomb, would write outside its folder, or has two
        members of one name; the member is named, and nothing is left behind.
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
        meter = Meter(archive.name, limits or Limits(), room, str(target.parent))
        _fill(archive, Folder(work, meter, windows), view, threads)
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


def _fill(archive: Path, folder: Folder, view: View, threads: int | None) -> None:
    if archive.suffix.lower() in TABLES:  # some of these are zips
        raise _no_archive(archive)
    with archive.open("rb") as file:
        head = file.read(512)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        unzip(archive, folder, view, threads)
    else:
        kind = next((kind for kind in STREAMS if head.startswith(kind.magic)), None)
        if kind is None and head[257:262] != b"ustar":
            raise _no_archive(archive)
        with archive.open("rb") as raw, kind.open(raw) if kind else nullcontext(raw) as stream:
            size, checked = archive.stat().st_size, bool(kind and kind.checks_its_end)
            untar(raw, stream, size, folder, view, checked_end=checked, threads=threads)
    if left := folder.copy_links():
        view.note(_left_out(archive, left))
    if folder.is_empty:
        msg = f"{archive.name} holds no files."
        raise ArchiveError(msg, "Look into it, or get it from its maker again.")


def _no_archive(file: Path) -> ArchiveError:
    """Say what a file is instead of an archive, as far as its name tells."""
    above = file.absolute().parent
    if file.suffix.lower() in TABLES:
        step = (
            f"Give the folder of the pictures, perhaps {above}. Labels in a table are not read: "
            "in a cell of your own, ImageDataLoaders.from_csv does that."
        )
        return ArchiveError(f"{file.name} is a table, and no archive.", step)
    if is_picture(file.name):
        step = f"Give its folder, {above}, or the one above that holds every class."
        return ArchiveError(f"{file.name} is a picture, and no archive.", step)
    msg = f"{file.name} is not an archive: it begins like neither a zip nor a tar."
    return ArchiveError(msg, "Look into it; a web page was perhaps saved under this name.")


def _left_out(archive: Path, links: list[str]) -> str:
    """Say which links have become no copies, and what to do about it."""
    what = "1 link is" if len(links) == 1 else f"{len(links):,} links are"
    return (
        f"{what} left out of {archive.name}, {links[0]!r} for one: it leads to a folder or to "
        "nothing. If something is missing, unpack it yourself and name the folder."
    )


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
