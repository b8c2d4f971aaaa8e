"""What went wrong during a run, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Incident:
    """One thing that the reader of a report should know.

    Attributes
    ----------
    when
        Where the run was: a stage and epoch, or "before the start".
    what
        What happened.
    done
        What was done about it.
    cost
        What it cost, in words; empty where it cost nothing.

    Examples
    --------
    >>> print(Incident("fit 1, epoch 2", "stopped by the person", "kept the epochs so far"))
    fit 1, epoch 2: stopped by the person; kept the epochs so far
    """

    when: str
    what: str
    done: str
    cost: str = ""

    def __str__(self) -> str:
        tail = f" ({self.cost})" if self.cost else ""
        return f"{self.when}: {self.what}; {self.done}{tail}"
