"""The files of a result in its run's folder; each is written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fastmagic import faces, whole
from fastmagic.lesson.report.curves import Curves
from fastmagic.lesson.report.tables import columns
from fastmagic.lesson.runs import write_json

if TYPE_CHECKING:
    from fastmagic.lesson.report.result import TrainResult


def write(result: TrainResult) -> tuple[str, ...]:
    """Keep a result in its folder: `result.json`, `history.csv`, `curves.csv`, `report.html`.

    One that cannot be written does not keep the others from being written; `result.json`, from
    which the rest can be told again, comes first.

    Returns
    -------
    tuple of str
        A sentence for each file that could not be written; empty where all is well.

    Raises
    ------
    OSError
        Where not even `result.json` can be written; the others were tried all the same.
    """
    folder, trouble = result.folder, []
    others: list[tuple[str, Callable[[], str]]] = [
        ("history.csv", lambda: _csv(_history(result))),
        ("report.html", lambda: faces.page(result.face())),
    ]
    curves = result.curves
    if curves is not None:
        others.insert(1, ("curves.csv", lambda: _csv(_steps(curves))))
    try:
        write_json(folder / "result.json", result.to_dict())
    finally:
        for name, make in others:
            try:
                whole.write_text(folder / name, make(), errors="replace")
            except Exception as error:  # a picture, a name, the disk: none is worth the rest
                trouble.append(f"{name} could not be written ({type(error).__name__}: {error}).")
    return tuple(trouble)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _history(result: TrainResult) -> Iterable[Iterable[object]]:
    names = [name for name in columns(result.stages) if name != "accuracy"]
    yield ("stage", "epoch", *names, "accuracy", "seconds")
    for stage in result.stages:
        for epoch in stage.epochs:
            cells = ["" if (v := epoch.values.get(n)) is None else v for n in names]
            share = "" if epoch.accuracy is None else epoch.accuracy
            yield (stage.number, epoch.epoch, *cells, share, round(epoch.seconds, 3))


def _steps(curves: Curves) -> Iterable[Iterable[object]]:
    yield ("step", "stage", "loss", "rate")
    places = zip(curves.stage, curves.loss, curves.rate, strict=True)
    for number, (stage, loss, rate) in enumerate(places, 1):
        yield (number, stage, f"{loss:.6g}", f"{rate:.6g}")
