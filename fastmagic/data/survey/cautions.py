"""What makes a result say less than it seems to, and what to do: a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastmagic.data.survey.labels import Kind

NAMES_SHOWN = 5


def unvalidated(names: Sequence[str], kind: Kind) -> str:
    """Say which classes have no validation pictures.

    Examples
    --------
    >>> print(unvalidated(["dogs"], "class folders"))
    'dogs' has no pictures to validate with: accuracy says nothing of it. Add pictures: every \
class needs at least two.
    """
    has, it = ("has", "it") if len(names) == 1 else ("have", "them")
    what = f"{listed(names)} {has} no pictures to validate with: accuracy says nothing of {it}."
    if kind == "train/valid folders":
        return f"{what} Move some pictures of {it} to the validation folder."
    return f"{what} Add pictures: every class needs at least two."


def clipped(count: int, example: str) -> str:
    """Say what becomes of 16-bit pictures, and how they are kept from it.

    Examples
    --------
    >>> print(clipped(1, "train/a/1.png"))
    1 picture is 16-bit with values above 255 (train/a/1.png): these become white in fastai. \
Convert it first, for example: \
Image.open(old).point(lambda value: value / 256).convert('L').save(new)
    """
    what, it = ("picture is", "it") if count == 1 else ("pictures are", "them")
    return (
        f"{count:,} {what} 16-bit with values above 255 ({example}): these become white in fastai. "
        f"Convert {it} first, for example: {CONVERT}"
    )


def closed(folders: Sequence[Path]) -> str:
    """Say which folders may not be read.

    Examples
    --------
    >>> print(closed([Path("photos/lost+found")]))
    1 folder may not be read and is left out (photos/lost+found). If there are pictures in it, \
change who may read it.
    """
    one = len(folders) == 1
    what, it = (
        ("folder may not be read and is", "it")
        if one
        else ("folders may not be read and are", "them")
    )
    names = ", ".join(folder.as_posix() for folder in folders[:NAMES_SHOWN])
    return (
        f"{len(folders):,} {what} left out ({names}). If there are pictures in {it}, "
        f"change who may read {it}."
    )


CONVERT = "Image.open(old).point(lambda value: value / 256).convert('L').save(new)"


def listed(names: Sequence[str]) -> str:
    """Name them, in quotes; of many only the first.

    Examples
    --------
    >>> listed(["a", "b"]), listed(list("abcdefg"))
    ("'a' and 'b'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    shown = [repr(name) for name in names[:NAMES_SHOWN]]
    rest = len(names) - NAMES_SHOWN
    last = [f"{rest} more"] if rest > 0 else [shown.pop()]
    return " and ".join([", ".join(shown), *last] if shown else last)
