"""Pictures that cannot be used are moved out of a folder that we unpacked ourselves.

They go to `NAME-rejected/` beside the data set, never inside it, where the folder would become a
class; they keep their paths, and `WHY.txt` there says what is wrong with each. Nothing is deleted.
A folder that is the reader's own is never touched: there the pictures are only left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

WHY = "WHY.txt"

_HEAD = """\
These files call themselves pictures and cannot be read. They were moved here from
{folder}
so that training does not stop at them. To have one back, move it to the same path there.

"""


@dataclass(frozen=True)
class Rejected:
    """What was moved out of a data set, now and earlier.

    Attributes
    ----------
    folder
        Where to.
    files
        Each file's path below the data set, and what is wrong with it.
    """

    folder: Path
    files: tuple[tuple[str, str], ...]


def place_of(unpacked: Path) -> Path:
    """Say where what is taken out of a data set's folder goes.

    Examples
    --------
    >>> place_of(Path("data/pets")).as_posix()
    'data/pets-rejected'
    """
    return unpacked.with_name(f"{unpacked.name}-rejected")


def set_aside(unpacked: Path, faults: Mapping[Path, str]) -> frozenset[Path]:
    """Move files out of a data set's folder; give those that were moved.

    Parameters
    ----------
    unpacked
        The data set's folder, which we unpacked ourselves.
    faults
        The files, and what is wrong with each.

    Returns
    -------
    frozenset
        The files that are no longer there; where a folder cannot be written, the others stay.
    """
    target, moved = place_of(unpacked), set[Path]()
    with suppress(OSError):  # read-only: they stay where they are, and are left out
        target.mkdir(exist_ok=True)
        with (target / WHY).open("a", encoding="utf-8", errors="surrogateescape") as why:
            if not why.tell():
                why.write(_HEAD.format(folder=unpacked))
            for file, fault in faults.items():
                new = _free(target / file.relative_to(unpacked))
                new.parent.mkdir(parents=True, exist_ok=True)
                file.replace(new)
                moved.add(file)
                why.write(_line(new.relative_to(target).as_posix(), fault))
                why.flush()  # a process that is killed here has said what it did
    if not moved and beside(unpacked) is None:
        shutil.rmtree(target, ignore_errors=True)  # nothing came of it: our own few lines are in it
    return frozenset(moved)


def beside(unpacked: Path) -> Rejected | None:
    """Read what was moved out of a data set's folder, now and earlier; None where nothing was."""
    try:
        lines = (place_of(unpacked) / WHY).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    files = tuple((name, why) for why, tab, name in (one.partition("\t") for one in lines) if tab)
    return Rejected(place_of(unpacked), files) if files else None


def _line(name: str, fault: str) -> str:
    plain = " ".join(name.split("\n"))
    return f"{fault}\t{plain}\n"


def _free(file: Path) -> Path:
    """Give a name that nothing has taken yet: what was moved before is not overwritten."""
    number, free = 1, file
    while free.exists():
        number += 1
        free = file.with_name(f"{file.stem} ({number}){file.suffix}")
    return free
