"""A few real steps of the real learner, timed, and undone as if they had never been taken."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastmagic import platforms
from fastmagic.errors import first_line
from fastmagic.guard.anatomy import device_of
from fastmagic.guard.memory import Attempt
from fastmagic.lesson.forecast.memory import (
    Cuda,
    Gauge,
    Memory,
    at_full_batch,
)
from fastmagic.lesson.forecast.steps import Kind, Steps, untouched
from fastmagic.speed.shelf import seconds_from_copy

BUDGET = 5.0
"""Seconds that a trial may take on a processor; the first two pictures are looked at anyway."""

ENOUGH = 8
"""Pictures in a batch from which on a picture's time says enough; a larger one must be cheap."""

CHEAP = 0.5
"""Seconds that a larger batch may take, all steps together."""

IN_LOOKS: dict[Kind, float] = {"forward": 1, "head": 0.05, "kept": 1.1, "frozen": 2, "whole": 3}
"""How many times as long as a look without training a step takes, where there is no time to try:
`tests/benchmarks/lesson_estimate.py` found 0.59 to 0.66 whole steps in a frozen one."""


@dataclass(frozen=True)
class Trial:
    """What was measured.

    Attributes
    ----------
    device
        `cpu`, `cuda` or `mps`.
    where
        As a person says it: `this CPU`, `this Tesla T4`.
    batch
        Pictures in a batch of the lesson.
    whole, frozen, kept, forward, head
        Seconds for each picture in the lesson's batch: a step of the whole network, one with the
        body frozen, one with its batch norms frozen too, a look without training, and a step of the
        head on features that are there. None where the network has no such step, or it did not fit.
    loading
        Seconds to load a picture, in one process.
    workers, cores
        Processes that load pictures beside the training (0: the training process does it), and
        cores that they may use.
    memory
        Whether the whole network's step fits; None on processors and Apple's GPU.
    again
        Seconds to load a picture from its small copy; None where there are none.
    """

    device: str
    where: str
    batch: int
    whole: float | None
    frozen: float | None
    kept: float | None
    forward: float | None
    head: float | None
    loading: float
    workers: int
    cores: int
    memory: Memory | None = None
    again: float | None = None


def measure(
    learn: Any,
    *,
    copies: bool = False,
    budget_s: float = BUDGET,
    gauge: Gauge | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Trial | None, str]:
    """Time a few steps of a learner, and leave it bit for bit as it was.

    Parameters
    ----------
    learn
        fastai's learner, with fastai's loaders.
    copies
        Whether pictures will be read from small copies of them.
    budget_s
        Seconds that this may take on a processor, roughly.
    gauge
        Reads the device's memory; that of the learner's NVIDIA GPU by default.
    clock
        Gives seconds.

    Returns
    -------
    trial, trouble
        What was measured, or None and why nothing was; only Ctrl-C is raised.
    """
    import torch

    try:
        device = torch.device(device_of(learn))
        if gauge is None and device.type == "cuda":
            gauge = Cuda(device)
        with warnings.catch_warnings(), untouched(learn, device):
            warnings.simplefilter("ignore")  # the fit itself will say them
            trial = _measured(learn, device, budget_s, gauge, clock)
            again = seconds_from_copy(learn.dls.train, clock) if copies else None
            return replace(trial, again=again), ""
    except Exception as error:  # whatever the person's network, loss or pictures raise
        return None, f"no step could be tried beforehand ({first_line(error)})"
    finally:
        if gauge is not None:
            gauge.release()


def _measured(
    learn: Any, device: Any, budget_s: float, gauge: Gauge | None, clock: Callable[[], float]
) -> Trial:
    loader = learn.dls.train
    batch = min(loader.bs, loader.n)
    steps = Steps(learn, device, clock)
    memory = None
    if gauge is None:
        sizes = sorted({min(size, batch) for size in (2, ENOUGH, 4 * ENOUGH, batch)})
        speeds = _climb(steps, sizes, batch, budget_s, clock)
    else:
        memory = _fit(steps, batch, gauge)
        speeds = _at_once(steps, memory.batch, batch, clock) if memory.batch else {}
    return Trial(
        device=device.type,
        where=_where(device),
        batch=batch,
        whole=speeds.get("whole"),
        frozen=speeds.get("frozen"),
        kept=speeds.get("kept"),
        forward=speeds.get("forward"),
        head=speeds.get("head"),
        loading=steps.loading,
        workers=int(loader.fake_l.num_workers),
        cores=platforms.usable_cores(),
        memory=memory,
    )


def _climb(
    steps: Steps,
    sizes: Sequence[int],
    batch: int,
    budget_s: float,
    clock: Callable[[], float],
) -> dict[Kind, float]:
    """Time larger and larger batches, as long as that is cheap; the largest one counts."""
    until = clock() + budget_s
    tried: list[Timings] = []
    for size in sizes:
        expected = size * sum(tried[-1].computing.values()) / tried[-1].pictures if tried else 0.0
        left = until - clock()
        if tried and expected > (left if size <= ENOUGH else min(left, CHEAP)):
            break
        with Attempt() as attempt:
            tried.append(_timings(steps, size, until, clock))
        if attempt.trouble is not None:  # what fewer pictures took will do
            if not tried:
                raise attempt.trouble
            break
    return _by_picture(tried[-1], tried[-2] if len(tried) > 1 else None, batch)


@dataclass(frozen=True)
class Timings:
    """Seconds of each kind of step with a number of pictures; the optimizer's apart."""

    pictures: int
    computing: dict[Kind, float]
    updating: dict[Kind, float]


def _timings(steps: Steps, pictures: int, until: float, clock: Callable[[], float]) -> Timings:
    """Take each kind of step, and once more where there is time: the faster one counts.

    The first also chooses how to compute, and what a busy machine adds comes and goes.
    """
    found = Timings(pictures, {}, {})
    for kind in steps.kinds:
        guess = _guess(kind, found.computing)
        if guess and clock() + guess > until:
            found.computing[kind], found.updating[kind] = guess, 0.0
        else:
            found.computing[kind], found.updating[kind] = steps.time(kind, pictures)
    for kind in steps.kinds:
        before = found.computing[kind] + found.updating[kind]
        if clock() + before < until:
            again = steps.time(kind, pictures)
            if sum(again) < before:
                found.computing[kind], found.updating[kind] = again
    return found


def _guess(kind: Kind, computing: Mapping[Kind, float]) -> float:
    """Guess a step's seconds from those of the others; 0 where there are none."""
    looks = [seconds / IN_LOOKS[one] for one, seconds in computing.items() if one != "head"]
    return min(looks, default=0.0) * IN_LOOKS[kind]


def _by_picture(found: Timings, fewer: Timings | None, batch: int) -> dict[Kind, float]:
    """Give the seconds for each picture of the lesson's batch.

    What a step takes that does not depend on the pictures (the optimizer; the time between one
    layer and the next) is shared by all of the batch. The layers' part is read from two sizes, and
    taken for half of the step at most: they are timed once, and a busy machine is no even one.
    """
    speeds: dict[Kind, float] = {}
    for kind, computing in found.computing.items():
        fixed = 0.0
        if fewer is not None and found.pictures < batch:
            slope = (computing - fewer.computing[kind]) / (found.pictures - fewer.pictures)
            fixed = min(max(0.0, computing - slope * found.pictures), computing / 2)
        shared = fixed + found.updating[kind]
        speeds[kind] = (computing - fixed) / found.pictures + shared / batch
    return speeds


def _at_once(
    steps: Steps, pictures: int, batch: int, clock: Callable[[], float]
) -> dict[Kind, float]:
    return _by_picture(_timings(steps, pictures, float("inf"), clock), None, batch)


def _fit(steps: Steps, batch: int, gauge: Gauge) -> Memory:
    """Find out whether a step of the whole network fits, at the lesson's batch or by halving it.

    One picture alone is not tried: the batch norm in a head cannot train on it.
    """
    gauge.release()
    room = gauge.room()
    size = batch
    while size >= min(2, batch):
        gauge.begin()
        if _goes_well(steps, size):
            needs = gauge.peak()
            if size < batch:
                needs = max(room, at_full_batch(needs, size, steps.fixed_bytes(), batch))
            return Memory(size == batch, needs, room, size)
        steps.renew()
        gauge.release()
        size //= 2
    return Memory(False, None, room, 0)


def _goes_well(steps: Steps, pictures: int) -> bool:
    """Take two steps of the whole network: the optimizer has its memory from the first one on."""
    with Attempt() as tried:
        steps.time("whole", pictures)
        steps.time("whole", pictures)
    return tried.trouble is None


def _where(device: Any) -> str:
    if device.type == "cuda":
        import torch

        return f"this {torch.cuda.get_device_name(device)}"
    return {"cpu": "this CPU", "mps": "Apple's GPU"}.get(device.type, f"this {device.type}")
