"""The outside world of `fastai_setup`, and what its parts share: wishes, lock and log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastmagic import platforms
from fastmagic.environment import system_libraries
from fastmagic.environment.installers import network
from fastmagic.environment.installers.installer import Installer, Source
from fastmagic.environment.installers.network import Answer
from fastmagic.environment.inventory import Interpreter
from fastmagic.environment.keeping.keep import Step, faults
from fastmagic.environment.planning.wishes import Wishes
from fastmagic.environment.restart import restart_kernel
from fastmagic.environment.system_libraries import System
from fastmagic.errors import SetupError, Stopped
from fastmagic.progress import View


def _ask_index(index_url: str | None, package: str) -> Answer:
    return network.Network().ask(index_url, package)


@dataclass(frozen=True)
class Surroundings:
    """The outside world of `fastai_setup`; each part can be replaced.

    Attributes
    ----------
    interpreter
        The Python that is set up.
    cache
        The folder of logs, of kept files and of the memory of what was verified.
    trial
        The process that tries the installation.
    ask_index
        Says, in three seconds at most, whether an index answers for a package.
    system
        The operating system, for libraries that pip does not bring.
    restart
        Restarts the kernel; says whether it could.
    modules
        Names of the modules that this kernel has imported; None where it is not this kernel's
        Python that is set up.
    place
        The platform; found by itself by default.
    """

    interpreter: Interpreter = field(default_factory=Interpreter)
    cache: Callable[[], Path] = platforms.cache_folder
    trial: Sequence[str] | None = None
    ask_index: Callable[[str | None, str], Answer] = _ask_index
    system: System = system_libraries.HERE
    restart: Callable[[], bool] = restart_kernel
    modules: Callable[[], Collection[str] | None] = lambda: sys.modules.keys()
    place: platforms.Platform | None = None


@dataclass(frozen=True)
class Run:
    """One call's world and wishes."""

    world: Surroundings
    view: View
    source: Source
    kind: type[Installer]
    wishes: Wishes
    dry_run: bool


FILES = {"keep": "Keeping", "remove": "Removing", "put back": "Putting back"}


def files_told(view: View) -> Step:
    """Give a step that moves the progress line with each file that is kept, removed or put back."""
    counts: Counter[str] = Counter()

    def step(what: str, path: str) -> None:
        del path
        counts[what] += 1
        view.bar(FILES[what], counts[what], None, " files")

    return step


def log_file(world: Surroundings) -> Path:
    """Make the file that gets an installer's whole output."""
    log = world.cache() / "logs" / time.strftime("setup-%Y%m%d-%H%M%S.log")
    with faults("The set-up's log cannot be written", "Nothing was changed."):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(time.strftime("fastai_setup, %Y-%m-%d %H:%M:%S\n"))
    return log


@contextlib.contextmanager
def stoppable(kept: str) -> Iterator[None]:
    """Turn Ctrl-C into `Stopped`, which says what state things are in."""
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped(
            f"The set-up was stopped. {kept}",
            "Run %fastai_setup again; it looks at what is there and goes on.",
        ) from None


@contextlib.contextmanager
def only_one(cache: Path) -> Iterator[None]:
    """Let one set-up at a time change anything; another notebook's is told so at once."""
    import filelock

    lock = filelock.FileLock(cache / "setup.lock")
    with faults("The set-up's own files cannot be written", "Nothing was changed."):
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise SetupError(
                "Another notebook is being set up at this moment.",
                "Wait until it has finished, then run %fastai_setup again.",
            ) from None
    try:
        yield
    finally:
        lock.release()
