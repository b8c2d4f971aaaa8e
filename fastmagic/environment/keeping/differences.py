"""What differs from a recorded state, whose it is, and so what an undo has to do; only looked at.

A file is ours where a distribution that we were to change claims it and it was not there before;
after a run that did not finish, also where it came while pip was at work and nobody claims it.
Whatever another distribution claims is never ours.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastmagic.environment.keeping import installed
from fastmagic.environment.keeping.installed import Layout, Status
from fastmagic.environment.keeping.records import KeptFile, Record

STASH_SIGNS = frozenset("-~.=%0123456789")  # pip/_internal/utils/temp_dir.py, LEADING_CHARS

Listing = Mapping[str, Status | None]
"""Path to status, None for a folder (`installed.everything`)."""


@dataclass(frozen=True)
class PutBack:
    """One distribution: the version that was undone and the one that is back; None is "not there".

    The two are the same where the same version had been installed again.
    """

    name: str
    undone: str | None
    back: str | None


@dataclass(frozen=True)
class Work:
    """What an undo has to do.

    Attributes
    ----------
    remove
        Files that are new and ours; of folders among them, only those that are empty then.
    back
        Kept files that are gone or have been touched.
    changed
        The distributions that this concerns.
    others
        What somebody else has installed or changed: "name version".
    overwritten
        Files of unchanged distributions that are not as they were, and were not kept.
    """

    remove: tuple[str, ...]
    back: tuple[str, ...]
    changed: tuple[PutBack, ...]
    others: tuple[str, ...]
    overwritten: tuple[str, ...]


def work_to_do(record: Record, layout: Layout, before: Listing, ended: int | None) -> Work:
    """Work out what has to go, what has to come back, and what is not ours.

    Parameters
    ----------
    record
        The state to bring back.
    layout
        Where the Python keeps its packages.
    before
        What lay there then.
    ended
        When pip ended, in nanoseconds since 1970; None where that is not known, 0 after a run that
        was verified: that one left nothing half finished.
    """
    found = installed.installed(layout)
    now = installed.everything(layout)
    others = _others(record, found)
    same = found.keys() - record.changing.keys() - set(others)
    ours = _claimed(record.changing.keys() & found.keys(), found, layout)
    theirs = _claimed(others, found, layout).keys()
    kept = {file.path for file in record.files}
    gone = _stashes(now, before, {*kept, *ours}, record)
    gone |= _unclaimed(now, before, record.started, ended)
    gone |= {path for path in ours if _is_new(path, before, layout, record.started)}
    back = {file.path for file in record.files if installed.status(file.path) != file.status}
    suspects = _rewritten(now, before) - kept - theirs
    return Work(
        tuple(sorted(gone - kept - theirs)),
        tuple(sorted(back)),
        _changes(record, found, back),
        tuple(f"{name} {installed.version_of(found[name][0])}" for name in others),
        _overwritten(suspects, same, found, layout),
    )


def _claimed(
    names: Iterable[str], found: Mapping[str, list[Path]], layout: Layout
) -> dict[str, str]:
    """Give the files that distributions call their own, with the hashes in their RECORDs."""
    files: dict[str, str] = {}
    for info in (info for name in names for info in found[name]):
        owned = installed.claims(info, layout)
        if owned:
            files.update((str(path), owned.hashes.get(path, "")) for path in owned.files)
        else:  # half installed or half removed: what lies in its own folder
            files.update((str(Path(top, n)), "") for top, _, ns in os.walk(info) for n in ns)
    return files


def _others(record: Record, found: Mapping[str, list[Path]]) -> list[str]:
    """Name what was not to be changed by us and yet is new or another version."""
    return [
        name
        for name, infos in sorted(found.items())
        if name not in record.changing
        and not installed.same_version(installed.version_of(infos[0]), record.before.get(name))
    ]


def _is_new(path: str, before: Listing, layout: Layout, started: int) -> bool:
    there = installed.status(path)
    if there is None or _is_compiled(path):  # those go with their sources
        return False
    # Outside of the folders that were listed (share/, etc/) only a file's time tells.
    return path not in before if layout.lists(path) else there[2] >= started


def _is_compiled(path: str) -> bool:
    return path.rpartition(os.sep)[0].endswith("__pycache__")


def _stashes(now: Listing, before: Listing, ours: Iterable[str], record: Record) -> set[str]:
    """Find what a killed pip had put aside for us: "~orch" beside "torch"."""
    folders: dict[Path, set[str]] = {}
    for path in map(Path, ours):
        while path.name not in folders.setdefault(path.parent, set()):
            folders[path.parent].add(path.name)
            path = path.parent
    found: set[str] = set()
    for folder, names in folders.items():
        listed = str(folder) in now or str(folder) in record.sites
        for top in folder.glob("~*"):
            if any(_is_stash(top.name, name) for name in names):
                there = installed.status(top)
                recent = there is not None and there[2] >= record.started
                if str(top) not in before if listed else recent:
                    found |= {str(top), *map(str, top.rglob("*"))}
    return found


def _is_stash(name: str, original: str) -> bool:
    """Say whether pip would put a folder aside by this name.

    Examples
    --------
    >>> _is_stash("~orch", "torch"), _is_stash("~-rch", "torch"), _is_stash("~lotly", "torch")
    (True, True, False)
    """
    if len(name) > len(original):  # where all shorter names are taken
        return name.endswith(original) and STASH_SIGNS.issuperset(name[1 : -len(original)])
    return len(name) == len(original) and any(
        name[count:] == original[count:] and STASH_SIGNS.issuperset(name[1:count])
        for count in range(1, len(name))
    )


def _unclaimed(now: Listing, before: Listing, started: int, ended: int | None) -> set[str]:
    """Find what came while pip was at work: what it unpacked of a wheel that it never finished."""
    if ended == 0:
        return set()
    until = float("inf") if ended is None else ended
    return {
        path
        for path, what in now.items()
        if path not in before and (what is None or started <= what[2] <= until)
    }


def _changes(
    record: Record, found: Mapping[str, list[Path]], back: Collection[str]
) -> tuple[PutBack, ...]:
    changed = []
    # A pip that fails moves the old files back: that touches them, but they are the same.
    same = {file.path for file in record.files if _is_moved(file)}
    again = {installed.name_of(Path(path).parent) for path in set(back) - same}
    for name, change in sorted(record.changing.items()):
        versions = [installed.version_of(info) for info in found.get(name, ())]
        new = [v for v in versions if not installed.same_version(v, change.before)]
        if new or name in again or bool(versions) != (change.before is not None):
            changed.append(PutBack(name, next(iter(new or versions), None), change.before))
    return tuple(changed)


def _is_moved(file: KeptFile) -> bool:
    there = installed.status(file.path)
    return there is not None and there[:2] == file.status[:2]


def _rewritten(now: Listing, before: Listing) -> set[str]:
    return {
        path
        for path, what in now.items()
        if what and (old := before.get(path)) and old[:2] != what[:2]
    }


def _overwritten(
    suspects: Collection[str],
    names: Iterable[str],
    found: Mapping[str, list[Path]],
    layout: Layout,
) -> tuple[str, ...]:
    """Find files of unchanged distributions that are not as they were.

    Several packages may bring the same file (nvidia/__init__.py): it has been written anew, but
    where it agrees with what all the others say of it, all is well.
    """
    said: dict[str, set[str]] = {path: set() for path in suspects}
    for name in names if suspects else ():
        for path, text in _claimed([name], found, layout).items():
            if path in said:
                said[path].add(text)
    return tuple(sorted(path for path, hashes in said.items() if hashes != {_hash(path)}))


def _hash(path: str) -> str:
    # https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    digest = hashlib.sha256(Path(path).read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
