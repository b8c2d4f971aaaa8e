"""The processes that load pictures: whether there are any, fewer of them, and their death."""

from __future__ import annotations

import re
import traceback
from typing import Any

DEAD_WORKER = re.compile(
    r"DataLoader worker .*(is killed by signal|exited unexpectedly)", re.DOTALL
)
"""torch's words for a loading process that is gone, often for want of memory or of /dev/shm."""

SHARED_IS_FULL = re.compile(
    r"unable to (allocate shared memory\(shm\) for|write to) file <[^>]*torch_"
)
"""torch's words where /dev/shm is full: those of today, then those of older versions."""

PIPES = ("multiprocessing.connection", "multiprocessing.reduction")
"""Where Python says that the other end is gone: a process that is killed after it has sent word of
a batch, and before the batch itself was fetched."""


def made_here(loader: Any) -> bool:
    """Say whether a loader's batches are made in this process, where the network is."""
    return getattr(getattr(loader, "_batches", None), "resident", None) is not None


def fewer_workers(loader: Any) -> int | None:
    """Let half as many processes load; None where none did, else how many are left."""
    fake = getattr(loader, "fake_l", None)
    if fake is None or not fake.num_workers or made_here(loader):
        return None
    fake.num_workers //= 2
    return int(fake.num_workers)


def is_dead_worker(error: BaseException) -> bool:
    """Say whether an error means that a loading process is gone."""
    if isinstance(error, RuntimeError) and DEAD_WORKER.search(str(error)):
        return True
    return isinstance(error, (OSError, EOFError)) and _raised_in(error) in PIPES


def shared_is_full(error: BaseException) -> bool:
    """Say whether a loading process found no room in /dev/shm for a batch.

    Examples
    --------
    >>> shared_is_full(RuntimeError("unable to write to file </torch_7_8_9>: No space left (28)"))
    True
    """
    return isinstance(error, RuntimeError) and bool(SHARED_IS_FULL.search(str(error)))


def _raised_in(error: BaseException) -> str:
    """Give the module in which an error came up."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__) if error.__traceback__ else [(None, 0)]
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))
