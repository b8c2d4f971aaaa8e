"""What the tests of downloads share: a file, a way to fetch it, a hand on the stop button."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastmagic
from fastmagic.data.web.download import Fetched, download
from fastmagic.data.web.retry import Patience
from fastmagic.progress import View

from .server import FileServer

DATA = random.Random(1).randbytes(3_000_000)

QUICK = Patience(connect=2.0, read=0.2, slow_rate=1000.0, slow_after=0.3)
"""Waits as short as a test's."""


class Waits:
    """Keeps the waits instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def fetch(server: FileServer, archive: Path, **more: Any) -> tuple[Fetched, View]:
    """Download `a.zip` without waiting; check that it is whole and nothing else is left."""
    view = View()
    given = {"view": view, "sleep": Waits(), "dice": lambda: 1.0, **more}
    fetched = download(given.pop("url", server.url("a.zip")), archive, **given)
    assert archive.read_bytes() == server.files["a.zip"]
    assert [one.name for one in archive.parent.iterdir()] == ["a.zip"]
    return fetched, view


def nothing_left(archive: Path) -> bool:
    """Say whether neither an archive nor a part of one lies there."""
    return not archive.parent.exists() or not list(archive.parent.iterdir())


class PressesStop(View):
    """Ctrl-C when a third of it has arrived."""

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        if total and done > total / 3:
            raise KeyboardInterrupt


CHILD = """
import sys
from pathlib import Path
from fastmagic.data.web.download import download
from fastmagic.data.web.parallel import Ramp
ramp = Ramp(settle=0.02, window=0.02, worth=0.0, gain=0.0, enough=1e12, piece=1 << 17)
ramp.most = int(sys.argv[3])
download(sys.argv[1], Path(sys.argv[2]), ramp=ramp)
"""


def child(url: str, archive: Path, connections: int = 1) -> subprocess.Popen[bytes]:
    """Start a download in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(archive), str(connections)],
        env={**os.environ, "PYTHONPATH": str(Path(fastmagic.__file__).parents[1])},
        stderr=subprocess.PIPE,
    )
