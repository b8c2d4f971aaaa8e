"""What data sets have a name, and which of them are here: `%get_data --list`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastmagic import faces, platforms, progress
from fastmagic.data.catalogue import CATALOGUE, DataSet
from fastmagic.faces import Face, Shown, Text


@dataclass(frozen=True)
class Listed:
    """One data set of the catalogue, and whether it is on this machine."""

    name: str
    title: str
    archive_bytes: int
    pictures: int
    classes: int
    here: bool


@dataclass(frozen=True)
class DataList(Shown):
    """Every data set that has a name."""

    sets: tuple[Listed, ...]

    def face(self) -> Face:
        """Show them in a table, and what else can be asked for."""
        rows = [
            (
                one.name,
                one.title,
                faces.size(one.archive_bytes) if one.archive_bytes else "none",
                f"{one.pictures:,}",
                one.classes,
                "yes" if one.here else "no",
            )
            for one in self.sets
        ]
        head = ["name", "what", "download", "pictures", "classes", "here"]
        also = "Also the http(s) address of a zip or tar, or the path of an archive or folder."
        return Face("Data sets", (faces.table(head, rows), Text(also, quiet=True)))


def list_data(
    env: Mapping[str, str] | None = None, *, show: bool | progress.View = False
) -> DataList:
    """List the catalogue, and what of it is on this machine already.

    Parameters
    ----------
    env
        Environment variables; `FASTAI_HOME` says where data sets lie.
    show
        False for no display, True for the one that fits, or a view.

    Examples
    --------
    >>> [one.name for one in list_data().sets][:3]
    ['dogscats', 'pets', 'sample']
    """
    with progress.open_view(show, "Data sets") as view:
        root = platforms.data_folder(env)
        listed = DataList(tuple(_listed(entry, root) for entry in CATALOGUE.values()))
        view.finish(listed.face())
    return listed


def _listed(entry: DataSet, root: Path) -> Listed:
    return Listed(
        entry.name,
        entry.title,
        entry.archive_bytes,
        entry.pictures,
        entry.classes,
        (root / entry.folder).is_dir(),
    )
