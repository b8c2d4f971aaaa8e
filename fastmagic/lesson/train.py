"""The verb `train_lesson1`: from a data set's name to a trained model and a report.

order -> data -> layout -> loaders and learner -> the body, watched -> result, in this order and no
other. What does not train stands in `instead`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastmagic import platforms, progress
from fastmagic.errors import BadInput, Stopped
from fastmagic.guard.stops import held_to_the_end
from fastmagic.lesson import claiming, kinds, quicker, running, sameness, start, together
from fastmagic.lesson.order import DATA, Order, seconds_of
from fastmagic.lesson.report import TrainResult
from fastmagic.progress import Show
from fastmagic.ranks import launch

AS_IT_IS = "Nothing is lost: `learn` is what the lesson has trained."
"""What is said to who presses stop twice while the report is shown."""

DATA_AS_BEGUN = "The data set is {}, with which {} was begun. --data takes another."
"""What is said where none was named, and the same cell was not finished."""


def train_lesson1(
    data: str | Path | None = None,
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
    no_gpu_cache: bool | None = None,
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
    dest: str | Path | None = None,
    namespace: dict[str, Any] | None = None,
    show: Show = False,
    first_line: int = 1,
    transform: Callable[[str], str] | None = None,
    display: Callable[[Any], object] | None = None,
    gpus: str | int | None = None,
    processes: int | None = None,
) -> TrainResult:
    """Run lesson 1 on a data set, by a recipe or by code of your own.

    The same call again goes on with a run that was stopped; one that finished starts anew.

    Parameters
    ----------
    data
        A catalogue name, an address, or the path of an archive or folder of pictures; None for that
        of `after`, or of the same call that was not finished, else for dogscats.
    code
        Ordinary fastai code with `path`, `dls` and `learn` ready; without it the recipe runs.
    recipe, arch, weights, normalize, size, bs, epochs, lr, seed, valid_pct, label_pattern
        As in `fastmagic.lesson.settings.Settings`; None takes the data set's own default.
    progressive, workers, precision, freeze_bn
        As in `Settings` too.
    no_precompute, no_cache, no_gpu_cache, no_channels_last, no_allocator
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
    dest
        As in `get_data`: the folder that data sets are put into; fastai's own by default.
    namespace
        Where the body's names live; a new one by default.
    show
        Whether to show progress and the report, in which style, or the view that shows them.
    first_line, transform, display
        For a notebook: where the body begins in its cell, what turns IPython's syntax into Python,
        and what shows the value of the last expression.
    gpus
        Train on so many GPUs of this machine, or `all`, in a process each.
    processes
        Train in so many processes on the CPU.

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
        "no_gpu_cache": no_gpu_cache,
        "no_channels_last": no_channels_last,
        "no_allocator": no_allocator,
    }
    kinds.check(data=data, code=code, name=name, fresh=fresh, save_every=save_every)
    kinds.check(runs_folder=runs_folder, copies=copies, cache_limit=cache_limit)
    processes = kinds.plain("processes", processes)
    _check_after(after, alone=gpus is None and processes is None)
    known = data or (after.data if after else None)
    order = Order(known or DATA, code, flags, after, first_line, transform)
    begun = None if known else _begun(order, runs_folder, copies)
    if begun is not None:
        order = begun[0]
    settings, cell = order.read()
    seconds = seconds_of(time_limit)
    _check_limit(cache_limit)
    with _alone(), progress.open_view(show, "Lesson 1") as view:
        with _stoppable("Nothing was begun yet; run the same cell again."):
            start.require_fastai()
            team = launch.count(None if gpus is None else str(gpus), processes)
            if team is not None:
                together.check(cell)
            if begun is not None:
                view.note(DATA_AS_BEGUN.format(order.data, begun[1]))
            if after is None:
                start.check_architecture(settings, namespace)
            path = start.pictures_of(order, settings, cache, dest, view)
            names = {} if namespace is None else namespace
            lesson = start.prepare(settings, path, cell, names, view, after, cache_limit)
            values = {} if team is None else together.values_of(lesson)
        with _stoppable("What was trained before is kept; run the same cell again."):
            run = claiming.claim(lesson, name, runs_folder, fresh=fresh, copies=copies)
        try:
            times = (seconds, save_every)
            if team is not None:
                result = together.run(lesson, run, started, team, values, times, cache_limit)
            else:
                with quicker.sped_up(lesson, cache_limit) as speed:
                    result = running.run_body(lesson, run, started, times, display, speed)
        finally:
            run.release()
        with held_to_the_end(Stopped(f"Stopped. The report is in {result.folder}.", AS_IT_IS)):
            view.finish(result.face())
        return result


def _check_after(after: Any, *, alone: bool) -> None:
    """Refuse to go on with a learner that cannot be had."""
    if after is None:
        return
    if not isinstance(after, TrainResult):
        raise BadInput(
            f"after is {after!r}, which is no result of a lesson.",
            "Give what train_lesson1 returned, or leave it out.",
        )
    if not alone:
        raise BadInput(
            "--continue does not go with several processes: the learner is in this one.",
            "Put both lessons into one cell.",
        )
    if after.learn is None:
        raise BadInput("The lesson to go on from left no learner.", "Leave --continue out.")


def _begun(
    order: Order, runs_folder: str | Path | None, copies: str | Path | None
) -> tuple[Order, str] | None:
    """Give the order of the same cell that was not finished, and the name of its run."""
    folders = platforms.run_folders(platforms.where(), runs_folder, copies)
    return sameness.begun_with(order, *folders)


def _check_limit(cache_limit: float) -> None:
    if not cache_limit >= 0:
        raise BadInput(
            f"--cache-limit {cache_limit} is out of range.", kinds.to_give("cache_limit")
        )


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
