"""All randomness of a lesson, as a function of where it is.

Nothing saves or restores the state of a random generator to go on with it. Every place that draws
(the order of an epoch, each picture, each batch's transforms, each step of the network) first sets
the generators from its own position: the seed, the stage, the epoch, the step or the picture. So a
run that is entered in the middle draws what it would have drawn, whatever ran before it, in this
process or another, with any number of processes that load pictures.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
from collections.abc import Iterator
from typing import Any

Position = tuple[object, ...]
"""Words and numbers that say where: `("fit", 2, 0)` is the first epoch of the second fit."""


def position_seed(seed: int, *position: object) -> int:
    """Give a 32-bit seed for one position of one run.

    Parameters
    ----------
    seed
        The run's seed.
    position
        Anything that says where: a word for the purpose, the stage, the epoch.

    Examples
    --------
    >>> position_seed(42, "epoch", 0, 3)
    331229399
    >>> position_seed(42, "epoch", 0, 3) == position_seed(42, "epoch", 0, 4)
    False
    """
    text = "/".join(str(part) for part in (seed, *position))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def set_position(seed: int, *position: object) -> None:
    """Set Python's, numpy's and torch's generators, the GPUs' too, to one position of the run."""
    import numpy

    value = position_seed(seed, *position)
    random.seed(value)
    numpy.random.seed(value)  # the global stream: fastai draws from it
    _seed_torch(value)


def _seed_torch(value: int) -> None:
    """Seed torch as `torch.manual_seed` does, which formats the whole stack twice each time.

    It does so for a device that is not in use yet, to say where the call came from (torch 2.15,
    `cuda/__init__.py`, `_lazy_call`): 3 ms in every step of a notebook without a GPU.
    """
    import torch

    unused = not torch.cuda.is_initialized() and _has_gpus()
    if unused or torch.backends.mps.is_available():
        torch.manual_seed(value)
        return
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
    if hasattr(torch, "xpu") and torch.xpu.is_initialized():
        torch.xpu.manual_seed_all(value)


@functools.cache
def _has_gpus() -> bool:
    """Say whether torch sees GPUs; where it sees none it opens NVIDIA's library for each answer."""
    import torch

    return torch.cuda.device_count() > 0


def set_order(loader: Any, seed: int, *position: object) -> None:
    """Set the private generator with which fastai's DataLoader shuffles."""
    loader.rng = random.Random(position_seed(seed, "order", *position))  # noqa: S311 - not a secret


@contextlib.contextmanager
def at_item(seed: int, *position: object) -> Iterator[None]:
    """Load one picture as its position has it, and leave the generators as they were.

    A picture is loaded in a process of its own or in this one, between two steps of the network;
    neither may notice the other. The GPUs' generators are not touched: no picture is loaded there.

    Examples
    --------
    >>> random.seed(1)
    >>> with at_item(42, "epoch", 0, "item", 7):
    ...     first = random.random()
    >>> with at_item(42, "epoch", 0, "item", 7):
    ...     first == random.random()
    True
    >>> random.random() == random.Random(1).random()
    True
    """
    with undisturbed():
        set_item(seed, *position)
        yield


def set_item(seed: int, *position: object) -> None:
    """Set the host's generators to one picture's position, within `undisturbed`."""
    import numpy
    import torch

    value = position_seed(seed, *position)
    random.seed(value)
    numpy.random.seed(value)
    torch.default_generator.manual_seed(value)


def set_python(seed: int, *position: object) -> None:
    """Set Python's generator alone, as `set_item` does: fastai's `Resize` draws from it."""
    random.seed(position_seed(seed, *position))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the host's generators as they were, whatever is loaded within the block."""
    import numpy
    import torch

    before = random.getstate(), numpy.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        numpy.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


@contextlib.contextmanager
def kept_apart() -> Iterator[None]:
    """Give the person's random generators back as they were, whatever was drawn inside."""
    import numpy
    import torch

    before = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(before[0])
        numpy.random.set_state(before[1])
        torch.set_rng_state(before[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
