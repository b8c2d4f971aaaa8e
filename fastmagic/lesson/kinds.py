"""What kind of value each argument of a lesson takes; any other is refused by its name.

numpy's numbers count as Python's own, which they become: a recipe's text and `result.json` hold
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from fastmagic.errors import BadInput


class Kind(NamedTuple):
    """A kind of value: what any other is not, whether one is, and what makes it Python's own."""

    not_it: str
    fits: Callable[[Any], bool]
    plain: Callable[[Any], Any]


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == value // 1


WHOLE = Kind("no whole number", _is_whole, int)
NUMBER = Kind("no number", _is_number, float)
TEXT = Kind("no text", lambda value: isinstance(value, str), str)
PLACE = Kind("neither a text nor a path", lambda value: isinstance(value, (str, Path)), lambda v: v)
SWITCH = Kind("neither True nor False", lambda value: isinstance(value, bool), bool)

SWITCHED = "True or False"
FOLDER = "a folder as 'text' or as a pathlib.Path"

TAKES: Mapping[str, tuple[Kind, str]] = {
    "data": (PLACE, "a data set's name, its address, or a path, as 'text' or as a pathlib.Path"),
    "code": (TEXT, "fastai code as 'text', such as 'learn.fit(1)'"),
    "label_pattern": (TEXT, r"a regular expression with one group as 'text', such as r'^(.*)_\d+'"),
    "recipe": (TEXT, "a recipe's name, such as 'classic'"),
    "arch": (TEXT, "a network's name as 'text', such as 'resnet34', or that of your own function"),
    "weights": (PLACE, "'imagenet', 'none', or the path of a file with a state dict"),
    "normalize": (TEXT, "'imagenet', 'half', or two numbers as '0.5,0.25' (mean, deviation)"),
    "size": (WHOLE, "a side of 16 to 4096 pixels, such as 128 or 224"),
    "bs": (WHOLE, "up to 65536 pictures in a batch, such as 64; a recipe takes 2 at least"),
    "epochs": (WHOLE, "a number of epochs, such as 3"),
    "lr": (NUMBER, "a learning rate of at most 100, such as 3e-3"),
    "progressive": (SWITCH, SWITCHED),
    "seed": (WHOLE, "a whole number, such as 42"),
    "valid_pct": (NUMBER, "a share, such as 0.2 for a fifth"),
    "workers": (WHOLE, "a number of processes; 0 loads in this one"),
    "freeze_bn": (SWITCH, SWITCHED),
    "no_precompute": (SWITCH, SWITCHED),
    "no_cache": (SWITCH, SWITCHED),
    "no_gpu_cache": (SWITCH, SWITCHED),
    "no_channels_last": (SWITCH, SWITCHED),
    "no_allocator": (SWITCH, SWITCHED),
    "cache_limit": (NUMBER, "GB that small copies of pictures may take, such as 10; 0 makes none"),
    "time_limit": (NUMBER, "minutes, such as 600"),
    "save_every": (NUMBER, "seconds between two states that are kept, such as 60"),
    "name": (TEXT, "the run's name as 'text'"),
    "runs_folder": (PLACE, FOLDER),
    "copies": (PLACE, FOLDER),
    "fresh": (SWITCH, SWITCHED),
    "processes": (WHOLE, "a number of processes, such as 2"),
}
"""What each argument takes, and what to give. A precision's words, a team's GPUs, and the folders
that `get_data` takes are looked at where they are used."""

NEEDED = {"cache_limit", "save_every"}
"""Those that are never None."""


def check(**given: Any) -> None:
    """Refuse arguments whose values are of another kind, as `plain` does."""
    for name, value in given.items():
        plain(name, value)


def plain(name: str, value: Any) -> Any:
    """Give an argument's value as Python's own; that of one without a line here stays.

    Parameters
    ----------
    name, value
        The argument; None is one that was not given.

    Raises
    ------
    BadInput
        For a value of another kind.

    Examples
    --------
    >>> from fractions import Fraction
    >>> plain("lr", Fraction(1, 8)), plain("size", 224.0), plain("seed", None)
    (0.125, 224, None)
    """
    if name not in TAKES or (value is None and name not in NEEDED):
        return value
    kind, give = TAKES[name]
    if not kind.fits(value):
        raise BadInput(f"{name} is {value!r}, which is {kind.not_it}.", f"Give {give}.")
    return kind.plain(value)


def to_give(name: str) -> str:
    """Say what to give for an argument.

    Examples
    --------
    >>> to_give("time_limit")
    'Give minutes, such as 600.'
    """
    return f"Give {TAKES[name][1]}."
