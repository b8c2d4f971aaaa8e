"""What decides that two cells are the same training, and what has changed between two runs of one.

The same are: body, settings, pictures, and the lesson that it goes on from. Values of the notebook
that the body uses do not decide it, for a body may change them itself; where one is another when a
run goes on, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastmagic.lesson import runs
from fastmagic.lesson.carried import PROVIDED, Unwritable, literal

if TYPE_CHECKING:
    from fastmagic.lesson.start import Lesson

LONGEST = 200
"""Characters of a value that are written down with the run; longer ones are not compared."""


def parts(lesson: Lesson) -> dict[str, str]:
    """Give the digest of each thing that only the same lesson has."""
    layout, after = lesson.layout, lesson.after
    pictures = [
        (str(file.relative_to(layout.path)), file.stat().st_size)
        for file in (*layout.train, *layout.valid)
    ]
    found: dict[str, Any] = {
        "body": lesson.cell.source,
        "settings": lesson.settings.to_dict(),
        "pictures": pictures,
        "after": None if after is None else after.identity,
    }
    return {name: runs.identity_of({name: value}) for name, value in found.items()}


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
