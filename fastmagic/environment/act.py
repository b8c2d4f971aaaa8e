"""The part of `fastai_setup` that changes something: resolve, refuse, keep, install, verify."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fastmagic.environment import inventory, system_libraries, verify
from fastmagic.environment.installers.installer import Chosen, Installer
from fastmagic.environment.inventory import Inventory
from fastmagic.environment.keeping.keep import Keeper
from fastmagic.environment.planning.plan import Plan, Row
from fastmagic.environment.planning.refusal import harm
from fastmagic.environment.report import DEPENDENCY, Change, SetupReport, plan_table
from fastmagic.environment.surroundings import Run, Surroundings, log_file, only_one, stoppable
from fastmagic.errors import SetupError

UNDO = "%fastai_setup --undo puts back what was there before."


def install(run: Run, here: Inventory, plan: Plan) -> SetupReport:
    """Carry a plan out, or with a dry run say what it comes to.

    Parameters
    ----------
    run
        This call's world and wishes.
    here
        What is installed.
    plan
        What is wanted, not yet resolved.

    Raises
    ------
    SetupError
        Before anything is changed: no network, no solution, a harmful one. Afterwards: an installer
        that fails, or packages that do not work; then with the way back.
    Stopped
        When the person pressed stop.
    """
    world, view = run.world, run.view
    view.note(plan.sentence)
    cache, log = world.cache(), log_file(world)
    installer = run.kind(
        world.interpreter.executable, log, run.source, view.bar, upgrade=run.wishes.upgrade
    )
    with only_one(cache):
        keeper = Keeper(cache / "undo", world.interpreter)
        with stoppable("Nothing was changed."):
            _check_network(run, plan)
            before = inventory.snapshot(world.interpreter)
            chosen = installer.choose(plan)
            versions = {one.name: one.version for one in chosen}
            for refusal in harm(plan, here, versions):
                raise SetupError(f"{refusal.what} Nothing was done.", refusal.next_step)
            plan = dataclasses.replace(plan, rows=_resolved(plan, before, chosen))
            need = keeper.estimate(before, versions)
        if run.dry_run:
            return SetupReport(plan, undoable=need.sentence, log=log, dry_run=True)
        view.table(plan_table(plan))
        changed = _act(run, keeper, installer, plan, before, versions, need.fits)
        worked, libraries = _verify(run, log, need.fits)
        keeper.settle()
        after = inventory.look(world.interpreter, world.place)
        verify.Memory(cache).remember(verify.fingerprint(world.interpreter, after))
    return SetupReport(
        plan,
        changed,
        verified="now",
        worked=worked,
        restart_needed=restart_needed(world, changed),
        undoable=need.sentence,
        libraries=libraries,
        log=log,
    )


def _check_network(run: Run, plan: Plan) -> None:
    """Ask the indexes briefly, before pip's own long patience."""
    run.view.note("Asking the package index")
    answer = run.world.ask_index(run.source.index_url, "fastai")
    if not answer.reachable:
        raise SetupError(
            f"Nothing was changed, for packages cannot be had: {answer.words}",
            "Then run the same cell again; what is installed stays as it is.",
        )
    if plan.index is None or not plan.index.startswith("http"):
        return
    if not run.world.ask_index(plan.index, "torch").reachable:
        raise SetupError(
            f"PyTorch's own wheel index cannot be reached: {plan.index}. {plan.why_index}".strip(),
            " ".join(map(str, plan.otherwise)),
        )


def _act(
    run: Run,
    keeper: Keeper,
    installer: Installer,
    plan: Plan,
    before: Mapping[str, str],
    versions: Mapping[str, str],
    can_keep: bool,
) -> tuple[Change, ...]:
    """Install; whatever happens, the record says that the installer has ended."""
    fresh = keeper.shelf.read("pending") is None
    with stoppable("Nothing was changed."):
        if can_keep:
            run.view.note("Keeping what will be changed")
            keeper.keep(before, versions)
    run.view.note(f"Installing {len(versions)} packages")
    stopped = "The installer was in the middle of it" + (f"; {UNDO}" if can_keep else ".")
    try:
        with stoppable(stopped), _undo_offered(can_keep):
            installer.install(plan, versions)
    finally:
        keeper.acted()
        changed = _changes(before, inventory.snapshot(run.world.interpreter))
        if fresh and not changed:
            keeper.forget()
    return changed


@contextlib.contextmanager
def _undo_offered(can_keep: bool) -> Iterator[None]:
    try:
        yield
    except SetupError as error:
        if not can_keep:
            raise
        raise SetupError(error.what, f"{error.next_step} {UNDO}") from None


def _resolved(plan: Plan, before: Mapping[str, str], chosen: Sequence[Chosen]) -> tuple[Row, ...]:
    whys = {row.package: row.why for row in plan.rows}
    ordered = sorted(chosen, key=lambda one: (one.name not in whys, one.name))
    return tuple(
        Row(one.name, before.get(one.name), one.version, whys.get(one.name, DEPENDENCY), one.size)
        for one in ordered
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _verify(run: Run, log: Path, can_keep: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give what worked, and the system's packages that OpenCV needed for it."""
    with stoppable("The packages are installed, but not verified yet."), _undo_offered(can_keep):
        libraries = mend_libraries(run, log)
        return try_out(run, "The packages are installed, but they do not work"), libraries


def mend_libraries(run: Run, log: Path) -> tuple[str, ...]:
    """Install the system's libraries that an OpenCV here misses; nothing where there is none."""
    lack = system_libraries.missing(run.world.interpreter)
    if not lack.libraries:
        return ()
    run.view.note(f"OpenCV misses {', '.join(lack.libraries)}")
    return system_libraries.install(lack, log, run.view.bar, run.world.system)


def try_out(run: Run, what: str) -> tuple[str, ...]:
    """Try the installation in a fresh process; `what` begins the message where it fails."""
    view = run.view
    view.note("Verifying in a fresh process: fastai, torchvision, a training step")
    trial = verify.try_out(
        run.world.interpreter,
        run.world.trial,
        tick=lambda seconds: view.bar("Verifying", round(seconds), None, " s"),
    )
    view.clear_bar()
    if not trial.failure:
        return trial.good
    if trial.cause:
        raise SetupError(f"{what}: {trial.cause}", trial.remedy)
    raise SetupError(
        f"{what}. Trying it failed with: {trial.failure}",
        "Start a new session (Colab, Kaggle) or make a new environment, and report this text to "
        "fastmagic's maintainers.",
    )


def restart_needed(world: Surroundings, changed: Sequence[Change]) -> tuple[str, ...]:
    """Name the changed distributions whose old modules this kernel has imported."""
    if world.interpreter.paths is not None:  # another Python than the one that runs this
        return ()
    import importlib

    importlib.invalidate_caches()
    old = [change.name for change in changed if change.before is not None]
    return inventory.already_imported(old, sys.modules)
