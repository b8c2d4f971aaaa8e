"""Tries an installation: fastai, torchvision, one training step; run by its path.

In a process of its own, so that half old and half new modules of a running kernel do not matter.
Its argument is the path of `gpu/probe.py`.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
import traceback
from typing import Any

MARK = "fastmagic-answer:"  # the same as in fastmagic/child.py, which this file cannot import


def import_fastai() -> str:
    """Import what the lesson imports."""
    import fastai
    import fastai.vision.all

    return f"fastai {fastai.__version__}"


def use_torchvision() -> str:
    """Run one of torchvision's compiled operators: it fails where the builds do not match."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    if kept.tolist() != [0, 2]:
        raise RuntimeError(f"torchvision.ops.nms kept {kept.tolist()} instead of [0, 2]")
    return f"torchvision {torchvision.__version__}"


def train(probe: str) -> str:
    """Run a small step on the device that training will use."""
    import torch

    mps = getattr(torch.backends, "mps", None)
    device = "cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu"
    found: dict[str, Any] = runpy.run_path(probe)["try_device"](device)
    if not found["ok"]:
        raise RuntimeError(f"a training step on {device} failed: {found['words']}")
    return f"a training step on {device} (PyTorch {torch.__version__})"


def import_opencv() -> str:
    """Import cv2 where it is installed: it is what breaks with another numpy, or without libGL."""
    if importlib.util.find_spec("cv2") is None:
        return ""
    import cv2

    return f"OpenCV {cv2.__version__}"


def main(probe: str) -> None:
    """Print what worked, and the first failure, as one marked line."""
    good: list[str] = []
    failure = ""
    try:
        for step in (import_fastai, use_torchvision, lambda: train(probe), import_opencv):
            good += filter(None, [step()])
    except Exception as error:
        failure = "".join(traceback.format_exception_only(type(error), error)).strip()
    sys.stdout.write(f"\n{MARK}{json.dumps({'good': good, 'failure': failure})}\n")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules must not hide anybody else's
    main(sys.argv[1])
