"""What is remembered of an environment before pip acts, and where that lies on the disk.

    undo/<name of this Python's folders>/
      pending.json      the run that acts now, or failed, or was killed
      done.json         the last run that was verified
      run-<number>/     one run's copies of files, its listing of what was there, an undo's list

A record is written last and whole, so that copies without a record count for nothing, and it is
removed first. After a power cut, copies that never reached the disk are found by their sizes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic import whole
from fastmagic.environment.keeping.installed import Layout, Status, same_version, version_of

FORMAT = 1
PENDING = "pending"
DONE = "done"


@dataclass(frozen=True)
class KeptFile:
    """A file, or a link, as it was.

    Attributes
    ----------
    path
        Where it belongs.
    stored
        Where its copy is, relative to the run's folder.
    status
        Its size and times when it was copied: while they are the same, nobody has touched it.
    link
        Where it points, for a symbolic link.
    """

    path: str
    stored: str
    status: Status
    link: str | None = None


@dataclass(frozen=True)
class Changing:
    """A distribution that pip was to change: its version before, and those it was to have."""

    before: str | None
    planned: tuple[str | None, ...]


@dataclass(frozen=True)
class Record:
    """The state before one run, or before several of which only the last can have succeeded.

    Attributes
    ----------
    time
        When it was recorded, for people.
    started
        The same in nanoseconds since 1970.
    executable, sites
        Which Python.
    before
        Every distribution and its version, also those outside of its own folders.
    changing
        What pip was to install, change or remove in this Python's own folders.
    files
        The kept files of those that were there.
    left_out
        What their RECORDs name outside of this Python; not kept.
    folder
        The name of the run's folder.
    """

    time: str
    started: int
    executable: str
    sites: tuple[str, ...]
    before: Mapping[str, str]
    changing: Mapping[str, Changing] = field(default_factory=dict)
    files: tuple[KeptFile, ...] = ()
    left_out: tuple[str, ...] = ()
    folder: str = ""


class Shelf:
    """The records of one Python beneath a folder that several Pythons may share."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        name = hashlib.sha256("\n".join(map(str, layout.sites)).encode()).hexdigest()[:16]
        self.folder = folder / name

    def read(self, which: str) -> Record | None:
        """Read the record of the pending or the done run; None where there is none."""
        data = read_json(self.folder / f"{which}.json")
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            return None
        try:
            return _from_json(data)
        except (TypeError, ValueError, KeyError):
            return None

    def latest(self) -> tuple[str, Record] | None:
        """Give what an undo would put back: the pending run's, else the done one's."""
        found = ((which, self.read(which)) for which in (PENDING, DONE))
        return next(((which, record) for which, record in found if record), None)

    def write(self, record: Record) -> None:
        """Make this the pending run's record, whole or not at all."""
        write_json(
            self.folder / f"{PENDING}.json", {"format": FORMAT, **dataclasses.asdict(record)}
        )

    def make_done(self) -> None:
        """Make the pending run the done one; the files of the one before it go."""
        pending, done = self.folder / f"{PENDING}.json", self.folder / f"{DONE}.json"
        if pending.exists():
            pending.replace(done)
        else:
            done.unlink(missing_ok=True)
        self.tidy()

    def drop(self, which: str) -> None:
        """Forget a run and its files."""
        (self.folder / f"{which}.json").unlink(missing_ok=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what no record names: runs that were replaced, or killed while they copied."""
        named: set[str] = set()
        for record in filter(None, map(self.read, (PENDING, DONE))):
            parts = {file.stored.split("/")[0] for file in record.files}
            named |= {record.folder, *(f"{record.folder}/{part}" for part in parts)}
        for folder in (*self.folder.glob("run-*"), *self.folder.glob("run-*/part-*")):
            if folder.relative_to(self.folder).as_posix() not in named:
                shutil.rmtree(folder, ignore_errors=True)

    def new_run(self) -> str:
        """Make a folder for a run and give its name."""
        folder = self.folder / f"run-{time.time_ns()}"
        folder.mkdir(parents=True)
        return folder.name

    def run(self, record: Record) -> Path:
        """Give a run's folder."""
        return self.folder / record.folder


def foreign(record: Record, found: Mapping[str, list[Path]]) -> dict[str, str]:
    """Name what is in a version now that it neither had nor was to have: somebody else's change.

    Examples
    --------
    >>> record = Record("now", 0, "python", (), {}, {"fastcore": Changing("1.0", ("2.0",))})
    >>> foreign(record, {"fastcore": [Path("fastcore-3.0.dist-info")], "pip": []})
    {'fastcore': '3.0'}
    """
    return {
        name: now
        for name, change in record.changing.items()
        for now in map(version_of, found.get(name, ()))
        if not any(same_version(now, known) for known in (change.before, *change.planned))
    }


def _from_json(data: Mapping[str, Any]) -> Record:
    return Record(
        time=str(data["time"]),
        started=int(data["started"]),
        executable=str(data["executable"]),
        sites=tuple(data["sites"]),
        before=dict(data["before"]),
        changing={
            name: Changing(one["before"], tuple(one["planned"]))
            for name, one in data["changing"].items()
        },
        files=tuple(
            KeptFile(one["path"], one["stored"], tuple(one["status"]), one["link"])
            for one in data["files"]
        ),
        left_out=tuple(data["left_out"]),
        folder=str(data["folder"]),
    )


def read_json(file: Path) -> Any:
    """Read JSON; None where there is none, or where it is broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(file: Path, content: Any) -> None:
    """Write JSON whole or not at all, so that a kill leaves the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(file, json.dumps(content))
