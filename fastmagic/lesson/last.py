"""The lesson that a cell with `--continue` goes on from, kept without what it trained.

A learner and its loaders may fill the GPU's memory. They last as long as the notebook has them, by
`learn` and `dls` or any other name: nothing of ours keeps them, so that the next lesson has room.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastmagic.errors import BadInput

if TYPE_CHECKING:
    from fastmagic.lesson.report import TrainResult


class LastLesson:
    """Remembers the lesson that finished last, and finds its learner while the notebook has it."""

    def __init__(self) -> None:
        self._bare: TrainResult | None = None
        self._learner: Callable[[], Any] | None = None

    def keep(self, result: TrainResult) -> TrainResult:
        """Remember a finished lesson, and give it as it may be filed: without its learner."""
        self._bare = replace(result, learn=None, dls=None)
        self._learner = None if result.learn is None else weakref.ref(result.learn)
        return self._bare

    def forget(self) -> None:
        """Forget it: another cell has begun in its place."""
        self._bare = self._learner = None

    def whole(self) -> TrainResult:
        """Give the lesson with its learner and loaders.

        Raises
        ------
        BadInput
            Where there is none, or where the notebook has its learner no longer.
        """
        if self._bare is None or self._learner is None:
            raise BadInput(
                "There is no finished lesson cell here to go on from.",
                "Run the cell before this one to its end, or leave --continue out.",
            )
        learn = self._learner()
        if learn is None:
            raise BadInput(
                "The notebook has no learner any more of the lesson cell to go on from.",
                "Run that cell again, or leave --continue out.",
            )
        return replace(self._bare, learn=learn, dls=learn.dls)
