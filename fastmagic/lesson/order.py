"""What a person asked a lesson for, read before anything is fetched or loaded.

The four things that are done with a lesson (run it, show it, export it, go on from it) read the
same order: a data set, flags, perhaps a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.data import catalogue
from fastmagic.data.obtain import without_secrets
from fastmagic.errors import BadInput
from fastmagic.lesson import cell as cells
from fastmagic.lesson import kinds, recipes
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.settings import Settings, settle

DATA = "dogscats"
"""The data set of a lesson that names none."""

MADE_BY_THE_FIRST_CELL = (
    *("label_pattern", "arch", "weights", "normalize", "size", "bs", "valid_pct", "workers"),
    *("precision", "freeze_bn"),
)
"""What a cell that goes on cannot choose any more: its `dls` and `learn` are made."""


@dataclass(frozen=True)
class Order:
    """A lesson as it was asked for.

    Attributes
    ----------
    data
        A catalogue name, an address, or a path.
    code
        The body; None or nothing but comments for the recipe.
    flags
        Names of `Settings` to what was asked; None where it was not.
    after
        The finished lesson that this one goes on from.
    first_line, transform
        Where the body begins in its cell, and what turns IPython's syntax into Python.
    """

    data: str | Path
    code: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    after: TrainResult | None = None
    first_line: int = 1
    transform: Callable[[str], str] | None = None

    @property
    def source(self) -> str:
        """The data set as `get_data` takes it."""
        if isinstance(self.data, Path):
            return str(platforms.expanded(self.data).absolute())
        return self.data

    @property
    def pictures(self) -> str:
        """Where the pictures are got from: what a lesson goes on from has them already."""
        if self.after is not None and self.source == self.after.data:
            return str(self.after.path)
        return self.source

    @property
    def own_body(self) -> bool:
        """Whether the cell has code of its own."""
        return not cells.is_empty(self.code)

    @property
    def defaults(self) -> catalogue.LessonDefaults:
        """The data set's own settings."""
        known = entry(self.source)
        return known.defaults if known else catalogue.OWN_PICTURES

    def read(self) -> tuple[Settings, cells.Cell]:
        """Settle the settings and parse the body.

        Raises
        ------
        BadInput
            For what cannot be used or does not go together.
        SyntaxError
            For a body that is no Python.
        """
        settings = settle(
            without_secrets(self.source), self.defaults, self._flags(), own_body=self.own_body
        )
        if self.own_body and self.code:
            cell = cells.parse(self.code, first_line=self.first_line, transform=self.transform)
            cells.check(cell)
        else:
            cell = cells.parse(recipe_body(settings))
        return settings, cell

    def _flags(self) -> dict[str, Any]:
        asked = {name: value for name, value in self.flags.items() if value is not None}
        if self.after is None:
            return asked
        late = [name for name in MADE_BY_THE_FIRST_CELL if name in asked]
        if late:
            flag = late[0].replace("_", "-")
            raise BadInput(
                f"--{flag} does not go with --continue: `learn` and `dls` are made already.",
                f"Leave --{flag} out, or leave --continue out and begin anew.",
            )
        kept = {name: self.after.arguments.get(name) for name in MADE_BY_THE_FIRST_CELL}
        return {**kept, "seed": self.after.arguments.get("seed"), **asked}


def entry(source: str) -> catalogue.DataSet | None:
    """Find the catalogue's entry for a name, or for the folder that such a set lies in.

    Wherever `--dest` has put it, a set's folder has the name that it has among fastai's.

    Examples
    --------
    >>> entry("/home/me/pictures/fastmagic-sample").name
    'sample'
    """
    if source in catalogue.CATALOGUE:
        return catalogue.CATALOGUE[source]
    if "://" in source or source.startswith("kaggle:"):
        return None  # somebody's archive, which may be called like one of ours
    parts = Path(source).parts
    for known in catalogue.CATALOGUE.values():
        inner = (known.folder, *Path(known.pictures_in).parts)
        if any(parts[-len(tail) :] == tail for tail in (inner, (known.folder,))):
            return known
    return None


def recipe_body(settings: Settings) -> str:
    """Give the recipe's text with the settings in its marked lines."""
    marked = {"epochs": settings.epochs, "lr": settings.lr, "seed": settings.seed}
    if settings.progressive:
        marked["progressive"] = True
    return recipes.body(settings.recipe, marked)


def seconds_of(minutes: float | None) -> float | None:
    """Give the seconds of `--time-limit`; None for no limit.

    Raises
    ------
    BadInput
        For what is no number, or no time.

    Examples
    --------
    >>> seconds_of(0.5)
    30.0
    """
    minutes = kinds.plain("time_limit", minutes)
    if minutes is None:
        return None
    if not minutes > 0:
        raise BadInput(f"--time-limit {minutes:g} is out of range.", kinds.to_give("time_limit"))
    return 60 * minutes
