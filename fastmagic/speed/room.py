"""Room for small copies: those that were not used for longest go, unless they are in use now."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fastmagic.speed.store import PICTURES, lock_of, remove

MARKS = 64
"""Processes that can mark a folder as used at once."""

REFUSED = (OSError, NotImplementedError)
"""What a lock raises: filelock's `Timeout`, the system's no, a file system without locks."""


def make_room(folder: Path, most: float) -> float:
    """Remove the copies that were not used for longest, until the others take no more than this.

    What another process makes or reads from stays, and so may the others take more.

    Parameters
    ----------
    folder
        The copies that are wanted now: they stay.
    most
        Bytes that the others may take.

    Returns
    -------
    float
        Bytes that the others take now.
    """
    taken = taken_beside(folder)
    for _, size, other in sorted(_others(folder)):
        if taken <= most:
            break
        if _removed(other):
            taken -= size
    with contextlib.suppress(OSError):
        os.utime(folder)  # it is used now
    return taken


def taken_beside(folder: Path) -> float:
    """Give the bytes that the copies in the other folders take."""
    return float(sum(size for _, size, _ in _others(folder)))


def _others(folder: Path) -> list[tuple[float, int, Path]]:
    """Give when each other folder was used, what it takes, and where it is."""
    others = []
    for file in folder.parent.glob(f"*/{PICTURES}"):
        with contextlib.suppress(OSError):
            if file.parent != folder:
                others.append((file.parent.stat().st_mtime, file.stat().st_size, file.parent))
    return others


def mark(folder: Path) -> Any:
    """Mark a folder's copies as used, until what is given is released or this process has ended.

    Parameters
    ----------
    folder
        It is made where it is missing.

    Returns
    -------
    filelock.FileLock or None
        None where it cannot be marked; the copies can be used all the same.
    """
    for number in range(MARKS):
        own = FileLock(str(folder / f".used-{number}"), thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            own.acquire(timeout=0)
        except Timeout:
            continue
        except REFUSED:
            return None
        return own
    return None


def _removed(folder: Path) -> bool:
    """Remove a folder's copies; False where somebody makes or uses them."""
    try:
        with lock_of(folder).acquire(timeout=0):
            for one in folder.glob(".used-*"):
                FileLock(str(one)).acquire(timeout=0).lock.release()
            remove(folder)
    except REFUSED:
        return False
    return True
