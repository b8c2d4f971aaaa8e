"""The tables of the report."""

from __future__ import annotations

from fastmagic import faces
from fastmagic.guard.stages import Stage


def stages_table(stages: tuple[Stage, ...]) -> faces.Table:
    """Set one row a call of `fit`."""
    layers = {"head": "head only", "all": "whole network", "some": "some layers"}
    return faces.table(
        ("fit", "trained", "epochs", "accuracy", "time"),
        [
            (
                stage.number,
                layers[stage.layers],
                f"{len(stage.epochs)} of {stage.epochs_planned}",
                faces.percent(stage.accuracy),
                faces.duration(stage.seconds) + (" (some before a restart)" * stage.resumed),
            )
            for stage in stages
        ],
    )


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


def columns(stages: tuple[Stage, ...]) -> list[str]:
    """Name the columns that fastai gave the epochs, each once."""
    names = (name for stage in stages for epoch in stage.epochs for name in epoch.values)
    return list(dict.fromkeys(names))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
