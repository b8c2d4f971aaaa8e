"""What makes a result say less than it seems to, and what to do: a line each."""

from __future__ import annotations

from collections.abc import Sequence

from fastmagic.data.survey.labels import Kind

NAMES_SHOWN = 5


def unvalidated(names: Sequence[str], kind: Kind) -> str:
    """Say which classes have no validation pictures; empty where each has some.

    Examples
    --------
    >>> print(unvalidated(["dogs"], "class folders"))
    'dogs' has no pictures to validate with: accuracy says nothing of it. Add pictures: every \
class needs at least two.
    >>> unvalidated([], "class folders")
    ''
    """
    if not names:
        return ""
    has, it = ("has", "it") if len(names) == 1 else ("have", "them")
    what = f"{_listed(names)} {has} no pictures to validate with: accuracy says nothing of {it}."
    if kind == "train/valid folders":
        return f"{what} Move some pictures of {it} to the validation folder."
    return f"{what} Add pictures: every class needs at least two."


def _listed(names: Sequence[str]) -> str:
    """Name them, in quotes; of many only the first.

    Examples
    --------
    >>> _listed(["a", "b"]), _listed(list("abcdefg"))
    ("'a' and 'b'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    shown = [repr(name) for name in names[:NAMES_SHOWN]]
    rest = len(names) - NAMES_SHOWN
    last = [f"{rest} more"] if rest > 0 else [shown.pop()]
    return " and ".join([", ".join(shown), *last] if shown else last)
