"""pip, run as a program: what it would do, and doing it.

A dry run changes nothing, but pip downloads in it what it would install (seen with 23.2 to 26.3):
the progress line counts those bytes too, and the installation then takes them from pip's cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from fastmagic import child, platforms
from fastmagic.environment.installers import words
from fastmagic.environment.installers.installer import Chosen, Installer, Patience, Source
from fastmagic.environment.installers.running import Heard, Outcome
from fastmagic.environment.planning.plan import Plan
from fastmagic.environment.redaction import redacted
from fastmagic.errors import SetupError

__all__ = ["Chosen", "Patience", "Pip", "Source"]

FIRST_WITH_REPORT = (22, 2)  # https://pip.pypa.io/en/stable/news/#v22-2
FIRST_WITH_BYTES = (24, 1)  # --progress-bar=raw: https://pip.pypa.io/en/stable/news/#v24-1
VERSION_SECONDS = 30.0
SLOWEST = 100_000  # bytes a second: where pip tells no bytes, a download may be silent this long
LONG_SILENCE = 1800.0  # seconds: unpacking PyTorch's gigabytes, or a build, on a slow disk


# What a setting of the person's may not do: silence pip, keep it from installing, leave out what
# the others need, start another Python's. A variable counts before pip.conf; an empty one is none.
USUAL_WAYS = {"PIP_QUIET": "0", "PIP_DRY_RUN": "0", "PIP_NO_DEPS": "0", "PIP_PYTHON": ""}

# pip refuses an externally managed Python itself, but not in a dry run. It needs importing alone.
_ASK = """
import json, os, sys, sysconfig, pip
marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
managed = sys.prefix == getattr(sys, "base_prefix", sys.prefix) and os.path.isfile(marker)
path = [os.path.realpath(folder) for folder in sys.path]
answer = {"pip": pip.__version__, "managed": managed, "path": path}
print("fastmagic-answer:" + json.dumps(answer))
"""


class Pip(Installer):
    """One Python's pip; `Installer` says what it does.

    Examples
    --------
    >>> Pip("python", Path("pip.log"), Source(index_url="")).title
    'pip'
    """

    title = "pip"
    _version: tuple[int, ...] | None = None

    def _check(self) -> None:
        if self._version is None:
            self._version = self._find_version()
        if self._version < FIRST_WITH_REPORT:
            now = ".".join(map(str, self._version))
            raise SetupError(
                f"This pip is too old to say beforehand what it would change: it is {now}, and "
                "22.2 is the first that can.",
                "Run %pip install --upgrade pip (in a terminal: python -m pip install --upgrade "
                "pip), then %fastai_setup again.",
            )

    def _find_version(self) -> tuple[int, ...]:
        answer = child.ask((self._executable, "-c", _ASK), VERSION_SECONDS)
        settings = self.settings()
        if answer.data.get("managed") and not settings.breaks_system:
            raise SetupError(*words.explain(["error: externally-managed-environment"]))
        found = re.match(r"\d+(\.\d+)*", str(answer.data.get("pip", "")))
        if not found:
            raise SetupError(*words.explain([answer.words]))
        _mind_places(settings.elsewhere, answer.data.get("path", ()))
        return tuple(int(part) for part in found[0].split("."))

    def _command(self, folder: Path, dry: bool) -> list[str]:
        has_bytes = (self._version or ()) >= FIRST_WITH_BYTES
        asked = ["--dry-run", "--report", str(folder / "report.json")] if dry else []
        return [
            *(self._executable, "-m", "pip", "install"),
            *("--progress-bar", "raw" if has_bytes else "off"),
            *("--retries", str(self._patience.retries), "--timeout", str(self._patience.timeout)),
            *asked,
        ]

    def _environment(self, folder: Path) -> dict[str, str]:
        own = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COLOR": "1"}
        # Where site-packages cannot be written pip would install into ~/.local, without a word and
        # where no undo would look; it shall fail instead.
        own["PIP_USER"] = "0"
        if self._source.index_url:  # pip would pass over an index that is asked for
            own["PIP_NO_INDEX"] = "0"
        return {**super()._environment(folder), **USUAL_WAYS, **own}

    def _hear(self, line: str) -> Heard:
        return hear(line, (self._version or ()) >= FIRST_WITH_BYTES)

    def _ask_why(self, plan: Plan, outcome: Outcome, folder: Path) -> tuple[str, ...]:
        """Ask once more for the one package that no index has, to learn what the index answered.

        pip tells that its own log alone, and that log has 30 MB for fastai with all it needs.
        """
        named = re.search(r"requirement ([\w.-]+).*\(from versions: none\)", outcome.text)
        if not named:
            return ()
        report = folder / "why.log"
        command = [
            *(self._executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--progress-bar"),
            *("off", "--ignore-installed", "--retries", "0"),
            *("--timeout", str(self._patience.timeout), "--log", str(report)),
            *self._source.options(),
            *self._index_options(plan),
            named[1],
        ]
        self._run(command, "Asking why", folder)
        try:
            lines = report.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except OSError:
            return ()
        told = [line.partition(" ")[2] for line in lines if "Could not fetch URL" in line]
        with self._log.open("a", encoding="utf-8") as log:
            log.writelines(map(redacted, told))
        return tuple(told)

    def _read(self, outcome: Outcome, folder: Path) -> tuple[Chosen, ...]:
        del outcome
        return read_report(folder / "report.json")


def _mind_places(elsewhere: Iterable[tuple[str, str]], path: Sequence[str]) -> None:
    """Refuse where a setting puts packages into a folder that this Python does not look in.

    No option of every pip's takes back what a pip.conf says here.
    """
    for name, folder in elsewhere:
        place = platforms.expanded(folder).resolve()
        if not any(Path(one).is_relative_to(place) for one in path):
            raise SetupError(
                "A setting of pip puts packages where this Python does not look for them: "
                f"{name} = {folder}.",
                f"Unset PIP_{name.upper()} (import os; os.environ.pop('PIP_{name.upper()}')), or "
                f"take it out of pip.conf (%pip config list), {words.AGAIN}",
            )


def hear(line: str, has_bytes: bool = True) -> Heard:
    """Say what a line of pip's means.

    Parameters
    ----------
    line
        As pip wrote it.
    has_bytes
        Whether this pip tells its progress; otherwise a download is silent until its end.

    Examples
    --------
    >>> hear("  Downloading torch-2.15.0-cp311-x86_64.whl (190.2 MB)").label
    'Downloading torch (190.2 MB)'
    >>> hear("Progress 262144 of 1048576").done
    262144
    >>> hear("Installing collected packages: fastcore, fastai").label
    'Installing 2 packages'
    """
    text = line.strip()
    if moved := re.fullmatch(r"Progress (\d+) of (\d+)", text):
        return Heard(done=int(moved[1]), total=int(moved[2]) or None, quiet=True)
    fetched = re.match(r"Downloading (\S+) \(([\d.]+ ?[kMG]?)(?:B|bytes)\)", text)
    if fetched and not fetched[1].endswith(".metadata"):
        name = fetched[1].rsplit("/", 1)[-1].split("-")[0]
        slack = 0.0 if has_bytes else _bytes(fetched[2]) / SLOWEST
        return Heard(f"Downloading {name} {text[text.rindex('(') :]}", slack=slack)
    if text.startswith("Installing collected packages:"):
        count = text.count(",") + 1
        label = f"Installing {count} package{'s' * (count != 1)}"
        return Heard(label, slack=LONG_SILENCE, settling=True)
    if built := re.match(r"Building wheel for ([\w.-]+) .*started", text):
        return Heard(f"Building {built[1]}", slack=LONG_SILENCE)
    collected = re.match(r"Collecting ([\w.-]+)", text)
    return Heard(f"Looking at {collected[1]}") if collected else Heard()


def _bytes(text: str) -> float:
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}
    return float(text.rstrip(" kMG")) * scale.get(text[-1:], 1.0)


def read_report(report: Path) -> tuple[Chosen, ...]:
    """Read pip's installation report (https://pip.pypa.io/en/stable/reference/installation-report).

    Raises
    ------
    SetupError
        When it is missing or not in that format.
    """
    try:
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
        return tuple(
            Chosen(
                canonicalize_name(str(entry["metadata"]["name"])),
                str(entry["metadata"]["version"]),
                url=str(entry.get("download_info", {}).get("url", "")),
            )
            for entry in entries
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"pip's report could not be read: {redacted(str(error))}.",
            "Run %pip install --upgrade pip, then %fastai_setup again.",
        ) from None
