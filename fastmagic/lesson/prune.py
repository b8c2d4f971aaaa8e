"""Removing older runs, which happens only when it is asked for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fastmagic import faces, platforms
from fastmagic.errors import BadInput, LessonError
from fastmagic.faces import Face, Part, Shown, Text, table


@dataclass(frozen=True)
class Old:
    """One older run.

    Attributes
    ----------
    folder
        Where it lies.
    status
        `finished`, `stopped`, `failed`; `running` where it was killed.
    size
        Bytes, without the copy.
    copy
        Where its copy lies; None where it has none.
    """

    folder: Path
    status: str
    size: int
    copy: Path | None = None


@dataclass(frozen=True)
class Pruned(Shown):
    """What was removed, or would be.

    Attributes
    ----------
    folder
        The folder of all runs.
    removed
        The older runs that this call removed, the oldest first; not what another one did.
    left
        How many runs are still there.
    dry_run
        Whether nothing was removed yet.
    copies
        The folders of the runs' copies.
    unfinished
        How many older ones were left because they did not finish.
    """

    folder: Path
    removed: tuple[Old, ...]
    left: int
    dry_run: bool
    copies: tuple[Path, ...] = ()
    unfinished: int = 0

    def face(self) -> Face:
        """Build the report that a person sees."""
        freed = faces.size(sum(one.size for one in self.removed))
        runs = "1 run" if len(self.removed) == 1 else f"{len(self.removed)} runs"
        done = "would be removed" if self.dry_run else "removed"
        parts: list[Part] = [
            Text(f"{runs} {done}, {freed}; {self.left} left in {self.folder}.", strong=True)
        ]
        if self.removed:
            rows = [(one.folder.name, one.status, faces.size(one.size)) for one in self.removed]
            parts.append(table(("run", "status", "size"), rows))
        copied = sum(one.copy is not None for one in self.removed)
        if copied:
            said = "1 copy" if copied == 1 else f"{copied} copies"
            where = ", ".join(map(str, self.copies))
            parts.append(Text(f"{said} {done} with them, in {where}."))
        if self.unfinished:
            them = "it" if self.unfinished == 1 else "them"
            parts.append(
                Text(
                    f"{self.unfinished} of those left did not finish and can be gone on with; "
                    f"unfinished=True removes {them} too."
                )
            )
        return Face("Older runs", tuple(parts))


def prune(
    keep: int = 5,
    runs_folder: str | Path | None = None,
    *,
    copies: str | Path | None = None,
    unfinished: bool = False,
    dry_run: bool = False,
) -> Pruned:
    """Remove older runs of the lesson, reports, models and states, and with each its copy.

    Nothing removes them by itself, for a run is somebody's work. One that is going on now is never
    touched.

    Parameters
    ----------
    keep
        How many of the newest to keep.
    runs_folder
        The folder of all runs; that of this platform by default.
    copies
        The folder of the runs' copies, where it is another one now than when they were made. A
        run whose copy stayed would be gone on with from there.
    unfinished
        Whether those go too that were stopped, and could still be gone on with.
    dry_run
        Only say what would go.

    Raises
    ------
    BadInput
        For a number below 0, or a folder that is not there.
    LessonError
        Where a run cannot be removed; those before it are gone.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(prune(keep=3, runs_folder=folder).left)
    0
    """
    if keep < 0:
        raise BadInput(f"keep={keep} is out of range.", "Give how many runs to keep, such as 5.")
    root, copied_to = platforms.run_folders(platforms.where(), runs_folder, copies)
    if runs_folder is not None and not root.is_dir():
        raise BadInput(f"There is no folder {root}.", "Give the folder of the runs.")
    runs = _newest_first(root.glob("*/run.json"))
    looked = [_look(file, copied_to, asked=bool(copies)) for file in reversed(runs[keep:])]
    old = [one for one in looked if one is not None]
    going = tuple(one for one in old if one.status == "finished" or unfinished)
    removed = tuple(one for one in going if _gone(one, dry_run=dry_run))
    copied = dict.fromkeys(one.copy.parent for one in removed if one.copy is not None)
    left = sum(file.is_file() for file in runs) - (len(removed) if dry_run else 0)
    return Pruned(root, removed, left, dry_run, tuple(copied), len(old) - len(going))


def _newest_first(files: Iterable[Path]) -> list[Path]:
    """Sort the runs' files; one that another call removes meanwhile is passed over."""
    times = {}
    for file in files:
        with suppress(FileNotFoundError):
            times[file] = file.stat().st_mtime
    return sorted(times, key=times.__getitem__, reverse=True)


def _look(file: Path, copies: Path | None, *, asked: bool) -> Old | None:
    """Look at a run, and for its copy in this folder; where none was asked for, in its own too.

    None where another call has removed it meanwhile.
    """
    told = _told(file)
    name = Path(str(told.get("copy", file.parent.name))).name
    places = [copies] if asked else [copies, told.get("copies")]
    found = [Path(str(place)) / name for place in places if place]
    copy = next((one for one in found if _is_copy(one, told)), None)
    size = _size(file.parent)
    if not file.is_file():
        return None
    return Old(file.parent, str(told.get("status", "unknown")), size, copy)


def _size(folder: Path) -> int:
    """Count the bytes in a folder; what vanishes meanwhile has none."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(above, name).lstat().st_size
    return total


def _is_copy(folder: Path, told: dict[str, Any]) -> bool:
    """Say whether a folder is a run's copy, not that of another one which has the same name."""
    return bool(told.get("identity")) and told["identity"] == _told(folder / "run.json").get(
        "identity"
    )


def _told(file: Path) -> dict[str, Any]:
    """Give what is written down of a run; nothing where that cannot be read."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _gone(run: Old, *, dry_run: bool) -> bool:
    """Remove a run, its copy first; False where a notebook works in it, or it is gone already."""
    told, lock = run.folder / "run.json", run.folder / ".lock"
    if not told.is_file():
        return False  # the lock would make its folder anew
    try:
        with FileLock(str(lock)).acquire(timeout=0):
            there = told.is_file()  # whoever held the lock may have removed it
            if there and dry_run:
                return True
            if there:
                _remove(run)
            with suppress(OSError):  # Windows removes it at its release
                lock.unlink()
    except (Timeout, OSError):
        return False
    with suppress(OSError):  # another call has just locked it, and removes it then
        run.folder.rmdir()
    return there


def _remove(run: Old) -> None:
    """Remove a run's copy, and what is in its own folder."""
    if run.copy is not None:
        _empty(run.copy)
    _empty(run.folder)
    if run.copy is not None:
        shutil.rmtree(run.copy, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Remove what is in a folder, but the lock that is held; `run.json` last, to be tried again."""
    try:
        for one in sorted(folder.iterdir(), key=lambda one: one.name == "run.json"):
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one.name != ".lock":
                one.unlink()
    except OSError as error:
        if not folder.exists():  # somebody else has removed it meanwhile
            return
        raise LessonError(
            f"{folder} cannot be removed ({error.strerror or error}).",
            "Close what has it open, or remove it by hand.",
        ) from error
