"""What a body finds in its namespace: `path`, and `dls` and `learn` where it names them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastmagic import platforms
from fastmagic.lesson import names, precision, recipes, runs
from fastmagic.lesson.forecast.words import forecast
from fastmagic.lesson.precision import Precision
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.start import Lesson
from fastmagic.others import Watch
from fastmagic.ranks.team import Team

NEED_WEIGHTS = ("classic", "pets", "quick")
"""The recipes that first train the head alone, on what a pretrained body sees."""

WEIGHTS = {"imagenet": "ImageNet's weights", "none": "no weights, from scratch"}

TRIALS = "precision.json"
"""Beside the small copies: which precision is the quicker one, of what was tried here."""

OTHER_LOADERS = (
    "The cell makes a `dls` of its own, but its `learn` trains on the one that was ready: write "
    "`learn.dls = dls` after it, or make a `learn` too."
)

_ours: weakref.WeakSet[Any] = weakref.WeakSet()
"""The learners that lessons made in this process: these may be replaced without a word."""


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
    lesson.choices["precision"] = chosen.said
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
        chosen = precision.name_in(result.choices.get("precision", "fp32"))
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

    pretrained = lesson.settings.weights != "none"
    numbers = {n: v for n, v in lesson.namespace.items() if isinstance(v, (bool, int, float, str))}
    plan = read_plan(
        lesson.cell.tree,
        frozen=pretrained,
        known=numbers,
        precomputes=not lesson.settings.no_precompute,
    )
    watch = Watch()
    trial, trouble = measure(lesson.namespace["learn"], copies=not lesson.settings.no_cache)
    if trial is None:
        lesson.view.note(f"No estimate of the time: {trouble}.")
        return
    shorter = pretrained and lesson.settings.recipe != "quick"
    quick = read_plan(recipes.body("quick")) if shorter else None
    train, valid = len(lesson.layout.train), len(lesson.layout.valid)
    lesson.forecast = forecast(plan, trial, train, valid, quick, watch.others())
    for sentence in lesson.forecast.sentences():
        lesson.view.note(sentence)


def _hand_over(lesson: Lesson, after: TrainResult) -> None:
    """Begin with the learner that an earlier cell left."""
    lesson.namespace["learn"], lesson.namespace["dls"] = after.learn, after.dls
    lesson.view.note(f"Going on with the learner that {after.folder.name} left.")
    name = precision.name_in(after.choices.get("precision", ""))
    if name and after.device == "cpu":  # what a processor needs for it went with the cell before
        precision.apply(after.learn, name)
    if name:
        lesson.choices["precision"] = Precision(name, "as in the lesson before").said


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
