"""The files of a result in its run's folder; each is written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fastmagic import faces, whole
from fastmagic.errors import first_line
from fastmagic.lesson.report.curves import Curves
from fastmagic.lesson.report.tables import columns
from fastmagic.lesson.runs import write_json

if TYPE_CHECKING:
    from fastmagic.lesson.report.result import TrainResult

THEIRS = "history-of-the-cell.csv"
"""What a cell's own `history.csv` is called beside ours."""


def write(result: TrainResult) -> tuple[str, ...]:
    """Keep a result in its folder: `result.json`, `history.csv`, `curves.csv`, `report.html`.

    One that cannot be written does not keep the others from being written; `result.json`, from
    which the rest can be told again, comes first.

    Returns
    -------
    tuple of str
        For each reason, which files could not be written; empty where all is well.
    """
    folder, curves = result.folder, result.curves
    writes: dict[str, Callable[[], object]] = {
        "result.json": lambda: write_json(folder / "result.json", result.to_dict()),
        "history.csv": lambda: _table(folder / "history.csv", _csv(_history(result))),
        "report.html": lambda: _text(folder / "report.html", faces.page(result.face())),
    }
    if curves is not None:
        writes["curves.csv"] = lambda: _text(folder / "curves.csv", _csv(_steps(curves)))
    failed: dict[str, list[str]] = {}
    for name, write_it in writes.items():
        try:
            write_it()
        except Exception as error:  # a picture, a name, the disk: none is worth the rest
            failed.setdefault(_why(error), []).append(name)
    return tuple(
        f"{', '.join(names)} could not be written ({why})" for why, names in failed.items()
    )


def _text(file: Path, text: str) -> None:
    whole.write_text(file, text, errors="replace")


def _table(file: Path, text: str) -> None:
    """Write a table; one of that name that is not ours, as fastai's CSVLogger writes, is kept."""
    header = text.partition(",")[0].encode()
    with contextlib.suppress(FileNotFoundError):
        if not file.read_bytes().startswith(header):
            file.replace(file.with_name(THEIRS))
    _text(file, text)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {first_line(error)}"


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
