"""Whether the disks have room for an archive and for what is unpacked from it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastmagic import faces
from fastmagic.errors import DataError


@dataclass(frozen=True)
class Disk:
    """A disk as a folder on it shows it: its number, and its free bytes."""

    device: int
    free: int


def disk_of(folder: Path) -> Disk:
    """Give the disk that a folder is on, or will be on once it is made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    # a mounted network folder that says nothing of its size is no full one
    return Disk(folder.stat().st_dev, usage.free if usage.total else sys.maxsize)


def check_room(
    archive: Path,
    missing: int,
    total: int,
    contents: Path | None = None,
    disk: Callable[[Path], Disk] = disk_of,
) -> None:
    """Refuse to begin what cannot end: better before the first byte than after the last.

    Pictures do not shrink when they are packed, so that an archive's size is a lower bound of its
    contents'.

    Parameters
    ----------
    archive
        The file that is to be made.
    missing
        Bytes of it that are not there yet.
    total
        Its bytes; 0 where that is not known.
    contents
        The folder into which it will be unpacked; None where it will not be.
    disk
        Gives the disk of a folder.

    Raises
    ------
    DataError
        When a disk has too little room.
    """
    here = disk(archive.parent)
    there = disk(contents) if contents else here
    same = contents is not None and there.device == here.device
    needed = missing + (total if same else 0)
    if needed > here.free:
        what = "more for it and its contents" if same else "more"
        _refuse(f"{archive.name} needs {faces.size(needed)} {what}", here, archive.parent)
    if contents and not same and total > there.free:
        _refuse(f"The contents of {archive.name} need {faces.size(total)}", there, contents)


def _refuse(needs: str, disk: Disk, folder: Path) -> None:
    msg = f"{needs}, and {faces.size(disk.free)} are free."
    raise DataError(msg, f"Free some space on the disk of {folder}.")
