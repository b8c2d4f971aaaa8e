"""The verb `train_lesson1`: from a data set's name to a trained model and a report.

data -> layout -> loaders and learner -> the body, watched -> result, in this order and no other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import fastmagic
from fastmagic import platforms, progress
from fastmagic.data import catalogue
from fastmagic.data.get import get_data
from fastmagic.data.obtain import without_secrets
from fastmagic.data.survey.pictures import Layout, lay_out
from fastmagic.errors import LessonError, Stopped
from fastmagic.gpu import chart
from fastmagic.gpu.monitor import Monitor, MonitorSummary
from fastmagic.lesson import cell as cells
from fastmagic.lesson import recipes, report, runs
from fastmagic.lesson.loading import Loading, measured
from fastmagic.lesson.report import TrainResult
from fastmagic.lesson.settings import Settings, settle
from fastmagic.progress import NestedView, View

VERSIONS_OF = ("torch", "torchvision", "fastai", "fastcore", "numpy", "pillow", "timm")

_ours: weakref.WeakSet[Any] = weakref.WeakSet()
"""The learners that lessons made in this process: these may be replaced without a word."""


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
    seed: int | None = None,
    valid_pct: float | None = None,
    label_pattern: str | None = None,
    workers: int | None = None,
    name: str | None = None,
    runs_folder: str | Path | None = None,
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
    recipe, arch, weights, normalize, size, bs, epochs, lr, seed, valid_pct, label_pattern, workers
        As in `fastmagic.lesson.settings.Settings`; None takes the data set's own default.
    name
        The run's name; the data set, recipe, date and time where there is none.
    runs_folder
        The folder that the run's folder is made in.
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
    source = str(platforms.expanded(data).absolute()) if isinstance(data, Path) else data
    own_body = not cells.is_empty(code)
    asked = {
        "recipe": recipe,
        "arch": arch,
        "weights": weights,
        "normalize": normalize,
        "size": size,
        "bs": bs,
        "epochs": epochs,
        "lr": lr,
        "seed": seed,
        "valid_pct": valid_pct,
        "label_pattern": label_pattern,
        "workers": workers,
    }
    settings = settle(without_secrets(source), _defaults(source), asked, own_body=own_body)
    body = code if own_body and code else _recipe_body(settings)
    cell = cells.parse(
        body, first_line=first_line if own_body else 1, transform=transform if own_body else None
    )
    with progress.open_view(show, "Lesson 1") as view:
        _require_fastai()
        with _stoppable("Nothing was begun yet; run the same cell again."):
            path = get_data(
                source, label_pattern=settings.label_pattern, cache=cache, show=NestedView(view)
            )
            lesson = _prepare(settings, path, cell, {} if namespace is None else namespace, view)
        run = _claim(lesson, name, runs_folder, fresh)
        try:
            result = _run(lesson, run, started, display)
        finally:
            run.release()
        view.finish(result.face())
        return result


@dataclass
class Lesson:
    """Everything that is known before the first picture is loaded."""

    settings: Settings
    cell: cells.Cell
    namespace: dict[str, Any]
    layout: Layout
    view: View


def _entry(source: str) -> catalogue.DataSet | None:
    """Find the catalogue's entry for a name, or for the folder that such a set lies in."""
    if source in catalogue.CATALOGUE:
        return catalogue.CATALOGUE[source]
    root = platforms.data_folder()
    for entry in catalogue.CATALOGUE.values():
        folder = root / entry.folder
        if Path(source) in (folder, folder / entry.pictures_in):
            return entry
    return None


def _defaults(source: str) -> catalogue.LessonDefaults:
    entry = _entry(source)
    return entry.defaults if entry else catalogue.OWN_PICTURES


def _recipe_body(settings: Settings) -> str:
    return recipes.body(settings.recipe, {"epochs": settings.epochs, "lr": settings.lr})


def _require_fastai() -> None:
    missing = [name for name in ("torch", "fastai") if importlib.util.find_spec(name) is None]
    if missing:
        raise LessonError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed here.",
            "Run %fastai_setup, which installs what fits this machine, then this cell again.",
        )


def _prepare(
    settings: Settings, path: Path, cell: cells.Cell, namespace: dict[str, Any], view: View
) -> Lesson:
    layout = lay_out(
        path,
        label_pattern=settings.label_pattern,
        valid_pct=settings.valid_pct,
        seed=settings.seed,
    )
    view.note(describe(layout))
    view.note("Loading fastai …")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries warn one another of at import
        import fastai.vision.all  # noqa: F401 - all of it at once, while the view says so
    return Lesson(settings, cell, namespace, layout, view)


def describe(layout: Layout) -> str:
    """Say in one line what a lesson is given to learn from."""
    classes = len(layout.classes)
    named = ", ".join(layout.classes[:4]) + (" …" if classes > 4 else "")
    counts = f"{len(layout.train):,} pictures to train, {len(layout.valid):,} to validate"
    left_out = f", {len(layout.unreadable)} unreadable left out" if layout.unreadable else ""
    return f"Data: {counts}{left_out}, {classes} classes ({named}) in {layout.path}"


def _claim(lesson: Lesson, name: str | None, folder: str | Path | None, fresh: bool) -> runs.Run:
    settings, layout = lesson.settings, lesson.layout
    pictures = [
        (str(file.relative_to(layout.path)), file.stat().st_size)
        for file in (*layout.train, *layout.valid)
    ]
    identity = runs.identity_of(
        {"body": lesson.cell.source, "settings": settings.to_dict(), "pictures": pictures}
    )
    root = platforms.expanded(folder) if folder else platforms.runs_folder(platforms.where())
    stem = f"{Path(settings.data).stem or 'data'}-{settings.recipe}"
    run = runs.claim(root.absolute(), identity, name=name, stem=stem, fresh=fresh)
    if run.note:
        lesson.view.note(run.note)
    if run.resumed:
        lesson.view.note(f"Going on with {run.folder.name}, which was not finished.")
    return run


def _run(
    lesson: Lesson, run: runs.Run, started: float, display: Callable[[Any], object] | None
) -> TrainResult:
    """Run the body; whatever happens, the run's folder says how it ended."""
    from fastmagic.guard import attach, positions

    session = attach.Session(lesson.settings.seed, lesson.view, run.states)
    monitor = Monitor(run.folder / "monitor.csv", tell=_tell_of_a_lost_gpu(session))
    device = "cpu"
    status = "failed"
    try:
        with monitor, positions.kept_apart(), attach.attached(session):
            positions.set_position(lesson.settings.seed, "start")
            device = _make_what_the_body_names(lesson, run, session)
            positions.set_position(lesson.settings.seed, "body")
            cells.run(lesson.cell, lesson.namespace, display)
            lesson.view.clear_bar()
            _validate_if_needed(lesson, session)
        status = "finished"
    except KeyboardInterrupt:
        status = "stopped"
        session.incident("stopped by hand", "the finished epochs are kept")
    finally:
        result = _result(lesson, run, session, monitor, status, device, started)
        report.write(result)
        run.mark(status)
    if status == "stopped":
        raise Stopped(
            f"Stopped. The finished epochs are kept in {run.folder}.",
            "Run the same cell again: it goes on after the last finished epoch.",
        ) from None
    return result


def _make_what_the_body_names(lesson: Lesson, run: runs.Run, session: Any) -> str:
    """Put `path`, and `dls` and `learn` where the body names them, into the namespace."""
    from fastmagic.lesson import learner

    namespace, settings = lesson.namespace, lesson.settings
    namespace["path"] = lesson.layout.path
    device, trouble = learner.choose_device()
    if trouble:
        session.incident(
            f"the GPU cannot be used by this torch ({trouble})",
            "training on the CPU instead; %gpu_check says what to do",
        )
    if not lesson.cell.names & {"dls", "learn"}:
        return str(device.type)
    dls = namespace["dls"] = learner.make_loaders(settings, lesson.layout, device)
    if "learn" in lesson.cell.names:
        if namespace.get("learn") is not None and namespace["learn"] not in _ours:
            lesson.view.note("The `learn` that was here before is replaced by the lesson's.")
        weights = {"imagenet": "ImageNet's weights", "none": "no weights, from scratch"}
        lesson.view.note(
            f"Network: {settings.arch}, {weights.get(settings.weights, settings.weights)}; "
            f"pictures of {settings.size} pixels, {dls.train.bs} a batch, on {device.type.upper()}"
        )
        namespace["learn"] = learner.make_learner(settings, dls, run.folder)
        _ours.add(namespace["learn"])
    return str(device.type)


def _validate_if_needed(lesson: Lesson, session: Any) -> None:
    """Make sure that the accuracy reported is that of the final weights."""
    learn = _learner(lesson)
    if learn is None or not session.stages or _weights(learn) in session.validated:
        return
    with session.busy_with("validating the final weights"):
        learn.validate()


def _learner(lesson: Lesson) -> Any:
    learn = lesson.namespace.get("learn")
    return learn if hasattr(learn, "model") and hasattr(learn, "dls") else None


def _weights(learn: Any) -> str:
    from fastmagic.guard.state import weights_sha256

    return weights_sha256(learn.model.state_dict())


def _tell_of_a_lost_gpu(session: Any) -> Callable[[str], None]:
    def tell(words: str) -> None:
        session.incident(words, "the monitor went on without it; %gpu_check says what to do")

    return tell


def _result(
    lesson: Lesson,
    run: runs.Run,
    session: Any,
    monitor: Monitor,
    status: str,
    device: str,
    started: float,
) -> TrainResult:
    summary = monitor.summary()
    learn = _learner(lesson) if session.learners else None
    digest = _weights(learn) if learn is not None else None
    model = _export(learn, run.folder, session) if learn is not None and session.stages else None
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
    )


def _loading(
    lesson: Lesson, session: Any, device: str, learn: Any, summary: MonitorSummary
) -> Loading | None:
    loader = getattr(getattr(learn, "dls", None), "train", None)
    return measured(
        session.waiting_seconds,
        session.working_seconds,
        device=device,
        workers=int(getattr(getattr(loader, "fake_l", None), "num_workers", 0)),
        pictures=lesson.layout.train if learn is not None and learn in _ours else (),
        size=lesson.settings.size,
        shm_size=summary.shm_size,
    )


def _chart(monitor: Monitor, session: Any) -> bytes | None:
    try:
        return None if monitor.samples is None else chart.draw(monitor.samples)
    except Exception as error:  # hours of training do not end for want of a picture
        session.view.note(f"The monitor's chart could not be drawn ({error}).")
        return None


def _export(learn: Any, folder: Path, session: Any) -> Path | None:
    target = folder / "export.pkl"
    try:
        learn.export(target)
    except Exception as error:  # pickle raises what the person's own objects raise
        session.incident(f"the model could not be exported ({error})", "training is not affected")
        return None
    return target


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
