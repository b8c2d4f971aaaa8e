"""The tables of the report."""

from __future__ import annotations

from typing import Any

from fastmagic import faces
from fastmagic.guard.stages import Stage
from fastmagic.lesson.report import interval
from fastmagic.lesson.report.judged import Judged

LAYERS = {"head": "head only", "all": "whole network", "some": "some layers"}

WHOLE = 12
"""Classes of which the confusion matrix is shown whole; of more, only the most confused pairs."""

PAIRS = 10


def stages_table(
    stages: tuple[Stage, ...],
    *,
    pictures: int | None = None,
    accuracy_tta: float | None = None,
    reference: interval.Band | None = None,
) -> faces.Table:
    """Set one row a call of `fit`, then test-time augmentation and the lesson's own results.

    Parameters
    ----------
    stages
        The calls of `fit`.
    pictures
        How many pictures each accuracy was counted on; without it no interval is given.
    accuracy_tta
        0 to 1; None where there is none.
    reference
        The lowest and the highest accuracy that the lesson's own published runs reached.
    """
    head = "accuracy (95 % interval)" if pictures else "accuracy"
    rows: list[tuple[object, ...]] = [
        (
            stage.number,
            LAYERS[stage.layers],
            f"{len(stage.epochs)} of {stage.epochs_planned}",
            interval.words(stage.accuracy, pictures),
            faces.duration(stage.seconds) + (" (some before a stop)" * stage.resumed),
        )
        for stage in stages
    ]
    if accuracy_tta is not None:
        rows.append(("", "with TTA", "", interval.words(accuracy_tta, pictures), ""))
    if reference is not None:
        rows.append(("", "in the lesson", "", interval.band(reference), ""))
    return faces.table(("fit", "trained", "epochs", head, "time"), rows)


def epochs_table(stages: tuple[Stage, ...]) -> faces.Table:
    """Set one row an epoch, with fastai's own columns; a live view may have shown it already."""
    names = columns(stages)
    return faces.table(
        ("fit", "epoch", *names, "seconds"),
        [
            (
                stage.number,
                epoch.epoch,
                *(_number(epoch.values.get(name)) for name in names),
                f"{epoch.seconds:.1f}",
            )
            for stage in stages
            for epoch in stage.epochs
        ],
        name="epochs",
    )


def confusion_table(judged: Judged) -> faces.Table:
    """Set the confusion matrix: a row for each class that there is, a column for what was said.

    Of more than `WHOLE` classes the most confused pairs are set instead, the most frequent first.

    Examples
    --------
    >>> from pathlib import Path
    >>> said = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]
    >>> judged = Judged((Path("a"), Path("b"), Path("c")), ("cat", "dog"), said, [0, 1, 0])
    >>> print(faces.table_text(confusion_table(judged)))
      is   said cat  said dog  right
      ---  --------  --------  --------
      cat  1         1         50.00 %
      dog  0         1         100.00 %
    """
    counts = judged.confusion()
    if len(judged.classes) > WHOLE:
        return _pairs_table(judged.classes, counts)
    names = list(judged.classes)
    heads = [f"said {name}" for name in names]
    if max(map(len, names)) + sum(len(head) + 2 for head in heads) > faces.LINE - 14:
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
        heads = [str(number) for number in range(1, len(names) + 1)]
    rows = [
        (name, *row, faces.percent(row[n] / sum(row)) if sum(row) else None)
        for n, (name, row) in enumerate(zip(names, counts.tolist(), strict=True))
    ]
    return faces.table(("is", *heads, "right"), rows)


def _pairs_table(classes: tuple[str, ...], counts: Any) -> faces.Table:
    pairs = [
        (int(times), classes[actual], classes[said], int(counts[actual].sum()))
        for actual, row in enumerate(counts)
        for said, times in enumerate(row)
        if times and actual != said
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [(actual, said, f"{times} of {of}") for times, actual, said, of in pairs[:PAIRS]]
    return faces.table(("is", "said", "pictures"), rows)


def columns(stages: tuple[Stage, ...]) -> list[str]:
    """Name the columns that fastai gave the epochs, each once."""
    names = (name for stage in stages for epoch in stage.epochs for name in epoch.values)
    return list(dict.fromkeys(names))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
