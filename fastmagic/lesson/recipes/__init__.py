"""The lesson's recipes: each file beside this one is a cell body, and exactly that is run.

A line `name = value  # --flag` marks what a flag of `%train_lesson1` sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

from fastmagic.errors import BadInput, did_you_mean


def names() -> list[str]:
    """List the recipes.

    Examples
    --------
    >>> names()
    ['classic', 'modern', 'pets', 'quick', 'scratch']
    """
    files = resources.files(__name__).iterdir()
    return sorted(f.name[:-3] for f in files if f.name.endswith(".py") and f.name[0] != "_")


def body(name: str, settings: Mapping[str, object] | None = None) -> str:
    """Give a recipe's text with the marked lines set.

    Parameters
    ----------
    name
        One of `names()`.
    settings
        Flag names without dashes to values; a value of None leaves the recipe's own.

    Raises
    ------
    BadInput
        Where there is no such recipe.

    Examples
    --------
    >>> print(body("modern", {"epochs": 5}).splitlines()[4])
    epochs = 5  # --epochs
    """
    if name not in names():
        hint = did_you_mean(name, names()) or f"The recipes are {', '.join(names())}."
        raise BadInput(f"There is no recipe called {name!r}.", hint)
    text = resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
    for flag, value in (settings or {}).items():
        if value is not None:
            line = rf"^(\w+) = .*  # --{re.escape(flag)}$"
            text = re.sub(line, rf"\g<1> = {value!r}  # --{flag}", text, flags=re.MULTILINE)
    return text
