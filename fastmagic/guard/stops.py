"""The stop button and the machine's own stop, held back until a step is whole.

In the middle of a step the weights are half changed. So while one runs, the first Ctrl-C (or the
SIGTERM of a machine that shuts down) is only noted, and raised when the step is done: then what is
there can be saved. A second one is raised at once. The same is done with SIGCHLD, at which torch
raises an error where it stands when a loading process has died. A stop that comes up where Python
drops every error (in a `__del__`, in a callback of a weak reference) is raised after the next step.
Signals reach the main thread only; in another thread, and on a system without them, nothing is
changed.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any


class Terminated(KeyboardInterrupt):
    """The machine, or whoever manages it, asked this process to end."""


class Stops:
    """Handles the signals inside its block, and gives the handlers before it back.

    Parameters
    ----------
    together
        Called with the signal that was asked for in a step instead of raising it at the step's
        end, where other processes have to stop at the same step; `raised` then stops each.

    Examples
    --------
    >>> with Stops() as stops:
    ...     with stops.held():
    ...         done = True
    >>> stops.terminated
    False
    """

    def __init__(self, together: Callable[[int], None] | None = None) -> None:
        self.terminated = False
        self._together = together
        self._held = self._child = False
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._drops: Callable[[Any], Any] = sys.unraisablehook

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._handle)
            self._drops, sys.unraisablehook = sys.unraisablehook, self._dropped
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
        if sys.unraisablehook == self._dropped:
            sys.unraisablehook = self._drops

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the first stop back until the block is done, the outer one of two.

        Raises
        ------
        KeyboardInterrupt
            At the end of the block, where one was asked for in it.
        RuntimeError
            torch's own, at the end of the block, where a loading process has died in it.
        """
        if self._held:  # within another block, which raises it
            yield
            return
        self._held = True
        with self._children_held() as torchs:
            try:
                yield
            finally:
                self._held = False
        asked, self._asked = self._asked, None
        if asked is not None and self._together is None:
            raise self._error(asked)
        if asked is not None and self._together is not None:
            self._together(asked)
        child, self._child = self._child, False
        if child and torchs is not None:
            torchs(signal.SIGCHLD, None)

    @contextlib.contextmanager
    def letting_go(self) -> Iterator[None]:
        """Let processes that load pictures end within the block: nobody waits for them any more.

        One that was killed just now is told of late, where torch waits for the others to end; what
        it raises there, in a `__del__`, Python would print.
        """
        with self._children_held():
            try:
                yield
            finally:
                self._child = False

    @contextlib.contextmanager
    def _children_held(self) -> Iterator[Any]:
        """Note the end of a child process only; give the handler that was there, if one was."""
        watched = self._before and hasattr(signal, "SIGCHLD")
        torchs = signal.getsignal(signal.SIGCHLD) if watched else None
        if not callable(torchs):
            yield None
            return
        signal.signal(signal.SIGCHLD, self._note_child)
        try:
            yield torchs
        finally:
            signal.signal(signal.SIGCHLD, torchs)

    def _note_child(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._child = True

    def pass_on(self) -> None:
        """End the process where that was asked, now that everything is saved."""
        if self.terminated:
            signal.raise_signal(signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's form
        if self._held and self._asked is None:
            self._asked = number
            return
        self._asked = None
        raise self._error(number)

    def _dropped(self, lost: Any) -> None:
        """Note a stop that Python has dropped; the other errors are told as they were before."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            stops = (signal.SIGINT, signal.SIGTERM)
            self._asked = stops[isinstance(lost.exc_value, Terminated)]
        else:
            self._drops(lost)

    def raised(self, number: int) -> None:
        """Stop here and now, as that signal does."""
        raise self._error(number)

    def _error(self, number: int) -> KeyboardInterrupt:
        if number == signal.SIGTERM:
            self.terminated = True
            return Terminated()
        return KeyboardInterrupt()


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Put every press of stop off until the block is done, for what must not be broken off.

    An import of torch is such: what is left of it cannot be imported again in the same process.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, where stop was pressed in it; or what the handler before raises.

    Examples
    --------
    >>> with put_off():
    ...     import json
    """
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(before):
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))  # noqa: ARG005
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def held_to_the_end(unfinished: Exception) -> Iterator[None]:
    """Let a block be whole: a press of stop in it has come too late; the machine's own stop waits.

    Parameters
    ----------
    unfinished
        What is raised at the second press.

    Examples
    --------
    >>> with held_to_the_end(RuntimeError("stopped twice")):
    ...     written = True
    """
    whole = False
    with Stops() as stops:
        try:
            with stops.held():
                yield
                whole = True
        except KeyboardInterrupt:
            if not whole:
                raise unfinished from None
    stops.pass_on()
