"""A fit that an earlier process has begun: its state is put back, or dropped, and that is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastmagic.guard import files, state
from fastmagic.guard.anatomy import device_of
from fastmagic.guard.session import Session
from fastmagic.guard.stages import Stage


def renews(saved: Any, kwargs: dict[str, Any]) -> bool:
    """Whether fit shall make a new optimizer: not when the saved one has just been put back."""
    return bool(kwargs.get("reset_opt", False)) and saved is None


def put_back(
    learner: Any, stage: Stage, session: Session, kwargs: dict[str, Any]
) -> dict[str, Any] | None:
    """Put back, and give, what an earlier process left of this fit; None where that is nothing."""
    saved, damaged = state.read(session.states, stage.name, device_of(learner))
    session.team.wait()  # rank 0 writes the next one only when all have read this one
    if damaged:
        rest = "the one before it was taken" if saved else "this fit starts again"
        session.incident(f"a saved state is damaged ({damaged[0][:14]})", rest)
    if saved is None:
        return None
    planned = saved["stage"].epochs_planned
    if planned != stage.epochs_planned:
        _begin_anew(
            session, stage, f"this fit has {stage.epochs_planned} epochs now, not {planned}"
        )
        return None
    if kwargs.get("reset_opt") or not learner.opt:
        learner.create_opt()
    learner.model.to(device_of(learner))
    if not state.fits(learner, saved):
        what = "the saved state is of another network: what makes it has changed since"
        _begin_anew(session, stage, what)
        return None
    state.put_back(learner, saved)
    stage.epochs, stage.resumed = list(saved["stage"].epochs), True
    stage.ended = saved["stage"].ended
    _tell(learner, stage, saved, session)
    return saved


def _begin_anew(session: Session, stage: Stage, why: str) -> None:
    session.incident(why, "this fit and all after it start again from their beginning")
    _forget_from(session.states, stage.number)


def _forget_from(states: Path, number: int) -> None:
    """Drop what an earlier process left of this fit and of all that followed it."""
    for name in files.names(states):
        kind, _, rest = name.partition("-")
        if kind in ("fit", "find") and int(rest.partition("-")[0]) >= number:
            files.drop(states, name)


def _tell(learner: Any, stage: Stage, saved: dict[str, Any], session: Session) -> None:
    """Say how a fit goes on, and remember what is known of it."""
    curves = saved["curves"]
    session.curve.add(stage.number, curves["losses"], curves["lrs"])
    done, planned, step = len(stage.epochs), stage.epochs_planned, saved["progress"]["step"]
    where = f"after epoch {done} of {planned}" if not step else f"in epoch {done + 1}, step {step}"
    session.view.note(
        f"fit {stage.number}: already trained, not trained again"
        if stage.ended
        else f"fit {stage.number}: goes on {where}"
    )
    changed = state.changes(saved["made_on"], state.made_on(learner))
    if changed and not stage.ended:
        session.incident(
            f"the run was begun elsewhere ({changed})",
            "continued: equivalent, but not identical to the bit",
        )
    if stage.accuracy is not None:
        session.validated[saved["validated"]] = stage.accuracy
