"""uv, run as a program in pip's place: for those who want it, never by itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from packaging.utils import canonicalize_name

from fastmagic.environment.installers import network
from fastmagic.environment.installers.installer import Chosen, Installer
from fastmagic.environment.installers.network import Settings
from fastmagic.environment.installers.running import Heard, Outcome
from fastmagic.environment.planning.plan import Plan
from fastmagic.errors import SetupError

VERSION_SECONDS = 30.0
SLOWEST = 100_000  # bytes a second: where its output is piped, uv tells no bytes
LONG_SILENCE = 1800.0

Find = Callable[[str], "str | None"]


class Uv(Installer):
    """uv for one Python; `Installer` says what it does.

    The answer is meant to be pip's. Two of uv's ways differ: it reads no settings of pip's, so
    that the index is its own unless it is named; and with two indexes it takes each package from
    the first index that knows its name, which would take numpy's and Pillow's old versions from
    torch's. Where a plan has an index beside the first, all are therefore compared as pip does
    (`unsafe-best-match`: https://docs.astral.sh/uv/concepts/indexes/); that is called unsafe
    because a stranger's package of the same name could win, which is so with pip too.

    Examples
    --------
    >>> from fastmagic.environment.installers.installer import Source
    >>> Uv("python", Path("uv.log"), Source()).title
    'uv'
    """

    title = "uv"
    settings: Callable[[], Settings] = staticmethod(network.uv_settings)
    find: Find = staticmethod(shutil.which)
    _program: tuple[str, ...] = ()

    def _check(self) -> None:
        self._program = self._program or self._find_program()

    def _find_program(self) -> tuple[str, ...]:
        module = (self._executable, "-m", "uv")
        try:
            asked = subprocess.run(
                [*module, "--version"], capture_output=True, timeout=VERSION_SECONDS, check=False
            )
            if asked.returncode == 0:
                return module
        except (OSError, subprocess.TimeoutExpired):
            pass
        program = self.find("uv")
        if program:
            return (program,)
        raise SetupError(
            "uv is not installed here.",
            "Run %pip install uv, then this again; or leave --installer out to use pip.",
        )

    def _command(self, folder: Path, dry: bool) -> list[str]:
        del folder
        asked = ["--dry-run"] if dry else []
        shared = ("--python", self._executable, "--color", "never", "--no-progress")
        # A constraint on uv's command line takes the place of those that its variable names.
        named = [("--constraint", file) for file in os.environ.get("UV_CONSTRAINT", "").split()]
        theirs = [word for pair in named for word in pair]
        return [*self._program, "pip", "install", *shared, *asked, *theirs]

    def _index_options(self, plan: Plan) -> list[str]:
        options = super()._index_options(plan)
        return [*options, "--index-strategy", "unsafe-best-match"] if options else []

    def _environment(self, folder: Path) -> dict[str, str]:
        patience = self._patience
        own = {
            "UV_HTTP_RETRIES": str(patience.retries),
            "UV_HTTP_TIMEOUT": str(patience.timeout),
            "UV_PYTHON_DOWNLOADS": "never",
        }
        return {**super()._environment(folder), **own}

    def _hear(self, line: str) -> Heard:
        return hear(line)

    def _read(self, outcome: Outcome, folder: Path) -> tuple[Chosen, ...]:
        del folder
        return read_dry_run(outcome.text)


def hear(line: str) -> Heard:
    """Say what a line of uv's means.

    Examples
    --------
    >>> hear("Downloading torch (190.2MiB)").label
    'Downloading torch (190.2MiB)'
    >>> hear("Prepared 2 packages in 1ms").settling
    True
    """
    text = line.strip()
    if fetched := re.match(r"Downloading (\S+) \(([\d.]+)([KMG]?)i?B\)", text):
        scale = {"K": 2**10, "M": 2**20, "G": 2**30}
        return Heard(text, slack=float(fetched[2]) * scale.get(fetched[3], 1) / SLOWEST)
    if re.match(r"(Prepared|Uninstalled) \d+ package", text):
        return Heard("Installing", slack=LONG_SILENCE, settling=True)
    if built := re.match(r"Building (\S+)", text):
        return Heard(f"Building {built[1]}", slack=LONG_SILENCE)
    return Heard()


def read_dry_run(text: str) -> tuple[Chosen, ...]:
    """Read what ``uv pip install --dry-run`` would install; it tells neither size nor address.

    Examples
    --------
    >>> read_dry_run("Would install 1 package\\n - beta==1.0\\n + beta==2.0\\n")
    (Chosen(name='beta', version='2.0', size=None, url=''),)
    """
    found = re.findall(r"^ [+~] ([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE)
    return tuple(Chosen(canonicalize_name(name), version) for name, version in found)
