"""What is made of a lesson's cell instead of running it: its code, a plain script, or a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmagic import progress
from fastmagic.errors import BadInput
from fastmagic.lesson import start
from fastmagic.lesson.order import Order, seconds_of
from fastmagic.lesson.settings import Settings
from fastmagic.progress import Show


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
    dest: str | Path | None = None,
    show: Show = False,
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
    cache, dest, show
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
        path = start.pictures_of(order, settings, cache, dest, view)
        layout = start.laid_out(settings, path)
        chosen = learner.choose_precision(settings, learner.choose_device()[0])
        settings = replace(settings, precision=chosen.name)
        export.write(target, settings, layout, cell, {} if namespace is None else namespace)
        how = f"python {target.name}" if target.suffix == ".py" else "open it in Jupyter"
        view.note(f"Written: {target}. It needs fastai, not fastmagic: {how}.")
    return target


def export_job(
    order: Order,
    file: str | Path,
    *,
    namespace: dict[str, Any] | None = None,
    runs: str | None = None,
    time_limit: float | None = None,
    cache_limit: float | None = None,
    show: Show = False,
) -> Path:
    """Write the lesson as a script for torchrun or accelerate, on one machine or many.

    Parameters
    ----------
    order
        The lesson.
    file
        Where to: a path that ends in `.py`.
    namespace
        Where the names are found that the body uses; they are written along.
    runs, time_limit, cache_limit
        As the job is to have them: the runs' folder, minutes, and GB of small copies.
    show
        Whether to say where it was written.

    Raises
    ------
    BadInput
        For what cannot be written down, by its name.
    """
    from fastmagic.ranks import exported

    settings, cell = order.read()
    seconds_of(time_limit)
    own = {"runs_folder": runs, "time_limit": time_limit, "cache_limit": cache_limit}
    lesson = (settings, order.defaults, cell, namespace or {})
    with progress.open_view(show, "Lesson 1, as a job") as view:
        target = exported.write(file, order.source, *lesson, own)
        view.note(f"Written: {target}. torchrun --standalone --nproc-per-node 2 {target.name}")
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
