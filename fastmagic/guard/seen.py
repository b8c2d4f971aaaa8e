"""What the guard has seen of a run: each step's loss, and what a validation said."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
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

    def put_in_order(self, numbers: Sequence[Any]) -> None:
        """Put what was said into the data set's order, or forget it where there is none.

        Parameters
        ----------
        numbers
            Those of the pictures, in the order in which the loader gave them.

        Examples
        --------
        >>> import torch
        >>> told = Told("", None, [torch.tensor([[0.1], [0.9]])], [torch.tensor([1, 0])])
        >>> told.put_in_order([1, 0])
        >>> told.targets
        [tensor([0, 1])]
        """
        count = sum(map(len, self.targets))
        if list(numbers) == list(range(len(numbers))):
            return
        if len(numbers) != count or set(numbers) != set(range(count)):
            self.probabilities, self.targets = [], []
            return
        import torch

        places = torch.tensor(numbers).argsort()
        self.probabilities = [torch.cat(self.probabilities)[places]]
        self.targets = [torch.cat(self.targets)[places]]


def is_one_class_each(pred: Any, targets: Any) -> bool:
    """Say whether a network said a number for each class, and each picture has one class.

    Parameters
    ----------
    pred, targets
        Of a batch, or of all pictures.

    Examples
    --------
    >>> import torch
    >>> is_one_class_each(torch.zeros(2, 3), torch.tensor([0, 2]))
    True
    >>> is_one_class_each(torch.zeros(2, 3), torch.zeros(2, 3))  # several classes each
    False
    """
    return (
        getattr(pred, "ndim", 0) == 2
        and getattr(targets, "ndim", 0) == 1
        and len(pred) == len(targets)
        and not targets.is_floating_point()
    )


class Learners:
    """The learners that a cell has made or used; one that it lets go is not kept for our sake.

    The last one is: it may have been made in a function, and the report is about it.
    """

    def __init__(self) -> None:
        self._known: list[weakref.ref[Any]] = []
        self._last: Any = None

    def append(self, learner: Any) -> None:
        """Know one more."""
        self._known.append(weakref.ref(learner))
        self._last = learner

    def __iter__(self) -> Iterator[Any]:
        """Give those that are still there, in the order in which they came."""
        for known in self._known:
            learner = known()
            if learner is not None:
                yield learner


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
