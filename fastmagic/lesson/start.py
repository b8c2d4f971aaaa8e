"""What is known of a lesson before its body runs: the pictures, and the names that it uses."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.data.catalogue import CATALOGUE
from fastmagic.data.get import get_data
from fastmagic.data.survey.pictures import Layout, lay_out
from fastmagic.errors import LessonError
from fastmagic.guard.stops import put_off
from fastmagic.lesson import cell as cells
from fastmagic.lesson import names
from fastmagic.lesson.forecast.words import Forecast
from fastmagic.lesson.order import Order
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.settings import Settings
from fastmagic.progress import NestedView, View
from fastmagic.speed.ahead import meanwhile
from fastmagic.speed.shelf import GB, Shelf

QUICK_MOST = 2000
"""Pictures that recipe `quick` looks at, at most: `most` in its text."""

USUAL = {one.defaults.arch for one in CATALOGUE.values()} | {"resnet34", "resnet50"}
"""Networks that are there for certain."""

DIVIDED = (
    "--valid-pct is left out: it parts pictures that are not parted yet, and these have train and "
    "valid folders."
)
"""What is said where a share is asked for in vain."""


@dataclass
class Lesson:
    """Everything that is known of a lesson before it runs.

    Attributes
    ----------
    settings, cell, namespace, layout, view
        What to do, the body, where its names live, the pictures, and where progress is shown.
    after
        The finished lesson whose learner this one goes on with.
    names, needed
        Every name that the body uses, also by way of the person's own functions; and those of them
        that it does not set itself first.
    choices
        What was chosen for the person, and why; filled while the learner is made.
    forecast
        What was said of time and memory before the start.
    """

    settings: Settings
    cell: cells.Cell
    namespace: dict[str, Any]
    layout: Layout
    view: View
    after: TrainResult | None = None
    names: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)
    choices: dict[str, str] = field(default_factory=dict)
    forecast: Forecast | None = None


def require_fastai() -> None:
    """Make sure that torch and fastai are there.

    Raises
    ------
    LessonError
        Where they are not, with the magic that installs them.
    """
    missing = [name for name in ("torch", "fastai") if importlib.util.find_spec(name) is None]
    if missing:
        raise LessonError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed here.",
            "Run %fastai_setup, which installs what fits this machine, then this cell again.",
        )


def check_architecture(settings: Settings, namespace: Mapping[str, Any] | None) -> None:
    """Refuse a network that nobody knows, before the pictures are fetched.

    The usual ones are not looked up: that takes seconds, in which small copies can be made.

    Raises
    ------
    BadInput
        With the nearest name.
    """
    if settings.arch in USUAL:
        return
    with put_off():  # this loads torch
        from fastmagic.lesson import learner

        learner.find_architecture(settings.arch, namespace)


def pictures_of(
    order: Order,
    settings: Settings,
    cache: str | Path | None,
    dest: str | Path | None,
    view: View,
) -> Path:
    """Get a lesson's pictures; what that shows stands within its own view."""
    return get_data(
        order.pictures,
        label_pattern=settings.label_pattern,
        cache=cache,
        dest=dest,
        show=NestedView(view),
    )


def prepare(
    settings: Settings,
    path: Path,
    cell: cells.Cell,
    namespace: dict[str, Any],
    view: View,
    after: TrainResult | None = None,
    cache_limit: float = 0,
) -> Lesson:
    """Lay the pictures out, say what they are, and load fastai.

    Parameters
    ----------
    settings, path, cell, namespace, view, after
        The lesson, as of `Lesson`, and where its pictures are.
    cache_limit
        GB that small copies of the pictures may take; where there is room for some, they are begun
        while fastai is loaded.
    """
    layout = laid_out(settings, path)
    view.note(describe(layout))
    if settings.valid_pct != Settings.valid_pct and layout.kind == "train/valid folders":
        view.note(DIVIDED)
    view.note("Loading fastai …")
    used = names.used_names(cell, namespace)
    needed = names.needed_names(cell, used)
    lesson = Lesson(settings, cell, namespace, layout, view, after, used, needed)
    with meanwhile(_copying(lesson, cache_limit)):
        load_fastai()
    return lesson


def load_fastai() -> None:
    """Import all of fastai at once; a press of stop waits until that is done."""
    with put_off(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries warn one another of at import
        import fastai.vision.all  # noqa: F401 - for what comes after


def _copying(lesson: Lesson, cache_limit: float) -> Callable[[Callable[[], bool]], object] | None:
    """Give what makes small copies before there are loaders; None where there may be none.

    Recipe `quick` may look at a part of the pictures, which is chosen later.
    """
    settings, layout = lesson.settings, lesson.layout
    makes = lesson.after is None and lesson.needed & {"dls", "learn"}
    if not makes or settings.no_cache or cache_limit <= 0 or "fastai.vision.all" in sys.modules:
        return None
    if settings.recipe == "quick" and len(layout.train) > QUICK_MOST:
        return None
    shelf = Shelf(platforms.cache_folder(), cache_limit * GB, platforms.usable_cores())
    parts = (layout.train, layout.valid)
    return lambda enough: shelf.make_ahead(parts, settings.size, enough)


def laid_out(settings: Settings, path: Path) -> Layout:
    """Find the pictures, their classes and their split."""
    return lay_out(
        path,
        label_pattern=settings.label_pattern,
        valid_pct=settings.valid_pct,
        seed=settings.seed,
    )


def describe(layout: Layout) -> str:
    """Say in one line what a lesson is given to learn from."""
    classes = len(layout.classes)
    named = ", ".join(layout.classes[:4]) + (" …" if classes > 4 else "")
    counts = f"{len(layout.train):,} pictures to train, {len(layout.valid):,} to validate"
    left_out = f", {len(layout.unreadable)} unreadable left out" if layout.unreadable else ""
    return f"Data: {counts}{left_out}, {classes} classes ({named}) in {layout.path}"
