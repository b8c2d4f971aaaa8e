"""What a process of a training is given, and what it gives back: by value, in files of our own.

cloudpickle sends what a notebook's cell needs: numbers, tensors, functions and classes that live
only in the notebook. It is read by our own children alone, from a folder that only this user can
open.
"""

from __future__ import annotations

import builtins
import json
import os
import pickle
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic.errors import BadInput, LessonError, first_line
from fastmagic.lesson.cell import Cell
from fastmagic.lesson.names import functions_of
from fastmagic.lesson.settings import Settings


@dataclass(frozen=True)
class Job:
    """One training, as each of its processes has to know it.

    Attributes
    ----------
    kind
        `cuda` where each process has a GPU of its own, else `cpu`.
    settings, cell, path
        The lesson, and where its pictures are.
    values
        What the body needs of the notebook's names.
    folder, identity, resumed, about, before, copy
        As of `lesson.runs.Run`.
    seconds, save_every, cache_limit
        As of `train_lesson1`, the first in seconds.
    began
        When the call began, by `time.time`, which all processes have in common.
    notebook
        The number of the notebook's process.
    """

    kind: str
    settings: Settings
    cell: Cell
    path: Path
    values: dict[str, Any]
    folder: Path
    identity: str
    resumed: bool
    about: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    copy: Path | None = None
    seconds: float | None = None
    save_every: float = 60
    cache_limit: float = 10
    began: float = field(default_factory=time.time)
    notebook: int = field(default_factory=os.getpid)

    def started(self) -> float:
        """Say when the call began by this process's own `time.perf_counter`."""
        return time.perf_counter() - max(0.0, time.time() - self.began)

    def write(self, folder: Path) -> Path:
        """Write it down for the processes; give the file."""
        file = folder / "job.pickle"
        file.write_bytes(_cloudpickle().dumps(self))
        return file


def read(file: Path) -> Job:
    """Read what `Job.write` wrote; for the processes that we start alone."""
    job = pickle.loads(file.read_bytes())  # noqa: S301 - our own parent wrote it
    if not isinstance(job, Job):
        raise TypeError(f"{file} holds no job")
    return job


def namespace_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the namespace that sent functions look their names up in, with all values in it.

    cloudpickle makes one for all functions of a notebook: there the body has to run, so that a
    function that uses `learn` finds it.
    """
    namespace: dict[str, Any] = {}
    for function in (one for value in values.values() for one in functions_of(value)):
        module = sys.modules.get(function.__module__)
        if module is None or vars(module) is not function.__globals__:
            namespace = function.__globals__
            break
    namespace.update(values)
    return namespace


def sendable(names: Iterable[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Take what can be sent of the names that a body needs.

    Raises
    ------
    BadInput
        For a value that cannot, by its name.
    """
    pickler = _cloudpickle()
    there = {**_of_ipython(), **namespace}
    found = {}
    for name in sorted(names):
        if name not in there:
            continue
        try:
            _refuse_learners(there[name])
            pickler.dumps(there[name])
        except Exception as error:  # pickle raises what the person's own objects raise
            raise BadInput(
                f"`{name}` cannot be sent to other processes ({first_line(error)}).",
                "Make it in the cell's own body, or run the cell in one process.",
            ) from None
        found[name] = there[name]
    return found


def _of_ipython() -> dict[str, Any]:
    """Give what IPython has put among Python's own names, which other processes lack."""
    display = getattr(builtins, "display", None)
    return {} if display is None else {"display": display}


def _refuse_learners(value: Any) -> None:
    from fastai.learner import Learner

    if isinstance(value, Learner):
        raise TypeError("it is a learner, made in this process")


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError:
        raise LessonError(
            "Several processes need the package cloudpickle, which is not installed here.",
            "%pip install cloudpickle, then this cell again.",
        ) from None
    return cloudpickle


def ended(folder: Path, rank: int) -> Path:
    """Give the file in which a process says how it ended."""
    return folder / f"ended-{rank}.json"


def say_end(folder: Path, rank: int, kind: str, lines: list[str]) -> None:
    """Say how this process ended: `finished`, or the name of an error with its words."""
    ended(folder, rank).write_text(json.dumps([kind, lines]), encoding="utf-8")


def read_end(folder: Path, rank: int) -> tuple[str, list[str]] | None:
    """Read how a process ended; None where it did not say."""
    try:
        kind, lines = json.loads(ended(folder, rank).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(kind), [str(line) for line in lines]
