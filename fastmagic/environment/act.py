"""The part of `fastai_setup` that changes something: resolve, refuse, keep, install, verify."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastmagic.environment import inventory, system_libraries, verify
from fastmagic.environment.installers.installer import Chosen, Installer
from fastmagic.environment.inventory import Inventory
from fastmagic.environment.keeping.keep import Keeper
from fastmagic.environment.keeping.undo import is_unchanged
from fastmagic.environment.planning.plan import Plan, Row
from fastmagic.environment.planning.refusal import harm
from fastmagic.environment.redaction import redacted
from fastmagic.environment.report import DEPENDENCY, Change, SetupReport, plan_table
from fastmagic.environment.surroundings import (
    Run,
    Surroundings,
    files_told,
    log_file,
    only_one,
    stoppable,
)
from fastmagic.errors import SetupError, Stopped

UNDO = "%fastai_setup --undo puts back what was there before."
NO_UNDO = "What was there before was not kept."
GO_ON = "Run %fastai_setup again; it looks at what is there and goes on."
MIRROR = "Try again later, or name a mirror of it: %fastai_setup --torch-index ADDRESS."


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
    keeper = Keeper(world.cache() / "undo", world.interpreter, step=files_told(view))
    with stoppable("Nothing was changed."):
        plan = _check_network(run, plan)
        log = log_file(world)
        installer = run.kind(
            world.interpreter.executable, log, run.source, view.bar, upgrade=run.wishes.upgrade
        )
        before = inventory.snapshot(world.interpreter)
        chosen = installer.choose(plan)
        versions = {one.name: one.version for one in chosen}
        for refusal in harm(plan, here, versions):
            raise SetupError(f"{refusal.what} Nothing was done.", refusal.next_step)
        plan = dataclasses.replace(plan, rows=_resolved(plan, before, chosen))
        need = keeper.estimate(before, versions)
    shown = dataclasses.replace(plan, index=plan.index and redacted(plan.index))
    report = SetupReport(shown, undoable=need.sentence, log=log, dry_run=run.dry_run)
    if run.dry_run:
        return report
    with stoppable("Nothing was changed."):
        view.table(plan_table(plan))
        for words in (*plan.warnings, need.sentence):
            view.note(words)
    with only_one(world.cache()):
        if inventory.snapshot(world.interpreter) != before:
            raise SetupError(
                "Something else has changed the packages while this was planned.",
                "Run %fastai_setup again; it plans anew.",
            )
        changed = _act(run, keeper, installer, plan, before, versions, need.fits)
        worked, libraries = _verify(run, log, need.fits)
        with stoppable("The packages are installed, and they work."):
            keeper.settle()
            after = inventory.look(world.interpreter, world.place)
            verify.Memory(world.cache()).remember(verify.fingerprint(world.interpreter, after))
    return dataclasses.replace(
        report,
        changed=changed,
        verified="now",
        worked=worked,
        restart_needed=restart_needed(world, changed),
        libraries=libraries,
    )


def _check_network(run: Run, plan: Plan) -> Plan:
    """Ask the indexes briefly, before pip's own long patience; both at once.

    Gives the plan with the indexes that will be used: where pip is told to use none, it passes
    over PyTorch's too.
    """
    used = run.source.over(run.kind.settings())
    if used.no_index:
        return _without_index(run, plan)
    run.view.note("Asking the package index")
    of_torch = plan.index if plan.index and plan.index.startswith("http") else ""
    with ThreadPoolExecutor(2) as pool:
        main = pool.submit(run.world.ask_index, used.index_url, "fastai")
        torch = pool.submit(run.world.ask_index, of_torch, "torch")
    if not main.result().reachable and used.has_more:
        run.view.note(f"{main.result().words} {run.kind.title} looks in its other places too.")
    elif not main.result().reachable:
        raise SetupError(
            f"Packages cannot be had, and nothing was changed. {main.result().words}",
            "Once it answers, run the same cell again; what is installed stays as it is.",
        )
    if not torch.result().reachable:
        raise SetupError(
            "PyTorch's own wheel index cannot be reached: "
            f"{redacted(plan.index or '')}. {plan.why_index}".strip(),
            " ".join(map(str, plan.otherwise)) or MIRROR,
        )
    return plan


def _without_index(run: Run, plan: Plan) -> Plan:
    if plan.index:
        run.view.note(f"{run.kind.title} is told to use no index, so PyTorch's own is not used.")
    return dataclasses.replace(plan, index=None)


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
    try:
        run.view.note(f"Installing {len(versions)} packages")
        installer.install(plan, versions)
    except (KeyboardInterrupt, SetupError) as error:
        _, state = _ended(run, keeper, before, fresh, can_keep)
        if isinstance(error, SetupError):
            raise SetupError(error.what, f"{error.next_step} {state}") from None
        raise Stopped(f"The set-up was stopped. {state}", GO_ON) from None
    return _ended(run, keeper, before, fresh, can_keep)[0]


def _ended(
    run: Run, keeper: Keeper, before: Mapping[str, str], fresh: bool, can_keep: bool
) -> tuple[tuple[Change, ...], str]:
    """Say what an installer changed, well or not, and what that means for the person."""
    keeper.acted()
    interpreter = run.world.interpreter
    changed = _changes(before, inventory.snapshot(interpreter))
    if not changed and can_keep and is_unchanged(run.world.cache() / "undo", interpreter):
        if fresh:
            keeper.forget()
        return (), "Nothing was changed."
    return changed, UNDO if can_keep else NO_UNDO


@contextlib.contextmanager
def undo_offered(can_undo: bool) -> Iterator[None]:
    """Add the way back to what goes wrong in the block."""
    try:
        yield
    except SetupError as error:
        if not can_undo:
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
    with stoppable("The packages are installed, but not verified yet."), undo_offered(can_keep):
        libraries = mend_libraries(run, log)
        return try_out(run, "The packages are installed, but they do not work"), libraries


def mend_libraries(run: Run, log: Path) -> tuple[str, ...]:
    """Install the system's libraries that an OpenCV here misses; nothing where there is none."""
    lack = system_libraries.missing(run.world.interpreter)
    if not lack.libraries:
        return ()
    run.view.note(f"OpenCV misses {', '.join(lack.libraries)}")
    with stoppable("The system's libraries may be half installed; apt-get goes on from there."):
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
    modules = world.modules()
    if modules is None:
        return ()
    importlib.invalidate_caches()
    old = [change.name for change in changed if change.before is not None]
    return inventory.already_imported(old, modules)
