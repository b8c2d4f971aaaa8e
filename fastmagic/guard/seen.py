"""What the guard has seen of a run: each step's loss, and what a validation said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REMEMBERED = 5_000_000
"""Probabilities that are kept of one validation, pictures times classes: at most 20 MB."""


@dataclass
class Told:
    """What one validation said of each picture.

    Attributes
    ----------
    digest
        Of the weights that said it.
    loader
        fastai's loader that the pictures came from.
    probabilities, targets
        Tensors on the CPU, one for each batch: `[pictures, classes]` and `[pictures]`.
    """

    digest: str
    loader: Any
    probabilities: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)


@dataclass
class Curve:
    """The loss and the rate of each training step of the run, as fastai's Recorder has them."""

    stage: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def step(self, stage: int, recorder: Any) -> None:
        """Add the step that was just taken."""
        self.stage.append(stage)
        self.loss.append(float(recorder.losses[-1]))
        self.rate.append(float(recorder.lrs[-1]))

    def add(self, stage: int, losses: Sequence[float], rates: Sequence[float]) -> None:
        """Add the steps of a fit that an earlier process took."""
        self.stage += [stage] * len(losses)
        self.loss += losses
        self.rate += rates
