"""The stages of a run: each call of `fit` in the body is one, counted from 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One epoch, as the report and `history.csv` show it.

    Attributes
    ----------
    epoch
        Its number within the stage, from 0 as fastai counts.
    values
        fastai's own column names (`train_loss`, `valid_loss`, the metrics) and what they were.
    accuracy
        Share of the validation pictures that were right, 0 to 1; None where it cannot be counted.
    seconds
        Wall-clock seconds of training and validation.
    """

    epoch: int
    values: Mapping[str, float | None]
    accuracy: float | None
    seconds: float


@dataclass
class Stage:
    """One call of `fit`.

    Attributes
    ----------
    number
        Its place among the fits of the cell, from 1.
    epochs_planned
        How many epochs it was asked for.
    layers
        `head` while the network's body was frozen, `all` where every group trained, else `some`.
    epochs
        The epochs that are done.
    resumed
        True where some or all of it was done before this process began.
    ended
        True where the fit has come to its end, perhaps with fewer epochs: a callback ended it.
    """

    number: int
    epochs_planned: int
    layers: str
    epochs: list[Epoch] = field(default_factory=list)
    resumed: bool = False
    ended: bool = False

    @property
    def name(self) -> str:
        """What its state is called."""
        return f"fit-{self.number:03d}"

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of its epochs, those before a restart included."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def accuracy(self) -> float | None:
        """The accuracy of its last epoch."""
        return self.epochs[-1].accuracy if self.epochs else None


def figure(value: Any) -> float | None:
    """Give a loss or a metric as a number; None for what is none, such as a value for each class.

    Examples
    --------
    >>> figure(1), figure(None), figure([0.2, 0.8])
    (1.0, None, None)
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # as numpy and torch say it
        return None


def to_plain(stage: Stage) -> dict[str, Any]:
    """Give a stage as data for JSON."""
    return {
        "stage": stage.number,
        "layers": stage.layers,
        "epochs_planned": stage.epochs_planned,
        "resumed": stage.resumed,
        "ended": stage.ended,
        "epochs": [
            {
                "epoch": epoch.epoch,
                **epoch.values,
                "accuracy": epoch.accuracy,
                "seconds": round(epoch.seconds, 3),
            }
            for epoch in stage.epochs
        ],
    }


def to_whole(stage: Stage) -> dict[str, Any]:
    """Give a stage as data for JSON of which nothing is lost, a metric called `accuracy` neither.

    Examples
    --------
    >>> stage = Stage(1, 2, "head", [Epoch(0, {"valid_loss": 0.2, "accuracy": 0.9}, 0.9, 3.0)])
    >>> from_plain(to_whole(stage)) == stage
    True
    """
    return {**to_plain(stage), "values": [dict(epoch.values) for epoch in stage.epochs]}


def from_plain(data: Mapping[str, Any]) -> Stage:
    """Make a stage of what `to_plain` or `to_whole` gave.

    Examples
    --------
    >>> stage = Stage(1, 2, "head", [Epoch(0, {"valid_loss": 0.2}, 0.9, 3.0)])
    >>> from_plain(to_plain(stage)) == stage
    True
    """
    own = {"epoch", "accuracy", "seconds"}
    known = data.get("values") or [
        {name: value for name, value in row.items() if name not in own} for row in data["epochs"]
    ]
    epochs = [
        Epoch(row["epoch"], values, row["accuracy"], row["seconds"])
        for row, values in zip(data["epochs"], known, strict=True)
    ]
    return Stage(
        data["stage"],
        data["epochs_planned"],
        data["layers"],
        epochs,
        data["resumed"],
        data.get("ended", False),
    )
