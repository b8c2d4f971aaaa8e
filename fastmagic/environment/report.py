"""What `fastai_setup` gives back, and how a person sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastmagic import faces
from fastmagic.environment.inventory import FAMILY, PINNED
from fastmagic.environment.keeping.undo import Undone
from fastmagic.environment.planning.plan import Plan, Row
from fastmagic.faces import Face, Part, Table, Text

TITLE = "fastai setup"
DEPENDENCY = "needed by the others"
PLAN_COLUMNS = ("package", "now", "then", "size", "why")
NAMES = 5  # of packages, in one line
PLAN_TABLE = "plan"  # a log that has shown it while it went on does not show it again


@dataclass(frozen=True)
class Change:
    """One distribution that was installed, changed or removed; None where it was not or is not."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class SetupReport(faces.Shown):
    """What `fastai_setup` planned and did.

    Attributes
    ----------
    plan
        What was to be done, with the versions that pip chose.
    changed
        What was installed, changed or, by an undo, put back.
    verified
        "now", "earlier" (these very versions, at `verified_at`) or "no" (a dry run, an undo).
    worked
        What was tried and worked, where it was verified now.
    restart_needed
        The changed packages that this kernel has imported in their old version.
    undoable
        Whether this can be undone, in a sentence; empty where nothing was to be done.
    libraries
        Packages of the operating system that were installed.
    log
        pip's whole output, or None where pip was not needed.
    seconds
        How long it all took.
    dry_run
        Whether it stopped after the plan.
    undone
        What an undo did; None otherwise.
    """

    plan: Plan
    changed: tuple[Change, ...] = ()
    verified: Literal["now", "earlier", "no"] = "no"
    verified_at: str | None = None
    worked: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    undoable: str = ""
    libraries: tuple[str, ...] = ()
    log: Path | None = None
    seconds: float = 0.0
    dry_run: bool = False
    undone: Undone | None = None

    def face(self) -> Face:
        """Show the outcome first, then the plan and where the log is."""
        parts: list[Part] = [Text(self._outcome(), strong=True)]
        if self.restart_needed:
            names = _most_telling(self.restart_needed)
            parts.append(
                Text(f"Restart the kernel now: it still runs the old {names}.", strong=True)
            )
        if self.undone:
            return Face(TITLE, (*parts, *self.undone.face().parts[1:]))
        parts += self._plan_parts()
        parts.append(Text(self._verification()))
        if self.log:
            parts.append(Text(f"The whole output: {self.log}", quiet=True))
        return Face(TITLE, tuple(parts))

    def _plan_parts(self) -> list[Part]:
        parts: list[Part] = [Text(f"Note: {words}") for words in self.plan.warnings]
        shown = _main_rows(self.plan)
        if shown:
            parts.append(plan_table(self.plan))
        others = [row for row in self.plan.rows if row not in shown]
        if others:
            known = sum(row.size or 0 for row in others)
            size = f", {faces.size(known)}" if known else ""
            many = "packages that these need" if len(others) > 1 else "package that these need"
            parts.append(Text(f"And {len(others)} more new {many}{size}."))
        if self.undoable and not self.plan.nothing_to_do:
            parts.append(Text(self.undoable))
        if self.libraries:
            parts.append(Text(f"Installed for OpenCV by apt-get: {', '.join(self.libraries)}."))
        return parts + [Text(str(offer)) for offer in self.plan.offers]

    def _outcome(self) -> str:
        if self.undone:
            first = self.undone.face().parts[0]
            return first.text if isinstance(first, Text) else ""
        if self.plan.nothing_to_do:
            return self.plan.sentence
        if self.dry_run:
            return f"The plan, nothing was changed: {self.plan.sentence}"
        count = len(self.changed)
        took = faces.duration(self.seconds)
        return f"Done in {took}: {count} package{'s' * (count != 1)} installed or changed."

    def _verification(self) -> str:
        if self.verified == "now":
            return f"Verified just now in a fresh process: {', '.join(self.worked)}."
        if self.verified == "earlier":
            return f"These versions were verified on {self.verified_at}; not tried again."
        return "Not verified."


def _most_telling(names: Sequence[str]) -> str:
    """Name some packages, PyTorch's and fastai's first, and count the others.

    Examples
    --------
    >>> _most_telling(["anyio", "fastai", "joblib", "pandas", "pyyaml", "rich", "torch"])
    'torch, fastai, anyio, joblib, pandas and 2 more'
    """
    ranks = {name: rank for rank, name in enumerate((*PINNED, *FAMILY))}
    first = sorted(names, key=lambda name: ranks.get(name, len(ranks)))
    more = f" and {len(first) - NAMES} more" if len(first) > NAMES else ""
    return f"{', '.join(first[:NAMES])}{more}"


def plan_table(plan: Plan) -> Table:
    """Set the packages of a plan that a person cares about, with the versions pip chose."""
    return faces.table(PLAN_COLUMNS, map(_cells, _main_rows(plan)), PLAN_TABLE)


def _main_rows(plan: Plan) -> list[Row]:
    """All but the new packages that others need."""
    return [row for row in plan.rows if row.now or row.why != DEPENDENCY]


def _cells(row: Row) -> tuple[str | None, ...]:
    size = None if row.size is None else faces.size(row.size)
    return row.package, row.now or "-", row.then, size, row.why
