"""Keeps archives in a folder that outlives the machine, say on a mounted Google Drive.

`NAME` is the archive, and `NAME.sha256` beside it the hash that it had when it was put there, in
the form that `sha256sum -c` reads. An archive gets there only after it was unpacked without fault,
under its name only when all of it is there, and it is taken back only with that hash: a copy that
broke off or rotted is said, and downloaded again. A folder that is full, read-only or not mounted
is said too, and stops nothing.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastmagic import faces, whole
from fastmagic.data.web.room import Disk, disk_of
from fastmagic.progress import View

CHUNK = 1 << 22
DAY = 86400.0


def take(cache: Path, name: str, archive: Path, view: View) -> str:
    """Copy a kept archive to where it is needed, if it is there and what it was.

    Parameters
    ----------
    cache
        The folder that keeps archives.
    name
        The archive's file name in it.
    archive
        The file to make; whole or absent.
    view
        Shows how far it is, and what is wrong with the kept one.

    Returns
    -------
    str
        Its SHA-256; empty where there is none that can be used.

    Raises
    ------
    OSError
        When `archive` cannot be written.
    """
    kept = cache / name
    try:
        if not kept.is_file():
            return ""
        wanted, total = _recorded(cache, name), kept.stat().st_size
        if not wanted:
            view.note(f"{kept} has no hash beside it ({name}.sha256): it is not used.")
            return ""
        source = kept.open("rb")
    except OSError as error:
        view.note(f"{kept} cannot be read ({_why(error)}): it is not used.")
        return ""
    archive.parent.mkdir(parents=True, exist_ok=True)
    work = archive.with_name(f"{archive.name}.copying")
    try:
        with source, work.open("wb") as target:
            found, trouble = _copy(source, target, _bar(view, "copying from the cache", total))
        if trouble or found != wanted:
            why = trouble or "its SHA-256 is another one than was recorded for it"
            view.note(f"{kept} is not used: {why}. The archive is downloaded.")
            if not trouble:
                with suppress(OSError):  # so that a good one takes its place
                    (cache / f"{name}.sha256").unlink()
            return ""
        work.replace(archive)
    finally:
        work.unlink(missing_ok=True)
    view.note(f"{name} was copied from {cache}; its SHA-256 is as recorded.")
    return found


def put(
    cache: Path,
    archive: Path,
    sha256: str,
    view: View,
    disk: Callable[[Path], Disk] = disk_of,
) -> bool:
    """Keep an archive, unless it is kept already; whatever goes wrong is said and stops nothing.

    Parameters
    ----------
    cache
        The folder that keeps archives; made where only its last part is missing. (A whole path is
        not: a folder in the place of a Drive that is not mounted would keep it from being mounted.)
    archive
        The archive, which was unpacked without fault.
    sha256
        Its hash.
    view
        Shows how far it is, and what went wrong.
    disk
        Gives the disk of a folder: nothing is copied that does not fit.

    Returns
    -------
    bool
        Whether it is kept now.
    """
    name, kept = archive.name, cache / archive.name
    work = cache / f".{name}.{os.getpid()}.copying"
    try:
        total = archive.stat().st_size
        if _recorded(cache, name) == sha256 and kept.stat().st_size == total:
            return True
    except OSError:
        pass  # it is looked at again below, where it is said
    try:
        cache.mkdir(exist_ok=True)
        _sweep(cache, name)
        if total > (free := disk(cache).free):
            room = f"{faces.size(total)} are needed, {faces.size(free)} are free"
            view.note(f"{name} could not be kept in {cache} ({room}); it is used all the same.")
            return False
        try:
            with archive.open("rb") as source, work.open("wb") as target:
                found, trouble = _copy(source, target, _bar(view, "copying to the cache", total))
                target.flush()
                os.fsync(target.fileno())
            if trouble or found != sha256:
                view.note(f"{archive} is not kept: {trouble or 'it has changed meanwhile'}.")
                return False
            work.replace(kept)
            whole.write_text(cache / f"{name}.sha256", f"{sha256}  {name}\n", shared=True)
        finally:
            work.unlink(missing_ok=True)
    except OSError as error:
        view.note(f"{name} could not be kept in {cache} ({_why(error)}); it is used all the same.")
        return False
    view.note(f"{name} is kept in {cache} for the next machine.")
    return True


def names(cache: Path) -> set[str]:
    """Name the archives that a folder keeps; empty where it cannot be read.

    Examples
    --------
    >>> names(Path("/no/such/folder"))
    set()
    """
    try:
        every = {one.name for one in cache.iterdir()}
    except OSError:
        return set()
    return {name for name in every if f"{name}.sha256" in every}


def _recorded(cache: Path, name: str) -> str:
    try:
        text = (cache / f"{name}.sha256").read_text("utf-8", "replace")
    except OSError:
        return ""
    match = re.match(r"([0-9a-f]{64})(\s|$)", text)
    return match[1] if match else ""


def _sweep(cache: Path, name: str) -> None:
    """Remove what a copy left that was killed a day ago or earlier."""
    for left in cache.glob(f".{glob.escape(name)}.*.copying"):
        if time.time() - left.stat().st_mtime > DAY:
            left.unlink(missing_ok=True)


def _copy(source: Any, target: Any, show: Callable[[int], None]) -> tuple[str, str]:
    """Copy and hash in one pass; what goes wrong while reading is told, writing errors go up."""
    digest, done = hashlib.sha256(), 0
    while True:
        try:
            chunk = source.read(CHUNK)
        except OSError as error:
            return "", f"it cannot be read ({_why(error)})"
        if not chunk:
            return digest.hexdigest(), ""
        digest.update(chunk)
        target.write(chunk)
        done += len(chunk)
        show(done)


def _bar(view: View, label: str, total: int) -> Callable[[int], None]:
    return lambda done: view.bar(label, done, total, "B")


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
