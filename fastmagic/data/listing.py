"""What data sets have a name, and which of them are here: `%get_data --list`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastmagic import faces, platforms, progress
from fastmagic.data import cache as kept
from fastmagic.data import kaggle, places
from fastmagic.data.catalogue import CATALOGUE, DataSet
from fastmagic.data.places import Record
from fastmagic.faces import Face, Shown, Text

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Listed:
    """One data set of the catalogue, and whether it is on this machine.

    Attributes
    ----------
    name, title
        What one types, and what it is.
    archive_bytes, pictures, classes
        As recorded; 0 where unknown.
    here
        Whether its pictures are on this machine.
    where
        `yes`, `attached` (on Kaggle), `archive` (downloaded, not unpacked), `cache` or `no`.
    folder
        Where its pictures are, or will be.
    addresses
        Where it is downloaded from.
    hashes
        What is known of the hashes of the archive at each of these.
    """

    name: str
    title: str
    archive_bytes: int
    pictures: int
    classes: int
    here: bool
    where: str
    folder: Path
    addresses: tuple[str, ...]
    hashes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DataList(Shown):
    """Every data set that has a name, and what was unpacked here.

    Attributes
    ----------
    sets
        The catalogue.
    unpacked
        The folders that this package has filled, each with what is recorded of its archive: where
        it came from, and the SHA-256 that it had.
    verbose
        Whether the folders, addresses and hashes are shown too.
    """

    sets: tuple[Listed, ...]
    unpacked: tuple[tuple[Path, Record], ...] = ()
    verbose: bool = False

    def face(self) -> Face:
        """Show them in a table, and what else can be asked for."""
        rows = [
            (
                one.name,
                one.title,
                _size(one),
                f"{one.pictures:,}" if one.pictures else UNKNOWN,
                one.classes or UNKNOWN,
                one.where,
            )
            for one in self.sets
        ]
        head = ["name", "what", "download", "pictures", "classes", "here"]
        also = (
            "Also the http(s) address of a zip or tar, kaggle:OWNER/DATASET or kaggle:COMPETITION, "
            "or the path of an archive or folder."
        )
        more = self._more() if self.verbose else [Text("Addresses and hashes: -v", quiet=True)]
        return Face("Data sets", (faces.table(head, rows), Text(also, quiet=True), *more))

    def _more(self) -> list[Text]:
        lines = []
        for one in self.sets:
            if not one.addresses:
                lines.append(Text(f"{one.name}: drawn by this package"))
            for address, hashes in zip(one.addresses, one.hashes, strict=True):
                lines.append(Text(f"{one.name}: {address}"))
                lines += [Text(said, quiet=True) for said in hashes]
        for folder, record in self.unpacked:
            lines.append(Text(f"Unpacked: {folder}", strong=True))
            if record.archive:
                size = faces.size(record.archive_bytes)
                lines.append(Text(f"from {record.archive} ({size}), {record.origin.split(' ')[0]}"))
            if record.sha256:
                lines.append(Text(f"sha256:{record.sha256}"))
        return lines


def list_data(
    env: Mapping[str, str] | None = None,
    *,
    show: progress.Show = False,
    verbose: bool = False,
    cache: str | Path | None = None,
    kaggle_input: Path = kaggle.INPUT,
) -> DataList:
    """List the catalogue, and what of it is on this machine already.

    Parameters
    ----------
    env
        Environment variables; `FASTAI_HOME` says where data sets lie.
    show
        False for no display, True for the one that fits, or a view.
    verbose
        Show the addresses, and what is recorded of what was unpacked here.
    cache
        A folder that keeps archives; see `get_data`.
    kaggle_input
        Where Kaggle's attached data sets lie.

    Examples
    --------
    >>> [one.name for one in list_data().sets][:3]
    ['dogscats', 'pets', 'sample']
    """
    with progress.open_view(show, "Data sets") as view:
        archives = kept.names(platforms.expanded(cache)) if cache else set()
        attached = set(kaggle.attached_names(kaggle_input))
        sets = tuple(_listed(one, env, archives, attached) for one in CATALOGUE.values())
        listed = DataList(sets, places.unpacked(env), verbose)
        view.finish(listed.face())
    return listed


def _listed(
    entry: DataSet, env: Mapping[str, str] | None, kept_archives: set[str], attached: set[str]
) -> Listed:
    folder = platforms.data_folder(env) / entry.folder
    names = [source.archive_name for source in entry.sources]
    if attached & {entry.name, entry.folder}:
        where = "attached"
    elif folder.is_dir():
        where = "yes"
    elif any((platforms.archive_folder(env) / name).is_file() for name in names):
        where = "archive"
    else:
        where = "cache" if kept_archives & set(names) else "no"
    return Listed(
        entry.name,
        entry.title,
        entry.archive_bytes,
        entry.pictures,
        entry.classes,
        where in ("attached", "yes"),
        where,
        folder,
        tuple(source.url for source in entry.sources),
        tuple(source.hashes for source in entry.sources),
    )


def _size(one: Listed) -> str:
    if not one.addresses:
        return "none"
    return faces.size(one.archive_bytes) if one.archive_bytes else UNKNOWN
