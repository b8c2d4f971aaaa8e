"""Before pip acts: record the state, and keep the files of what will be changed.

No index has Colab's torch 2.11.0+cu128, so the old state can come back only from this disk. Files
are copied, never hard linked: what later writes into an installed file (an editor, `strip`, a
`.pth` that is edited) would write into the kept one too. Where the file system can share blocks
between copies (btrfs, XFS), `copy_file_range` does that, and a copy takes neither time nor space.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastmagic import faces
from fastmagic.environment.inventory import Interpreter
from fastmagic.environment.keeping import installed
from fastmagic.environment.keeping.installed import Layout
from fastmagic.environment.keeping.records import (
    PENDING,
    Changing,
    KeptFile,
    Record,
    Shelf,
    foreign,
    read_json,
    write_json,
)
from fastmagic.errors import SetupError

KEEP_BYTES = 8_000_000_000  # torch 2.15 with all of its CUDA libraries takes about 6 GB
FREE_SHARE = 0.5  # pip needs the other half for what it downloads and unpacks
BLOCK_BYTES = 4096  # what the smallest file takes on a disk
LISTING = "listing.json"
UNDOING = "undoing.json"
ENDED = "ended.json"

Step = Callable[[str, str], None]
"""Told before each file what will be done with it: "keep", "remove", "put back"."""


def no_step(what: str, path: str) -> None:
    """Do nothing; tests hand in a step that ends the process."""


@dataclass(frozen=True)
class Need:
    """What it takes to be able to undo a change.

    Attributes
    ----------
    bytes
        Disk space for the kept files.
    fits
        Whether the change can be undone.
    sentence
        The same for a person, with the reason.
    """

    bytes: int
    fits: bool
    sentence: str


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Keeper:
    """Keeps the state of one Python before pip acts; `undo.undo` puts it back.

    The kept files of a run stay until the next run was verified, not until this one was: an
    installation that works may still not be the one that was wanted. Runs that failed add to one
    record, so that an undo leads back to the last state that was verified, or that nobody touched.

    Parameters
    ----------
    folder
        Where to keep; several Pythons may share it.
    interpreter
        The Python that will be changed.
    limit_bytes
        The most that is kept for a run; never more than half of what is free.
    free
        Gives the free bytes of the disk of a folder.
    step
        Told before each file; for tests.
    """

    def __init__(
        self,
        folder: Path,
        interpreter: Interpreter,
        limit_bytes: int = KEEP_BYTES,
        free: Callable[[Path], int] = _free_bytes,
        step: Step = no_step,
    ) -> None:
        self._folder = folder
        self._interpreter = interpreter
        self._limit = limit_bytes
        self._free = free
        self._step = step

    @cached_property
    def layout(self) -> Layout:
        """Where the Python keeps its packages."""
        return installed.layout_of(self._interpreter)

    @cached_property
    def shelf(self) -> Shelf:
        """Where its records are."""
        return Shelf(self._folder, self.layout)

    def estimate(self, before: Mapping[str, str], names: Iterable[str]) -> Need:
        """Say beforehand whether changing these distributions can be undone.

        Parameters
        ----------
        before
            Every distribution and its version (`inventory.snapshot`).
        names
            Canonical names of those that will be changed or removed; new ones cost nothing.
        """
        for site in self.layout.sites:
            if not os.access(_existing(site), os.W_OK):
                return Need(0, False, f"This cannot be undone: {site} cannot be written to.")
        found = installed.installed(self.layout)
        earlier = self._going_on(found)
        kept = earlier.changing.keys() if earlier else set()
        total = 0
        for name in sorted((set(names) - kept) & (before.keys() | found.keys())):
            obstacle = _obstacle(name, before, found, self.layout)
            if obstacle:
                return Need(0, False, f"This cannot be undone: {obstacle}.")
            for path in _files(found.get(name, ()), self.layout)[0]:
                blocks = -(-path.lstat().st_size // BLOCK_BYTES)
                total += blocks * BLOCK_BYTES
        return self._fit(total)

    def _fit(self, total: int) -> Need:
        size = faces.size(total)
        if total == 0:
            return Need(0, True, "This can be undone: nothing that is there is replaced.")
        if total > self._limit:
            most = f"at most {faces.size(self._limit)} are kept"
            return Need(total, False, f"This cannot be undone: the old files take {size}, {most}.")
        free = self._free(_existing(self._folder))
        if total > free * FREE_SHARE:
            most = f"only half of the {faces.size(free)} free on this disk may be used for them"
            return Need(total, False, f"This cannot be undone: the old files take {size}; {most}.")
        return Need(total, True, f"This can be undone: {size} are kept at {self._folder}.")

    def keep(self, before: Mapping[str, str], will_change: Mapping[str, str | None]) -> Record:
        """Record the state and keep the files of what will be changed; changes nothing installed.

        Parameters
        ----------
        before
            Every distribution and its version (`inventory.snapshot`).
        will_change
            Canonical name to the version that is coming; None for one that will be removed.

        Raises
        ------
        SetupError
            When it does not fit or cannot be read or written; then nothing was changed or kept.
        """
        self._refuse_unfinished()
        need = self.estimate(before, will_change)
        if not need.fits:
            raise SetupError(need.sentence, "Nothing was changed. " + NEW_ENVIRONMENT)
        with faults("The present state could not be kept", "Nothing was changed."):
            try:
                return self._record(before, will_change)
            finally:
                self.shelf.tidy()

    def _going_on(self, found: Mapping[str, list[Path]]) -> Record | None:
        """Give the record of a run that failed, unless somebody has changed its packages since."""
        record = self.shelf.read(PENDING)
        return record if record and not foreign(record, found) else None

    def _record(self, before: Mapping[str, str], will_change: Mapping[str, str | None]) -> Record:
        found = installed.installed(self.layout)
        record = self._going_on(found) or self._new_record()
        changing = dict(record.changing)
        fresh: list[Path] = []
        for name, version in will_change.items():
            if name in changing:  # kept by a run that failed
                earlier = changing[name]
                planned = tuple(dict.fromkeys((*earlier.planned, version)))
                changing[name] = Changing(earlier.before, planned)
            else:
                infos = found.get(name, ())
                there = installed.version_of(infos[0]) if infos else None
                changing[name] = Changing(there, (version,))
                fresh += infos
        others = {name: v for name, v in before.items() if name not in record.changing}
        files, left_out = self._copy(record, fresh)
        record = dataclasses.replace(
            record,
            before={**{n: v for n, v in record.before.items() if n in changing}, **others},
            changing=changing,
            files=(*record.files, *files),
            left_out=(*record.left_out, *left_out),
        )
        (self.shelf.run(record) / ENDED).unlink(missing_ok=True)
        self.shelf.write(record)
        return record

    def _new_record(self) -> Record:
        record = Record(
            time=time.strftime("%Y-%m-%d %H:%M"),
            started=time.time_ns(),
            executable=self._interpreter.executable,
            sites=tuple(map(str, self.layout.sites)),
            before={},
            folder=self.shelf.new_run(),
        )
        write_json(self.shelf.run(record) / LISTING, installed.everything(self.layout))
        return record

    def _copy(
        self, record: Record, infos: Iterable[Path]
    ) -> tuple[list[KeptFile], tuple[str, ...]]:
        paths, strange = _files(infos, self.layout)
        known = {file.path for file in record.files}
        part = f"part-{time.time_ns()}"
        kept = []
        for number, path in enumerate(path for path in paths if str(path) not in known):
            self._step("keep", str(path))
            stored = f"{part}/{number // 1000:03}/{number:06}"
            kept.append(_keep_file(path, stored, self.shelf.run(record)))
        return kept, strange

    def acted(self) -> None:
        """Note that pip has ended, well or not: what comes into the folders later is not its own.

        Without it (the process was killed) an undo takes all that came since for pip's.
        """
        record = self.shelf.read(PENDING)
        if record:
            with contextlib.suppress(OSError):
                write_json(self.shelf.run(record) / ENDED, time.time_ns())

    def settle(self) -> None:
        """Note that the run was verified: from now on an undo undoes this one, and no earlier one.

        A run that kept nothing, because it could not, leaves nothing to undo.
        """
        with faults("The record of this run could not be closed", ""):
            self.shelf.make_done()

    def forget(self) -> None:
        """Forget what this run kept; for one that changed nothing."""
        with faults("The record of this run could not be removed", ""):
            self.shelf.drop(PENDING)

    def _refuse_unfinished(self) -> None:
        latest = self.shelf.latest()
        if latest and read_json(self.shelf.run(latest[1]) / UNDOING) is not None:
            raise SetupError(
                "An undo was interrupted here; until it has finished nothing new is installed.",
                "Run %fastai_setup --undo.",
            )


NEW_ENVIRONMENT = "Use an environment of your own: python -m venv lesson."


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _obstacle(
    name: str, before: Mapping[str, str], found: Mapping[str, list[Path]], layout: Layout
) -> str:
    """Say why a distribution cannot be kept; empty where it can."""
    infos = found.get(name, [])
    if not infos:
        # In a virtual environment pip leaves what lies outside alone, and the new one hides it.
        return "" if layout.virtual else f"{name} {before[name]} is not among this Python's own"
    if len(infos) > 1:
        return f"{name} is installed twice, in half-finished versions"
    if installed.claims(infos[0], layout) is None:
        return f"{name} came without a list of its files (RECORD)"
    return ""


def _files(infos: Iterable[Path], layout: Layout) -> tuple[list[Path], tuple[str, ...]]:
    """Give the files that are there, without compiled ones, and the entries that are left out."""
    paths: dict[Path, None] = {}
    strange: list[str] = []
    for info in infos:
        owned = installed.claims(info, layout)
        if owned:
            strange += owned.strange
            paths.update(dict.fromkeys(path for path in owned.files if _can_be_kept(path)))
    return list(paths), tuple(strange)


def _can_be_kept(path: Path) -> bool:
    if path.parent.name == "__pycache__":
        return False
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _keep_file(path: Path, stored: str, folder: Path) -> KeptFile:
    found = installed.status(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "it vanished while it was copied", str(path))
    copy_exactly(path, folder / stored)
    link = str(path.readlink()) if path.is_symlink() else None
    return KeptFile(str(path), stored, found, link)


def copy_exactly(path: Path, to: Path) -> None:
    """Copy a file with its mode and times, or a link as a link; what was there is replaced."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    if path.is_symlink():
        to.symlink_to(path.readlink())
    else:
        _copy_content(path, to)
    shutil.copystat(path, to, follow_symlinks=False)


def _copy_content(path: Path, to: Path) -> None:
    with path.open("rb") as old, to.open("xb") as new:
        left = os.fstat(old.fileno()).st_size
        share = getattr(os, "copy_file_range", None)  # Linux
        try:
            while share and left and (count := share(old.fileno(), new.fileno(), left)):
                left -= count
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        old.seek(new.seek(0, os.SEEK_END))
        shutil.copyfileobj(old, new)


@contextlib.contextmanager
def faults(what: str, state: str) -> Iterator[None]:
    """Turn a fault of the disk into a plain message.

    Parameters
    ----------
    what
        What was not possible.
    state
        The state of things now, said before the next step.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
        why = "the disk is full" if full else f"{error.strerror or error} ({error.filename})"
        advice = "Free some space" if full else "Make that file or folder accessible"
        raise SetupError(f"{what}: {why}.", f"{state} {advice}, then run it again.") from error
