"""What stands ready before the first picture is loaded: layout, folder, loaders and learner."""

from __future__ import annotations

import importlib.util
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastmagic import faces, platforms
from fastmagic.data.catalogue import CATALOGUE
from fastmagic.data.survey.pictures import Layout, lay_out
from fastmagic.errors import LessonError
from fastmagic.guard import files
from fastmagic.guard.copies import EVERY
from fastmagic.lesson import cell as cells
from fastmagic.lesson import names, precision, recipes, runs, sameness
from fastmagic.lesson.forecast.words import Forecast
from fastmagic.lesson.precision import Precision
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.settings import Settings
from fastmagic.progress import View
from fastmagic.ranks.team import Team
from fastmagic.speed.ahead import meanwhile
from fastmagic.speed.shelf import GB, Shelf

NEED_WEIGHTS = ("classic", "pets", "quick")
"""The recipes that first train the head alone, on what a pretrained body sees."""

WEIGHTS = {"imagenet": "ImageNet's weights", "none": "no weights, from scratch"}

QUICK_MOST = 2000
"""Pictures that recipe `quick` looks at, at most: `most` in its text."""

USUAL = {one.defaults.arch for one in CATALOGUE.values()} | {"resnet34", "resnet50"}
"""Networks that are there for certain."""

TRIALS = "precision.json"
"""Beside the small copies: which precision is the quicker one, of what was tried here."""

DIVIDED = (
    "--valid-pct is left out: it parts pictures that are not parted yet, and these have train and "
    "valid folders."
)
"""What is said where a share is asked for in vain."""

NO_DRIVE = (
    "No Google Drive is mounted: if this machine is taken away, the run is lost with it. To keep "
    'it, run this first: from google.colab import drive; drive.mount("/content/drive")'
)

_ours: weakref.WeakSet[Any] = weakref.WeakSet()
"""The learners that lessons made in this process: these may be replaced without a word."""

_roots: list[Path] = []
"""The folders of runs that lessons of this process were begun in, where none was asked for."""

OTHER_LOADERS = (
    "The cell makes a `dls` of its own, but its `learn` trains on the one that was ready: write "
    "`learn.dls = dls` after it, or make a `learn` too."
)


@dataclass
class Lesson:
    """Everything that is known of a lesson before it runs.

    Attributes
    ----------
    settings, cell, namespace, layout, view
        What to do, the body, where its names live, the pictures, and where progress is shown.
    after
        The finished lesson whose learner this one goes on with.
    names, needed
        Every name that the body uses, also by way of the person's own functions; and those of them
        that it does not set itself first.
    choices
        What was chosen for the person, and why; filled while the learner is made.
    forecast
        What was said of time and memory before the start.
    """

    settings: Settings
    cell: cells.Cell
    namespace: dict[str, Any]
    layout: Layout
    view: View
    after: TrainResult | None = None
    names: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)
    choices: dict[str, str] = field(default_factory=dict)
    forecast: Forecast | None = None


def require_fastai() -> None:
    """Make sure that torch and fastai are there.

    Raises
    ------
    LessonError
        Where they are not, with the magic that installs them.
    """
    missing = [name for name in ("torch", "fastai") if importlib.util.find_spec(name) is None]
    if missing:
        raise LessonError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed here.",
            "Run %fastai_setup, which installs what fits this machine, then this cell again.",
        )


def check_architecture(settings: Settings, namespace: Mapping[str, Any] | None) -> None:
    """Refuse a network that nobody knows, before the pictures are fetched.

    The usual ones are not looked up: that takes seconds, in which small copies can be made.

    Raises
    ------
    BadInput
        With the nearest name.
    """
    if settings.arch in USUAL:
        return
    from fastmagic.lesson import learner

    learner.find_architecture(settings.arch, namespace)


def prepare(
    settings: Settings,
    path: Path,
    cell: cells.Cell,
    namespace: dict[str, Any],
    view: View,
    after: TrainResult | None = None,
    cache_limit: float = 0,
) -> Lesson:
    """Lay the pictures out, say what they are, and load fastai.

    Parameters
    ----------
    settings, path, cell, namespace, view, after
        The lesson, as of `Lesson`, and where its pictures are.
    cache_limit
        GB that small copies of the pictures may take; where there is room for some, they are begun
        while fastai is loaded.
    """
    layout = laid_out(settings, path)
    view.note(describe(layout))
    if settings.valid_pct != Settings.valid_pct and layout.kind == "train/valid folders":
        view.note(DIVIDED)
    view.note("Loading fastai …")
    used = names.used_names(cell, namespace)
    needed = names.needed_names(cell, used)
    lesson = Lesson(settings, cell, namespace, layout, view, after, used, needed)
    with meanwhile(_copying(lesson, cache_limit)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries warn one another of at import
        import fastai.vision.all  # noqa: F401 - all of it at once, while the view says so
    return lesson


def _copying(lesson: Lesson, cache_limit: float) -> Callable[[Callable[[], bool]], object] | None:
    """Give what makes small copies before there are loaders; None where there may be none.

    Recipe `quick` may look at a part of the pictures, which is chosen later.
    """
    settings, layout = lesson.settings, lesson.layout
    makes = lesson.after is None and lesson.needed & {"dls", "learn"}
    if not makes or settings.no_cache or cache_limit <= 0 or "fastai.vision.all" in sys.modules:
        return None
    if settings.recipe == "quick" and len(layout.train) > QUICK_MOST:
        return None
    shelf = Shelf(platforms.cache_folder(), cache_limit * GB, platforms.usable_cores())
    parts = (layout.train, layout.valid)
    return lambda enough: shelf.make_ahead(parts, settings.size, enough)


def laid_out(settings: Settings, path: Path) -> Layout:
    """Find the pictures, their classes and their split."""
    return lay_out(
        path,
        label_pattern=settings.label_pattern,
        valid_pct=settings.valid_pct,
        seed=settings.seed,
    )


def describe(layout: Layout) -> str:
    """Say in one line what a lesson is given to learn from."""
    classes = len(layout.classes)
    named = ", ".join(layout.classes[:4]) + (" …" if classes > 4 else "")
    counts = f"{len(layout.train):,} pictures to train, {len(layout.valid):,} to validate"
    left_out = f", {len(layout.unreadable)} unreadable left out" if layout.unreadable else ""
    return f"Data: {counts}{left_out}, {classes} classes ({named}) in {layout.path}"


def claim(
    lesson: Lesson,
    name: str | None,
    folder: str | Path | None,
    *,
    fresh: bool,
    copies: str | Path | None = None,
) -> runs.Run:
    """Find the folder in which this lesson goes on, or make a new one, and say so."""
    settings, note = lesson.settings, lesson.view.note
    place = platforms.where()
    root, copied_to = platforms.run_folders(place, folder, copies)
    same = sameness.parts(lesson)
    identity = runs.identity_of(same)
    if folder is None:
        root = _where_it_began(root, identity)
    run = runs.claim(
        root,
        identity,
        name=name,
        stem=f"{Path(settings.data).stem or 'data'}-{settings.recipe}",
        fresh=fresh,
        about={
            "parts": same,
            "values": sameness.values(lesson),
            "data": settings.data,
            "label_pattern": settings.label_pattern,
        },
        copies=copied_to,
    )
    if run.note:
        note(run.note)
    if run.resumed:
        note(f"Going on with {run.folder.name}, which was not finished{_bring(run)}.")
        for words in sameness.changes(run.before["values"], sameness.values(lesson)):
            note(words)
    if run.copy is not None:
        note(
            f"A copy of its state goes to {run.copy} every {faces.duration(EVERY)}: "
            "where another machine has that folder, this cell goes on there."
        )
    elif place.name == "colab":
        note(NO_DRIVE)
    return run


def _where_it_began(root: Path, identity: str) -> Path:
    """Give the folder of runs here, or where this cell began: `%cd` may have come between."""
    if root not in _roots:
        _roots.append(root)
    return runs.where_begun(identity, root, *_roots) or root


def _bring(run: runs.Run) -> str:
    """Take what is newer from the copy; give words on that."""
    if run.copy is None:
        return ""
    try:
        brought = files.bring(run.copy / "states", run.states)
    except OSError:  # this disk is full: what follows says so
        return ""
    return f"; its newest state comes from {run.copy}" if brought else ""


def fill_namespace(lesson: Lesson, run: runs.Run, session: Any, watching: Any) -> str:
    """Put `path`, and `dls` and `learn` where the body names them, into the namespace.

    Returns
    -------
    str
        The kind of device that it trains on: `cpu`, `cuda` or `mps`.
    """
    from fastmagic.lesson import learner

    lesson.namespace["path"] = lesson.layout.path
    device, trouble = learner.choose_device()
    if trouble:
        session.incident(
            f"the GPU cannot be used by this torch ({trouble})",
            "training on the CPU instead; %gpu_check says what to do",
        )
    _adopt(lesson, watching)
    if lesson.after is not None:
        _hand_over(lesson, lesson.after)
    elif lesson.needed & {"dls", "learn"}:
        _make(lesson, run, device, session.team)
        if "learn" in lesson.needed and not run.resumed and session.team.alone:
            _look_ahead(lesson)
    return str(device.type)


def _make(lesson: Lesson, run: runs.Run, device: Any, team: Team) -> None:
    from fastmagic.lesson import learner

    namespace, settings = lesson.namespace, lesson.settings
    dls = namespace["dls"] = learner.make_loaders(settings, lesson.layout, device, namespace)
    if "learn" not in lesson.needed:
        return
    if namespace.get("learn") is not None and not is_ours(namespace["learn"]):
        lesson.view.note("The `learn` that was here before is replaced by the lesson's.")
    chosen = learner.choose_precision(settings, device)
    if names.leaves_learner_behind(lesson.cell.tree):
        lesson.view.note(OTHER_LOADERS)
    learn = namespace["learn"] = learner.make_learner(
        settings, dls, run.folder, chosen.name, namespace
    )
    if device.type == "cpu" and settings.precision in (None, "auto"):
        chosen = _tried(lesson, run, learn, team)
    lesson.choices["precision"] = f"{chosen.name}: {chosen.why}."
    weights = WEIGHTS.get(settings.weights, settings.weights)
    lesson.view.note(
        f"Network: {settings.arch}, {weights}; pictures of {settings.size} pixels, "
        f"{dls.train.bs} a batch, on {device.type.upper()} in {chosen.name} ({chosen.why})."
    )
    if settings.weights == "none" and settings.recipe in NEED_WEIGHTS:
        lesson.view.note(
            f"Recipe {settings.recipe} builds on a network that knows photographs already, and "
            "this one starts from nothing: little can be learned. --recipe scratch is for that."
        )
    if settings.freeze_bn:
        learn.keep_batch_norm()
    _ours.add(learn)


def trained_elsewhere(lesson: Lesson, run: runs.Run, result: TrainResult, kept: Any) -> Any:
    """Make the learner that other processes have trained here, and put it into the namespace.

    Parameters
    ----------
    lesson, run
        The lesson that they ran.
    result
        What came of it there.
    kept
        The weights, and the names of those that were frozen; None where nothing was trained.

    Returns
    -------
    fastai.learner.Learner or None
        With the loaders where the lesson made them; as it was exported where the body did.
    """
    from fastai.learner import load_learner

    from fastmagic.lesson import learner

    if kept is None:
        return None
    if "learn" not in lesson.needed:
        learn = None if result.model is None else load_learner(result.model)
    else:
        device, _ = learner.choose_device()
        settings = replace(lesson.settings, weights="none")
        dls = learner.make_loaders(lesson.settings, lesson.layout, device, lesson.namespace)
        chosen = result.choices.get("precision", "fp32").partition(":")[0]
        learn = learner.make_learner(settings, dls, run.folder, chosen, lesson.namespace)
        learn.model.load_state_dict(kept["model"])
        frozen = set(kept["frozen"])
        for name, parameter in learn.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        lesson.namespace["dls"] = dls
        _ours.add(learn)
    if learn is not None:
        lesson.namespace["learn"] = learn
    return learn


def _tried(lesson: Lesson, run: runs.Run, learn: Any, team: Team) -> Precision:
    """Choose the quicker precision on a processor, once for a run, and set it."""
    from fastmagic.lesson import learner
    from fastmagic.speed import half, trial

    settings = lesson.settings
    known = run.before.get("precision")
    if known in ("fp32", "bf16"):
        chosen = Precision(known, "as this run was begun")
    elif half.is_supported():
        remembered = platforms.cache_folder() / TRIALS
        chosen = Precision(
            *team.from_first(lambda: trial.quicker(learn, settings.size, remembered))
        )
    else:
        chosen = learner.choose_precision(settings, learn.dls.device)
    precision.apply(learn, chosen.name)
    run.about["precision"] = chosen.name
    if not team.rank:
        run.mark("running")
    return chosen


def _look_ahead(lesson: Lesson) -> None:
    """Say what the lesson will take here, from a few real steps that are undone."""
    from fastmagic.lesson.forecast.plan import read_plan
    from fastmagic.lesson.forecast.trial import measure
    from fastmagic.lesson.forecast.words import forecast

    pretrained = lesson.settings.weights != "none"
    numbers = {n: v for n, v in lesson.namespace.items() if isinstance(v, (bool, int, float, str))}
    plan = read_plan(
        lesson.cell.tree,
        frozen=pretrained,
        known=numbers,
        precomputes=not lesson.settings.no_precompute,
    )
    trial, trouble = measure(lesson.namespace["learn"], copies=not lesson.settings.no_cache)
    if trial is None:
        lesson.view.note(f"No estimate of the time: {trouble}.")
        return
    shorter = pretrained and lesson.settings.recipe != "quick"
    quick = read_plan(recipes.body("quick")) if shorter else None
    train, valid = len(lesson.layout.train), len(lesson.layout.valid)
    lesson.forecast = forecast(plan, trial, train, valid, quick)
    for sentence in lesson.forecast.sentences():
        lesson.view.note(sentence)


def _hand_over(lesson: Lesson, after: TrainResult) -> None:
    """Begin with the learner that an earlier cell left."""
    lesson.namespace["learn"], lesson.namespace["dls"] = after.learn, after.dls
    lesson.view.note(f"Going on with the learner that {after.folder.name} left.")
    name = after.choices.get("precision", "").partition(":")[0]
    if name and after.device == "cpu":  # what a processor needs for it went with the cell before
        precision.apply(after.learn, name)
    if name:
        lesson.choices["precision"] = f"{name}: as in the lesson before."


def _adopt(lesson: Lesson, watching: Any) -> None:
    """Protect every learner of an earlier cell that the body uses.

    Its weights are kept as they are now: a run that goes on begins with them again.
    """
    found = earlier_learners(lesson.namespace, lesson.names - {"learn"})
    if lesson.after is not None:
        found = {"learn": lesson.after.learn, **found}
    for name, learn in found.items():
        said = watching.adopt(learn, f"before-{name}")
        if said:
            lesson.view.note(f"`{name}` {said}.")


def earlier_learners(namespace: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """Give the learners among the names that a body uses, each once."""
    from fastai.learner import Learner

    found: dict[str, Any] = {}
    for name in sorted(used):
        value = namespace.get(name)
        if isinstance(value, Learner) and not any(value is one for one in found.values()):
            found[name] = value
    return found


def is_ours(learn: Any) -> bool:
    """Say whether a lesson of this process made this learner."""
    try:
        return learn in _ours
    except TypeError:  # what cannot be referred to weakly is none
        return False
