"""All randomness of a lesson, as a function of where it is.

Nothing saves or restores the state of a random generator. Each epoch sets every generator from
(seed, stage, epoch), so an epoch that is entered after a restart draws what it would have drawn.
That makes a resumed run equal to an uninterrupted one without knowing what ran before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Any


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
    """Set Python's, numpy's and torch's generators to one position of the run."""
    import numpy
    import torch

    value = position_seed(seed, *position)
    random.seed(value)
    numpy.random.seed(value)  # the global stream: fastai draws from it
    torch.manual_seed(value)


def set_loader_position(loader: Any, seed: int, *position: object) -> None:
    """Set the private generator with which fastai's DataLoader shuffles."""
    loader.rng = random.Random(position_seed(seed, "order", *position))  # noqa: S311 - not a secret


@contextlib.contextmanager
def kept_apart() -> Iterator[None]:
    """Give the user's random generators back as they were, whatever the lesson drew."""
    import numpy
    import torch

    mine = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(mine[0])
        numpy.random.set_state(mine[1])
        torch.set_rng_state(mine[2])
