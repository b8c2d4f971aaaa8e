"""A lesson's body, run inside the guard, with its monitor; however it ends, the folder says how."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmagic.errors import Stopped
from fastmagic.gpu.monitor import Monitor
from fastmagic.guard.copies import bring_results
from fastmagic.guard.stops import held_to_the_end
from fastmagic.lesson import cell as cells
from fastmagic.lesson import figures, last_look, outcome, quicker, ready, report, runs
from fastmagic.lesson.start import Lesson
from fastmagic.progress import View
from fastmagic.ranks.team import Team

if TYPE_CHECKING:
    from fastmagic.guard.session import Session

BY_HAND = "stopped by hand"
NO_REPORT = "Stopped before the report was written. What was trained is kept in {}."
NOT_KEPT = (
    "what was trained is still there, as `learn` and `result.learn`: make room on the disk, then "
    "`learn.export(FILE)` keeps it"
)


def run_body(
    lesson: Lesson,
    run: runs.Run,
    started: float,
    times: tuple[float | None, float],
    display: Callable[[Any], object] | None,
    speed: quicker.Speed,
    team: Team | None = None,
) -> Any:
    """Run the body; whatever happens, the run's folder says how it ended.

    Parameters
    ----------
    lesson, run
        What to run, and where it is kept.
    started
        When the call began, by `time.perf_counter`.
    times
        The seconds that it may take, and those after which the state is saved.
    display
        Shows the value of the last expression.
    speed
        What makes it quicker.
    team
        The processes that share each batch; rank 0 alone reports.

    Returns
    -------
    TrainResult or None
        None on the other ranks.
    """
    from fastmagic.guard import attach, positions
    from fastmagic.lesson.watched import additions

    team = team or Team()
    session = _session(lesson, run, times, speed, team)
    monitor = Monitor(run.folder / "monitor.csv", tell=_tell_of_a_lost_gpu(session))
    session.memory = monitor.now
    device = "cpu"
    status, why = "failed", ""
    try:
        with (
            session.stops,
            monitor if not team.rank else contextlib.nullcontext(),
            session.copies,
            positions.kept_apart(),
            attach.attached(session, additions()) as watching,
        ):
            if run.before.get("status") == "running":
                session.was_killed(session.life.lost())
            positions.set_position(lesson.settings.seed, "start")
            device = ready.fill_namespace(lesson, run, session, watching)
            speed.say(lesson, device)
            if not team.alone:
                lesson.choices["processes"] = f"{team.size}, each with its share of every batch."
            positions.set_position(lesson.settings.seed, "body")
            drawn = figures.Figures()
            cells.run(lesson.cell, lesson.namespace, display)
            if not team.rank:
                _say_where(drawn.keep(run.folder), drawn.trouble, lesson.view)
            lesson.view.clear_bar()
            _validate_if_needed(lesson, session)
        status = "finished"
    except KeyboardInterrupt as stop:
        status, why = "stopped", _why(stop)
    finally:
        result = None
        with held_to_the_end(Stopped(NO_REPORT.format(run.folder), run.again)):
            if why:
                session.incident(why, "what was trained is kept")
            session.look_at_the_keeper()
            if not team.rank:
                result = outcome.gather(
                    lesson, run, session, monitor, status=status, device=device, started=started
                )
                result = _kept(result, run, session)
                _copy_results(run, lesson.view)
    if team.alone:
        session.stops.pass_on()
    if status == "stopped":
        raise Stopped(
            f"{_said(why)}. What was trained is kept in {run.folder}.",
            run.again,
        ) from None
    return result


def _session(
    lesson: Lesson,
    run: runs.Run,
    times: tuple[float | None, float],
    speed: quicker.Speed,
    team: Team,
) -> Session:
    """Give what watches over the run, and knows what was chosen for it."""
    from fastmagic.guard import remembered
    from fastmagic.guard.session import Session

    settings = lesson.settings
    copy = None if run.copy is None or team.rank else run.copy / "states"
    file = remembered.default_file()
    session = Session(settings.seed, lesson.view, run.states, *times, file, copy, team)
    session.keep_norms, session.precomputes = settings.freeze_bn, not settings.no_precompute
    session.lay = speed.lay
    session.pictures_for = copied_once(team, speed.pictures_for)
    session.batches_for, session.release = speed.batches_for, speed.release
    return session


def copied_once(team: Team, pictures_for: Callable[..., Any]) -> Callable[..., Any]:
    """Let rank 0 make the small copies of a data set, and the others find them."""
    known: list[Any] = []

    def give(loader: Any, numbers: Any = None) -> Any:
        dataset = getattr(loader, "dataset", None)
        if team.alone or any(dataset is one for one in known):
            return pictures_for(loader, numbers)
        known.append(dataset)
        return team.one_first(lambda: pictures_for(loader, numbers))

    return give


def _kept(result: report.TrainResult, run: runs.Run, session: Session) -> report.TrainResult:
    """Write the result and how the run ended; what a full disk refuses is among the incidents."""
    trouble = report.write(result)
    unmarked = run.mark(result.status)
    if not trouble and not unmarked:
        return result
    for what, what_to_do in unmarked:
        session.incident(what, what_to_do, when="at the end")
    result = replace(result, incidents=tuple(session.incidents))
    for what in report.write(result):  # a finished run's states are gone: there may be room now
        session.incident(what, NOT_KEPT, when="at the end")
    return replace(result, incidents=tuple(session.incidents))


def _copy_results(run: runs.Run, view: View) -> None:
    """Keep the report and the model where the copy of the run is."""
    if run.copy is None:
        return
    try:
        bring_results(run.folder, run.copy)
    except OSError as error:
        view.note(
            f"The report could not be copied to {run.copy} ({error.strerror or error}). "
            f"It is in {run.folder}: copy it when that place can be written again."
        )


def _say_where(pictures: list[Path], trouble: str, view: View) -> None:
    if trouble:
        view.note(
            f"A figure could not be saved ({trouble}); it is still open: "
            "plt.gcf().savefig(FILE) saves it elsewhere."
        )
    if pictures:
        names = ", ".join(file.name for file in pictures)
        view.note(f"What the lesson has drawn is in {pictures[0].parent}: {names}.")


def _why(stop: KeyboardInterrupt) -> str:
    from fastmagic.guard.session import TimeIsUp
    from fastmagic.guard.stops import Terminated

    if isinstance(stop, TimeIsUp):
        return "its time was up"
    return "the machine asked it to end" if isinstance(stop, Terminated) else BY_HAND


def _said(why: str) -> str:
    return why.capitalize() if why == BY_HAND else f"Stopped: {why}"


def _validate_if_needed(lesson: Lesson, session: Session) -> None:
    """Make sure that the accuracy reported is that of the final weights."""
    learn = outcome.learner_of(lesson, session)
    if learn is None or not session.stages:
        return
    digest = outcome.digest_of(learn)
    if digest in session.validated and session.told and session.told.digest == digest:
        return
    looking = session.busy_with("validating the final weights")
    with looking, last_look.without_a_trace(learn, session.stops.held):
        learn.validate()


def _tell_of_a_lost_gpu(session: Session) -> Callable[[str], None]:
    def tell(words: str) -> None:
        session.incident(words, "the monitor went on without it; %gpu_check says what to do")

    return tell
