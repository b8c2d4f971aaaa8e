"""What the final weights said of each validation picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastmagic import faces

LISTED = 6
"""Most wrong and most uncertain pictures that a report shows, of each."""


@dataclass(frozen=True)
class Opinion:
    """What was said of one picture.

    Attributes
    ----------
    file
        The picture.
    actual, predicted
        The class that it has, and the class that was said.
    of_actual, of_predicted
        The probabilities that were given to these two, 0 to 1.
    """

    file: Path
    actual: str
    predicted: str
    of_actual: float
    of_predicted: float

    def words(self) -> str:
        """Say it as a caption does.

        Examples
        --------
        >>> Opinion(Path("cat.1.jpg"), "cat", "dog", 0.03, 0.97).words()
        'said dog 97 %, is cat'
        """
        return f"said {self.predicted} {100 * self.of_predicted:.0f} %, is {self.actual}"


@dataclass(frozen=True, eq=False)
class Judged:
    """What the final weights said of each validation picture.

    Attributes
    ----------
    files
        The validation pictures, in the loader's order.
    classes
        The names of the classes, in the network's order.
    probabilities
        Of each class for each picture, 0 to 1: float32 of shape `[pictures, classes]`.
    targets
        The class that each picture has, as its place in `classes`: int64 of shape `[pictures]`.

    Raises
    ------
    ValueError
        When the shapes do not fit one another, or a target is no class.

    Examples
    --------
    >>> said = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)
    >>> files = (Path("cat.1.jpg"), Path("dog.1.jpg"), Path("cat.2.jpg"))
    >>> judged = Judged(files, ("cat", "dog"), said, np.array([0, 1, 0]))
    >>> judged.right.tolist(), judged.confusion().tolist()
    ([True, True, False], [[1, 1], [0, 1]])
    >>> [(one.file.name, one.words()) for one in judged.most_wrong(2)]
    [('cat.2.jpg', 'said dog 60 %, is cat')]
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    probabilities: Any
    targets: Any

    def __post_init__(self) -> None:
        said = np.asarray(self.probabilities, dtype=np.float32)
        targets = np.asarray(self.targets, dtype=np.int64)
        if said.shape != (len(self.files), len(self.classes)) or targets.shape != said.shape[:1]:
            raise ValueError(
                f"{len(self.files)} files and {len(self.classes)} classes, but probabilities of "
                f"shape {said.shape} and targets of shape {targets.shape}"
            )
        if targets.size and not 0 <= targets.min() <= targets.max() < len(self.classes):
            raise ValueError(f"a target is none of the {len(self.classes)} classes")
        object.__setattr__(self, "probabilities", said)
        object.__setattr__(self, "targets", targets)

    @property
    def predicted(self) -> Any:
        """The class said of each picture, as its place in `classes`: int64 of `[pictures]`."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> Any:
        """Whether each picture was said right: bool of shape `[pictures]`."""
        return self.predicted == self.targets

    def confusion(self) -> Any:
        """Count the pictures: int64 of shape `[classes, classes]`, actual by predicted."""
        counts: Any = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        np.add.at(counts, (self.targets, self.predicted), 1)
        return counts

    def most_wrong(self, n: int = LISTED) -> tuple[Opinion, ...]:
        """List the wrong pictures whose own class was given the least, the worst first."""
        of_actual = self.probabilities[np.arange(len(self.files)), self.targets]
        order = np.argsort(of_actual, kind="stable")
        return self._opinions(order[~self.right[order]][:n])

    def most_uncertain(self, n: int = LISTED) -> tuple[Opinion, ...]:
        """List the pictures whose likeliest class was given the least, right or wrong."""
        return self._opinions(np.argsort(self.probabilities.max(axis=1), kind="stable")[:n])

    def to_dict(self) -> dict[str, Any]:
        """Give the counts and the listed pictures; the probabilities of all are left out."""
        return {
            "pictures": len(self.files),
            "classes": list(self.classes),
            "confusion": self.confusion().tolist(),
            "most_wrong": faces.plain(self.most_wrong()),
            "most_uncertain": faces.plain(self.most_uncertain()),
        }

    def _opinions(self, places: Any) -> tuple[Opinion, ...]:
        predicted = self.predicted
        return tuple(
            Opinion(
                self.files[n],
                self.classes[self.targets[n]],
                self.classes[predicted[n]],
                float(self.probabilities[n, self.targets[n]]),
                float(self.probabilities[n, predicted[n]]),
            )
            for n in places
        )
