"""pip, run as a program: what it would do, and doing it.

Always as an argument list, never through a shell; its output goes to a log file, and one line of it
moves on the screen.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from packaging.utils import canonicalize_name

from fastmagic.child import end_process, last_lines, start_process
from fastmagic.environment import diagnosis
from fastmagic.environment.plan import Plan
from fastmagic.errors import SetupError

PATIENCE = 5.0  # seconds in which an interrupted pip puts back what it has half replaced
TICK_SECONDS = 0.2
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}

Tell = Callable[[str, float, float | None, str], None]
"""Moves the progress line: label, done, total, unit (`View.bar`)."""


@dataclass(frozen=True)
class Source:
    """Where packages come from.

    Attributes
    ----------
    index_url
        The package index; None for pip's own setting, "" for none at all.
    find_links
        A folder or page with wheels.
    """

    index_url: str | None = None
    find_links: str | None = None

    def options(self) -> list[str]:
        """Give pip's options for it."""
        options: list[str] = []
        if self.index_url is not None:
            options += ["--index-url", self.index_url] if self.index_url else ["--no-index"]
        return [*options, "--find-links", self.find_links] if self.find_links else options


class Pip:
    """One Python's pip, writing to one log.

    Parameters
    ----------
    executable
        The Python whose packages are changed.
    log
        The file that gets pip's whole output.
    source
        Where packages come from.
    tell
        Moves the progress line.
    """

    def __init__(
        self, executable: str, log: Path, source: Source, tell: Tell = lambda *_: None
    ) -> None:
        self._executable = executable
        self._log = log
        self._source = source
        self._tell = tell

    def resolve(self, plan: Plan) -> dict[str, str]:
        """Ask pip's own resolver what the plan comes to; changes nothing.

        Returns
        -------
        dict
            Canonical name to version, of everything that would be installed or changed.

        Raises
        ------
        SetupError
            When pip finds no solution.
        """
        with tempfile.TemporaryDirectory(prefix="fastmagic-") as folder:
            report = Path(folder) / "report.json"
            extra = ["--dry-run", "--report", str(report)]
            gentle = (*plan.pins, *plan.friends)
            code, output = self._install(plan, gentle, extra, folder, "Asking pip")
            if code != 0 and plan.friends and _is_conflict(output):
                code, output = self._install(plan, plan.pins, extra, folder, "Asking pip")
            if code != 0:
                raise self._failure("pip found no way to install this", output)
            return _read_report(report)

    def install(self, plan: Plan, versions: Mapping[str, str]) -> None:
        """Install exactly what `resolve` found.

        Raises
        ------
        SetupError
            When pip fails; it says what happened in plain words and where the log is.
        """
        exact = tuple(f"{name}=={version}" for name, version in versions.items())
        with tempfile.TemporaryDirectory(prefix="fastmagic-") as folder:
            code, output = self._install(plan, (*plan.pins, *exact), [], folder, "Installing")
        if code != 0:
            raise self._failure("The installation failed", output)

    def _install(
        self, plan: Plan, constraints: Sequence[str], extra: Sequence[str], folder: str, label: str
    ) -> tuple[int, str]:
        held = Path(folder) / "constraints.txt"
        held.write_text("".join(f"{line}\n" for line in dict.fromkeys(constraints)), "utf-8")
        index = ["--extra-index-url", plan.index] if plan.index else []
        command = [
            *(self._executable, "-m", "pip", "install", "--progress-bar", "off"),
            *("--retries", "2", "--timeout", "15", "--constraint", str(held)),
            *self._source.options(),
            *index,
            *extra,
            *plan.requirements,
        ]
        return self._run(command, label)

    def _run(self, command: Sequence[str], label: str) -> tuple[int, str]:
        lines: list[str] = []
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            try:
                process = start_process(command, QUIET, subprocess.STDOUT)
            except OSError as error:
                return 127, str(error)
            try:
                self._follow(process, label, lines, log)
            finally:
                end_process(process, PATIENCE)
                if process.stdout:
                    process.stdout.close()
        return process.returncode, "".join(lines)

    def _follow(
        self, process: subprocess.Popen[str], label: str, lines: list[str], log: TextIO
    ) -> None:
        """Move the line while pip talks; a thread reads, so that an interrupt gets through."""
        said: queue.Queue[str | None] = queue.Queue()
        stdout = process.stdout
        assert stdout is not None

        def read() -> None:
            for line in stdout:
                said.put(line)
            said.put(None)

        threading.Thread(target=read, daemon=True).start()
        start, words = time.monotonic(), label
        while True:
            self._tell(words, round(time.monotonic() - start), None, " s")
            try:
                line = said.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                process.wait()
                return
            lines.append(line)
            log.write(line)
            words = _doing(line, label) or words

    def _failure(self, what: str, output: str) -> SetupError:
        known = diagnosis.diagnose(output)
        where = f" pip's whole output is in {self._log}."
        if known:
            return SetupError(f"{what}: {known[0]}", known[1] + where)
        errors = [line for line in output.splitlines() if line.startswith("ERROR")]
        words = last_lines("\n".join(errors) or output)
        return SetupError(f"{what}. pip says: {words}", f"Read the log, then try again.{where}")


def _doing(line: str, label: str) -> str:
    """Make a short label of a line of pip's; empty where it tells nothing new.

    Examples
    --------
    >>> _doing("  Downloading torch-2.15.0-cp311-x86_64.whl (190.2 MB)", "Installing")
    'Downloading torch (190.2 MB)'
    >>> _doing("Installing collected packages: fastcore, fastai", "Installing")
    'Installing 2 packages'
    """
    text = line.strip()
    fetched = re.match(r"(?:Downloading|Using cached) (\S+?)(?:\.metadata)? (\([^)]*\))", text)
    if fetched and fetched[1].endswith((".whl", ".gz")) and ".metadata" not in text:
        name = fetched[1].rsplit("/", 1)[-1].split("-")[0]
        return f"Downloading {name} {fetched[2]}"
    if text.startswith("Installing collected packages:"):
        return f"Installing {text.count(',') + 1} packages"
    collected = re.match(r"Collecting ([\w.-]+)", text)
    return f"{label}: {collected[1]}" if collected else ""


def _is_conflict(output: str) -> bool:
    return any(
        word in output for word in ("ResolutionImpossible", "onflict", "No matching distribution")
    )


def _read_report(report: Path) -> dict[str, str]:
    # https://pip.pypa.io/en/stable/reference/installation-report/
    try:
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
        found = [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"pip's report could not be read: {error}.",
            "Run %pip install --upgrade pip, then %fastai_setup again.",
        ) from None
    return {canonicalize_name(str(name)): str(version) for name, version in found}
