"""What a run of the lesson gave: the result, its face, and the files in the run's folder.

`result` is what `train_lesson1` returns, on `judged` (what was said of each validation picture),
`curves` (loss and rate in every step) and `interval` (how far an accuracy can be trusted); `tables`
show it, and `files` keep it in the run's folder.
"""

from __future__ import annotations

from fastmagic.lesson.report.curves import Curves
from fastmagic.lesson.report.files import write
from fastmagic.lesson.report.judged import Judged, Opinion
from fastmagic.lesson.report.plain import without_nan
from fastmagic.lesson.report.result import TrainResult
from fastmagic.lesson.report.tables import confusion_table, epochs_table, stages_table

__all__ = [
    "Curves",
    "Judged",
    "Opinion",
    "TrainResult",
    "confusion_table",
    "epochs_table",
    "stages_table",
    "without_nan",
    "write",
]
