"""What saving its state costs a lesson: the share of training that waits for it, and the writing.

    python tests/benchmarks/saving_cost.py [--arch resnet18] [--size 96] [--epochs 3] [--every 2]

The state is saved after every epoch and every so many seconds within it (60 in a lesson; less here,
so that a short run shows it). Printed: the seconds that training waited for the copy, those that
the writing took beside it, the size of a state, and both as shares of the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
warnings.simplefilter("ignore")


def main() -> None:
    """Train once with states, and print what they cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--every", type=float, default=2)
    options = parser.parse_args()
    import torch
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, models, vision_learner

    from fastmagic.data.drawn.sample import draw_sample
    from fastmagic.guard import attach, positions
    from fastmagic.guard.session import Session
    from fastmagic.progress import View

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = draw_sample(work / "pictures", train=320, valid=64, side=options.size)
        session = Session(1, View(), work / "states", save_every=options.every)
        with positions.kept_apart(), attach.attached(session):
            dls = ImageDataLoaders.from_folder(
                pictures, valid="valid", item_tfms=Resize(options.size), bs=32, num_workers=0
            )
            arch = getattr(models, options.arch)
            learn = vision_learner(dls, arch, pretrained=False, metrics=accuracy, path=work)
            learn.unfreeze()
            began = time.perf_counter()
            learn.fit(options.epochs, 1e-3)
            seconds = time.perf_counter() - began
        size = max(file.stat().st_size for file in (work / "states").glob("fit-*.pt"))
    waited, wrote = session.saving_seconds, session.keeper.seconds
    print(f"{options.arch}, {torch.get_num_threads()} threads: {seconds:.1f} s of training")
    print(f"training waited {waited:.2f} s for copies: {100 * waited / seconds:.2f} %")
    print(f"writing took {wrote:.2f} s beside it: {100 * wrote / seconds:.2f} %")
    print(f"a state has {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
