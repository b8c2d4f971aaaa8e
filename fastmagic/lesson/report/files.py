"""The files of a result in its run's folder."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from fastmagic.lesson.report.tables import columns
from fastmagic.lesson.runs import write_json

if TYPE_CHECKING:
    from fastmagic.lesson.report.result import TrainResult


def write(result: TrainResult) -> None:
    """Keep a result in its folder as `result.json` and `history.csv`."""
    write_json(result.folder / "result.json", result.to_dict())
    names = [name for name in columns(result.stages) if name != "accuracy"]
    with (result.folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("stage", "epoch", *names, "accuracy", "seconds"))
        for stage in result.stages:
            for epoch in stage.epochs:
                cells = ["" if (v := epoch.values.get(n)) is None else v for n in names]
                share = "" if epoch.accuracy is None else epoch.accuracy
                writer.writerow((stage.number, epoch.epoch, *cells, share, round(epoch.seconds, 3)))
