"""How busy other programs keep the processor: they slow a lesson down, and nothing else says so.

A step is many small operations, each of them done by all cores together. Where another program has
one of the cores every one of them waits for it, so that small pictures suffer most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fastmagic import platforms

WORTH_A_WORD = 0.15
"""The share of the cores from which on it is said: a browser and Jupyter itself take less."""

ENOUGH = 0.3
"""Seconds: systems count a processor's time in hundredths of a second."""

BUSY = ("user", "nice", "system", "irq", "softirq")
"""psutil's names of what a machine's cores do; the rest is waiting, or in these already."""

OWN = ("user", "system", "children_user", "children_system")
"""The same of a process; the children are those that have ended."""


class Used(NamedTuple):
    """Seconds of processor time so far: of all programs, and of this one with its children."""

    by_all: float
    by_us: float


@dataclass(frozen=True)
class Others:
    """What other programs took.

    Attributes
    ----------
    used
        Cores, on average.
    cores
        Of so many.
    """

    used: float
    cores: int

    def words(self, when: str) -> str:
        """Say it; empty where it is not worth a word.

        Parameters
        ----------
        when
            The rest of the sentence, such as `meanwhile`.

        Examples
        --------
        >>> print(Others(0.94, 2).words("meanwhile"))
        Other programs used 0.9 of the 2 processor cores meanwhile. Every step waits for the \
slowest core, so a lesson can take several times as long: shut down other notebooks' kernels.
        >>> Others(0.94, 16).words("meanwhile")
        ''
        """
        if self.used < WORTH_A_WORD * self.cores:
            return ""
        return (
            f"Other programs used {self.used:.1f} of the {self.cores} processor cores {when}. "
            "Every step waits for the slowest core, so a lesson can take several times as long: "
            "shut down other notebooks' kernels."
        )


def used() -> Used:
    """Ask the system what was used until now.

    Raises
    ------
    OSError
        Where it does not say.

    Examples
    --------
    >>> found = used()
    >>> found.by_all >= found.by_us > 0
    True
    """
    import psutil

    try:
        every = psutil.cpu_times()
        own = psutil.Process()
        times = [own.cpu_times()]
        for child in own.children(recursive=True):
            try:
                times.append(child.cpu_times())
            except psutil.Error:  # ended just now: its parent's children's time has it
                continue
    except psutil.Error as error:
        raise OSError(str(error)) from error
    by_all = sum(getattr(every, kind, 0.0) for kind in BUSY)
    return Used(by_all, sum(getattr(each, kind, 0.0) for each in times for kind in OWN))


class Watch:
    """Watches the other programs from its making on.

    Parameters
    ----------
    ask
        Gives what was used until now, or raises OSError.
    clock
        Gives seconds.
    cores, machine
        The cores that this process may use, and those of the machine. Where they differ the
        machine's figures tell nothing of them.

    Examples
    --------
    >>> times = iter([Used(100.0, 40.0), Used(118.0, 49.0)])
    >>> seconds = iter([0.0, 10.0])
    >>> Watch(lambda: next(times), lambda: next(seconds), 2, 2).others()
    Others(used=0.9, cores=2)
    """

    def __init__(
        self,
        ask: Callable[[], Used] = used,
        clock: Callable[[], float] = time.monotonic,
        cores: int | None = None,
        machine: int | None = None,
    ) -> None:
        self._ask, self._clock = ask, clock
        self._cores = platforms.usable_cores() if cores is None else cores
        told = self._cores == (os.cpu_count() if machine is None else machine)
        # one of several processes that a launcher started: the others are no other programs
        self._before = self._asked() if told and "RANK" not in os.environ else None
        self._began = clock()

    def others(self) -> Others | None:
        """Give what other programs have used since; None where that is not known."""
        passed = self._clock() - self._began
        now = self._asked() if self._before is not None and passed >= ENOUGH else None
        if now is None or self._before is None:
            return None
        by_all, by_us = (after - before for after, before in zip(now, self._before, strict=True))
        return Others(max(0.0, round((by_all - by_us) / passed, 2)), self._cores)

    def _asked(self) -> Used | None:
        try:
            return self._ask()
        except OSError:  # a sandbox without /proc
            return None
