"""Put the state before the last set-up back, exactly, without pip and without a network.

What is to be done is worked out and written down first, then done in steps that can be done twice:
an undo that was killed goes on where it was. Kept files are moved back, not copied, where they lie
on the same disk: that needs no room, and each file is the old one or the new one at every moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import source_from_cache
from pathlib import Path

from fastmagic import faces
from fastmagic.environment.inventory import Interpreter
from fastmagic.environment.keeping import installed
from fastmagic.environment.keeping.differences import Listing, PutBack, Work, work_to_do
from fastmagic.environment.keeping.installed import Layout
from fastmagic.environment.keeping.keep import (
    ENDED,
    LISTING,
    UNDOING,
    Step,
    copy_exactly,
    faults,
    no_step,
)
from fastmagic.environment.keeping.records import (
    PENDING,
    KeptFile,
    Record,
    Shelf,
    foreign,
    read_json,
    write_json,
)
from fastmagic.errors import SetupError
from fastmagic.faces import Face, Part, Text

TITLE = "fastai setup --undo"
NO_CHANGE = "Nothing was changed."
SHOWN = 12  # names of removed packages


@dataclass(frozen=True)
class Undone(faces.Shown):
    """What `undo` did.

    Attributes
    ----------
    time
        When the state was recorded that is back.
    changed
        What was put back or removed.
    others
        What somebody else has installed or changed since, left alone: "name version".
    overwritten
        Files that were to stay as they were and have been written over, as two packages may bring
        the same file. Nobody could know beforehand, so they were not kept.
    """

    time: str
    changed: tuple[PutBack, ...] = ()
    others: tuple[str, ...] = ()
    overwritten: tuple[str, ...] = ()

    def face(self) -> Face:
        """Show what is back, then what differs nevertheless."""
        count = len(self.changed)
        words = f"{count} package{'s' * (count != 1)} put back" if count else "nothing had changed"
        parts: list[Part] = [Text(f"The state of {self.time} is back: {words}.", strong=True)]
        back = [(one.name, one.undone or "-", one.back) for one in self.changed if one.back]
        if back:
            parts.append(faces.table(("package", "undone", "back"), back))
        gone = [one.name for one in self.changed if not one.back]
        if gone:
            more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
            names = ", ".join(gone[:SHOWN])
            parts.append(Text(f"Removed, for it was not there before: {names}{more}."))
        if self.others:
            parts.append(
                Text(f"Left alone, because something else installed it: {', '.join(self.others)}.")
            )
        if self.overwritten:
            files = ", ".join(self.overwritten)
            parts.append(
                Text(f"Changed by another package since, and fastmagic has no copy of it: {files}.")
            )
        return Face(TITLE, tuple(parts))


def undo(
    folder: Path,
    interpreter: Interpreter,
    allow: Collection[str] = (),
    step: Step = no_step,
) -> Undone:
    """Bring back the state before the last run that changed something, also a half finished one.

    Parameters
    ----------
    folder
        The Keeper's folder.
    interpreter
        The Python that is put back.
    allow
        Canonical names of packages to put back although somebody else has changed them since. With
        one such package left out, the rest would be a mixture that nobody has tried; so without
        this nothing is done.
    step
        Told before each file; for tests.

    Returns
    -------
    Undone
        What was put back, and what was left alone.

    Raises
    ------
    SetupError
        When nothing is recorded, somebody else has changed something since, or a kept file is gone
        (nothing is changed then), or when the disk fails in the middle (it goes on when repeated).
    """
    layout = installed.layout_of(interpreter)
    shelf = Shelf(folder, layout)
    latest = shelf.latest()
    if latest is None:
        raise SetupError(
            f"There is nothing to undo: no set-up of {interpreter.executable} is recorded.",
            "To see what a set-up would do, run %fastai_setup --dry-run.",
        )
    which, record = latest
    run = shelf.run(record)
    work = _unfinished(run)
    if work is None:
        _refuse(record, layout, run, allow)
        with faults("The undo could not begin", NO_CHANGE):
            ended = read_json(run / ENDED) if which == PENDING else 0
            work = work_to_do(record, layout, _listing(run), ended)
            write_json(run / UNDOING, dataclasses.asdict(work))
    with faults("The old state is not whole yet", "What is done stays done."):
        _do(work, record, layout, run, step)
        _check(record, layout)
        shelf.drop(which)
    return Undone(record.time, work.changed, work.others, work.overwritten)


def is_unchanged(folder: Path, interpreter: Interpreter) -> bool:
    """Say whether an installer that has just ended left everything as it was.

    Parameters
    ----------
    folder
        The Keeper's folder.
    interpreter
        The Python that it was to change.

    Returns
    -------
    bool
        False where no record was made, for then nobody knows.
    """
    layout = installed.layout_of(interpreter)
    shelf = Shelf(folder, layout)
    record = shelf.read(PENDING)
    if record is None:
        return False
    run = shelf.run(record)
    work = work_to_do(record, layout, _listing(run), read_json(run / ENDED))
    return not (work.remove or work.back or work.changed)


def _refuse(record: Record, layout: Layout, run: Path, allow: Collection[str]) -> None:
    """Stop before anything happens where the old state could not be put back whole."""
    theirs = foreign(record, installed.installed(layout))
    names = sorted(theirs.keys() - set(allow))
    if names:
        now = ", ".join(f"{name} {theirs[name]}" for name in names)
        flags = " ".join(f"--allow-change {name}" for name in names)
        raise SetupError(
            f"Something else has changed these since: {now}. {NO_CHANGE}",
            f"To put them back as well, run %fastai_setup --undo {flags}.",
        )
    gone = [file.path for file in record.files if _is_lost(file, run)]
    if gone:
        raise SetupError(
            f"The kept copies of {len(gone)} files are gone or damaged, such as the one of "
            f"{gone[0]}; the old state cannot be put back. {NO_CHANGE}",
            "Start a new session (Colab, Kaggle) or make a new environment.",
        )
    for site in layout.sites:
        if not os.access(site, os.W_OK):
            raise SetupError(
                f"{site} cannot be written to. {NO_CHANGE}",
                "Make it writable, then run %fastai_setup --undo again.",
            )


def _is_lost(file: KeptFile, run: Path) -> bool:
    there = installed.status(file.path)
    kept = installed.status(run / file.stored)
    return there != file.status and (kept is None or kept[0] != file.status[0])


def _unfinished(run: Path) -> Work | None:
    """Give what an undo that was killed had written down to do."""
    data = read_json(run / UNDOING)
    if data is None:
        return None
    texts = {name: tuple(data[name]) for name in ("remove", "back", "others", "overwritten")}
    return Work(changed=tuple(PutBack(**one) for one in data["changed"]), **texts)


def _listing(run: Path) -> Listing:
    told = read_json(run / LISTING) or {}
    return {path: tuple(what) if what else None for path, what in told.items()}


def _do(work: Work, record: Record, layout: Layout, run: Path, step: Step) -> None:
    for path in work.remove:
        step("remove", path)
        if not _is_folder(path):
            Path(path).unlink(missing_ok=True)
    _clear_compiled([*work.remove, *work.back])
    _remove_empty(work.remove, _listing(run), layout)
    back = set(work.back)
    for file in record.files:
        if file.path in back:
            step("put back", file.path)
            _put_back(run / file.stored, file)


def _is_folder(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()


def _put_back(stored: Path, file: KeptFile) -> None:
    target = Path(file.path)
    if installed.status(stored) is None:
        there = installed.status(target)
        if there is None or there[:2] != file.status[:2]:
            raise FileNotFoundError(errno.ENOENT, "its kept copy is gone", file.path)
        return  # put back before an interruption
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        stored.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.undo")
        copy_exactly(stored, beside)
        beside.replace(target)


def _clear_compiled(paths: Iterable[str]) -> None:
    """Remove what Python has compiled of these: its times might fit the file that comes back."""
    sources = {path for path in paths if path.endswith(".py")}
    for folder in {Path(path).parent / "__pycache__" for path in sources}:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for compiled in list(folder.iterdir()):
                with contextlib.suppress(ValueError):  # not a name that Python gives
                    if source_from_cache(compiled) in sources:
                        compiled.unlink()


def _remove_empty(paths: Iterable[str], before: Mapping[str, object], layout: Layout) -> None:
    """Remove the folders that are empty now and were not there before."""
    fixed = {*layout.sites, layout.scripts, layout.data}
    near = {*filter(_is_folder, paths), *(path.rpartition(os.sep)[0] for path in paths)}
    folders = {folder for path in near for folder in (Path(path), *Path(path).parents)}
    new = {one for one in folders - fixed if layout.contains(one) and str(one) not in before}
    for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
        with contextlib.suppress(OSError):  # it is not empty, or gone
            (folder / "__pycache__").rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()


def _check(record: Record, layout: Layout) -> None:
    """Make sure of what is claimed: each distribution is back in its version, and only in that."""
    found = installed.installed(layout)
    for name, change in record.changing.items():
        versions = [installed.version_of(info) for info in found.get(name, ())]
        wanted = [] if change.before is None else [change.before]
        if versions != wanted:
            raise SetupError(
                f"{name} is {', '.join(versions) or 'missing'} instead of "
                f"{change.before or 'not installed'} after the undo.",
                "Run %fastai_setup --undo again; if that does not help, make a new environment.",
            )
