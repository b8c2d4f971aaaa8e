"""What loss and rate were in every training step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """One value for each training step, in the order in which they were done.

    Attributes
    ----------
    stage
        The number of the stage that the step belongs to, from 1.
    loss
        The training loss, smoothed as fastai's Recorder does; NaN where the network diverged.
    rate
        The learning rate of the last layers.
    epoch
        How many epochs of its stage were done after the step (0.5 in the middle of the first).
        Empty where that is not known: the steps of a stage are then spread evenly over its epochs.

    Raises
    ------
    ValueError
        When one of them is longer than another.

    Examples
    --------
    >>> len(Curves((1, 1), (0.7, 0.6), (1e-3, 2e-3)))
    2
    """

    stage: tuple[int, ...]
    loss: tuple[float, ...]
    rate: tuple[float, ...]
    epoch: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        lengths = [len(self.stage), len(self.loss), len(self.rate)]
        lengths += [len(self.epoch)] if self.epoch else []
        if len(set(lengths)) > 1:
            raise ValueError(f"curves of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.stage)
