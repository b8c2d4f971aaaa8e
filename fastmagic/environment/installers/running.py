"""Run an installer as a program: every line to the log, one line moving, silence and stop noticed.

Ctrl-C needs care. pip puts the old version of a package back when an installation *fails*, but not
when it is *interrupted* (its ``install_given_reqs`` catches ``Exception``, which KeyboardInterrupt
is not): what is left is half of the new version without metadata and the old one as ``~ame``.
So an interrupt ends the program at once while it only asks and downloads; from the moment it
replaces files it may finish what it has begun, unless the person presses stop again.
"""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from fastmagic.child import end_process, start_process
from fastmagic.environment.redaction import redacted

PATIENCE = 5.0  # seconds in which an interrupted installer clears its temporary files away
TICK_SECONDS = 0.2
AFTERGLOW = 1.0  # a grandchild may hold the pipe open after the program itself has ended

Tell = Callable[[str, float, float | None, str], None]
"""Moves the progress line: label, done, total, unit (`View.bar`)."""


@dataclass(frozen=True)
class Heard:
    """What one line of an installer's means.

    Attributes
    ----------
    label
        New words for the moving line; empty to keep the old ones.
    done, total
        Bytes, where the line tells them.
    slack
        Seconds of silence that are normal after this line, on top of the usual ones.
    settling
        Whether installed files are replaced from here on.
    quiet
        Whether the line is progress alone, which neither the log nor an explanation needs.
    """

    label: str = ""
    done: int | None = None
    total: int | None = None
    slack: float = 0.0
    settling: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes
    ----------
    code
        The exit status; 127 where the program could not be started.
    lines
        What it wrote, without progress.
    fell_silent
        Whether it was ended because it said nothing for too long.
    """

    code: int
    lines: tuple[str, ...]
    fell_silent: bool = False

    @property
    def text(self) -> str:
        """Give the lines as one text."""
        return "".join(self.lines)


def run(
    command: Sequence[str],
    log: Path,
    label: str,
    hear: Callable[[str], Heard],
    tell: Tell,
    env: Mapping[str, str],
    silence: float,
) -> Outcome:
    """Run a command to its end.

    Parameters
    ----------
    command
        An argument list; no shell is involved.
    log
        The file that every line is added to.
    label
        The first words of the moving line.
    hear
        Says what a line means.
    tell
        Moves the line.
    env
        Environment variables to set on top of the process's own.
    silence
        Seconds without a line, beyond what is normal, after which it is ended.

    Raises
    ------
    KeyboardInterrupt
        When the person pressed stop; the program has ended by then.

    Examples
    --------
    >>> import sys, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     code = [sys.executable, "-c", "print('Collecting fastai')"]
    ...     log = Path(folder) / "log"
    ...     run(code, log, "", lambda line: Heard(), lambda *_: None, {}, 60).text.strip()
    'Collecting fastai'
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {redacted(' '.join(command))}\n")
        try:
            process = start_process(command, env, subprocess.STDOUT)
        except OSError as error:
            file.write(f"{error}\n")
            return Outcome(127, (str(error),))
        watch = _Watch(process, file, label, hear, tell, silence)
        try:
            watch.to_the_end()
        except KeyboardInterrupt:
            watch.stop()
            raise
        finally:
            end_process(process)
            watch.close()
    return Outcome(process.returncode, tuple(watch.lines), watch.fell_silent)


class _Watch:
    """One running program; a thread reads, so that an interrupt gets through to us."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        log: TextIO,
        label: str,
        hear: Callable[[str], Heard],
        tell: Tell,
        silence: float,
    ) -> None:
        self.lines: list[str] = []
        self.fell_silent = False
        self._process = process
        self._log = log
        self._label = label
        self._hear = hear
        self._tell = tell
        self._silence = silence
        self._heard = Heard()
        self._settling = False
        self._start = self._last = time.monotonic()
        self._said: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def to_the_end(self) -> None:
        while True:
            self._move()
            try:
                line = self._said.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if self._is_over():
                    return
                continue
            if line is None:
                return
            self._take(line)

    def stop(self) -> None:
        """End it; where it is replacing files, let it finish first."""
        if self._settling and self._process.poll() is None:
            self._label = "Finishing what is half replaced; stop again to end it at once"
            self._heard = Heard(slack=self._heard.slack)
            self.to_the_end()
        else:
            end_process(self._process, PATIENCE)

    def close(self) -> None:
        """Wait for the reader a moment; where a grandchild keeps the pipe, it closes it later."""
        self._reader.join(AFTERGLOW)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._said.put(line)
        self._process.wait()
        self._said.put(None)

    def _take(self, line: str) -> None:
        self._last = time.monotonic()
        heard = self._hear(line)
        if not heard.quiet:
            self.lines.append(line)
            self._log.write(redacted(line))
            self._log.flush()
        if heard != Heard():
            self._label = heard.label or self._label
            self._settling = self._settling or heard.settling
            self._heard = heard

    def _move(self) -> None:
        heard = self._heard
        if heard.done is not None and heard.total:
            self._tell(self._label, heard.done, heard.total, "B")
        else:
            self._tell(self._label, round(time.monotonic() - self._start), None, " s")

    def _is_over(self) -> bool:
        quiet = time.monotonic() - self._last
        if self._process.poll() is not None:
            return quiet > AFTERGLOW
        if quiet <= self._silence + self._heard.slack:
            return False
        self.fell_silent = True
        end_process(self._process, PATIENCE)
        return True
