"""A lesson in several processes of this machine, and what they trained brought into this one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastmagic.errors import Stopped
from fastmagic.guard.stops import held_to_the_end
from fastmagic.lesson import cell as cells
from fastmagic.lesson import export, ready, runs
from fastmagic.lesson.carried import PROVIDED
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.start import Lesson
from fastmagic.ranks import launch
from fastmagic.ranks.job import Job, sendable

UNFIT = "This lesson cannot be run in several processes"
"""How the refusal of a body begins."""


def check(cell: cells.Cell) -> None:
    """Make sure that a body is Python that other processes can run.

    Raises
    ------
    BadInput
        Where a line of it is IPython's.
    """
    export.check_python(cell, UNFIT)


def values_of(lesson: Lesson) -> dict[str, Any]:
    """Give what the body needs of the notebook's names, by value.

    Raises
    ------
    BadInput
        For a value that cannot be sent to another process, by its name.
    """
    return sendable(lesson.needed - PROVIDED, lesson.namespace)


def run(
    lesson: Lesson,
    claimed: runs.Run,
    started: float,
    team: tuple[str, int],
    values: dict[str, Any],
    times: tuple[float | None, float],
    cache_limit: float,
) -> TrainResult:
    """Run the body in several processes, and bring what they trained into this one.

    Parameters
    ----------
    lesson, claimed
        What to run, and where it is kept.
    started
        When the call began, by `time.perf_counter`.
    team
        On what, and in how many processes: `launch.count` gives it.
    values
        What `values_of` gave.
    times
        The seconds that it may take, and those after which the state is saved.
    cache_limit
        GB that the small copies may take.
    """
    kind, size = team
    job = Job(
        kind,
        lesson.settings,
        lesson.cell,
        lesson.layout.path,
        values,
        claimed.folder,
        claimed.identity,
        claimed.resumed,
        claimed.about,
        claimed.before,
        claimed.copy,
        *times,
        cache_limit,
        time.time() - (time.perf_counter() - started),
    )
    what = "GPUs, a process on each" if kind == "cuda" else "processes on the CPU"
    lesson.view.note(f"Training on {size} {what}; each takes its share of every batch.")
    result, kept = launch.run(job, size, lesson.view)
    finished = Stopped(launch.WHOLE.format(claimed.folder), launch.LOAD)
    with held_to_the_end(finished):
        learn = ready.trained_elsewhere(lesson, claimed, result, kept)
    return replace(result, learn=learn, dls=getattr(learn, "dls", None))
