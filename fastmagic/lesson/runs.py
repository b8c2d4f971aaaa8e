"""The folder of a run: what it is called, whose it is, and whether it goes on.

Running the same cell again goes on with the run that it began; an edited cell, or one that
finished, gets a folder of its own. `run.json` says which cell a folder belongs to and how it
stands; a lock keeps two notebooks from working in one folder at once. A run may have a copy
elsewhere, on a mounted Google Drive say: where this machine has no such run, it goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fastmagic import faces, whole
from fastmagic.errors import BadInput, LessonError, first_line

NOT_IN_NAMES = re.compile(r"[^\w.-]+")

REFUSALS = 3
"""After so many new folders that cannot be locked it is the disk, and no other notebook."""

CHANGED = {
    "body": "the cell's code",
    "settings": "its settings",
    "pictures": "the pictures",
    "after": "the lesson that it goes on from",
}
"""The parts of a cell's identity, in a person's words."""

MARK_HERE = "the same cell would go on with it: make room on the disk, or begin anew with --fresh"
MARK_COPY = (
    "another machine would go on with it: when it can be written again, copy {run}/run.json there, "
    "or remove {copy}"
)
_HAS = {"running": "goes on", "stopped": "stopped", "failed": "failed", "finished": "has finished"}


@dataclass
class Run:
    """A claimed folder.

    Attributes
    ----------
    folder
        Where everything of this run is kept.
    resumed
        Whether it holds the work of an earlier call that did not finish.
    note
        What the person should know about the name; empty where there is nothing to say.
    about
        What is written down of it beside its identity: `parts`, the digest of each thing that
        decides which cell it is, `values`, those of the notebook's that its body uses, and the name
        of its `data`.
    lock
        Keeps others out; None in a process of a team, whose notebook holds it.
    before
        Where it was resumed: its `values` when it was begun, the `precision` that was chosen for
        it, and its `status` until now.
    copy
        The folder of its copy; None where there is none.
    fresh
        Whether it was asked to begin anew, as the same cell would again.
    """

    folder: Path
    identity: str
    resumed: bool
    note: str
    lock: FileLock | None
    about: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    copy: Path | None = None
    fresh: bool = False

    @property
    def again(self) -> str:
        """What to do for it to go on."""
        without = ", without --fresh" if self.fresh else ""
        return f"Run the same cell again{without}: it goes on where it stopped."

    @property
    def states(self) -> Path:
        """The folder of the stages' states; gone once the run has finished."""
        return self.folder / "states"

    def mark(self, status: str) -> tuple[tuple[str, str], ...]:
        """Write down how the run stands: `running`, `stopped`, `failed` or `finished`.

        Returns
        -------
        tuple of tuple of str
            What could not be written, and what to do; empty where all is well.
        """
        trouble = []
        for folder, what_to_do in ((self.folder, MARK_HERE), (self.copy, MARK_COPY)):
            if folder is None:
                continue
            try:
                self.write_down(status, folder)
                if status == "finished":
                    shutil.rmtree(folder / "states", ignore_errors=True)
            except OSError as error:
                what = f"{folder} does not say that the run {_HAS[status]} ({_why(error)})"
                trouble.append((what, what_to_do.format(run=self.folder, copy=self.copy)))
        return tuple(trouble)

    def write_down(self, status: str, folder: Path) -> None:
        """Write into the run's own folder, or that of its copy, how it stands.

        Raises
        ------
        OSError
            Where it cannot be written; what was there is as it was.
        """
        told = {**self.about, "identity": self.identity, "status": status}
        if self.copy is not None:
            told["copies"], told["copy"] = str(self.copy.parent), self.copy.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_json(folder / "run.json", told)
        except OSError:
            _write_over(folder / "run.json", told)

    def release(self) -> None:
        """Let others have the folder."""
        if self.lock is not None:
            self.lock.release()


def identity_of(parts: dict[str, Any]) -> str:
    """Give a digest that two cells share only if they ask for the same training.

    Examples
    --------
    >>> identity_of({"body": "learn.fit(1)", "seed": 1}) == identity_of(
    ...     {"seed": 1, "body": "learn.fit(1)"}
    ... )
    True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def claim(
    runs: Path,
    identity: str,
    *,
    name: str | None,
    stem: str,
    fresh: bool = False,
    about: dict[str, Any] | None = None,
    copies: Path | None = None,
    now: Callable[[], datetime] = datetime.now,
) -> Run:
    """Find the folder in which this cell goes on, or make a new one.

    Parameters
    ----------
    runs
        The folder of all runs; it is made where it is missing.
    identity
        What `identity_of` gave for this cell.
    name
        The name that was asked for; None for `stem` with the date and time.
    stem
        The data set's and the recipe's names.
    fresh
        True to begin anew, also where the same cell was stopped before.
    about
        What to write down beside the identity, see `Run`.
    copies
        The folder of the runs' copies; None where they have none.
    now
        The clock.

    Raises
    ------
    BadInput
        For a name that is not a plain folder name.
    LessonError
        Where no folder can be made.
    """
    if name is not None and (NOT_IN_NAMES.search(name) or name in (".", "..")):
        raise BadInput(
            f"--name {name!r} is not a plain folder name.",
            "Use letters, digits, '-', '_' and '.' only.",
        )
    run = None
    try:
        runs.mkdir(parents=True, exist_ok=True)
        run = None if fresh else _go_on(runs, identity, name, copies)
        if run is None:
            run = _new(runs, identity, name, f"{stem}-{now():%Y%m%d-%H%M%S}")
            run.fresh = fresh
            if not fresh:
                run.note = run.note or _why_new(runs, about or {}, run.folder)
        run.about = {**(about or {}), **({"values": run.before["values"]} if run.before else {})}
        run.copy = None if copies is None else _copy_of(run, copies)
        run.write_down("running", run.folder)
        if run.copy is not None:
            with contextlib.suppress(OSError):  # it is told where the state is copied
                run.write_down("running", run.copy)
    except BaseException as error:
        if run is not None:
            run.release()
        if not isinstance(error, (OSError, NotImplementedError)):  # the latter: filelock before 4
            raise
        why = getattr(error, "strerror", None) or first_line(error)
        raise LessonError(
            f"The run's folder cannot be made in {runs} ({why}).",
            "Give a folder that can be written, and whose disk knows locks: --runs FOLDER.",
        ) from error
    return run


def _go_on(runs: Path, identity: str, name: str | None, copies: Path | None) -> Run | None:
    """Claim the unfinished run of this cell: of this machine, or from the copy of another's."""
    for folder in _candidates(runs, name):
        run = _try(folder, identity, go_on=True)
        if run:
            return run
    for copy in [] if copies is None else _candidates(copies, name):
        if _unfinished(copy, identity) and not (runs / copy.name).exists():
            run = _try(runs / copy.name, identity, go_on=False)
            if run:
                run.resumed, run.before = True, _about(_read_status(copy))
                return run
    return None


def where_begun(identity: str, *folders: Path) -> Path | None:
    """Give the first of several folders of runs in which this cell was begun and not finished."""
    for runs in folders:
        if any(told.get("identity") == identity for _, told in unfinished(runs)):
            return runs
    return None


def _copy_of(run: Run, copies: Path) -> Path:
    """Give the folder of a run's copy: its own, or one that no other run has.

    A machine with a new disk knows nothing of the names that others have taken.
    """
    number = 1
    while True:
        copy = copies / (run.folder.name if number == 1 else f"{run.folder.name}-{number}")
        if not copy.exists() or (run.resumed and _unfinished(copy, run.identity)):
            return copy
        number += 1


def unfinished(runs: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the runs in a folder that were not finished, and what is written down of each.

    Parameters
    ----------
    runs
        The folder of all runs, or of their copies; None where there is none.

    Yields
    ------
    tuple of Path and dict
        The newest first.
    """
    for folder in [] if runs is None else _candidates(runs, None):
        told = _read_status(folder)
        if told and told.get("status") != "finished":
            yield folder, told


def _why_new(runs: Path, about: dict[str, Any], own: Path) -> str:
    """Say what has changed since a run that was not finished; empty where there is none."""
    parts = about.get("parts", {})
    for folder in _candidates(runs, None):
        told = _read_status(folder) or {}
        known = told.get("parts")
        if folder == own or not isinstance(known, dict):
            continue
        if told.get("status") == "finished":
            break  # whatever was stopped before that is no longer what the person is at
        if not any((folder / "states").glob("fit-*.pt")):
            continue  # nothing was trained in it
        changed = [CHANGED[key] for key in CHANGED if known.get(key) != parts.get(key)]
        if changed and len(changed) < len(CHANGED) - 1:
            return (
                f"A new run begins, because {' and '.join(changed)} changed since {folder.name}, "
                "which was not finished and stays where it is."
            )
        break
    return ""


def _new(runs: Path, identity: str, name: str | None, dated: str) -> Run:
    wanted = name or NOT_IN_NAMES.sub("_", dated)
    number, refused = 1, 0
    while refused < REFUSALS:
        folder = runs / (wanted if number == 1 else f"{wanted}-{number}")
        new = not folder.exists()
        run = _try(folder, identity, go_on=False)
        if run:
            if name and number > 1:
                run.note = (
                    f"--name {name} is taken by a run that stays where it is: this one is called "
                    f"{folder.name}."
                )
            return run
        number, refused = number + 1, refused + new
    raise OSError(errno.ENOLCK, "no file can be locked there")


def _try(folder: Path, identity: str, *, go_on: bool) -> Run | None:
    """Claim one folder: an unfinished one of the same cell, or (`go_on` False) an empty one."""
    if go_on != folder.is_dir():
        return None
    if go_on and not _unfinished(folder, identity):
        return None
    folder.mkdir(exist_ok=True)
    lock = FileLock(str(folder / ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    try:
        taken = _read_status(folder) is not None
        if taken and not (go_on and _unfinished(folder, identity)):
            lock.release()
            return None
        before = _about(_read_status(folder)) if go_on else {}
        run = Run(folder, identity, go_on, "", lock, before=before)
        run.write_down("running", folder)
    except BaseException:  # a full disk, or stop: whoever keeps the traceback keeps no lock
        lock.release()
        raise
    return run


def _about(told: dict[str, Any] | None) -> dict[str, Any]:
    """Give what was written down of a run when it was begun."""
    told = told or {}
    values = told.get("values")
    kept = {key: told.get(key) for key in ("status", "precision")}
    return {"values": values if isinstance(values, dict) else {}, **kept}


def _candidates(runs: Path, name: str | None) -> list[Path]:
    """List the folders in which this cell may have begun, the newest first."""
    pattern = re.compile(rf"{re.escape(name)}(-\d+)?" if name else ".*")
    try:
        folders = [
            folder
            for folder in runs.iterdir()
            if pattern.fullmatch(folder.name) and (folder / "run.json").is_file()
        ]
        return sorted(folders, key=lambda one: (one / "run.json").stat().st_mtime, reverse=True)
    except OSError:  # not there yet, or a Drive that is gone
        return []


def _unfinished(folder: Path, identity: str) -> bool:
    status = _read_status(folder)
    return (
        status is not None
        and status.get("identity") == identity
        and status.get("status") != "finished"
    )


def _read_status(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all, so that a kill leaves the old file or the new one."""
    whole.write_text(path, f"{faces.as_json(content)}\n")


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _write_over(path: Path, content: Any) -> None:
    """Write JSON, closer set, where the old lies: a full disk has no room for another file."""
    text = faces.as_json(content, None).encode()
    with path.open("r+b", buffering=0) as file:
        if len(text) > os.fstat(file.fileno()).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(text)
        file.truncate()
        os.fsync(file.fileno())
