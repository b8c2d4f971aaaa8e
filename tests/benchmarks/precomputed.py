"""What precomputed features save, and whether they train the same head.

    python tests/benchmarks/precomputed.py --data dogscats.zip --arch squeezenet1_1 \
        --weights squeezenet1_1.pth [--size 128] [--epochs 3]

The head of a frozen network is trained for so many epochs without augmentation, once with every
picture going through the whole network in each epoch, and once with `learn.precomputed()`. Printed:
seconds of each epoch, of all with the pass that computes the features, the ratios, and the largest
relative difference of the head's weights (norm of the difference by norm, layer by layer). For a
network without batch norm in its body it is that of rounding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PLAIN = """
from fastai.vision.all import *
learn.dls = ImageDataLoaders.from_folder(
    path, valid="valid", item_tfms=Resize(size, method="squish"), num_workers=0,
    batch_tfms=learn.dls.train.after_batch.fs.filter(lambda one: isinstance(one, Normalize)),
)
learn.freeze()
began = clock()
"""
WHOLE = "learn.fit(epochs, 1e-3)\n"
FEATURES = "with learn.precomputed():\n    learn.fit(epochs, 1e-3)\n"
END = "seconds = clock() - began\n"


def train(body: str, asked: argparse.Namespace, runs: Path) -> tuple[Any, Any, float]:
    """Train the head; give the learner, what came of it, and the seconds of all."""
    from fastmagic import train_lesson1

    names = {"size": asked.size, "epochs": asked.epochs, "clock": time.perf_counter}
    result = train_lesson1(
        asked.data,
        PLAIN + body + END,
        arch=asked.arch,
        weights=asked.weights,
        size=asked.size,
        workers=0,
        runs_folder=runs,
        namespace=names,
    )
    return names["learn"], result, names["seconds"]


def apart(one: Any, two: Any) -> float:
    """Give the largest relative difference of two heads' weights."""
    a, b = one.model[1].state_dict(), two.model[1].state_dict()
    changes = [(a[key].float() - b[key].float()).norm() / a[key].float().norm() for key in a]
    return max(float(change) for change in changes)


def main() -> None:
    """Train both ways, and print what they took and how far they are apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slow, slowly, slow_all = train(WHOLE, asked, Path(folder))
        fast, fastly, fast_all = train(FEATURES, asked, Path(folder))
    last = []
    for name, result, total in (
        ("whole network", slowly, slow_all),
        ("precomputed", fastly, fast_all),
    ):
        seconds = [epoch.seconds for epoch in result.stages[0].epochs]
        each = " ".join(f"{one:.2f}" for one in seconds)
        print(f"{name}: {total:.1f} s in all, epochs {each} s, accuracy {result.accuracy:.4f}")
        last.append(seconds[-1])
    print(f"ratio: {slow_all / fast_all:.1f} in all, {last[0] / last[1]:.0f} an epoch")
    print(f"largest relative difference of the head's weights: {apart(slow, fast):.1e}")


if __name__ == "__main__":
    main()
