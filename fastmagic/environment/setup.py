"""The verb `fastai_setup`: look, plan, ask pip, act, verify; what works is left alone.

Where versions alone show that all is well and these very versions were verified before, it answers
without pip, without network and without another process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fastmagic import faces, platforms, progress
from fastmagic.environment import inventory, verify
from fastmagic.environment.inventory import PINNED, Interpreter, Inventory
from fastmagic.environment.pip import Pip, Source
from fastmagic.environment.plan import TORCH_PARTS, Plan, Row, known_bad, make_plan
from fastmagic.errors import SetupError, Stopped
from fastmagic.faces import Face, Part, Text
from fastmagic.progress import View

TITLE = "fastai setup"
INDEX_SECONDS = 3.0
ACCEPT = (
    "Check the internet connection. To take PyTorch from pip's own index instead, a download of "
    "several gigabytes with CUDA, run %fastai_setup --torch-index registry."
)


@dataclass(frozen=True)
class Change:
    """One distribution that was installed or changed; `before` is None for a new one."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class SetupReport(faces.Shown):
    """What `fastai_setup` planned and did.

    Attributes
    ----------
    plan
        What was to be done, with the versions that pip chose.
    changed
        What was installed or changed.
    verified
        "now", "earlier" (these very versions, at `verified_at`) or "no" (a dry run).
    worked
        What was tried and worked, where it was verified now.
    restart_needed
        The changed packages that this kernel has imported in their old version.
    log
        pip's whole output, or None where pip was not needed.
    seconds
        How long it all took.
    dry_run
        Whether it stopped after the plan.
    """

    plan: Plan
    changed: tuple[Change, ...] = ()
    verified: Literal["now", "earlier", "no"] = "no"
    verified_at: str | None = None
    worked: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    log: Path | None = None
    seconds: float = 0.0
    dry_run: bool = False

    def face(self) -> Face:
        """Show the outcome first, then the plan and where the log is."""
        parts: list[Part] = [Text(self._outcome(), strong=True)]
        if self.restart_needed:
            names = ", ".join(self.restart_needed)
            parts.append(
                Text(f"Restart the kernel now: it still runs the old {names}.", strong=True)
            )
        named = {row.package for row in self.plan.rows if row.now or row.why != DEPENDENCY}
        rows = [row for row in self.plan.rows if row.package in named]
        if rows:
            cells = [(row.package, row.now or "-", row.then, row.why) for row in rows]
            parts.append(faces.table(("package", "now", "then", "why"), cells))
        others = len(self.plan.rows) - len(rows)
        if others:
            parts.append(Text(f"And {others} more new packages that these need."))
        parts.append(Text(self._verification()))
        if self.log:
            parts.append(Text(f"pip's output: {self.log}", quiet=True))
        return Face(TITLE, tuple(parts))

    def _outcome(self) -> str:
        if self.plan.nothing_to_do:
            return self.plan.sentence
        if self.dry_run:
            return f"The plan, nothing was changed: {self.plan.sentence}"
        count = len(self.changed)
        took = faces.duration(self.seconds)
        return f"Done in {took}: {count} package{'s' * (count != 1)} installed or changed."

    def _verification(self) -> str:
        if self.verified == "now":
            return f"Verified just now in a fresh process: {', '.join(self.worked)}."
        if self.verified == "earlier":
            return f"These versions were verified on {self.verified_at}; not tried again."
        return "Not verified."


DEPENDENCY = "needed by the others"


def fastai_setup(
    *,
    dry_run: bool = False,
    torch_index: str | None = None,
    index_url: str | None = None,
    find_links: str | Path | None = None,
    show: bool | View = False,
    surroundings: Surroundings | None = None,
) -> SetupReport:
    """Plan, install and verify what fastai needs, without breaking what is there.

    Parameters
    ----------
    dry_run
        Stop after the plan.
    torch_index
        Where torch's builds come from where torch is missing: the address of a wheel index, or
        "registry" for pip's own; by default torch's index for the build that fits this machine.
    index_url
        The package index; pip's own setting by default, "" for none.
    find_links
        A folder or page with more wheels.
    show
        Show progress and result; False for neither.
    surroundings
        The outside world, for tests.

    Returns
    -------
    SetupReport
        With `plan`, `changed`, `verified`, `restart_needed`, `log` and `seconds`.

    Raises
    ------
    SetupError
        When something would have to be changed that works, when pip fails, or when what is
        installed does not work.
    Stopped
        When the person pressed stop.

    Examples
    --------
    >>> print(SetupReport(Plan("Nothing to do: all is there.")))  # what a dry run may give
    fastai setup
    Nothing to do: all is there.
    Not verified.
    """
    world = surroundings or Surroundings()
    source = Source(index_url, None if find_links is None else str(find_links))
    with progress.open_view(show, TITLE, world.place) as view:
        start = time.monotonic()
        with _stoppable("Nothing was changed."):
            view.note("Looking at what is installed")
            here = inventory.look(world.interpreter, world.place)
            plan = make_plan(here, torch_index)
        if plan.nothing_to_do:
            report = _already_there(world, view, here, plan, dry_run)
        else:
            report = _set_up(world, view, here, plan, source, dry_run)
        report = dataclasses.replace(report, seconds=round(time.monotonic() - start, 2))
        view.finish(report.face())
    return report


def _cache_folder() -> Path:
    """Say where logs and the memory live: the user's cache folder, else a temporary one."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("fastmagic"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "fastmagic"
    return folder


def _reachable(url: str) -> bool:
    """Ask once, briefly; pip's own retries would take minutes."""
    import requests

    try:
        return requests.head(url, timeout=INDEX_SECONDS, allow_redirects=True).status_code < 500
    except requests.RequestException:
        return False


@dataclass(frozen=True)
class Surroundings:
    """The outside world of `fastai_setup`; each part can be replaced.

    Attributes
    ----------
    interpreter
        The Python that is set up.
    cache
        The folder of logs and of the memory of what was verified.
    trial
        The process that tries the installation.
    reachable
        Says whether an index answers.
    place
        The platform; found by itself by default.
    """

    interpreter: Interpreter = field(default_factory=Interpreter)
    cache: Callable[[], Path] = _cache_folder
    trial: Sequence[str] | None = None
    reachable: Callable[[str], bool] = _reachable
    place: platforms.Platform | None = None


@contextlib.contextmanager
def _stoppable(kept: str) -> Iterator[None]:
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped(
            f"The set-up was stopped. {kept}",
            "Run %fastai_setup again; it looks at what is there and goes on.",
        ) from None


def _already_there(
    world: Surroundings, view: View, here: Inventory, plan: Plan, dry_run: bool
) -> SetupReport:
    memory = verify.Memory(world.cache())
    name = verify.fingerprint(world.interpreter, here)
    when = memory.when(name)
    if when is not None:
        return SetupReport(plan, verified="earlier", verified_at=when, dry_run=dry_run)
    if dry_run:
        return SetupReport(plan, dry_run=True)
    view.note(plan.sentence)
    with _stoppable("Nothing was changed."):
        trial = _try_out(world, view, "What is installed does not work")
    memory.remember(name)
    return SetupReport(plan, verified="now", worked=trial.good)


def _set_up(
    world: Surroundings,
    view: View,
    here: Inventory,
    plan: Plan,
    source: Source,
    dry_run: bool,
) -> SetupReport:
    view.note(plan.sentence)
    cache = world.cache()
    log = cache / "logs" / time.strftime("setup-%Y%m%d-%H%M%S.log")
    pip = Pip(world.interpreter.executable, log, source, view.bar)
    with _only_one(cache):
        with _stoppable("Nothing was changed."):
            _check_index(world, plan, here)
            before = inventory.snapshot(world.interpreter)
            versions = pip.resolve(plan)
            _refuse_harm(plan, here, before, versions)
        plan = dataclasses.replace(plan, rows=_resolved(plan, before, versions))
        if dry_run:
            return SetupReport(plan, log=log, dry_run=True)
        view.note(f"Installing {len(versions)} packages")
        with _stoppable("pip was in the middle of it; what it had finished stays."):
            pip.install(plan, versions)
        changed = _changes(before, inventory.snapshot(world.interpreter))
        with _stoppable("The packages are installed, but not verified yet."):
            trial = _try_out(world, view, "The packages are installed, but they do not work")
    after = inventory.look(world.interpreter, world.place)
    verify.Memory(cache).remember(verify.fingerprint(world.interpreter, after))
    return SetupReport(
        plan,
        changed,
        verified="now",
        worked=trial.good,
        restart_needed=_restart_needed(world, changed),
        log=log,
    )


@contextlib.contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    import filelock

    cache.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(cache / "setup.lock")
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


def _check_index(world: Surroundings, plan: Plan, here: Inventory) -> None:
    index = plan.index
    if index is None or not index.startswith("http") or world.reachable(index):
        return
    advice = ACCEPT if "torch" not in here.installed else _OTHER_INDEX
    raise SetupError(f"PyTorch's own wheel index cannot be reached: {index}", advice)


_OTHER_INDEX = (
    "Check the internet connection, or name a mirror of it: %fastai_setup --torch-index ADDRESS."
)


def _refuse_harm(
    plan: Plan, here: Inventory, before: Mapping[str, str], versions: Mapping[str, str]
) -> None:
    """Stop before anything happens where pip's solution would do harm."""
    for name in PINNED:
        if name in before and versions.get(name, before[name]) != before[name]:
            raise SetupError(
                f"This would replace {name} {before[name]} by {versions[name]}; nothing was done.",
                "Try it in a new environment (python -m venv lesson).",
            )
    for name in TORCH_PARTS:
        label = versions.get(name, "").partition("+")[2]
        if name in versions and plan.label and label != plan.label:
            advice = ACCEPT if "torch" not in here.installed else _OTHER_INDEX
            raise SetupError(
                f"{plan.index} has no {name} that fits; pip would take {versions[name]} from "
                "elsewhere.",
                advice,
            )
    for bad in known_bad({**before, **versions}):
        raise SetupError(
            f"pip's solution would not work: {bad.why}.",
            "Try it in a new environment (python -m venv lesson).",
        )


def _resolved(
    plan: Plan, before: Mapping[str, str], versions: Mapping[str, str]
) -> tuple[Row, ...]:
    whys = {row.package: row.why for row in plan.rows}
    names = sorted(versions, key=lambda name: (name not in whys, name))
    return tuple(
        Row(name, before.get(name), versions[name], whys.get(name, DEPENDENCY)) for name in names
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _try_out(world: Surroundings, view: View, what: str) -> verify.Trial:
    view.note("Verifying in a fresh process: fastai, torchvision, a training step")
    trial = verify.try_out(
        world.interpreter,
        world.trial,
        tick=lambda seconds: view.bar("Verifying", round(seconds), None, " s"),
    )
    view.clear_bar()
    if not trial.failure:
        return trial
    if trial.cause:
        raise SetupError(f"{what}: {trial.cause}", trial.remedy)
    raise SetupError(
        f"{what}. Trying it failed with: {trial.failure}",
        "Start a new session (Colab, Kaggle) or make a new environment, and report this text to "
        "fastmagic's maintainers.",
    )


def _restart_needed(world: Surroundings, changed: Sequence[Change]) -> tuple[str, ...]:
    if world.interpreter.paths is not None:  # another Python than the one that runs this
        return ()
    import importlib

    importlib.invalidate_caches()
    old = [change.name for change in changed if change.before is not None]
    return inventory.already_imported(old, sys.modules)
