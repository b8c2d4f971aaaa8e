"""A lesson in a process that somebody else's launcher has started: torchrun, accelerate, Slurm."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from fastmagic import progress
from fastmagic.errors import FastMagicError, LessonError
from fastmagic.progress import NestedView, View
from fastmagic.ranks.team import Team, join


def train(
    data: str | Path,
    code: str,
    namespace: dict[str, Any] | None = None,
    *,
    runs_folder: str | Path | None = None,
    time_limit: float | None = None,
    save_every: float = 60,
    cache_limit: float = 10,
    **flags: Any,
) -> Any:
    """Run a lesson as one of the processes of a launcher; started alone, in this one.

    The same command again goes on with a run that was stopped or killed. Each machine gets the data
    set for itself; the runs' folder has to be one that all of them see.

    Parameters
    ----------
    data, code, runs_folder, save_every, cache_limit
        As of `fastmagic.train_lesson1`.
    namespace
        Where the body's names live: a script's `globals()`.
    time_limit
        Minutes after which the run stops by itself, such as those that a queue allows.
    flags
        The lesson's other settings.

    Returns
    -------
    TrainResult or None
        None on all ranks but the first.

    Raises
    ------
    SystemExit
        With what happened and what to do next.

    Examples
    --------
    >>> train("sample", "learn.fit(1)", bs=32)  # doctest: +SKIP
    """
    started = time.perf_counter()
    from fastmagic.lesson import kinds
    from fastmagic.lesson.order import seconds_of
    from fastmagic.lesson.train import train_lesson1

    try:
        times = (seconds_of(time_limit), save_every)
        kinds.check(save_every=save_every, cache_limit=cache_limit)
        if "RANK" not in os.environ:
            return train_lesson1(
                data,
                code,
                namespace=namespace,
                runs_folder=runs_folder,
                time_limit=time_limit,
                save_every=save_every,
                cache_limit=cache_limit,
                show=True,
                **flags,
            )
        team = join(_kind())
        with progress.open_view(not team.rank, "Lesson 1") as view:
            names = {} if namespace is None else namespace
            asked = (data, code, names, flags)
            return _trained(team, view, asked, started, runs_folder, times, cache_limit)
    except FastMagicError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a script's words
        raise SystemExit(1) from None


def _kind() -> str:
    """Say what the processes of this machine train on: a GPU each, where there are so many."""
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return "cuda" if torch.cuda.device_count() >= here else "cpu"


def _trained(
    team: Team,
    view: View,
    asked: tuple[str | Path, str, dict[str, Any], dict[str, Any]],
    started: float,
    runs_folder: str | Path | None,
    times: tuple[float | None, float],
    cache_limit: float,
) -> Any:
    from fastmagic.lesson import quicker, start
    from fastmagic.lesson.order import Order
    from fastmagic.lesson.running import run_body

    data, code, namespace, flags = asked
    order = Order(data, code, flags)
    settings, cell = order.read()
    path = _data(team, order.source, settings.label_pattern, view)
    lesson = start.prepare(settings, path, cell, namespace, view)
    run = _claimed(team, lesson, runs_folder)
    try:
        with quicker.sped_up(lesson, cache_limit) as speed:
            result = run_body(lesson, run, started, times, None, speed, team)
    finally:
        run.release()
    if result is not None:
        view.finish(result.face())
    team.wait()
    return result


def _data(team: Team, source: str, label_pattern: str, view: View) -> Path:
    """Get the data set, one process of each machine before the others."""
    from fastmagic.data.get import get_data

    def get() -> Path:
        return get_data(source, label_pattern=label_pattern, show=NestedView(view))

    first = os.environ.get("LOCAL_RANK", "0") == "0"
    path = get() if first else None
    team.wait()
    return path or get()


def _claimed(team: Team, lesson: Any, runs_folder: str | Path | None) -> Any:
    """Let rank 0 claim the run's folder, and make sure that all see it."""
    from fastmagic.lesson import claiming, runs

    own = claiming.claim(lesson, None, runs_folder, fresh=False) if team.rank == 0 else None

    def told() -> tuple[Any, ...]:
        assert own is not None
        return own.folder.absolute(), own.identity, own.resumed, own.about, own.before

    folder, identity, resumed, about, before = team.from_first(told)
    if not (folder / "run.json").is_file():
        raise LessonError(
            f"This machine does not see the run's folder {folder}.",
            "Start the job in a folder that all machines share, or name one in the script: "
            "runs_folder='/shared/runs' in the call of ranks.train.",
        )
    return own or runs.Run(folder, identity, resumed, "", None, about, before)
