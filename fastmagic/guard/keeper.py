"""Writes states to disk beside the training, one after another, the newest of each.

What is kept is copied at once, between two steps, while nothing changes it; the writing, hashing
and syncing happen in a thread of their own. Where training is quicker than the disk, a state that
waits is replaced by the newer one. A disk that is full stops nothing: it is told once, and tried
again with the next state.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastmagic.guard import files


class Keeper:
    """One thread that writes.

    Parameters
    ----------
    folder
        Where the states go.
    write
        Writes one state: folder, name, content, generations; `files.write` by default.

    Examples
    --------
    >>> kept = []
    >>> keeper = Keeper(Path("states"), lambda folder, name, content, n: kept.append(name))
    >>> keeper.keep("fit-001", {})
    >>> keeper.close()
    >>> kept
    ['fit-001']
    """

    def __init__(
        self, folder: Path, write: Callable[[Path, str, Any, int], object] = files.write
    ) -> None:
        self.folder = folder
        self.seconds = 0.0  # that the writing took, beside the training
        self._write = write
        self._waiting: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._changed = threading.Condition()
        self._writing = self._closed = False
        self._trouble: Exception | None = None
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def keep(self, name: str, content: Any, generations: int = files.GENERATIONS) -> None:
        """Have a state written; one of that name that still waits is replaced.

        After the end of the thread it is written at once.
        """
        if self._closed:
            self._trouble = self._written(name, content, generations) or self._trouble
            return
        with self._changed:
            self._waiting[name] = (content, generations)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="fastmagic-keeper", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def trouble(self) -> Exception | None:
        """Give what went wrong since the last time that this was asked; None where all is well."""
        with self._changed:
            found, self._trouble = self._trouble, None
            return found

    def flush(self, seconds: float = 300) -> bool:
        """Wait until all is written; False where that takes too long."""
        if os.getpid() != self._process:
            return False
        ends = time.monotonic() + seconds
        with self._changed:
            while self._waiting or self._writing:
                if not self._changed.wait(max(ends - time.monotonic(), 0)):
                    return False
        return True

    def close(self) -> None:
        """Write what waits, and end the thread."""
        try:
            self.flush()
        finally:  # where stop was pressed too
            with self._changed:
                self._closed = True
                self._changed.notify_all()
        if self._thread is not None and os.getpid() == self._process:
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                name, (content, generations) = self._waiting.popitem(last=False)
                self._writing = True
            began = time.perf_counter()
            trouble = self._written(name, content, generations)
            del content
            with self._changed:
                self._writing = False
                self.seconds += time.perf_counter() - began
                self._trouble = trouble or self._trouble
                self._changed.notify_all()

    def _written(self, name: str, content: Any, generations: int) -> Exception | None:
        try:
            self._write(self.folder, name, content, generations)
        except Exception as error:  # a full disk, memory that runs out, what cannot be pickled:
            return error  # it is told, and the thread stays for the next state
        return None
