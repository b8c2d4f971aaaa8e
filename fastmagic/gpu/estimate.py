"""What lesson 1 can do here: the precision it takes, a batch that should fit, a rough time.

The precision is the lesson's own choice. The rest is an estimate, made from what was measured (the
probe's speeds, the free memory) and from the constants below, each with its source. On GPUs other
than an H200 none was checked: there the time may well be off by half.
`tests/benchmarks/lesson_memory.py` and `lesson_estimate.py` measure again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from fastmagic import faces
from fastmagic.gpu.cards import Card
from fastmagic.gpu.host import Host
from fastmagic.gpu.torch_support import Device, Run
from fastmagic.lesson.precision import choose
from fastmagic.speed.trial import WORTH


@dataclass(frozen=True)
class Lesson:
    """What a run of the lesson has to do.

    Attributes
    ----------
    name
        As a person calls it.
    train, valid
        Pictures.
    looks
        Over all pictures, for the features on which the first head trains.
    frozen, whole
        Epochs with the body frozen, and with all weights trained.
    passes
        Over the validation pictures: which are right, test-time augmentation, what is confused.
    gflop
        10**9 operations of a training step for each picture.
    mib_each, mib_half, mib_fixed
        MiB that training keeps for each picture in fp32 and in half precision, and for weights,
        gradients and Adam.
    batch
        Pictures in the lesson's own batch.

    Notes
    -----
    The pictures: fastai's URLs.DOGS. The epochs: `lesson/recipes/classic.py`, as
    `lesson/forecast/plan.py` reads it. `precomputed()` looks at each picture once, and its three
    epochs take next to nothing; `fit_cycles(3)` is 3 epochs, with `cycle_mult=2` 1 + 2 + 4, and
    fastai's `tta` with n=4 looks at each picture 4 + 1 times. Operations and MiB: resnet34 at 224
    pixels, counted by `tests/benchmarks/lesson_estimate.py` (21.7, two operations a multiply-add)
    and `lesson_memory.py` (30.7, 16.1 and 333, torch 2.15).
    """

    name: str = "the classic recipe on dogscats"
    train: int = 23_000
    valid: int = 2_000
    looks: int = 1
    frozen: int = 3
    whole: int = 7
    passes: int = 7
    gflop: float = 21.7
    mib_each: float = 30.7
    mib_half: float = 16.1
    mib_fixed: int = 333
    batch: int = 64


@dataclass(frozen=True)
class Estimate:
    """What should work here; each figure with what it rests on.

    Attributes
    ----------
    precision
        The one that `%train_lesson1` takes by itself: "fp32", "fp16" or "bf16".
    batch_size
        Pictures in a batch that should fit in it: a power of two, at most the lesson's own.
    seconds
        For the whole lesson in it, the first time, rounded; None without a measured speed.
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

# Real training reaches this part of the probe's speed: tests/benchmarks/lesson_estimate.py on two
# cores of a Xeon with AMX (torch 2.15): resnet34 0.83 in fp32 and 0.70 in bf16, resnet18 0.68 and
# 0.61. Not verified on a GPU.
EFFICIENCY = 0.75
# Looking at a picture without training is one of the three passes of a step. So is a frozen step:
# the recipe keeps the body's batch norms, and nothing goes back through it.
FORWARD = 1 / 3
# Pictures a second that one core loads and resizes. Public notebooks of the pets lesson on Colab's
# two cores take 45 s for an epoch of 7,390 pictures, trained and validated, whether frozen or not:
# so it is the loader that sets the pace, 164 a second. A lesson does that once for each picture, to
# make its small copies; these are read many times as fast (`tests/benchmarks/around_a_step.py`).
LOADS = 82
# Pictures a second that a training step reaches at most, however fast the card, for Python starts
# each operation: docs/speed.md, 7 epochs of 6,400 pictures in 24.7 s on an H200 with two cores.
FASTEST = 1800
# Gradients on their way, workspace and fragments come on top of what is kept for the backward pass:
# on the CPU a training process grows by 1.33 times it (peak memory, resnet34, batches of 8 and 24).
# By rule of thumb 1.5 on a GPU, where CUDA's context and libraries take another 600 MiB, neither
# measured. Python with fastai and torch is 1 GiB of the host's memory (measured).
OVERHEAD = 1.5
CONTEXT_MIB = 600
PYTHON_MIB = 1024
SMALLEST_BATCH = 8


def estimate(
    card: Card | None,
    runs: Sequence[Run],
    host: Host,
    lesson: Lesson = CLASSIC,
    devices: Sequence[Device] = (),
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
    devices
        The GPUs as torch counts them, for one that NVML does not know.

    Examples
    --------
    >>> found = estimate(Card(name="Tesla T4", capability=(7, 5), memory_free=14900), (), Host(2))
    >>> found.precision, found.batch_size, found.seconds
    ('fp16', 64, None)
    """
    device = training_device(card, runs)
    tried = [run for run in runs if run.device == device]
    speeds = {run.precision: run.gflops for run in tried if run.ok and run.gflops}
    failed = {run.precision for run in tried if not run.ok}
    if device == "cpu":
        precision, precision_why = _on_a_processor(speeds, failed)
    else:
        precision, precision_why = _on_a_gpu(_known(card, device, devices), device, speeds, failed)
    batch_size, batch_why = _batch(card, device, host, lesson, precision)
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


def _known(card: Card | None, device: str, devices: Sequence[Device]) -> Card | Device | None:
    """Give what knows the GPU's name and generation: NVML's card, else torch's device."""
    if card is not None and card.capability is not None:
        return card
    here = (one for one in devices if f"cuda:{one.index}" == device)
    return next(here, card)


def _on_a_gpu(
    known: Card | Device | None, device: str, speeds: dict[str, float], failed: set[str]
) -> tuple[str, str]:
    """Ask the lesson's own chooser, and say beside it what was measured."""
    kind = SimpleNamespace(type=device.partition(":")[0])
    capability, name = (None, "") if known is None else (known.capability, known.name or "")
    chosen = choose(None, kind, capability, name)
    if chosen.name == "fp32":
        return chosen.name, chosen.why
    if chosen.name in failed:
        return chosen.name, "it failed when it was tried here: give --precision fp32"
    other = "; --precision fp32 is the other way"
    if {chosen.name, "fp32"} <= speeds.keys():
        gain = speeds[chosen.name] / speeds["fp32"]
        other = f", measured at {gain:.1f} times the speed of fp32{other}"
    return chosen.name, f"{chosen.why}{other}"


def _on_a_processor(speeds: dict[str, float], failed: set[str]) -> tuple[str, str]:
    """Foretell what the lesson's trial will find where the processor has bf16 units."""
    both = "on Linux the lesson tries its network in both, and takes the quicker one"
    if "bf16" in failed:
        return "fp32", f"bf16 failed when it was tried; {both}"
    if {"fp32", "bf16"} <= speeds.keys():
        gain = speeds["bf16"] / speeds["fp32"]
        name = "bf16" if gain >= WORTH else "fp32"
        return name, f"bf16 was measured at {gain:.1f} times the speed of fp32; {both}"
    if speeds:
        chosen = choose(None, SimpleNamespace(type="cpu"), None)
        return chosen.name, chosen.why
    return "fp32", f"not measured; where the processor has bf16 units, {both}"


def _batch(
    card: Card | None, device: str, host: Host, lesson: Lesson, precision: str
) -> tuple[int, str]:
    free, whose = _free_memory(card, device, host)
    if free is None:
        return lesson.batch, f"the lesson's own; free memory {whose} is not known"
    fixed = lesson.mib_fixed + (CONTEXT_MIB if device.startswith("cuda") else PYTHON_MIB)
    each = (lesson.mib_each if precision == "fp32" else lesson.mib_half) * OVERHEAD
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
    timed = precision if precision in speeds else "fp32"
    if timed not in speeds:
        return None, "the speed was not measured"
    copying = (lesson.train + lesson.valid) / (host.cores * LOADS)
    seconds = copying + _computing(lesson, speeds[timed])
    where = {"cpu": ", on this processor", "mps": ", on Apple's GPU"}.get(device, "")
    cores = "1 core" if host.cores == 1 else f"{host.cores} cores"
    words = (
        f"{lesson.name} in {timed}{where}; {_minutes(copying)} of it to decode each photograph "
        f"once, on {cores}"
    )
    if timed != "fp32" and "fp32" in speeds:
        other = _minutes(copying + _computing(lesson, speeds["fp32"]))
        words += f"; with --precision fp32 about {other}"
    return _rounded(seconds), words


def _computing(lesson: Lesson, gflops: float) -> float:
    """Give the seconds that steps and looks take at a measured speed."""
    steps = lesson.train * (lesson.whole + FORWARD * lesson.frozen)
    looks = (lesson.train + lesson.valid) * lesson.looks
    looks += lesson.valid * (lesson.whole + lesson.frozen + lesson.passes)
    return (steps + FORWARD * looks) / min(gflops * EFFICIENCY / lesson.gflop, FASTEST)


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
