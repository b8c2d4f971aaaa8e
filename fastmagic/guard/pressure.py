"""The host's memory: what can be done without is given up before the kernel's killer comes.

A container that takes more than its limit is killed without a word. So the limit is looked at
between two steps, and where nine tenths of it are in use, what the C library holds on to goes back
to the system, and fewer processes load pictures, of which each takes some hundred MB. None of it
changes what is computed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastmagic import cgroup

HIGH = 0.9
"""The share of the limit at which memory is given up."""

EVERY = 1.0
"""Seconds between two looks."""

REST = 60.0
"""Seconds in which what was given up last may show before more is."""


def used_share(root: Path = cgroup.ROOT) -> float | None:
    """Give the share of the memory that is in use: the container's limit, else the machine's.

    None where that cannot be told.

    Parameters
    ----------
    root
        The folder in which `proc` and `sys` lie; tests hand in a tree of their own.

    Examples
    --------
    >>> 0 < used_share() < 1
    True
    """
    allowed = cgroup.memory(root)
    if allowed is not None and allowed.limit:
        return 1 - allowed.room / allowed.limit
    import psutil

    try:
        return float(psutil.virtual_memory().percent) / 100
    except OSError:  # a sandbox without /proc
        return None


def give_back() -> None:
    """Have glibc give back what it keeps (malloc_trim(3)); other C libraries keep little."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


@dataclass
class Pressure:
    """Looks at the host's memory, and has it given up where it runs short.

    Attributes
    ----------
    used
        Gives the share of the limit that is in use, 0 to 1; None where that cannot be told.
    trim
        Gives back to the system what the C library keeps for later.
    clock
        Seconds that only grow.

    Examples
    --------
    >>> Pressure(used=lambda: 0.95, trim=lambda: print("given back")).eased()
    given back
    0.95
    """

    used: Callable[[], float | None] = used_share
    trim: Callable[[], object] = give_back
    clock: Callable[[], float] = time.monotonic
    _next: float = float("-inf")

    def eased(self) -> float | None:
        """Look, and give up what can be given up; None where there is room.

        Returns
        -------
        float or None
            The share that was in use before.
        """
        now = self.clock()
        if now < self._next:
            return None
        self._next = now + EVERY
        share = self.used()
        if share is None or share < HIGH:
            return None
        self._next = now + REST
        gc.collect()
        self.trim()
        return share
