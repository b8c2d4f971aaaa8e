"""How fast and how well plain fastai learns the drawn data set from nothing.

    python tests/benchmarks/sample_training.py [--seeds 3] [--folder DIR]

Prints, for each seed, seconds with and without imports, CPU seconds, and the accuracy after each
epoch. The aim is at least 95 % within 90 s on two CPU cores, imports included. The pictures are
drawn first, into DIR or a temporary folder; that is timed on its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

ARCH, SIZE, BATCH, EPOCHS, RATE = "resnet18", 48, 24, 8, 5e-3


def train(folder: Path, seed: int) -> list[float]:
    """Train one network from nothing; give the accuracy after each epoch."""
    from fastai.vision import models
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        imagenet_stats,
        set_seed,
        vision_learner,
    )

    set_seed(seed, reproducible=True)
    mirror = aug_transforms(max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0)
    dls = ImageDataLoaders.from_folder(
        folder,
        train="train",
        valid="valid",
        item_tfms=Resize(SIZE),
        batch_tfms=[*mirror, Normalize.from_stats(*imagenet_stats)],
        bs=BATCH,
        num_workers=0,
    )
    learn = vision_learner(dls, getattr(models, ARCH), pretrained=False, metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(EPOCHS, RATE)
    return [float(row[-1]) for row in learn.recorder.values]


def main() -> None:
    """Draw the pictures, then train once for each seed."""
    from fastmagic.data.drawn.sample import draw_sample

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        folder = draw_sample(asked.folder or Path(place) / "sample")
        print(f"drawing {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        import fastai.vision.all  # noqa: F401

        imports = time.perf_counter() - began
        print(f"imports {imports:.1f} s")
        for seed in range(asked.seeds):
            began, worked = time.perf_counter(), time.process_time()
            accuracies = train(folder, seed)
            fit, work = time.perf_counter() - began, time.process_time() - worked
            print(
                f"seed {seed}: {imports + fit:.1f} s with imports ({fit:.1f} s without, "
                f"{work:.1f} s of CPU), accuracy {accuracies[-1]:.4f}, "
                f"by epoch {' '.join(f'{a:.3f}' for a in accuracies)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
