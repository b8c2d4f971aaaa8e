"""What the folders of a division are called: `train` and `valid`, in any of their usual spellings.

`Train` and `Valid`, or `training` and `validation`, taken for two classes would teach a network
which folder a picture lies in, and report a fine accuracy of that.
"""

from __future__ import annotations

from collections.abc import Iterable

TRAIN_NAMES = ("train", "training")
VALID_NAMES = ("valid", "validation", "val", "test")
"""What the two folders may be called, whatever the case; the first that is there."""


def among(names: Iterable[str], wanted: tuple[str, ...]) -> list[str]:
    """Give the names that mean one of those wanted, in the order in which they are wanted.

    Examples
    --------
    >>> among(["Test", "Train", "VAL", "models"], VALID_NAMES)
    ['VAL', 'Test']
    >>> among(["TRAIN", "train", "Training"], TRAIN_NAMES)
    ['train', 'TRAIN', 'Training']
    """
    known = [name for name in sorted(names) if name.lower() in wanted]
    return sorted(known, key=lambda name: (wanted.index(name.lower()), name != name.lower()))


def train_of(names: Iterable[str]) -> str:
    """Give the name of the training folder among these; empty where there is none."""
    return next(iter(among(names, TRAIN_NAMES)), "")


def is_test(name: str) -> bool:
    """Say whether a folder is called so that its pictures may have no labels: Kaggle's `test`.

    Examples
    --------
    >>> is_test("Test1"), is_test("valid")
    (True, False)
    """
    return name.lower().startswith("test")
