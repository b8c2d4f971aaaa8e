"""What makes a lesson quicker and computes the same training: chosen once, said, and undone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.guard.anatomy import device_of
from fastmagic.lesson.start import Lesson
from fastmagic.speed import allocator, layout
from fastmagic.speed.resident import fits, never
from fastmagic.speed.shelf import GB, Shelf

COPIED = "each is decoded and reduced once, then cut: nearly fastai's own pixels (--no-cache)."
LAID_OUT = "the network's weights lie with the channels last (--no-channels-last)."
LEFT = "a network that may take its maps flat, with `.view`, stays as torch lays it."
BROUGHT = "the small copies lie in the GPU's memory, and are cut there (--no-gpu-cache)."
KEPT = "what a step frees is kept for the next one (--no-allocator)."

IN_SHORT = {
    "pictures": "photographs are decoded once and kept small, nearly the same pixels (--no-cache)",
    "loading": "these copies lie in the GPU's memory where there is room (--no-gpu-cache)",
    "layout": "weights lie with the channels last (--no-channels-last)",
    "memory": "freed memory is kept (--no-allocator)",
}
"""What is said of each choice before the start."""


@dataclass(frozen=True)
class Speed:
    """What was chosen.

    Attributes
    ----------
    channels_last
        Whether networks lie in memory with the channels last where that pays.
    lay
        Lays a learner's network so, for a device.
    pictures_for
        Gives the small copies that a loader reads from; None for one that reads its files.
    batches_for
        Gives what makes a loader's batches of its small copies; None for a loader of its own kind.
    shelf
        The small copies; None for none.
    keeps
        Whether freed memory is kept.
    brings
        Whether small copies are brought to a GPU where there is room for them.
    """

    channels_last: bool
    lay: Callable[[Any, Any], object]
    pictures_for: Callable[..., Any]
    batches_for: Callable[..., Any]
    shelf: Shelf | None = None
    keeps: bool = False
    brings: bool = False

    def release(self) -> bool:
        """Take the pictures out of the GPU's memory; say whether any were in it."""
        return self.shelf is not None and self.shelf.release()

    def say(self, lesson: Lesson, device: str) -> None:
        """Say in one sentence what is done, and note it among the lesson's choices.

        Parameters
        ----------
        lesson
            Its `dls`, where it is made already, tells whether there will be small copies.
        device
            The kind of device that trains: kept memory matters on `cpu` alone.
        """
        choices, dls = lesson.choices, lesson.namespace.get("dls")
        loader = getattr(dls, "train", None) if lesson.needed & {"dls", "learn"} else None
        if self.shelf is not None and loader is not None and self.shelf.serves(loader):
            choices["pictures"] = COPIED
        learn = lesson.namespace.get("learn") if "learn" in lesson.needed else None
        if self.channels_last and (device == "cpu" or _pays(learn)):
            choices.setdefault("layout", LAID_OUT)
        if self.keeps and device == "cpu":
            choices["memory"] = KEPT
        names = {name for name, words in choices.items() if words != LEFT}
        if self.brings and device == "cuda" and "pictures" in choices:
            names.add("loading")
        said = [words for name, words in IN_SHORT.items() if name in names]
        if said:
            lesson.view.note(f"Quicker, by the same training: {'; '.join(said)}.")


def _pays(learn: Any) -> bool:
    return learn is not None and layout.pays(learn, device_of(learn))


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
            fits=never if settings.no_gpu_cache else fits,
            note=lesson.view.note,
        )

    def pictures_for(loader: Any, numbers: Any = None) -> Any:
        found = None if shelf is None else shelf.pictures_for(loader, numbers)
        if shelf is not None and found is not None:  # a body's own loaders may read otherwise
            choices["pictures"] = shelf.lacking() or COPIED
        return found

    def batches_for(loader: Any, pictures: Any, plain: type) -> Any:
        found = None if shelf is None else shelf.batches_for(loader, pictures, plain)
        if found is not None and found.resident is not None:
            choices["loading"] = BROUGHT
        return found

    def lay(learn: Any, device: Any) -> None:
        if not settings.no_channels_last and not layout.channels_last(learn, device):
            choices["layout"] = LEFT

    with allocator.kept(wanted=not settings.no_allocator) as keeps:
        brings = shelf is not None and not settings.no_gpu_cache
        last = not settings.no_channels_last
        speed = Speed(last, lay, pictures_for, batches_for, shelf, keeps, brings)
        try:
            yield speed
        finally:
            speed.release()
