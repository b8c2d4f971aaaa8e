"""The batches of a pass, the next of which can be made while the network is at one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastmagic.guard import positions


class Coming:
    """The batches of a pass, in their order.

    A GPU works on a step while the processor is free, until fastai asks it for the loss. Where
    batches are made in this process, the next one is made in that time.

    Parameters
    ----------
    batches
        What gives them.

    Examples
    --------
    >>> coming = Coming(iter("abc"))
    >>> next(coming)
    'a'
    >>> coming.make_next()
    >>> "".join(coming)
    'bc'
    """

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self._made: list[Any] = []  # one at most
        self._trouble: BaseException | None = None  # of making it

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._made:
            return self._made.pop()
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return next(self._batches)

    def make_next(self) -> None:
        """Make the next batch now, and leave the generators as they are.

        What goes wrong, the end of the pass too, is told when that batch is asked for.
        """
        if self._made or self._trouble is not None:
            return
        with positions.kept_apart():
            try:
                self._made.append(next(self._batches))
            except Exception as trouble:
                self._trouble = trouble
