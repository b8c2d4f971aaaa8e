"""What TAB offers on a magic's line: its flags, names of data sets and recipes, folders, archives.

It knows lines and parsers, and no IPython: `shell` hangs it in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"\s*(?:[\w.,\s\[\]'\"]+=\s*)?%{1,2}(\w+)\s(.*)", re.DOTALL)
"""A magic with something after it, at the line's beginning or assigned to a name."""

_WEIGHTS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Offer:
    """What may stand in the place of what was begun.

    Attributes
    ----------
    fragment
        The part of the line before the cursor that is replaced.
    words
        What may replace it, sorted; each begins with the fragment, or is quoted.
    """

    fragment: str
    words: tuple[str, ...]


def offer(before: str, parsers: Mapping[str, Any]) -> Offer | None:
    """Say what may come next on a line; None where it is no line of these magics.

    Parameters
    ----------
    before
        The line up to the cursor.
    parsers
        Each magic's name, without `%`, and its argument parser.

    Examples
    --------
    >>> import argparse
    >>> parser = argparse.ArgumentParser(add_help=False)
    >>> _ = parser.add_argument("--recipe"), parser.add_argument("--runs")
    >>> offer("%train_lesson1 --rec", {"train_lesson1": parser})
    Offer(fragment='--rec', words=('--recipe',))
    >>> offer("%train_lesson1 --recipe cl", {"train_lesson1": parser}).words
    ('classic',)
    >>> offer("x = 1 + ", {"train_lesson1": parser}) is None
    True
    """
    match = _LINE.fullmatch(before)
    if not match or match[1] not in parsers:
        return None
    parser = parsers[match[1]]
    words, word, quote = _words(match[2])
    flags = {name: one for one in parser._actions for name in one.option_strings}
    name, equals, value = word.partition("=")
    if equals and name in flags and not quote:
        return _made(value, "", _values(flags[name].dest, value))
    awaited = flags.get(words[-1]) if words else None
    if awaited is not None and awaited.nargs != 0 and not word.startswith("--"):
        return _made(word, quote, _values(awaited.dest, word))
    if word.startswith("-") or not _place(parser, words, flags):
        left = [one for one in flags if one.startswith("--") and one not in words]
        return _made(word, quote, left)
    return _made(word, quote, _values(_place(parser, words, flags), word))


def _words(text: str) -> tuple[list[str], str, str]:
    """Divide a line into its finished words, the one that is begun, and the quote it is in."""
    words, word, quote, begun = [], "", "", False
    for letter in text:
        if quote:
            if letter == quote:
                quote = ""
            else:
                word += letter
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter.isspace():
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + letter, True
    return words, word, quote


def _place(parser: Any, words: list[str], flags: Mapping[str, Any]) -> str:
    """Name the argument without a flag that comes next; empty where none does."""
    free = [one.dest for one in parser._actions if not one.option_strings]
    taken, skip = 0, False
    for word in words:
        flag = flags.get(word)
        if not skip and flag is None and not word.startswith("--"):
            taken += 1
        skip = flag is not None and flag.nargs != 0
    return free[taken] if taken < len(free) else ""


def _made(fragment: str, quote: str, words: Iterable[str]) -> Offer:
    near = sorted({one for one in words if one.startswith(fragment)})
    if not quote:
        near = [f'"{one}"' if re.search(r"\s", one) else one for one in near]
    return Offer(fragment, tuple(near))


def _values(dest: str, begun: str) -> list[str]:
    """Give what an argument may be, as far as it can be told; nothing where anything may."""
    make = _VALUES.get(dest)
    return make(begun) if make else []


def _data(begun: str) -> list[str]:
    from fastmagic.data import kaggle
    from fastmagic.data.archives.archive import SUFFIXES
    from fastmagic.data.catalogue import CATALOGUE

    named = [*CATALOGUE, *kaggle.attached_names(), kaggle.PREFIX]
    near = [one for one in named if one.startswith(begun)]
    # with nothing begun the names are what one looks for, not what happens to lie here
    return near if near and not begun else [*near, *_paths(begun, SUFFIXES)]


def _recipes(_begun: str) -> list[str]:
    from fastmagic.lesson import recipes

    return recipes.names()


def _folders(begun: str) -> list[str]:
    return _paths(begun, ())


def _paths(begun: str, suffixes: tuple[str, ...]) -> list[str]:
    """Give the folders, and the files with one of these endings, whose path begins like this."""
    above, stem = os.path.split(begun)
    found = []
    where = os.path.expanduser(above) or "."  # noqa: PTH111 - what was typed is kept
    with suppress(OSError), os.scandir(where) as entries:
        for one in entries:
            if one.name.startswith(".") and not stem.startswith("."):
                continue
            path = begun[: len(begun) - len(stem)] + one.name
            if one.is_dir():
                found.append(f"{path}/")
            elif one.name.lower().endswith(suffixes):
                found.append(path)
    return found


_VALUES: dict[str, Callable[[str], list[str]]] = {
    "source": _data,
    "data": _data,
    "dest": _folders,
    "cache": _folders,
    "runs": _folders,
    "recipe": _recipes,
    "checksum": lambda _: ["sha256:", "md5:"],
    "weights": lambda begun: ["imagenet", "none", *_paths(begun, _WEIGHTS)],
    "normalize": lambda _: ["imagenet", "half"],
    "torch_index": lambda _: ["registry"],
}
"""What fills an argument in, by its name in the parser."""
