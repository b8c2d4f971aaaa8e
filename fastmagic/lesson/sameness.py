"""What decides that two cells are the same training, and what has changed between two runs of one.

The same are: body, settings that decide what is trained, pictures, and the lesson that it goes on
from. Values of the notebook that the body uses do not decide it, for a body may change them itself;
where one is another when a run goes on, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmagic.errors import BadInput
from fastmagic.lesson import runs
from fastmagic.lesson.carried import PROVIDED, Unwritable, literal

if TYPE_CHECKING:
    from fastmagic.lesson.cell import Cell
    from fastmagic.lesson.order import Order
    from fastmagic.lesson.settings import Settings
    from fastmagic.lesson.start import Lesson

FREE = ("workers", "no_gpu_cache", "no_allocator")
"""Settings that decide how long a run takes and in how much memory, not what is trained."""

LONGEST = 200
"""Characters of a value that are written down with the run; longer ones are not compared."""


def parts(lesson: Lesson) -> dict[str, str]:
    """Give the digest of each thing that only the same lesson has."""
    layout, after = lesson.layout, lesson.after
    pictures = [
        (file.relative_to(layout.path).as_posix(), file.stat().st_size)
        for file in (*layout.train, *layout.valid)
    ]
    found = {"pictures": pictures, "after": None if after is None else after.identity}
    return {**_of_cell(lesson.settings, lesson.cell), **_digests(found)}


def _of_cell(settings: Settings, cell: Cell) -> dict[str, str]:
    own = {name: value for name, value in settings.to_dict().items() if name not in FREE}
    return _digests({"body": cell.source, "settings": own})


def _digests(found: Mapping[str, Any]) -> dict[str, str]:
    return {name: runs.identity_of({name: value}) for name, value in found.items()}


def begun_with(order: Order, *folders: Path | None) -> tuple[Order, str] | None:
    """Give a lesson with the data set that this very cell was begun with and did not finish.

    A cell takes the data set that `%get_data` gave last, which a new kernel does not know.

    Parameters
    ----------
    order
        The lesson; its own data set does not matter.
    folders
        Those of the runs and of their copies.

    Returns
    -------
    tuple of Order and str, or None
        The lesson, and the run's name; None where no such run is known.

    Raises
    ------
    SyntaxError
        For a body that is no Python.
    """
    for folder, told in (one for place in folders for one in runs.unfinished(place)):
        data, known = told.get("data"), told.get("parts")
        if not isinstance(data, str) or not isinstance(known, dict):
            continue
        pattern = order.flags.get("label_pattern") or told.get("label_pattern")
        found = replace(order, data=data, flags={**order.flags, "label_pattern": pattern})
        try:
            own = _of_cell(*found.read())
        except BadInput:  # its flags do not go with that data
            continue
        if all(known.get(name) == digest for name, digest in own.items()):
            return found, folder.name
    return None


def values(lesson: Lesson) -> dict[str, str]:
    """Write down the plain values of the notebook that the body uses."""
    found = {}
    for name in sorted(lesson.needed - PROVIDED):
        try:
            text = literal(lesson.namespace[name])
        except (KeyError, Unwritable):
            continue
        if len(text) <= LONGEST:
            found[name] = text
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Say which values are others now than when the run began.

    Examples
    --------
    >>> [words] = changes({"lr": "0.01", "n": "3"}, {"lr": "0.001", "n": "3"})
    >>> words.partition(":")[0]
    '`lr` is 0.001 now and was 0.01 when this run began'
    """
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            yield (
                f"`{name}` is {now[name]} now and was {before[name]} when this run began: what is "
                "trained stays. --fresh begins anew."
            )
