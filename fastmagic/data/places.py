"""Where a data set lies: fastai's own folders, found again by where it came from.

A catalogue's data set lies where fastai's `untar_data` puts it, so that each finds what the other
fetched. Two archives of the reader's own may have the same name, so for these a small record beside
the archives says where a folder's contents came from, and a second one of that name gets a
different folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastmagic import platforms, whole
from fastmagic.data.archives.archive import split_name
from fastmagic.data.entry import DataSet
from fastmagic.data.sets import S3
from fastmagic.data.web.address import fingerprint
from fastmagic.progress import View

LONGEST_STEM = 100
"""Bytes of a folder's name: with marks and suffixes it stays below the 255 that a name may have."""

_DAMAGED = (OSError, ValueError, LookupError, TypeError, RecursionError)


@dataclass(frozen=True)
class Record:
    """What is written down of a data set that was put into its folder by this package.

    Attributes
    ----------
    origin
        Where its archive came from, without secrets.
    archive
        The archive's file name; empty as long as it is not unpacked.
    archive_bytes, sha256
        Its size, and the hash that was seen of all of it: what another machine can compare with.
    checked
        Whether its pictures have been looked at once.
    """

    origin: str = ""
    archive: str = ""
    archive_bytes: int = 0
    sha256: str = ""
    checked: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether what lies in the folder was unpacked by this package."""
        return bool(self.archive)

    @property
    def is_sound(self) -> bool:
        """Whether it is of the types that were written, and names a file in its own folder."""
        types = (type(getattr(self, one.name)) is type(one.default) for one in fields(self))
        return all(types) and self.archive == Path(self.archive).name


@dataclass(frozen=True)
class Place:
    """Where one data set lies.

    Attributes
    ----------
    folder
        What is unpacked; whole or absent.
    archive
        The archive it is unpacked from.
    origin
        Where the archive came from, without secrets.
    record
        The small file that says so.
    lock
        The file that the process which gets the data set holds.
    """

    folder: Path
    archive: Path
    origin: str
    record: Path
    lock: Path

    @property
    def is_here(self) -> bool:
        """Whether the folder is there, with something in it."""
        return self.folder.is_dir() and any(self.folder.iterdir())

    @property
    def recorded(self) -> Record:
        """What is written down of the folder that is there; empty where nothing is."""
        try:
            known = json.loads(self.record.read_text("utf-8"))
            record = Record(*(known[field.name] for field in fields(Record)))
            return record if record.is_sound else Record()
        except _DAMAGED:
            return Record()

    def remember(self, record: Record) -> None:
        """Write down where the folder's contents come from; done before they are there.

        Once they are, it is done again with the archive's name and hash.
        """
        self.record.parent.mkdir(parents=True, exist_ok=True)
        told = json.dumps({"folder": str(self.folder), **asdict(record)})
        whole.write_text(self.record, told, lasting=False, shared=True)


def state_folder(env: Mapping[str, str] | None = None) -> Path:
    """Say where records and the memory of checked pictures are kept."""
    return platforms.archive_folder(env) / "fastmagic"


def unpacked(env: Mapping[str, str] | None = None) -> tuple[tuple[Path, Record], ...]:
    """List the folders that this package has filled and that are there, with what is recorded."""
    found = []
    for file in sorted(state_folder(env).glob("origin-*.json")):
        place = Place(Path(), Path(), "", file, Path())
        try:
            folder = Path(str(json.loads(file.read_text("utf-8"))["folder"]))
        except _DAMAGED:
            continue
        if folder.is_dir():
            found.append((folder, place.recorded))
    return tuple(sorted(found, key=lambda one: one[0]))


def for_entry(entry: DataSet, dest: Path | None, env: Mapping[str, str] | None) -> Place:
    """Give the place of a catalogue's data set: fastai's own, unless `dest` says otherwise."""
    archives = platforms.archive_folder(env)
    folder = (dest or platforms.data_folder(env)) / entry.folder
    # fastai holds this very lock while it downloads and unpacks
    lock = archives / f"{entry.archive_name or entry.folder}.lock"
    archive = archives / entry.archive_name
    return Place(folder, archive, fingerprint(entry.url), _record(folder, env), lock)


def for_url(url: str, dest: Path | None, env: Mapping[str, str] | None, *, name: str = "") -> Place:
    """Give the place of an archive on the web, of this file name or the one that the address has.

    Parameters
    ----------
    url
        The archive's address.
    dest
        The folder in which the data set's own folder is made; fastai's data folder by default.
    env
        Environment variables; `FASTAI_HOME` says where data sets lie.
    name
        The archive's file name, where the address does not end in it.
    """
    archives, origin = platforms.archive_folder(env), fingerprint(url)
    name = name or unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    stem, suffix = split_name(re.sub(r"[^\w. -]+", "_", name).strip(" .") or "data")
    stem = _cut(stem)
    root = dest or platforms.data_folder(env)
    if url.startswith(S3):  # fastai's archives have names of their own: as `untar_data` has it
        archive, folder = archives / f"{stem}{suffix}", root / stem
        return Place(
            folder, archive, origin, _record(folder, env), archives / f"{stem}{suffix}.lock"
        )
    folder = _own_or_free(root, stem, origin, env)
    archive = archives / f"{stem}-{_mark(origin)}{suffix}"
    # after what its folders and its archive share: a second folder may want the same archive
    lock = archives / f"{stem}.lock"
    return Place(folder, archive, origin, _record(folder, env), lock)


def for_archive(
    archive: Path,
    dest: Path | None,
    env: Mapping[str, str] | None,
    *,
    stem: str = "",
    beside: Path | None = None,
) -> Place:
    """Give the place for the contents of an archive on this machine.

    Parameters
    ----------
    archive
        The file.
    dest
        The folder in which the data set's own folder is made; fastai's data folder by default.
    env
        Environment variables; `FASTAI_HOME` says where data sets lie.
    stem
        What that folder is called; as the archive by default.
    beside
        A second archive that is unpacked there too.
    """
    origin = " and ".join(_version(one) for one in (archive, beside) if one)
    stem = _cut(stem or split_name(archive.name)[0])
    folder = _own_or_free(dest or platforms.data_folder(env), stem, origin, env)
    lock = platforms.archive_folder(env) / f"{folder.name}.lock"
    return Place(folder, archive, origin, _record(folder, env), lock)


def _version(archive: Path) -> str:
    known = archive.stat()
    return f"{archive.resolve()} ({known.st_size} bytes, {known.st_mtime_ns})"


def settle(choose: Callable[[], Place], fill: Callable[[Place], None], view: View) -> Place:
    """Give a place with its data set in it, filled by this process unless another was quicker.

    One process at a time fills a place. Whoever waited chooses again: what it waited for may be the
    data set it wants, or another of the same name.
    """
    while True:
        place = choose()
        if place.is_here:
            return place
        with alone(place.lock, view):
            if choose() == place:
                if not place.is_here:
                    fill(place)
                return place


@contextmanager
def alone(lock_file: Path, view: View) -> Iterator[None]:
    """Hold a data set's lock; say so where another process has it, and wait."""
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        view.note("Another notebook or process is getting this data set: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _own_or_free(root: Path, stem: str, origin: str, env: Mapping[str, str] | None) -> Path:
    """Give the folder that came from there, or one that nothing else has taken."""
    plain = root / stem
    place = Place(plain, plain, origin, _record(plain, env), plain)
    if not place.is_here or place.recorded.origin == origin:
        return plain
    return root / f"{stem}-{_mark(origin)}"


def _cut(stem: str) -> str:
    """Shorten a name to so many bytes, at the end of a letter.

    Examples
    --------
    >>> _cut("cats"), len(_cut("\u732b" * 90))
    ('cats', 33)
    """
    known = os.fsencode(stem)
    if len(known) <= LONGEST_STEM:
        return stem
    return known[:LONGEST_STEM].decode("utf-8", "ignore").rstrip(" .")


def _mark(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _record(folder: Path, env: Mapping[str, str] | None) -> Path:
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return state_folder(env) / f"origin-{name}.json"
