"""What went wrong during a run, and what was done about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


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


def to_state(incidents: Iterable[Incident]) -> dict[str, str]:
    """Give incidents as what `guard.files` keeps: a run that goes on still knows them.

    Examples
    --------
    >>> kept = to_state([Incident("fit 1", "stopped", "kept")])
    >>> print(*from_state(kept))
    fit 1: stopped; kept
    """
    return {"incidents": json.dumps([dataclasses.asdict(one) for one in incidents])}


def from_state(content: Any) -> list[Incident]:
    """Give the incidents that were kept; none where nothing usable was."""
    try:
        return [_incident(one) for one in json.loads(content["incidents"])]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _incident(told: Mapping[str, Any]) -> Incident:
    return Incident(*(str(told[field.name]) for field in dataclasses.fields(Incident)))
