"""What lesson 1 can do here: the precision that pays, a batch that should fit, a rough time.

Everything here is an estimate, made from what was measured (the probe's speeds, the free memory)
and from the constants below, each with its source. None was checked on a GPU: there the time may
well be off by half. `tests/benchmarks/lesson_memory.py` and `lesson_estimate.py` measure again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastmagic import faces
from fastmagic.gpu.cards import Card
from fastmagic.gpu.host import Host
from fastmagic.gpu.torch_support import Run
from fastmagic.platforms import WORKERS_MOST


@dataclass(frozen=True)
class Lesson:
    """What a run of the lesson has to do.

    Attributes
    ----------
    name
        As a person calls it.
    train, valid
        Pictures.
    frozen, whole
        Epochs with the body frozen, and with all weights trained.
    passes
        Over the validation pictures at the end (test-time augmentation).
    gflop
        10**9 operations of a training step for each picture.
    mib_each, mib_fixed
        MiB that training keeps for each picture, and for weights, gradients and Adam.
    batch
        Pictures in the lesson's own batch.

    Notes
    -----
    The pictures: fastai's URLs.DOGS. The epochs: `lesson/recipes/classic.py`; `fit_sgdr(3, 1)` is
    1 + 2 + 4 epochs, and fastai's `tta` with n=4 looks at each picture 4 + 1 times. Operations and
    MiB: resnet34 at 224 pixels in fp32, counted by `tests/benchmarks/lesson_estimate.py` (21.7,
    two operations a multiply-add) and `lesson_memory.py` (30.7 and 333, torch 2.15).
    """

    name: str = "the classic recipe on dogscats"
    train: int = 23_000
    valid: int = 2_000
    frozen: int = 3
    whole: int = 7
    passes: int = 5
    gflop: float = 21.7
    mib_each: float = 30.7
    mib_fixed: int = 333
    batch: int = 64


@dataclass(frozen=True)
class Estimate:
    """What should work here; each figure with what it rests on.

    Attributes
    ----------
    precision
        The one that pays: "fp32", "fp16" or "bf16".
    batch_size
        Pictures in a batch that should fit: a power of two, at most the lesson's own.
    seconds
        For the whole lesson in fp32, as `%train_lesson1` trains, rounded; None without a measured
        speed.
    precision_why, batch_why, seconds_why
        Why, in plain words.
    """

    precision: str
    precision_why: str
    batch_size: int
    batch_why: str
    seconds: float | None
    seconds_why: str


CLASSIC = Lesson()

# A half precision that is not at least this much faster is not worth its rounding.
PAYS = 1.2
# Real training reaches this part of the probe's speed: tests/benchmarks/lesson_estimate.py on two
# cores of a Xeon with AMX (torch 2.15): resnet34 0.83 in fp32 and 0.70 in bf16, resnet18 0.68 and
# 0.61. Not verified on a GPU.
EFFICIENCY = 0.75
# A frozen step takes this part of a whole one, for batch norm is trained all the same: the same
# script, 0.59 to 0.66.
FROZEN = 0.65
# Looking at a picture without training is one of the three passes of a step.
FORWARD = 1 / 3
# Pictures a second that one core loads and resizes. Public notebooks of the pets lesson on Colab's
# two cores take 45 s for an epoch of 7,390 pictures, trained and validated, whether frozen or not:
# so it is the loader that sets the pace, 164 a second.
LOADS = 82
# Gradients on their way, workspace and fragments come on top of what is kept for the backward pass:
# on the CPU a training process grows by 1.33 times it (peak memory, resnet34, batches of 8 and 24).
# By rule of thumb 1.5 on a GPU, where CUDA's context and libraries take another 600 MiB, neither
# measured. Python with fastai and torch is 1 GiB of the host's memory (measured).
OVERHEAD = 1.5
CONTEXT_MIB = 600
PYTHON_MIB = 1024
SMALLEST_BATCH = 8
TENSOR_CORES = (7, 0)
"""The capability with which they came (Volta), for half precision: CUDA C++ Programming Guide,
"Compute Capabilities"."""

# Turing without tensor cores (TU116, TU117), which answers 7.5 like the others: GTX 16, MX450,
# MX550, T400 to T2000. https://en.wikipedia.org/wiki/Turing_(microarchitecture).
NO_TENSOR_CORES = re.compile(r"GTX 16\d\d|MX[45]50|\bT(?:400|500|550|600|1000|1200|2000)\b")


def estimate(
    card: Card | None, runs: Sequence[Run], host: Host, lesson: Lesson = CLASSIC
) -> Estimate:
    """Estimate what a lesson can do here.

    Parameters
    ----------
    card
        The GPU that training will use; None where NVML knows none.
    runs
        What the probe tried, on any device.
    host
        Cores and free memory.
    lesson
        What has to be done.

    Examples
    --------
    >>> found = estimate(Card(name="Tesla T4", capability=(7, 5), memory_free=14900), (), Host(2))
    >>> found.precision, found.batch_size, found.seconds
    ('fp16', 64, None)
    """
    device = training_device(card, runs)
    tried = [run for run in runs if run.device == device]
    speeds = {run.precision: run.gflops for run in tried if run.ok and run.gflops}
    precision, precision_why = _precision(card, device, tried)
    batch_size, batch_why = _batch(card, device, host, lesson)
    seconds, seconds_why = _time(device, speeds, precision, host, lesson)
    return Estimate(precision, precision_why, batch_size, batch_why, seconds, seconds_why)


def training_device(card: Card | None, runs: Sequence[Run]) -> str:
    """Say on which device training would run, as torch names it.

    Examples
    --------
    >>> training_device(None, [Run("cpu", True), Run("mps", True)])
    'mps'
    """
    if card is not None:
        return f"cuda:{card.cuda or 0}"
    works = [run.device for run in runs if run.ok and run.precision == "fp32"]
    found = [device for kind in ("cuda", "mps") for device in works if device.startswith(kind)]
    return found[0] if found else "cpu"


def _precision(card: Card | None, device: str, runs: Sequence[Run]) -> tuple[str, str]:
    speeds = {run.precision: run.gflops for run in runs if run.ok and run.gflops}
    halves = {name: speed for name, speed in speeds.items() if name != "fp32"}
    if "fp32" not in speeds or (not halves and device.startswith("cuda")):
        name, why = _precision_by_name(card, device)
        failed = any(run.precision == name and not run.ok for run in runs)
        return ("fp32", f"{name} failed when it was tried") if failed else (name, why)
    if not halves:
        return "fp32", "nothing narrower was measured to work here"
    best = max(halves, key=lambda name: halves[name])
    gain = halves[best] / speeds["fp32"]
    if gain < PAYS:
        return "fp32", f"{best} was measured at {gain:.1f} times its speed, which does not pay"
    words = f"measured at {gain:.1f} times the speed of fp32"
    if device.startswith("cuda"):
        return best, f"{words}; in a cell of your own: learn.to_{best}()"
    # fastai 2.8's MixedPrecision asks for autocast("cuda") and refuses other devices.
    return best, f"{words}, but fastai's own mixed precision is for CUDA alone"


def _precision_by_name(card: Card | None, device: str) -> tuple[str, str]:
    """Go by the card's generation where nothing was measured.

    Tensor cores came with 7.0 (Volta), bf16 with 8.0 (Ampere): CUDA C++ Programming Guide, "Compute
    Capabilities", table of arithmetic instructions.
    """
    capability = card.capability if card is not None else None
    if capability is None:
        what = "the GPU's generation is not known" if device != "cpu" else "nothing was measured"
        return "fp32", what
    version = f"{capability[0]}.{capability[1]}"
    if capability >= (8, 0):
        return "bf16", f"tensor cores compute in it since capability 8.0; this card has {version}"
    if capability < TENSOR_CORES or NO_TENSOR_CORES.search((card and card.name) or ""):
        return "fp32", "this card has no tensor cores, which make half precision fast"
    return "fp16", f"this card has tensor cores for it (capability {version})"


def _batch(card: Card | None, device: str, host: Host, lesson: Lesson) -> tuple[int, str]:
    free, whose = _free_memory(card, device, host)
    if free is None:
        return lesson.batch, f"the lesson's own; free memory {whose} is not known"
    fixed = lesson.mib_fixed + (CONTEXT_MIB if device.startswith("cuda") else PYTHON_MIB)
    each = lesson.mib_each * OVERHEAD
    size = lesson.batch
    while size > SMALLEST_BATCH and fixed + size * each > free:
        size //= 2
    needs = fixed + size * each
    words = f"about {faces.mib(needs)} of the {faces.mib(free)} free {whose}"
    if needs > free:
        return size, f"and even that may not fit: {words}"
    return size, words if size < lesson.batch else f"the lesson's own; {words}"


def _free_memory(card: Card | None, device: str, host: Host) -> tuple[int | None, str]:
    """Give free MiB where training would run, and whose they are."""
    if not device.startswith("cuda"):
        return host.ram_available, "in this machine"
    if card is None:
        return None, "on the GPU"
    return card.room_free, "in the GPU's slice" if card.slices else "on the GPU"


def _time(
    device: str, speeds: dict[str, float], precision: str, host: Host, lesson: Lesson
) -> tuple[float | None, str]:
    if "fp32" not in speeds:
        return None, "the speed was not measured"
    arithmetic = _computing(lesson, speeds["fp32"])
    loading, cores = _loading(device, host, lesson)
    if not device.startswith("cuda"):
        # Without loader processes the pictures are loaded between the steps.
        where = "Apple's GPU" if device == "mps" else "this processor"
        return _rounded(arithmetic + loading), f"{lesson.name} in fp32, on {where}"
    words = f"{lesson.name} in fp32"
    if loading >= arithmetic:
        rate = cores * LOADS
        pace = f"the pace is that of {cores} processor cores, which load about {rate} pictures/s"
        return _rounded(loading), f"{words}; {pace}"
    words += "; the pace is the GPU's"
    if precision != "fp32":
        half = max(_computing(lesson, speeds.get(precision, 0) or speeds["fp32"]), loading)
        words += f", in {precision} about {_minutes(half)}"
    return _rounded(arithmetic), words


def _computing(lesson: Lesson, gflops: float) -> float:
    """Give the seconds that the arithmetic takes at a measured speed."""
    steps = lesson.train * (lesson.whole + FROZEN * lesson.frozen)
    looks = lesson.valid * (lesson.whole + lesson.frozen + lesson.passes)
    return (steps + FORWARD * looks) * lesson.gflop / (gflops * EFFICIENCY)


def _loading(device: str, host: Host, lesson: Lesson) -> tuple[float, int]:
    """Give the seconds that loading the pictures takes, and on how many cores."""
    cores = min(host.cores, WORKERS_MOST) if device.startswith("cuda") else 1
    epochs = lesson.frozen + lesson.whole
    pictures = lesson.train * epochs + lesson.valid * (epochs + lesson.passes)
    return pictures / (cores * LOADS), cores


def _rounded(seconds: float) -> float:
    """Round as roughly as the estimate is: to minutes, 5 minutes, half hours or hours.

    Examples
    --------
    >>> [_rounded(60 * minutes) / 60 for minutes in (0.2, 7.4, 28, 140, 1234)]
    [1.0, 7.0, 30.0, 150.0, 1260.0]
    """
    minutes = seconds / 60
    step = 1 if minutes < 10 else 5 if minutes < 60 else 30 if minutes < 600 else 60
    return 60.0 * step * max(1, round(minutes / step))


def _minutes(seconds: float) -> str:
    minutes = round(_rounded(seconds) / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:g} h"
