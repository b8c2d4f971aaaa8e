"""Starts the processes of a training by torch's own launcher, follows them, and says how it ended.

The notebook's process never becomes one of them: it may have used the GPU already, and a process
that has cannot be forked. It waits, shows what rank 0 tells, passes a stop on, and takes the
result.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fastmagic import child, errors, platforms
from fastmagic.errors import BadInput, LessonError, Stopped
from fastmagic.guard.stops import held_to_the_end, put_off
from fastmagic.progress import View
from fastmagic.ranks import job as jobs
from fastmagic.ranks.events import Replay
from fastmagic.ranks.worker import EVENTS, RESULT, WEIGHTS

TICK = 0.1
"""Seconds between two looks at what is told."""

PATIENCE = 60.0
"""Seconds that the processes get to save and end when they are stopped."""

MARK, LOCK = "fastmagic-", ".lock"
"""How the name of a job's folder begins, and the file in it that its notebook holds."""

LOG = "processes.log"
"""In the run's folder: what the processes wrote to their standard error."""

WHOLE = "Stopped. The training is finished; its report and its model are in {}."
LOAD = "fastai's load_learner reads the file export.pkl there."
"""What a second press of stop says while the result is brought."""

REPORTED = re.compile(r"rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", re.DOTALL)
"""In torch's report of a failure (torch 2.11 to 2.15, `multiprocessing/errors`)."""


def count(gpus: str | None, processes: int | None) -> tuple[str, int] | None:
    """Say on what, and in how many processes, a lesson is to run; None for in this one.

    Parameters
    ----------
    gpus
        What `--gpus` was given: a number, or `all`.
    processes
        What `--processes` was given.

    Raises
    ------
    BadInput
        For what cannot be, or more GPUs than there are.

    Examples
    --------
    >>> count(None, 2)
    ('cpu', 2)
    >>> count(None, None) is None
    True
    """
    if gpus is None and processes is None:
        return None
    if gpus is not None and processes is not None:
        raise BadInput(
            "--gpus does not go with --processes.",
            "Give --gpus for a process on each GPU, or --processes for processes on the CPU.",
        )
    if processes is not None:
        if processes < 1:
            raise BadInput(f"--processes {processes} is out of range.", "Give 2, say.")
        return "cpu", processes
    with put_off():
        import torch

    there = torch.cuda.device_count()
    wanted = there if gpus == "all" else _number(gpus or "")
    if there == 0 or wanted > there:
        has = "no GPU" if there == 0 else "1 GPU" if there == 1 else f"{there} GPUs"
        raise BadInput(
            f"--gpus {gpus}: this machine has {has} that PyTorch can use.",
            "%gpu_check says what is there. Leave --gpus out to train on one, or on the CPU.",
        )
    return "cuda", wanted


def _number(words: str) -> int:
    try:
        found = int(words)
        if found < 1:
            raise ValueError
    except ValueError:
        raise BadInput(f"--gpus {words!r} is no number of GPUs.", "Give 2, say, or all.") from None
    return found


def run(job: jobs.Job, size: int, view: View) -> tuple[Any, dict[str, Any] | None]:
    """Run a job in so many processes; give its result, and the weights with what is frozen.

    Parameters
    ----------
    job
        The training.
    size
        How many processes.
    view
        Shows what rank 0 tells.

    Raises
    ------
    Stopped
        At Ctrl-C or the stop button, and where the run's time is up.
    FastMagicError
        What a process raised, or that one was killed, with its number.
    """
    with own_folder() as folder:
        file = job.write(folder)
        log = job.folder / LOG
        with log.open("w", encoding="utf-8") as errors_of_all:
            process = child.start_process(
                command(size, file), environment(job.kind, size), errors_of_all.fileno()
            )
            stopped = _followed(process, folder, view)
        if all(_finished(folder, rank) for rank in range(size)):  # a press then came too late
            with held_to_the_end(Stopped(WHOLE.format(job.folder), LOAD)):
                return _result(folder)
        raise _error(folder, size, log, process.returncode, stopped=stopped)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Give a job's folder, for this user alone; the folders of killed notebooks are removed.

    Its lock is held as long as this process lives and the job goes on.

    Examples
    --------
    >>> with own_folder() as folder:
    ...     folder.is_dir()
    True
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=MARK) as name, FileLock(Path(name) / LOCK):
        yield Path(name)


def _sweep(temporary: Path) -> None:
    """Remove the jobs' folders that nobody holds any more."""
    for folder in temporary.glob(f"{MARK}*"):
        with contextlib.suppress(OSError, Timeout):
            if _is_a_job_of_ours(folder):
                with FileLock(folder / LOCK).acquire(timeout=0):
                    pass  # nobody holds it, and nobody takes it a second time
                shutil.rmtree(folder, ignore_errors=True)


def _is_a_job_of_ours(folder: Path) -> bool:
    """Say whether this user has made a folder for a job; its lock was held before it had one."""
    ours = os.name == "nt" or folder.lstat().st_uid == os.getuid()  # others could lay links in it
    return ours and all((folder / name).is_file() for name in (LOCK, "job.pickle"))


def command(size: int, file: Path) -> list[str]:
    """Give the command that starts the processes: torch's elastic launch, without a second try."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", str(size), "--max-restarts", "0"]
    launcher += ["--log-dir", str(file.parent / "launcher")]  # else a folder that nobody removes
    return [*launcher, "-m", "fastmagic.ranks.worker", str(file)]


def environment(kind: str, size: int, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give what the processes' environment has beside this one's.

    Parameters
    ----------
    kind
        As of `Job`.
    size
        How many processes share the cores.
    env
        This process's environment.
    """
    env = os.environ if env is None else env
    found = {
        "OMP_NUM_THREADS": env.get(
            "OMP_NUM_THREADS", str(max(1, platforms.usable_cores() // size))
        ),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "MPLBACKEND": "Agg",
    }
    if kind == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    return found


def _followed(process: subprocess.Popen[str], folder: Path, view: View) -> bool:
    """Show what is told until the processes have ended; say whether they were stopped."""
    replay = Replay(folder / EVENTS, view)
    printed: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, printed), daemon=True)
    reader.start()

    def show() -> None:  # in this thread alone, which the view belongs to
        while not printed.empty():
            view.note(printed.get())
        replay.go_on()

    def show_the_rest() -> None:
        reader.join(5)
        if process.stdout is not None:
            process.stdout.close()
        show()
        view.clear_bar()

    try:
        while process.poll() is None:
            show()
            time.sleep(TICK)
        show_the_rest()
    except KeyboardInterrupt:
        try:
            with contextlib.suppress(KeyboardInterrupt):  # a second one ends them at once
                _ask_to_end(process, show)
        finally:
            child.end_process(process)
        show_the_rest()
        return True
    except BaseException:
        child.end_process(process)
        raise
    return False


def _ask_to_end(process: subprocess.Popen[str], show: Callable[[], None]) -> None:
    # torch's launcher passes it on, and waits for 30 s; Windows knows no SIGINT for others
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        show()
        time.sleep(TICK)


def _read(process: subprocess.Popen[str], printed: queue.SimpleQueue[str]) -> None:
    """Take what the body prints, line by line, so that the pipe is never full."""
    assert process.stdout is not None
    for line in process.stdout:
        printed.put(line.rstrip("\n"))


def _finished(folder: Path, rank: int) -> bool:
    end = jobs.read_end(folder, rank)
    return end is not None and end[0] == "finished"


def _result(folder: Path) -> tuple[Any, dict[str, Any] | None]:
    import torch

    result = pickle.loads((folder / RESULT).read_bytes())  # noqa: S301 - our own child wrote it
    weights = folder / WEIGHTS
    kept = torch.load(weights, map_location="cpu", weights_only=True) if weights.is_file() else None
    return result, kept


def _error(folder: Path, size: int, log: Path, code: int, *, stopped: bool) -> Exception:
    """Make the error that says how it ended, from what each process said."""
    ends = {rank: jobs.read_end(folder, rank) for rank in range(size)}
    silent = [rank for rank, end in ends.items() if end is None]
    said = [(jobs.ended(folder, rank).stat().st_mtime, rank) for rank in ends if ends[rank]]
    stops = [end for end in ends.values() if end and end[0] == "Stopped"]
    again = "Run the same cell again: it goes on from the last state."
    if stopped or (stops and not silent):
        what = stops[0][1][0] if stops else "Stopped."
        return Stopped(what, again)
    if (silent and len(silent) < size) or not said:
        return LessonError(_killed(silent, size, log, code), again)
    _, first = min(said)
    kind, lines = ends[first] or ("", [])
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, errors.FastMagicError):
        return known(*lines)
    error = LessonError(f"{lines[0]} (process {first + 1} of {size}; all that they said: {log})")
    errors.make_short(error, [*lines, f"(in process {first + 1} of {size}; {log} has the rest)"])
    return error


def _killed(silent: list[int], size: int, log: Path, code: int) -> str:
    """Say which processes ended without a word, and by what."""
    text = log.read_text(encoding="utf-8", errors="replace")
    codes = {int(rank): int(found) for rank, found in REPORTED.findall(text)}
    if not silent or (len(silent) == size and not codes):
        return f"The processes could not be started, or all were killed (exit code {code}): {log}."
    by_the_launcher = [rank for rank in silent if codes.get(rank) == -signal.SIGTERM]
    which = []
    for rank in [one for one in silent if one not in by_the_launcher] or silent:
        how = codes.get(rank)
        by = f" by {signal.Signals(-how).name}" if how is not None and how < 0 else ""
        which.append(f"process {rank + 1} of {size} was killed{by}")
    said = "; ".join(which)
    return f"{said[0].upper()}{said[1:]}, and the others were ended. Nothing saved is lost."
