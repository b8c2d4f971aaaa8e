"""The verb `fastai_setup`: look, plan, resolve, keep, act, verify; what works is left alone.

Where versions alone show that all is well and these very versions were verified before, it answers
without pip, without network and without another process.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from fastmagic import platforms, progress
from fastmagic.environment import inventory, verify
from fastmagic.environment.act import (
    install,
    mend_libraries,
    restart_needed,
    try_out,
    undo_offered,
)
from fastmagic.environment.installers.installer import Installer, Source
from fastmagic.environment.installers.pip import Pip
from fastmagic.environment.installers.uv import Uv
from fastmagic.environment.inventory import Inventory
from fastmagic.environment.keeping.keep import Keeper
from fastmagic.environment.keeping.undo import undo as put_back
from fastmagic.environment.planning.plan import Plan, Wishes, make_plan
from fastmagic.environment.redaction import redacted
from fastmagic.environment.report import TITLE, Change, SetupReport
from fastmagic.environment.surroundings import (
    Run,
    Surroundings,
    files_told,
    log_file,
    only_one,
    stoppable,
)
from fastmagic.errors import BadInput, SetupError, Stopped, did_you_mean
from fastmagic.progress import Show, View

INSTALLERS: Mapping[str, type[Installer]] = {"pip": Pip, "uv": Uv}


def fastai_setup(
    *,
    dry_run: bool = False,
    undo: bool = False,
    torch: str | None = None,
    fastai: str | None = None,
    upgrade: bool = False,
    allow_change: Sequence[str] = (),
    torch_index: str | None = None,
    index_url: str | None = None,
    find_links: str | Path | None = None,
    installer: str = "pip",
    restart: bool = False,
    json: bool = False,
    show: Show = False,
    surroundings: Surroundings | None = None,
) -> SetupReport:
    """Plan, install and verify what fastai needs, without breaking what is there.

    Parameters
    ----------
    dry_run
        Stop after the plan.
    undo
        Put back what was there before the last set-up, without network.
    torch
        The PyTorch to have, though another is there: a version, a build label or both ("2.13.0",
        "cu126", "2.13.0+cpu").
    fastai
        The fastai to have ("2.8.8" or ">=2.8.8").
    upgrade
        Take the newest fastai that fits, though the one that is there works.
    allow_change
        Names of protected packages (torch, numpy, Jupyter's) that may be changed.
    torch_index
        Where torch's builds come from: the address of a wheel index, or "registry" for pip's own;
        by default torch's index for the build that fits this machine.
    index_url
        The package index; pip's own setting by default, "" for none.
    find_links
        A folder or page with more wheels.
    installer
        "pip" or "uv".
    restart
        Restart the kernel where that is needed and the front end allows it.
    json
        Print the report as JSON, and nothing else.
    show
        Show progress and result; False for neither.
    surroundings
        The outside world, for tests.

    Returns
    -------
    SetupReport
        With `plan`, `changed`, `verified`, `restart_needed`, `undoable`, `log` and `seconds`.

    Raises
    ------
    BadInput
        For a flag's value that is none.
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
    names = (allow_change,) if isinstance(allow_change, str) else tuple(allow_change)
    wishes = Wishes(torch_index, torch, fastai, upgrade, names)
    elsewhere = (torch_index, index_url, find_links) != (None, None, None) or installer != "pip"
    if undo and (dry_run or upgrade or torch or fastai or elsewhere):
        raise BadInput(
            "--undo puts back what was there; of the other flags only --allow-change, --restart "
            "and --json go with it.",
            "Run %fastai_setup --undo by itself.",
        )
    source = Source() if undo else _source(index_url, find_links)
    kind = _installer(installer)
    with progress.open_view(False if json else show, TITLE, world.place) as view:
        start = time.monotonic()
        if undo:
            report = _undo(world, wishes, view)
        else:
            report = _set_up(Run(world, view, source, kind, wishes, dry_run))
        report = dataclasses.replace(report, seconds=round(time.monotonic() - start, 2))
        view.finish(report.face())
    if json:
        progress.print_json(report.to_dict())
    if restart and report.restart_needed and not world.restart():
        raise SetupError(
            "The kernel has to be restarted, and this front end does not allow it from a cell.",
            "Restart it by hand; the set-up itself is done.",
        )
    return report


def _source(index_url: str | None, find_links: str | Path | None) -> Source:
    """Check where packages come from, before pip says something else about it."""
    if index_url and urlsplit(index_url).scheme not in ("http", "https", "file"):
        shown = redacted(f"//{index_url}")[2:]  # a name may stand in it, though no scheme does
        raise BadInput(
            f"{shown!r} is no address of a package index.",
            "It begins with https://, http:// or file://.",
        )
    links = None if find_links is None else str(find_links)
    if links and "://" not in links:
        folder = platforms.expanded(links)
        if not folder.exists():
            raise BadInput(
                f"There is no folder {redacted(str(folder))}.", "Check the path after --find-links."
            )
        links = str(folder)
    return Source(index_url, links)


def _installer(name: str) -> type[Installer]:
    if name not in INSTALLERS:
        hint = did_you_mean(name, INSTALLERS) or "Use --installer pip or --installer uv."
        raise BadInput(f"There is no installer called {name!r}.", hint)
    return INSTALLERS[name]


def _undo(world: Surroundings, wishes: Wishes, view: View) -> SetupReport:
    cache = world.cache()
    with only_one(cache):
        try:
            view.note("Comparing what is installed with what was there before")
            allow = tuple(map(canonicalize_name, wishes.allow_change))
            undone = put_back(cache / "undo", world.interpreter, allow, files_told(view))
        except KeyboardInterrupt:
            raise Stopped(
                "The undo was stopped in the middle.", "Run %fastai_setup --undo again; it goes on."
            ) from None
    changed = tuple(Change(one.name, one.undone, one.back) for one in undone.changed)
    plan = Plan(f"Put back what was there on {undone.time}.")
    needed = restart_needed(world, changed)
    return SetupReport(plan, changed, restart_needed=needed, undone=undone)


def _set_up(run: Run) -> SetupReport:
    with stoppable("Nothing was changed."):
        run.view.note("Looking at what is installed")
        here = inventory.look(run.world.interpreter, run.world.place)
        plan = make_plan(here, run.wishes)
    if plan.blocked:
        raise SetupError(plan.blocked, " ".join(map(str, plan.offers)))
    if plan.nothing_to_do:
        return _already_there(run, here, plan)
    return install(run, here, plan)


def _already_there(run: Run, here: Inventory, plan: Plan) -> SetupReport:
    world = run.world
    memory = verify.Memory(world.cache())
    name = verify.fingerprint(world.interpreter, here)
    when = memory.when(name)
    if when is not None:
        return SetupReport(plan, verified="earlier", verified_at=when, dry_run=run.dry_run)
    if run.dry_run:
        return SetupReport(plan, dry_run=True)
    run.view.note(plan.sentence)
    log, kept = log_file(world), Keeper(world.cache() / "undo", world.interpreter).shelf.latest()
    with stoppable("Nothing was changed."), undo_offered(kept is not None):
        with only_one(world.cache()):
            libraries = mend_libraries(run, log)
        worked = try_out(run, "What is installed does not work")
    memory.remember(name)
    return SetupReport(
        plan, verified="now", worked=worked, libraries=libraries, log=log if libraries else None
    )
