"""Put a question to a separate Python process that may crash, hang or talk nonsense.

The answer is a line of JSON behind a mark, so that whatever the libraries print around it does not
matter. A child may print it again and again as it learns more: the last line counts, and one that
crashes or hangs afterwards leaves what it knew. The child has a session of its own: Ctrl-C reaches
us, and we end the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MARK = "fastmagic-answer:"
TRACEBACK = "Traceback (most recent call last)"
TICK_SECONDS = 0.2
AS_READ = {"PYTHONIOENCODING": "utf-8:replace"}
"""A Python child writes what is read here, not its locale's encoding (Windows: cp1252)."""

Fault = Literal["", "crashed", "hung", "garbage", "not_started"]


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes
    ----------
    data
        The JSON object of the last marked line. Where there is a `fault`, what was known by then;
        empty where nothing was.
    fault
        Empty, or what went wrong.
    words
        The fault in plain words, with the last lines that the child wrote.
    seconds
        How long it took.
    """

    data: Mapping[str, Any]
    fault: Fault = ""
    words: str = ""
    seconds: float = 0.0


def ask(
    command: Sequence[str],
    limit: float,
    tick: Callable[[float], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Answer:
    """Run a command and read its last marked line of JSON.

    Parameters
    ----------
    command
        An argument list; no shell is involved.
    limit
        Seconds after which the child is ended.
    tick
        Called about five times a second with the seconds passed so far.
    env
        Environment variables to set on top of the process's own.

    Raises
    ------
    KeyboardInterrupt
        When the person pressed stop; the child is gone by then.

    Examples
    --------
    >>> import sys
    >>> script = "print('hello'); print('fastmagic-answer:{\\"sum\\": 4}')"
    >>> ask([sys.executable, "-c", script], limit=60).data
    {'sum': 4}
    >>> ask([sys.executable, "-c", "print('hello')"], limit=60).fault
    'garbage'
    """
    start = time.monotonic()
    try:
        process = start_process(command, env, stderr=subprocess.PIPE)
    except OSError as error:
        return Answer({}, "not_started", f"The process could not be started: {error}")
    stdout, stderr, in_time = _wait(process, start, limit, tick)
    seconds = time.monotonic() - start
    if not in_time:
        words = f"No answer after {limit:g} s, so it was ended."
        return Answer(_data(stdout) or {}, "hung", words, seconds)
    return _read(stdout, stderr, process.returncode, seconds)


def start_process(
    command: Sequence[str], env: Mapping[str, str] | None, stderr: int
) -> subprocess.Popen[str]:
    """Start a child with piped text output that a Ctrl-C in our terminal does not reach."""
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **(env or {}), **AS_READ},
        start_new_session=os.name == "posix",
        creationflags=flags,
    )


def end_process(process: subprocess.Popen[str], patience: float = 0.0) -> None:
    """End a child and the processes that it started; with patience, ask it politely first.

    Parameters
    ----------
    process
        Made by `start_process`.
    patience
        Seconds that it gets to tidy up after SIGINT, on systems that have signals.
    """
    if patience and os.name == "posix" and process.poll() is None:
        _signal(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        else:
            process.terminate()


def _wait(
    process: subprocess.Popen[str],
    start: float,
    limit: float,
    tick: Callable[[float], None] | None,
) -> tuple[str, str, bool]:
    """Give what the child wrote, and whether it ended by itself in time."""
    try:
        while True:
            passed = time.monotonic() - start
            if tick:
                tick(passed)
            pause = min(TICK_SECONDS, max(limit - passed, 0.01))
            with contextlib.suppress(subprocess.TimeoutExpired):
                return *process.communicate(timeout=pause), True
            if time.monotonic() - start >= limit:
                return *_last_output(process), False
    finally:
        if process.poll() is None:
            end_process(process)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def _last_output(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End a child and give what it had written."""
    end_process(process)
    try:
        return process.communicate(timeout=TICK_SECONDS)
    except subprocess.TimeoutExpired:  # a process that left its group still holds the pipe
        return "", ""


def _read(stdout: str, stderr: str, code: int, seconds: float) -> Answer:
    data = _data(stdout)
    said = "\n".join(line for line in stdout.splitlines() if not line.startswith(MARK))
    last = last_lines(stderr or said)
    if code != 0:
        return Answer(data or {}, "crashed", f"{_ending(code)}{_said(last)}", seconds)
    if data is None:
        last = last_lines(stderr or stdout)
        return Answer({}, "garbage", f"It gave no readable answer{_said(last)}", seconds)
    return Answer(data, seconds=seconds)


def _data(stdout: str) -> dict[str, Any] | None:
    """Read the last marked line that is whole: a child may die in the middle of one."""
    for line in reversed(stdout.splitlines()):
        if line.startswith(MARK):
            with contextlib.suppress(ValueError):
                data = json.loads(line[len(MARK) :])
                if isinstance(data, dict):
                    return data
    return None


def _ending(code: int) -> str:
    if code > 0:
        return f"It ended with exit code {code}"
    try:
        return f"It was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"It was ended by signal {-code}"


def _said(last: str) -> str:
    return f"; its last words: {last}" if last else "."


def last_lines(text: str, count: int = 3) -> str:
    """Give the last lines that are not empty, in one.

    Examples
    --------
    >>> last_lines("one\\n\\ntwo\\nthree\\nfour\\n")
    'two | three | four'
    >>> last_lines("Traceback (most recent call last):\\n  File \\"x\\"\\nValueError: no")
    'ValueError: no'
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    # Of a Python traceback only its end speaks to a person: the frames are indented.
    if any(line.startswith(TRACEBACK) for line in lines):
        said = [line for line in lines if not line.startswith((" ", TRACEBACK))]
        lines, count = said or lines, 1
    return " | ".join(line.strip() for line in lines[-count:])
