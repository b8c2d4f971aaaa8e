"""Results for the tests of report and comparison, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastmagic.guard.stages import Epoch, Stage
from fastmagic.lesson.report import Curves, Judged, TrainResult

STEPS = 10  # of an epoch


def judged(folder: Path, count: int = 40, classes: tuple[str, ...] = ("cat", "dog")) -> Judged:
    """Draw grey pictures and make up what was said of them: every tenth is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(folder / f"{n}.png" for n in range(count))
    for n, file in enumerate(files):
        Image.new("RGB", (60, 40 + n % 7 * 10), (n % 256, 90, 160)).save(file)
    targets = np.arange(count) % len(classes)
    said = np.where(np.arange(count) % 10 == 3, (targets + 1) % len(classes), targets)
    sure = np.linspace(0.55, 0.99, count)
    probabilities = np.repeat(((1 - sure) / (len(classes) - 1))[:, None], len(classes), axis=1)
    probabilities[np.arange(count), said] = sure
    return Judged(files, classes, probabilities, targets)


def stages() -> tuple[Stage, ...]:
    """Give two fits, of one epoch and of two."""

    def epoch(number: int, loss: float) -> Epoch:
        return Epoch(number, {"train_loss": loss, "valid_loss": loss + 0.1}, 1 - loss / 5, 3.0)

    return (
        Stage(1, 1, "head", [epoch(0, 0.5)]),
        Stage(2, 2, "all", [epoch(0, 0.3), epoch(1, 0.25)]),
    )


def curves() -> Curves:
    """Give the steps of those fits."""
    stage = (1,) * STEPS + (2,) * (2 * STEPS)
    return Curves(stage, tuple(1 / (n + 1) for n in range(len(stage))), (1e-3,) * len(stage))


def result(folder: Path, **changes: Any) -> TrainResult:
    """Give a finished run in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "status": "finished",
        "data": "pets",
        "path": folder / "data",
        "recipe": "classic",
        "arguments": {"arch": "resnet34", "seed": 42},
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
        "stages": stages(),
        "accuracy": 0.95,
        "accuracy_tta": None,
        "seconds": 60.0,
        "incidents": (),
        "weights_sha256": "ab" * 32,
        "folder": folder,
        "model": None,
        "validation_pictures": 400,
    }
    return TrainResult(**{**values, **changes})
