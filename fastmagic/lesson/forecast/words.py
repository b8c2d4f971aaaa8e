"""What a plan and a trial come to: an estimate of the time, said as a person would (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from fastmagic import faces
from fastmagic.lesson.forecast.calls import Layers, Work
from fastmagic.lesson.forecast.memory import Memory
from fastmagic.lesson.forecast.plan import Plan
from fastmagic.lesson.forecast.trial import Trial
from fastmagic.others import Others

MUCH_SHORTER = 4
"""How many times as long a lesson must take for `--recipe quick` to be worth a word."""

LONG = 300.0
"""Seconds from which on a lesson is long enough to say what would be shorter."""


@dataclass(frozen=True)
class Forecast:
    """What a lesson will take here, as far as a few steps tell: an estimate.

    Attributes
    ----------
    where
        As a person says it: `this CPU`, `this Tesla T4`.
    seconds
        For the whole body; None where it cannot all be read.
    frozen_epoch, whole_epoch
        Seconds of an epoch with the body frozen and of one of the whole network, each with its
        validation; None where they were not measured.
    memory
        Whether the whole network's step fits; None where there is no GPU's memory to fit in.
    batch
        Pictures in a batch.
    unread
        What of the body could not be read; empty where all was.
    quick_seconds
        What `--recipe quick` would take; None where it is no better, or none was asked about.
    others
        What other programs took of the processor while the steps were tried; None where that is not
        known.
    """

    where: str
    seconds: float | None
    frozen_epoch: float | None
    whole_epoch: float | None
    memory: Memory | None
    batch: int
    unread: str = ""
    quick_seconds: float | None = None
    others: Others | None = None

    def sentences(self) -> tuple[str, ...]:
        """Say it in plain sentences, the time first.

        Examples
        --------
        >>> Forecast("this Tesla T4", 431, 40, 47, None, 64).sentences()
        ('Estimate, from a few real steps: about 7 min on this Tesla T4.',)
        >>> print(Forecast("this CPU", 18200, 1500, 2400, None, 64, "", 110).sentences()[0])
        Estimate, from a few real steps: about 5 h on this CPU; `--recipe quick` takes about 2 min.
        """
        busy = self.others.words("while these steps were tried") if self.others else ""
        return tuple(said for said in (self._time(), self._room(), busy) if said)

    def _time(self) -> str:
        quick = self.quick_seconds
        offer = f"; `--recipe quick` takes {about(quick)}" if quick is not None else ""
        if self.seconds is not None:
            return f"Estimate, from a few real steps: {about(self.seconds)} on {self.where}{offer}."
        parts = [
            f"{about(seconds)} for an epoch of {what}"
            for seconds, what in (
                (self.frozen_epoch, "the head"),
                (self.whole_epoch, "the whole network"),
            )
            if seconds is not None
        ]
        if not parts:
            return ""
        said = f"Estimate, from a few real steps: {', '.join(parts)} on {self.where}{offer}."
        why = f" No total: it cannot be known beforehand {self.unread}." if self.unread else ""
        return said + why

    def _room(self) -> str:
        memory = self.memory
        if memory is None:
            return ""
        room = memory.room / 2**20
        if memory.needs is None:
            return (
                "The unfrozen step does not fit in the GPU's memory, even with two pictures "
                f"({faces.mib(room)} are free). Free what others hold (%gpu_check says who), or "
                "give a smaller --size or another --arch."
            )
        needs = faces.mib_of(memory.needs / 2**20, room)
        if memory.fits:
            return f"The unfrozen step fits in the GPU's memory: {needs}."
        return (
            f"The unfrozen step does not fit in the GPU's memory: a batch of {self.batch} would "
            f"take about {needs}. --bs {memory.batch} fits; a smaller --size helps too, and so "
            "does freeing what others hold (%gpu_check says who)."
        )


def forecast(
    plan: Plan,
    trial: Trial,
    train: int,
    valid: int,
    quick: Plan | None = None,
    others: Others | None = None,
) -> Forecast:
    """Put a plan and a trial together.

    Parameters
    ----------
    plan
        What the body will do.
    trial
        How long single steps take here.
    train, valid
        Pictures to train on, and to validate with.
    quick
        What `--recipe quick` would do, where it could be run instead: with weights to start from,
        and where it is not this very recipe.
    others
        What other programs took of the processor during the trial.

    Examples
    --------
    >>> trial = Trial("cpu", "this CPU", 64, 0.4, 0.25, 0.15, 0.1, 0.001, 0.005, 0, 2)
    >>> plan = Plan((Work("frozen", 1), Work("predict", 5)), True)
    >>> forecast(plan, trial, 2000, 400).seconds
    762.0
    """
    costs = _Costs(trial, train, valid)
    total, whole_epoch = costs.total(plan), costs.of(Work("whole", 1))
    keeps = any("kept" in (work.kind, work.layers) for work in plan.works)
    short = costs.total(quick) if quick is not None else None
    return Forecast(
        where=trial.where,
        seconds=total,
        frozen_epoch=costs.of(Work("kept" if keeps else "frozen", 1)),
        whole_epoch=whole_epoch,
        memory=trial.memory,
        batch=trial.batch,
        unread=plan.unread,
        quick_seconds=_if_worth_it(short, total if total is not None else whole_epoch),
        others=others,
    )


@dataclass(frozen=True)
class _Costs:
    """Seconds of each work."""

    trial: Trial
    train: int
    valid: int

    def total(self, plan: Plan) -> float | None:
        """Give the seconds of all works; None where one is not known."""
        each = [self.of(work) for work in plan.works]
        known = [seconds for seconds in each if seconds is not None]
        if not plan.complete or len(known) != len(each):
            return None
        return sum(known) + (self._copies() if known else 0.0)

    def _copies(self) -> float:
        """Give the seconds in which the small copies of all pictures are made, on all cores."""
        trial = self.trial
        if trial.again is None:
            return 0.0
        return (self.train + self.valid) * trial.loading / max(1, trial.cores)

    def of(self, work: Work) -> float | None:
        """Give the seconds of a work; None where its step was not measured."""
        parts = self._parts(work)
        known = [part for part in parts if part is not None]
        return work.amount * sum(known) if len(known) == len(parts) else None

    def _parts(self, work: Work) -> tuple[float | None, ...]:
        """Give the seconds of what a work does once."""
        train = min(self.train, work.most) if work.most else self.train
        if work.kind == "predict":
            kept = work.layers == "precomputed"
            return (self._kept(self.valid, 1 / 3) if kept else self._looks(self.valid),)
        if work.kind == "features":
            return self._looks(train), self._looks(self.valid)
        if work.kind == "lr_find":
            return (self._trains(work.layers or "frozen", self.trial.batch),)
        if work.kind == "precomputed":
            return self._kept(train, 1), self._kept(self.valid, 1 / 3)
        return self._trains(work.kind, train, work.pixels), self._looks(self.valid)

    def _trains(self, layers: Layers, pictures: int, pixels: float = 1.0) -> float | None:
        if layers == "precomputed":
            return self._kept(pictures, 1)
        trial = self.trial
        steps = {
            "kept": (trial.kept, trial.frozen, trial.whole),
            "frozen": (trial.frozen, trial.whole),
            "whole": (trial.whole,),
        }[layers]
        step = next((one for one in steps if one is not None), None)
        return None if step is None else pictures * self._with_loading(pixels * step)

    def _looks(self, pictures: int) -> float | None:
        forward = self.trial.forward
        return None if forward is None else pictures * self._with_loading(forward)

    def _kept(self, pictures: int, share: float) -> float | None:
        """Give the seconds of the head on features that are kept: nothing is loaded."""
        return None if self.trial.head is None else pictures * self.trial.head * share

    def _with_loading(self, computing: float) -> float:
        """Add what loading a picture takes: beside the GPU's work, or on the same cores."""
        trial = self.trial
        each = trial.loading if trial.again is None else trial.again
        if not trial.workers:
            return computing + each
        loading = each / min(trial.workers, trial.cores)
        return computing + loading if trial.device == "cpu" else max(computing, loading)


def _if_worth_it(short: float | None, instead_of: float | None) -> float | None:
    """Give the shorter lesson's seconds where it is really shorter, and the other one long."""
    if short is None or instead_of is None or instead_of < LONG:
        return None
    return short if short * MUCH_SHORTER <= instead_of else None


def about(seconds: float) -> str:
    """Say an estimate as roughly as it is known.

    Examples
    --------
    >>> [about(s) for s in (0.3, 7, 42, 92, 431, 1700, 5200, 18200, 150000)]
    ['a second or so', 'about 7 s', 'about 40 s', 'about 1.5 min', 'about 7 min', 'about 30 min', \
'about 1.5 h', 'about 5 h', 'about 2 days']
    """
    if seconds < 1.5:
        return "a second or so"
    if seconds < 55:
        return f"about {_to(seconds, 1 if seconds < 10 else 5)} s"
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 55:
        return f"about {_halves(minutes) if minutes < 10 else _to(minutes, 5)} min"
    if hours < 36:
        return f"about {_halves(hours)} h"
    return f"about {round(hours / 24)} days"


def _halves(value: float) -> str:
    """Round to halves below 3, where a whole one more or less is much."""
    return f"{round(2 * value) / 2:g}" if value < 3 else f"{round(value)}"


def _to(value: float, step: int) -> int:
    return max(1, step * round(value / step))
