"""How long training waited for pictures, and what can be done about it."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmagic import platforms

MUCH = 0.3  # of the time; below it there is little to win
LOOKED_AT = 20  # pictures
TOO_LARGE = 1.5  # times the size that is trained with
ENOUGH_PICTURES = 1000  # for fewer, starting processes at every epoch costs more than it brings
ENOUGH_SHM = 256  # MiB of /dev/shm: below, more workers may die of it


@dataclass(frozen=True)
class Loading:
    """The time of the fits, parted into waiting for pictures and working with them.

    Attributes
    ----------
    waiting_seconds, working_seconds
        Of all batches, see `guard.protected.Protected.one_batch`.
    device
        Where it was trained: `cpu`, `cuda` or `mps`.
    workers
        Processes that load pictures; 0 where the training process does it itself.
    advice
        What would shorten the waiting; empty where it is short or nothing is known to help.
    """

    waiting_seconds: float
    working_seconds: float
    device: str
    workers: int
    advice: str = ""

    @property
    def share(self) -> float:
        """The share of the time that was spent waiting, 0 to 1."""
        return self.waiting_seconds / (self.waiting_seconds + self.working_seconds)

    def sentences(self) -> tuple[str, ...]:
        """Say it in plain lines for a report.

        Examples
        --------
        >>> Loading(62, 38, "cuda", 2).sentences()
        ('The GPU waited for pictures 62 % of the time.',)
        >>> Loading(40, 60, "cpu", 0).sentences()
        ('Loading pictures took 40 % of the time.',)
        """
        share = f"{100 * self.share:.0f} % of the time."
        if self.device != "cpu":
            said = f"The GPU waited for pictures {share}"
        elif self.workers:
            said = f"Training waited for pictures {share}"
        else:
            said = f"Loading pictures took {share}"
        return (said, self.advice) if self.advice else (said,)


def measured(
    waiting_seconds: float,
    working_seconds: float,
    *,
    device: str,
    workers: int,
    pictures: Sequence[Path],
    size: int | None,
    shm_size: int | None,
    cores: int | None = None,
    system: str = sys.platform,
) -> Loading | None:
    """Part the time of the fits, with advice where much of it was waiting.

    Parameters
    ----------
    waiting_seconds, working_seconds
        As the session counted them.
    device, workers
        As of `Loading`.
    pictures
        What was trained with; a few of them are looked at. Empty where the body made loaders of
        its own, for which no advice is known.
    size
        The side in pixels to which they are resized; None where small copies of them are read.
    shm_size
        MiB of /dev/shm; None where there is none.
    cores
        Cores that may be used; counted by default.
    system
        As `sys.platform`.

    Returns
    -------
    Loading or None
        None where nothing was fitted.
    """
    if waiting_seconds + working_seconds <= 0:
        return None
    found = Loading(round(waiting_seconds, 3), round(working_seconds, 3), device, workers)
    if found.share < MUCH or not pictures:
        return found
    cores = platforms.usable_cores() if cores is None else cores
    most = min(cores, platforms.WORKERS_MOST)
    more_would_help = (
        device != "cpu"  # there the network needs every core itself
        and system == "linux"  # elsewhere the workers of a notebook start afresh, and slowly
        and workers < most
        and (workers > 0 or len(pictures) >= ENOUGH_PICTURES)
        and (shm_size or 0) >= ENOUGH_SHM
    )
    if more_would_help:
        advice = (
            f"More processes that load them can shorten that: --workers {most} (now {workers})."
        )
    else:
        advice = "" if size is None else _size_advice(pictures, size)
    return dataclasses.replace(found, advice=advice)


def _size_advice(pictures: Sequence[Path], size: int) -> str:
    """Compare the pictures on disk with what is made of them: each is decoded whole first."""
    side = _typical_side(pictures)
    if side is None or side < TOO_LARGE * size:
        return ""
    return (
        f"The pictures are about {side} pixels high or wide at the shorter side, and each is read "
        f"whole before it becomes {size}: copies of them nearer to that size would load faster."
    )


def _typical_side(pictures: Sequence[Path]) -> int | None:
    """Give the median of the shorter sides of a few pictures; only their headers are read."""
    from PIL import Image, UnidentifiedImageError

    sides = []
    for file in pictures[:: max(len(pictures) // LOOKED_AT, 1)][:LOOKED_AT]:
        try:
            with Image.open(file) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, UnidentifiedImageError):
            continue
    return round(statistics.median(sides)) if sides else None
