"""Which precision is the quicker one for a network on this processor: a short trial, remembered.

bf16 halves the memory that a step moves, and wins on most networks; on depthwise ones it loses once
freed memory is kept. So both are tried, by turns. What was found is remembered for the network, the
processor and torch's version, so that the same cell trains in the same precision again, bit for
bit; but not where other programs were at work, and one step took far longer than the next.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastmagic import whole
from fastmagic.errors import first_line

BATCH = 16
"""Pictures in a step of the trial."""

WORTH = 1.2
"""How much quicker bf16 has to be, for its rounding to be worth it."""

LEAST = 3.0
"""Seconds that an epoch in fp32 takes at least: for less, none of this matters."""

FEWEST, MOST = 3, 9
"""Steps of each that are compared, at least and at most."""

ENOUGH = 1.5
"""Seconds after which no more than the fewest are taken."""

UNSTEADY = 1.25
"""Times the fastest step that the usual one takes at most, where nothing else is at work."""

BUSY = (
    "fp32",
    "other programs are at work here, so bf16 could not be judged; --precision bf16 asks for it",
)


def quicker(
    learn: Any,
    size: int,
    remembered: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, str]:
    """Say whether fp32 or bf16 is quicker for a learner's network, and why.

    Parameters
    ----------
    learn
        fastai's learner; it is not changed.
    size
        Side of the pictures, in pixels.
    remembered
        The file that remembers what was found.
    clock
        Gives seconds.

    Returns
    -------
    name, why
        `fp32` or `bf16`, and the reason; `fp32` too where the network takes no pictures.
    """
    pictures = getattr(learn.dls.train, "n", 0)
    key = f"{_key(learn.model, size)} {pictures} pictures"
    known = _read(remembered)
    if key in known:
        return known[key]
    try:
        found = _tried(copy.deepcopy(learn.model), size, pictures, clock)
    except Exception as error:  # whatever the person's network raises; its fit will say it
        return "fp32", f"bf16 could not be tried ({first_line(error)})"
    if found is not BUSY:
        whole.remember(remembered, json.dumps({**_read(remembered), key: found}, indent=1))
    return found


def _tried(model: Any, size: int, count: int, clock: Callable[[], float]) -> tuple[str, str]:
    import torch

    for parameter in model.parameters():
        parameter.requires_grad_()
    model.train()
    pictures = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        plain = [_seconds(model, pictures, clock, half=False) for _ in range(2)]
        if min(plain) * count / BATCH < LEAST:
            return "fp32", "epochs are so short that half precision gains nothing"
        half = [_seconds(model, pictures, clock, half=True)]
        while len(half) < FEWEST or (len(half) < MOST and sum(plain + half) < ENOUGH):
            plain.append(_seconds(model, pictures, clock, half=False))
            half.append(_seconds(model, pictures, clock, half=True))
    return _judged(plain, half)


def _judged(plain: list[float], half: list[float]) -> tuple[str, str]:
    """Compare the fastest steps: the first are slow, and a busy machine adds now more, now less."""
    if any(statistics.median(steps) > UNSTEADY * min(steps) for steps in (plain, half)):
        return BUSY
    times = min(plain) / min(half)
    if times >= WORTH:
        return "bf16", f"{times:.1f} times as quick as fp32 for this network on this processor"
    if times < 0.95:
        return "fp32", f"a step of this network takes {1 / times:.1f} times as long in bf16 here"
    return "fp32", f"bf16 gains too little for this network here: {times:.1f} times as quick"


def _seconds(model: Any, pictures: Any, clock: Callable[[], float], *, half: bool) -> float:
    """Time a training step."""
    import torch

    began = clock()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = model(pictures)
    out.float().logsumexp(dim=1).sum().backward()
    took = clock() - began
    model.zero_grad(set_to_none=True)
    return took


def _key(model: Any, size: int) -> str:
    """Name a network at a size on this machine."""
    import torch

    shapes = [(name, tuple(value.shape)) for name, value in model.named_parameters()]
    network = hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]
    where = f"{platform.processor() or platform.machine()} {torch.get_num_threads()} threads"
    return f"{network} {size} torch {torch.__version__} {where}"


def _read(file: Path) -> dict[str, tuple[str, str]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): (str(name), str(why)) for key, (name, why) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
