"""Finding a data set by its name; what is known of each stands in `sets`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fastmagic.data.entry import DataSet, LessonDefaults, Source
from fastmagic.data.sets import OWN_PICTURES, SETS
from fastmagic.errors import BadInput, did_you_mean

__all__ = [
    "ADDRESS_VARIABLE",
    "CATALOGUE",
    "OWN_PICTURES",
    "DataSet",
    "LessonDefaults",
    "at_address",
    "choices",
    "find",
    "pattern_for",
    "unknown",
]

ADDRESS_VARIABLE = "FASTMAGIC_CATALOGUE"
"""The environment variable that holds another base address for every archive of the catalogue."""

CATALOGUE: dict[str, DataSet] = {one.name: one for one in SETS}
"""Every data set by its name."""


def find(name: str) -> DataSet:
    """Give the data set of this name.

    Parameters
    ----------
    name
        A name from `CATALOGUE`.

    Raises
    ------
    BadInput
        When there is none of this name; it says the nearest ones.

    Examples
    --------
    >>> find("dogscats").defaults.arch
    'resnet34'
    >>> find("dogcats")
    Traceback (most recent call last):
    fastmagic.errors.BadInput: There is no data set called 'dogcats'. Did you mean 'dogscats'?
    Next: Use dogscats, pets, sample or another name that %get_data --list shows; the http(s) \
address of a zip or tar; the path of an archive or a folder; or kaggle:OWNER/DATASET.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise unknown(name)


def unknown(name: str, also: Iterable[str] = ()) -> BadInput:
    """Make the error for a name that is not in the catalogue, nor among those known `also`."""
    near = did_you_mean(name, [*CATALOGUE, *also])
    return BadInput(f"There is no data set called {name!r}. {near}".rstrip(), choices())


def choices() -> str:
    """Say, as a next step, what can be asked for."""
    first = ", ".join(list(CATALOGUE)[:3])
    return (
        f"Use {first} or another name that %get_data --list shows; the http(s) address of a zip or "
        "tar; the path of an archive or a folder; or kaggle:OWNER/DATASET."
    )


def at_address(entry: DataSet, env: Mapping[str, str] | None = None) -> DataSet:
    """Give the entry as it is fetched from here: from another base address where one is set.

    So that a mirror, a class-room's server or a test's stand-in can take the place of the internet
    without changing a notebook. What is recorded of an archive is not expected of such a server's.

    Parameters
    ----------
    env
        `FASTMAGIC_CATALOGUE` holds the base address, for example `http://127.0.0.1:8000/`.

    Examples
    --------
    >>> there = at_address(find("dogscats"), {"FASTMAGIC_CATALOGUE": "http://127.0.0.1:8000"})
    >>> [source.url for source in there.sources]
    ['http://127.0.0.1:8000/dogscats.tgz', 'http://127.0.0.1:8000/dogscats.zip']
    """
    base = (os.environ if env is None else env).get(ADDRESS_VARIABLE, "")
    if not base or not entry.sources:
        return entry
    names = dict.fromkeys(one.archive_name for one in entry.sources)
    sources = tuple(Source(f"{base.rstrip('/')}/{name}") for name in names)
    return replace(entry, sources=sources, pictures=0)


def pattern_for(folder: Path) -> str:
    """Give the label pattern of the catalogue's data set that lies in this folder; empty if none.

    Examples
    --------
    >>> pattern_for(Path("/data/oxford-iiit-pet/images"))
    '^(.*)_\\\\d+\\\\.jpg$'
    """
    for entry in CATALOGUE.values():
        inner = (entry.folder, *Path(entry.pictures_in).parts)
        # an archive that holds the pictures alone puts them into the folder itself
        if entry.label_pattern and any(
            folder.parts[-len(tail) :] == tail for tail in (inner, (entry.folder,))
        ):
            return entry.label_pattern
    return ""
