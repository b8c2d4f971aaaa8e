"""What makes a lesson quicker and computes the same training: chosen once, said, and undone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.lesson.start import Lesson
from fastmagic.speed import allocator
from fastmagic.speed.shelf import GB, Shelf

COPIED = "each is decoded and reduced once, and kept small (--no-cache)."


@dataclass(frozen=True)
class Speed:
    """What was chosen.

    Attributes
    ----------
    channels_last
        Whether networks on a processor lie in memory with the channels last.
    pictures_for
        Gives the small copies that a loader reads from; None for one that reads its files.
    """

    channels_last: bool
    pictures_for: Callable[[Any], Any]


@contextlib.contextmanager
def sped_up(lesson: Lesson, cache_limit: float, cache: Path | None = None) -> Iterator[Speed]:
    """Choose what makes this lesson quicker here, and undo it afterwards.

    Parameters
    ----------
    lesson
        Its settings have a switch for each; what is chosen is noted among its choices.
    cache_limit
        GB that small copies of the pictures may take.
    cache
        The folder that keeps them; the person's cache folder by default.
    """
    settings, choices = lesson.settings, lesson.choices
    shelf = None
    if not settings.no_cache and cache_limit > 0:
        shelf = Shelf(
            platforms.cache_folder() if cache is None else cache,
            cache_limit * GB,
            platforms.usable_cores(),
            lambda made, of: lesson.view.bar("small copies of the pictures", made, of, " pictures"),
        )

    def pictures_for(loader: Any) -> Any:
        found = None if shelf is None else shelf.pictures_for(loader)
        if found is not None:  # a body's own loaders may read in another way
            choices["pictures"] = COPIED
        return found

    if not settings.no_channels_last:
        choices["layout"] = "channels last on a processor (--no-channels-last)."
    with allocator.kept(wanted=not settings.no_allocator) as keeps:
        if keeps:
            choices["memory"] = "what a step frees is kept for the next one (--no-allocator)."
        yield Speed(not settings.no_channels_last, pictures_for)
