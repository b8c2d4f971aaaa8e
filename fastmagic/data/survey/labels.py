"""Which class a picture is of: by the folder it lies in, or by a pattern in its name."""

from __future__ import annotations

import re
from typing import Literal

from fastmagic.errors import PicturesError

Kind = Literal["train/valid folders", "class folders", "flat files"]

KAGGLE = r"^([^.]+)\.\d+\."
"""Kaggle's dogs vs cats: `cat.0.jpg`."""

SHOW = "Put each class into a folder of its own (cats/…, dogs/…), or into train/ and valid/."


def label(parts: tuple[str, ...], kind: Kind, pattern: str) -> str | None:
    """Give the class of a picture by its path below the data set; None where nothing tells it."""
    if pattern:
        return named(parts[-1], pattern)
    depth = 1 if kind == "train/valid folders" else 0
    return parts[depth] if len(parts) > depth + 1 else None


def named(name: str, pattern: str) -> str | None:
    """Give the class that a pattern finds in a file's name; None where it finds none."""
    match = compiled(pattern).search(name)
    return match.group(1) or None if match else None


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that must have a group, or say what is wrong with it."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        msg = f"The label pattern {pattern!r} is not a regular expression: {error}."
        raise PicturesError(msg, r"An example that works: ^(.*)_\d+\.jpg$") from None
    if pattern and compiled.groups < 1:
        msg = f"The label pattern {pattern!r} has no group to take the class from."
        raise PicturesError(msg, r"Put brackets around the class, as in ^(.*)_\d+\.jpg$")
    return compiled
