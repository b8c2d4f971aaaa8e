"""Runs a lesson in processes that are killed at random, until it ends; for a test and a benchmark.

The processes are forked from one that has imported fastai and done nothing else, so that each of
them begins at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

BODY = """
import torch
from fastai.callback.core import Callback

class Note(Callback):
    order = 90
    def after_batch(self):
        watch = self.learn.watch
        what = "train" if self.training else "validate"
        if watch.stage is None:
            what = watch.session.doing or "predict"
        tell(watch.stage.number if watch.stage else 0, self.epoch, self.iter, what)

learn.add_cb(Note())
gap(1)
learn.fit_one_cycle(2, 1e-3)
gap(2)
worst = learn.recorder.values[-1][1]
found = learn.lr_find(show_plot=False, num_it=16)
gap(3)
if worst > 0:
    learn.unfreeze()
drawn = torch.rand(1).item()
gap(4)
learn.fit_sgdr(2, 1, lr_max=slice(found.valley / 10, found.valley))
gap(5)
seen = [float(v) for v in learn.validate()]
gap(6)
learn.export("middle.pkl")
gap(7)
learn.fit(1, 1e-4 + drawn * 1e-3)
gap(8)
preds, targets = learn.tta(n=1)
gap(9)
"""

GAPS = range(1, 10)


@dataclass
class Ended:
    """How one process ended, and what it had told by then: (time, fit, epoch, step, what)."""

    killed: bool
    told: list[tuple[float, int, int, int, str]]
    answer: dict | None
    writing: bool = False  # the kill left a state half written


def process(
    folder: Path, runs: Path, *, kill_after: float | None, gap: int = 0, **options: object
) -> Ended:
    """Run the lesson once in a process of its own, and kill it after so many seconds.

    The seconds count from its first step. Or it kills itself in the gap of this number.
    """
    log, answer = runs.parent / "log", runs.parent / "answer"
    log.unlink(missing_ok=True)
    answer.unlink(missing_ok=True)
    left_before = _half_written(runs)
    child = os.fork()
    if child == 0:
        try:
            _run(folder, runs, log, answer, gap, options)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    began = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if began is None and log.exists() and log.stat().st_size:
            began = time.monotonic()
        if kill_after is not None and began and time.monotonic() - began >= kill_after:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the lesson failed"
    told = [tuple(json.loads(line)) for line in _lines(log)]
    given = json.loads(answer.read_text()) if answer.exists() else None
    writing = os.WIFSIGNALED(status) and not _half_written(runs) <= left_before
    return Ended(os.WIFSIGNALED(status), told, given, writing)


def _half_written(runs: Path) -> set[tuple[str, int]]:
    """Give the states that are half written, each with when it was begun or gone on with."""
    return {(str(file), file.stat().st_mtime_ns) for file in runs.rglob("*.partial")}


def until_it_ends(
    folder: Path, runs: Path, chance: random.Random, seconds: float, most: int, **options: object
) -> list[Ended]:
    """Kill the lesson again and again, at most so often, and then let it end."""
    ends = []
    while len(ends) < most:
        ends.append(process(folder, runs, kill_after=chance.uniform(0, seconds), **options))
        if not ends[-1].killed:
            return ends
    ends.append(process(folder, runs, kill_after=None, **options))
    return ends


def _lines(log: Path) -> list[str]:
    """Give the whole lines: the last may have been cut by the kill."""
    if not log.exists():
        return []
    return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _run(folder: Path, runs: Path, log: Path, answer: Path, gap: int, options: dict) -> None:
    import torch

    import fastmagic

    torch.set_num_threads(1)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(*where: object) -> None:
        os.write(descriptor, f"{json.dumps([time.time(), *where])}\n".encode())

    def die(number: int) -> None:
        if number == gap:
            os.kill(os.getpid(), signal.SIGKILL)

    names = {"tell": tell, "gap": die}
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}
    result = fastmagic.train_lesson1(
        folder, BODY, runs_folder=runs, namespace=names, **{**small, **options}
    )
    answer.write_text(
        json.dumps(
            {
                "sha256": result.weights_sha256,
                "drawn": names["drawn"],
                "found": names["found"].valley,
                "seen": names["seen"],
                "tta": result.accuracy_tta,
                "incidents": [str(one) for one in result.incidents],
            }
        )
    )
