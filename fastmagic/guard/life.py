"""Signs of life of a run, by which a process that goes on knows what a kill has cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 1.0
"""Seconds between two signs."""


class Life:
    """A file among the states that is touched while it trains.

    Parameters
    ----------
    states
        The folder of the states.
    clock
        Seconds that only grow.

    Examples
    --------
    >>> Life(Path("nowhere")).lost() is None
    True
    """

    def __init__(self, states: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._states, self._file, self._clock = states, states / "alive", clock
        self._next = float("-inf")

    def sign(self) -> None:
        """Leave a sign, once a second."""
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            with contextlib.suppress(OSError):
                self._states.mkdir(parents=True, exist_ok=True)
                self._file.touch()

    def lost(self) -> float | None:
        """Give the seconds between the last state and the last sign, of the process before.

        Returns
        -------
        float or None
            None where one of them is not there, as in a copy of the states.
        """
        try:
            alive = self._file.stat().st_mtime
            saved = max(file.stat().st_mtime for file in self._states.glob("fit-*.pt"))
        except (OSError, ValueError):
            return None
        return max(0.0, alive - saved)
