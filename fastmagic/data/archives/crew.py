"""A few threads that unpack and write, fed so that what waits in memory stays small.

Inflating, checksums and system calls let other threads run, so threads are enough, and a Ctrl-C
ends them after the batch in hand; processes would have to be started, fed and cleaned up.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from fastmagic import platforms

IN_HAND = 32 << 20
"""Bytes that may wait to be written."""

BATCH_FILES = 64
BATCH_BYTES = 1 << 20
"""A task's share: large enough that handing it over costs nothing, small enough for Ctrl-C."""

MOST_THREADS = 16

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Crew:
    """Threads that do jobs; the first error of any job is raised at the next call, or at the end.

    Parameters
    ----------
    threads
        How many; as many as there are cores by default, and at least two, for a disk makes them
        wait. More make no difference (`tests/benchmarks/unpack_speed.py --threads`).
    done
        Told the number of members of each job that is finished, in the thread that gives the jobs.
    """

    def __init__(
        self, threads: int | None = None, done: Callable[[int], None] = lambda _: None
    ) -> None:
        count = threads or min(MOST_THREADS, max(2, platforms.usable_cores()))
        self._pool = ThreadPoolExecutor(count, "fastmagic-unpack")
        self._done = done
        self._jobs: deque[tuple[Future[None], int, int]] = deque()
        self._in_hand = 0

    def give(self, job: Callable[[], None], weight: int, members: int) -> None:
        """Hand over a job that holds so many bytes; waits while too much is in hand."""
        self._jobs.append((self._pool.submit(job), weight, members))
        self._in_hand += weight
        while self._in_hand > IN_HAND or (self._jobs and self._jobs[0][0].done()):
            self._settle()

    def _settle(self) -> None:
        job, weight, members = self._jobs.popleft()
        job.result()
        self._in_hand -= weight
        self._done(members)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._jobs and error is None:
                self._settle()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


def write_new(path: str, data: bytes | memoryview) -> None:
    """Write a file that is not there yet; the fewest system calls there can be."""
    file = os.open(path, _NEW, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)
