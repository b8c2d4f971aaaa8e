"""Removing older runs, which happens only when it is asked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

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
        Bytes.
    """

    folder: Path
    status: str
    size: int


@dataclass(frozen=True)
class Pruned(Shown):
    """What was removed, or would be.

    Attributes
    ----------
    folder
        The folder of all runs.
    removed
        The older runs, the oldest first.
    left
        How many runs are still there.
    dry_run
        Whether nothing was removed yet.
    """

    folder: Path
    removed: tuple[Old, ...]
    left: int
    dry_run: bool

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
        return Face("Older runs", tuple(parts))


def prune(
    keep: int = 5,
    runs_folder: str | Path | None = None,
    *,
    unfinished: bool = False,
    dry_run: bool = False,
) -> Pruned:
    """Remove older runs of the lesson: reports, models and states.

    Nothing removes them by itself, for a run is somebody's work. One that is going on now is never
    touched.

    Parameters
    ----------
    keep
        How many of the newest to keep.
    runs_folder
        The folder of all runs; that of this platform by default.
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
    root = platforms.run_folders(platforms.where(), runs_folder)[0]
    if runs_folder is not None and not root.is_dir():
        raise BadInput(f"There is no folder {root}.", "Give the folder of the runs.")
    runs = sorted(root.glob("*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    old = [_look(file) for file in reversed(runs[keep:])]
    going = tuple(one for one in old if one.status == "finished" or unfinished)
    removed = tuple(one for one in going if _is_free(one.folder) and (dry_run or _remove(one)))
    return Pruned(root, removed, len(runs) - len(removed), dry_run)


def _look(file: Path) -> Old:
    try:
        status = str(json.loads(file.read_text(encoding="utf-8"))["status"])
    except (OSError, ValueError, LookupError, TypeError):
        status = "unknown"
    sizes = [one.lstat().st_size for one in file.parent.rglob("*") if not one.is_dir()]
    return Old(file.parent, status, sum(sizes))


def _is_free(folder: Path) -> bool:
    """Say whether no notebook works in a run's folder now."""
    try:
        with FileLock(str(folder / ".lock")).acquire(timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _remove(run: Old) -> bool:
    try:
        shutil.rmtree(run.folder)
    except OSError as error:
        raise LessonError(
            f"{run.folder} cannot be removed ({error.strerror or error}).",
            "Close what has it open, or remove it by hand.",
        ) from error
    return True
