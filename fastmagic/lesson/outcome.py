"""What a run came to: everything that the report says, gathered when the body has ended."""

from __future__ import annotations

import contextlib
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import fastmagic
from fastmagic.gpu import chart
from fastmagic.gpu.monitor import Monitor, MonitorSummary
from fastmagic.lesson import model_file, order, quicker, runs
from fastmagic.lesson.loading import Loading, measured
from fastmagic.lesson.ready import is_ours
from fastmagic.lesson.report import Curves, Judged, TrainResult
from fastmagic.lesson.start import Lesson

VERSIONS_OF = ("torch", "torchvision", "fastai", "fastcore", "numpy", "pillow", "timm")


def gather(
    lesson: Lesson,
    run: runs.Run,
    session: Any,
    monitor: Monitor,
    *,
    status: str,
    device: str,
    started: float,
) -> TrainResult:
    """Build the result of a run that has finished, stopped or failed.

    Parameters
    ----------
    lesson, run, session, monitor
        What ran, where it is kept, what the guard saw, and what the monitor saw.
    status
        `finished`, `stopped` or `failed`.
    device
        The kind of device that it trained on.
    started
        When the call began, by `time.perf_counter`.
    """
    summary = monitor.summary()
    learn = learner_of(lesson, session)
    digest = digest_of(learn) if learn is not None else None
    trained = learn is not None and session.stages
    model = model_file.write(learn, run.folder, session) if trained else None
    known = order.entry(lesson.settings.data)
    curve = session.curve
    return TrainResult(
        status=status,
        data=lesson.settings.data,
        path=lesson.layout.path,
        recipe=lesson.settings.recipe,
        arguments=lesson.settings.to_dict(),
        device=device,
        versions=versions(),
        stages=tuple(session.stages),
        accuracy=session.validated.get(digest),
        accuracy_tta=session.validated_tta.get(digest),
        seconds=round(time.perf_counter() - started, 3),
        incidents=tuple(session.incidents),
        weights_sha256=digest,
        folder=run.folder,
        model=model,
        monitor=summary,
        loading=_loading(lesson, session, device, learn, summary),
        chart=_chart(monitor, session),
        learn=learn,
        dls=getattr(learn, "dls", None),
        identity=run.identity,
        judged=_judged(learn, session, digest),
        curves=Curves(tuple(curve.stage), tuple(curve.loss), tuple(curve.rate)),
        reference=known.reference if known else None,
        validation_pictures=_validated_on(lesson, learn),
        choices={**lesson.choices, **({"training": session.part} if session.part else {})},
        forecast=lesson.forecast,
    )


def learner_of(lesson: Lesson, session: Any) -> Any:
    """Give the learner that the report is about: `learn`, or the last one that was trained."""
    learn = lesson.namespace.get("learn")
    if any(learn is one for one in session.learners):
        return learn
    trained = [one for one in session.learners if hasattr(one, "recorder")]
    return trained[-1] if trained and session.stages else None


def digest_of(learn: Any) -> str:
    """Give the digest of a learner's weights."""
    from fastmagic.guard.state import weights_sha256

    return weights_sha256(learn.model.state_dict())


def _judged(learn: Any, session: Any, digest: str | None) -> Judged | None:
    """Give what the final weights said of each validation picture; None where that is not known."""
    told = session.told
    if told is None or told.digest != digest or not told.targets:
        return None
    import torch
    from fastcore.foundation import L

    probabilities, targets = torch.cat(told.probabilities), torch.cat(told.targets)
    items = getattr(learn.dls.valid, "items", None)  # a table's rows, say, are no files
    listed = isinstance(items, (list, tuple, L))
    files = [Path(item) for item in items or () if isinstance(item, (str, Path))] if listed else []
    classes = tuple(str(name) for name in getattr(learn.dls, "vocab", ()))
    if len(files) != len(targets) or len(classes) != probabilities.shape[1]:
        return None  # a body with loaders of its own may have anything in them
    return Judged(tuple(files), classes, probabilities.numpy(), targets.long().numpy())


def _validated_on(lesson: Lesson, learn: Any) -> int | None:
    """Count the pictures behind an accuracy: the lesson's own, or those of the body's loaders."""
    if learn is None or is_ours(learn):
        return len(lesson.layout.valid)
    return getattr(getattr(learn.dls, "valid", None), "n", None)


def _loading(
    lesson: Lesson, session: Any, device: str, learn: Any, summary: MonitorSummary
) -> Loading | None:
    loader = getattr(getattr(learn, "dls", None), "train", None)
    reads_photographs = lesson.choices.get("pictures") != quicker.COPIED  # not all small copies
    loads = "loading" not in lesson.choices  # the pictures are not in the GPU's memory already
    known = learn is not None and is_ours(learn) and loads
    return measured(
        session.waiting_seconds,
        session.working_seconds,
        device=device,
        workers=int(getattr(getattr(loader, "fake_l", None), "num_workers", 0)),
        pictures=lesson.layout.train if known else (),
        size=lesson.settings.size if reads_photographs else None,
        shm_size=summary.shm_size,
    )


def _chart(monitor: Monitor, session: Any) -> bytes | None:
    try:
        return None if monitor.samples is None else chart.draw(monitor.samples)
    except Exception as error:  # hours of training do not end for want of a picture
        session.view.note(f"The monitor's chart could not be drawn ({error}).")
        return None


def versions() -> dict[str, str]:
    """List the versions of Python, fastmagic and the packages that decide what is computed.

    Examples
    --------
    >>> sorted(versions())[:2]
    ['fastai', 'fastcore']
    """
    found = {"python": platform.python_version(), "fastmagic": fastmagic.__version__}
    for name in VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
