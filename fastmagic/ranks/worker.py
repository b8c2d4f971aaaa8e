"""One of the processes of a training; started by torch's launcher, never by hand.

torchrun --standalone --nproc-per-node 2 -m fastmagic.ranks.worker JOB_FILE
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from fastmagic.errors import FastMagicError
from fastmagic.guard.stops import Terminated
from fastmagic.progress import QuietView, View
from fastmagic.ranks import job as jobs
from fastmagic.ranks.events import Teller
from fastmagic.ranks.team import Team, join

LOOKS_EVERY = 1.0
"""Seconds between two looks whether the notebook's process is there."""

EVENTS, RESULT, WEIGHTS = "events.jsonl", "result.pickle", "weights.pt"
"""What rank 0 leaves in the job's folder, beside how each rank ended."""


def main() -> int:
    """Train, and say how it ended."""
    file = Path(sys.argv[1])
    job = jobs.read(file)
    threading.Thread(target=end_with, args=(job.notebook,), daemon=True).start()
    signal.signal(signal.SIGTERM, terminated)  # also where the guard is not on: the end is said
    team = join(job.kind)
    view: View = QuietView() if team.rank else Teller(file.parent / EVENTS)
    try:
        result = train(job, team, view)
        if result is not None:
            keep(result, file.parent)
        jobs.say_end(file.parent, team.rank, "finished", [])
        team.wait()
        return 0
    except BaseException as error:
        traceback.print_exc()  # for the log; the person sees the short form
        kind, lines = words_of(error)
        jobs.say_end(file.parent, team.rank, kind, lines)
        return 0 if kind == "Stopped" else 1


def terminated(number: int, frame: object) -> None:  # noqa: ARG001 - Python's form
    """End as at Ctrl-C."""
    raise Terminated


def end_with(notebook: int) -> None:
    """Stop, as at a machine's end, when the notebook's process is gone: nobody waits any more."""
    import psutil

    while psutil.pid_exists(notebook):
        time.sleep(LOOKS_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def train(job: jobs.Job, team: Team, view: View) -> Any:
    """Run the lesson's body as one of the team; give the result on rank 0, else None."""
    from fastmagic.lesson import cell as cells
    from fastmagic.lesson import quicker, runs, start
    from fastmagic.lesson.running import run_body

    cells.remember(job.cell)
    lesson = start.prepare(
        job.settings, job.path, job.cell, jobs.namespace_of(job.values), QuietView()
    )
    lesson.view = view
    run = runs.Run(job.folder, job.identity, job.resumed, "", None, job.about, job.before, job.copy)
    times = (job.seconds, job.save_every)
    with quicker.sped_up(lesson, job.cache_limit) as speed:
        return run_body(lesson, run, job.started(), times, _show, speed, team)


def _show(value: object) -> None:
    print(value)  # noqa: T201 - the value of the cell's last expression


def keep(result: Any, folder: Path) -> None:
    """Leave the result and the weights for the notebook's process."""
    import torch

    learn = result.learn
    if learn is not None:
        frozen = [name for name, p in learn.model.named_parameters() if not p.requires_grad]
        weights = {name: value.cpu() for name, value in learn.model.state_dict().items()}
        torch.save({"model": weights, "frozen": frozen}, folder / WEIGHTS)
    bare = dataclasses.replace(result, learn=None, dls=None)
    (folder / RESULT).write_bytes(pickle.dumps(bare))


def words_of(error: BaseException) -> tuple[str, list[str]]:
    """Give an error's name and the lines that a person should see."""
    if isinstance(error, FastMagicError):
        return type(error).__name__, [error.what, error.next_step]
    if hasattr(error, "_render_traceback_"):
        return type(error).__name__, list(error._render_traceback_())
    return type(error).__name__, [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    sys.exit(main())
