"""Small copies that are made while fastai is imported: the one takes a core, the other the rest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(work: Callable[[Callable[[], bool]], object] | None) -> Iterator[None]:
    """Let something go on in a thread while the block runs, and no longer.

    Parameters
    ----------
    work
        Called with a function that says when it has been enough, and asked often. What it raises is
        lost: it is met again where the same is done in its turn. None for nothing.

    Examples
    --------
    >>> def work(enough):
    ...     while not enough():
    ...         done.append(1)
    >>> done = []
    >>> with meanwhile(work):
    ...     while not done:
    ...         pass
    """
    if work is None:
        yield
        return
    over = threading.Event()

    def run() -> None:
        with contextlib.suppress(Exception):
            work(over.is_set)

    thread = threading.Thread(target=run, name="fastmagic-ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
