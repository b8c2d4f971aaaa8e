"""The verb `train_lesson1`: from a data set's name to a trained model and a report.

order -> data -> layout -> loaders and learner -> the body, watched -> result, in this order and no
other. Beside it stand the two that do not train: `show_lesson` and `export_lesson`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmagic import progress
from fastmagic.data.get import get_data
from fastmagic.errors import BadInput, Stopped
from fastmagic.gpu.monitor import Monitor
from fastmagic.guard.copies import bring_results
from fastmagic.lesson import cell as cells
from fastmagic.lesson import figures, outcome, quicker, report, runs, start
from fastmagic.lesson.order import Order
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.settings import Settings
from fastmagic.lesson.start import Lesson
from fastmagic.progress import NestedView, View


def train_lesson1(
    data: str | Path = "dogscats",
    code: str | None = None,
    *,
    recipe: str | None = None,
    arch: str | None = None,
    weights: str | None = None,
    normalize: str | None = None,
    size: int | None = None,
    bs: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    progressive: bool | None = None,
    seed: int | None = None,
    valid_pct: float | None = None,
    label_pattern: str | None = None,
    workers: int | None = None,
    precision: str | None = None,
    freeze_bn: bool | None = None,
    no_precompute: bool | None = None,
    no_cache: bool | None = None,
    no_channels_last: bool | None = None,
    no_allocator: bool | None = None,
    cache_limit: float = 10,
    after: TrainResult | None = None,
    time_limit: float | None = None,
    save_every: float = 60,
    name: str | None = None,
    runs_folder: str | Path | None = None,
    copies: str | Path | None = None,
    fresh: bool = False,
    cache: str | Path | None = None,
    namespace: dict[str, Any] | None = None,
    show: bool | View = False,
    first_line: int = 1,
    transform: Callable[[str], str] | None = None,
    display: Callable[[Any], object] | None = None,
) -> TrainResult:
    """Run lesson 1 on a data set, by a recipe or by code of your own.

    The same call again goes on with a run that was stopped; one that finished starts anew.

    Parameters
    ----------
    data
        A catalogue name, an address, or the path of an archive or folder of pictures.
    code
        Ordinary fastai code with `path`, `dls` and `learn` ready; without it the recipe runs.
    recipe, arch, weights, normalize, size, bs, epochs, lr, seed, valid_pct, label_pattern
        As in `fastmagic.lesson.settings.Settings`; None takes the data set's own default.
    progressive, workers, precision, freeze_bn
        As in `Settings` too.
    no_precompute, no_cache, no_channels_last, no_allocator
        Each leaves out one of the things that make the lesson quicker; as in `Settings`.
    cache_limit
        GB that the small copies of all data sets' pictures may take.
    after
        A finished lesson, whose learner this one goes on with; None for a fresh learner.
    time_limit
        Minutes after which the run stops by itself, to be gone on with later; None for no limit.
    save_every
        Seconds after which the state is saved within an epoch; after each epoch it is saved anyway.
    name
        The run's name; the data set, recipe, date and time where there is none.
    runs_folder
        The folder that the run's folder is made in.
    copies
        A folder in which the state is kept a second time, with the report and the model in the end:
        another machine that has it goes on from there. On Colab a mounted Drive's by default.
    fresh
        Begin anew, also where the same call was stopped before.
    cache
        As in `get_data`: a folder that keeps what is downloaded.
    namespace
        Where the body's names live; a new one by default.
    show
        Whether to show progress and the report, or the view that shows them.
    first_line, transform, display
        For a notebook: where the body begins in its cell, what turns IPython's syntax into Python,
        and what shows the value of the last expression.

    Returns
    -------
    TrainResult
        With accuracy, stages, the run's folder, and fastai's own `learn` and `dls`.

    Raises
    ------
    BadInput, DataError, LessonError
        For what cannot be used, had or started; nothing is lost.
    Stopped
        At Ctrl-C or the stop button; the same call goes on.

    Examples
    --------
    >>> import fastmagic
    >>> result = fastmagic.train_lesson1("sample", "learn.fit(1)")  # doctest: +SKIP
    >>> result.learn.predict("cat.png")  # doctest: +SKIP
    """
    started = time.perf_counter()
    flags = {
        "recipe": recipe,
        "arch": arch,
        "weights": weights,
        "normalize": normalize,
        "size": size,
        "bs": bs,
        "epochs": epochs,
        "lr": lr,
        "progressive": progressive,
        "seed": seed,
        "valid_pct": valid_pct,
        "label_pattern": label_pattern,
        "workers": workers,
        "precision": precision,
        "freeze_bn": freeze_bn,
        "no_precompute": no_precompute,
        "no_cache": no_cache,
        "no_channels_last": no_channels_last,
        "no_allocator": no_allocator,
    }
    if after is not None and after.learn is None:
        raise BadInput("The lesson to go on from left no learner.", "Leave --continue out.")
    order = Order(data, code, flags, after, first_line, transform)
    settings, cell = order.read()
    seconds = _seconds(time_limit)
    with _alone(), progress.open_view(show, "Lesson 1") as view:
        start.require_fastai()
        with _stoppable("Nothing was begun yet; run the same cell again."):
            path = get_data(
                order.source,
                label_pattern=settings.label_pattern,
                cache=cache,
                show=NestedView(view),
            )
            lesson = start.prepare(
                settings, path, cell, {} if namespace is None else namespace, view, after
            )
        run = start.claim(lesson, name, runs_folder, fresh=fresh, copies=copies)
        try:
            with quicker.sped_up(lesson, cache_limit) as speed:
                result = _run(lesson, run, started, (seconds, save_every), display, speed)
        finally:
            run.release()
        view.finish(result.face())
        return result


def show_lesson(order: Order, others: Mapping[str, object] | None = None) -> str:
    """Give the cell that runs this lesson, with its recipe's code in it, ready to edit.

    Parameters
    ----------
    order
        The lesson.
    others
        Further flags for the cell's first line, such as the run's name.

    Raises
    ------
    BadInput
        Where the cell has a body already, or a flag cannot be used.
    """
    from fastmagic.lesson.show import cell_text

    if order.own_body:
        raise BadInput("This cell shows its code already.", "Leave --show out to run it.")
    settings, cell = order.read()
    return cell_text(settings, order.defaults, cell.source, others=others)


def export_lesson(
    order: Order,
    file: str | Path,
    *,
    namespace: dict[str, Any] | None = None,
    cache: str | Path | None = None,
    show: bool | View = False,
) -> Path:
    """Write the lesson as a plain fastai script or notebook that needs no fastmagic; train nothing.

    Parameters
    ----------
    order
        The lesson.
    file
        Where to: a path that ends in `.py` or `.ipynb`.
    namespace
        Where the names are found that the body uses; they are written along.
    cache, show
        As in `get_data`.

    Raises
    ------
    BadInput
        For what cannot be written down, by its name.
    """
    from fastmagic.lesson import export, learner

    settings, cell = order.read()
    _check_exportable(settings)
    target = export.check_target(file)
    with progress.open_view(show, "Lesson 1, exported") as view:
        start.require_fastai()
        path = get_data(
            order.source, label_pattern=settings.label_pattern, cache=cache, show=NestedView(view)
        )
        layout = start.laid_out(settings, path)
        chosen = learner.choose_precision(settings, learner.choose_device()[0])
        settings = replace(settings, precision=chosen.name)
        export.write(target, settings, layout, cell, {} if namespace is None else namespace)
        how = f"python {target.name}" if target.suffix == ".py" else "open it in Jupyter"
        view.note(f"Written: {target}. It needs fastai, not fastmagic: {how}.")
    return target


def _check_exportable(settings: Settings) -> None:
    """Refuse what acts while a cell runs, and is not in its body."""
    instead = {
        "freeze_bn": "Write learn.keep_batch_norm() into the body, after learn.unfreeze() too.",
        "no_precompute": "Take `with learn.precomputed():` out of the body (--show gives it).",
    }
    for name, what_to_do in instead.items():
        if getattr(settings, name):
            flag = name.replace("_", "-")
            raise BadInput(
                f"--{flag} does not go with --export: it acts while a cell runs.", what_to_do
            )


def _seconds(minutes: float | None) -> float | None:
    if minutes is None:
        return None
    if not minutes > 0:
        raise BadInput(f"--time-limit {minutes:g} is out of range.", "Give minutes, such as 600.")
    return 60 * minutes


def _run(
    lesson: Lesson,
    run: runs.Run,
    started: float,
    times: tuple[float | None, float],
    display: Callable[[Any], object] | None,
    speed: quicker.Speed,
) -> TrainResult:
    """Run the body; whatever happens, the run's folder says how it ended."""
    from fastmagic.guard import attach, positions, remembered
    from fastmagic.guard.session import Session
    from fastmagic.lesson.watched import additions

    copy = None if run.copy is None else run.copy / "states"
    session = Session(
        lesson.settings.seed, lesson.view, run.states, *times, remembered.default_file(), copy
    )
    session.keep_norms = lesson.settings.freeze_bn
    session.precomputes = not lesson.settings.no_precompute
    session.channels_last, session.pictures_for = speed.channels_last, speed.pictures_for
    monitor = Monitor(run.folder / "monitor.csv", tell=_tell_of_a_lost_gpu(session))
    session.memory = monitor.now
    device = "cpu"
    status, why = "failed", ""
    try:
        with (
            session.stops,
            monitor,
            session.copies,
            positions.kept_apart(),
            attach.attached(session, additions()) as watching,
        ):
            if run.before.get("status") == "running":
                session.was_killed(session.life.lost())
            positions.set_position(lesson.settings.seed, "start")
            device = start.fill_namespace(lesson, run, session, watching)
            speed.say(lesson, device)
            positions.set_position(lesson.settings.seed, "body")
            drawn = figures.Figures()
            cells.run(lesson.cell, lesson.namespace, display)
            _say_where(drawn.keep(run.folder), lesson.view)
            lesson.view.clear_bar()
            _validate_if_needed(lesson, session)
        status = "finished"
    except KeyboardInterrupt as stop:
        status = "stopped"
        why = _why(stop)
        session.incident(why, "what was trained is kept")
    finally:
        session.look_at_the_keeper()
        result = outcome.gather(
            lesson, run, session, monitor, status=status, device=device, started=started
        )
        for trouble in report.write(result):
            lesson.view.note(trouble)
        run.mark(status)
        _copy_results(run, lesson.view)
    session.stops.pass_on()
    if status == "stopped":
        raise Stopped(
            f"Stopped ({why}). What was trained is kept in {run.folder}.",
            "Run the same cell again: it goes on where it stopped.",
        ) from None
    return result


def _copy_results(run: runs.Run, view: View) -> None:
    """Keep the report and the model where the copy of the run is."""
    if run.copy is None:
        return
    try:
        bring_results(run.folder, run.copy)
    except OSError as error:
        view.note(f"The report could not be copied to {run.copy} ({error.strerror or error}).")


def _say_where(pictures: list[Path], view: View) -> None:
    if pictures:
        names = ", ".join(file.name for file in pictures)
        view.note(f"What the lesson has drawn is in {pictures[0].parent}: {names}.")


def _why(stop: KeyboardInterrupt) -> str:
    from fastmagic.guard.session import TimeIsUp
    from fastmagic.guard.stops import Terminated

    if isinstance(stop, TimeIsUp):
        return "its time was up"
    return "the machine asked it to end" if isinstance(stop, Terminated) else "stopped by hand"


def _validate_if_needed(lesson: Lesson, session: Any) -> None:
    """Make sure that the accuracy reported is that of the final weights."""
    learn = outcome.learner_of(lesson, session)
    if learn is None or not session.stages:
        return
    digest = outcome.digest_of(learn)
    if digest in session.validated and session.told and session.told.digest == digest:
        return
    with session.busy_with("validating the final weights"):
        learn.validate()


def _tell_of_a_lost_gpu(session: Any) -> Callable[[str], None]:
    def tell(words: str) -> None:
        session.incident(words, "the monitor went on without it; %gpu_check says what to do")

    return tell


_running = threading.Lock()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Refuse a lesson within a lesson's body: both would watch the same learners."""
    if not _running.acquire(blocking=False):
        raise BadInput(
            "A lesson is running already, and cannot run another one.",
            "Give it a cell of its own; --show puts a recipe's code into a cell.",
        )
    try:
        yield
    finally:
        _running.release()


@contextlib.contextmanager
def _stoppable(next_step: str) -> Iterator[None]:
    """Turn Ctrl-C into `Stopped` with what to do next."""
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt:
        sys.stdout.flush()
        raise Stopped("Stopped.", next_step) from None
