"""Lesson 1 in plain fastai, as anyone would write it: what `lesson_speed.py` measures ours against.

    python tests/benchmarks/plain_lesson.py --data FOLDER --arch squeezenet1_1 --weights FILE

FOLDER has lesson 1's layout: `train/cats/1.jpg`, `valid/dogs/7.jpg`. Optimizer, rates and epochs
are those of our recipe; what that precomputes is a frozen fit on the whole network here. Prints one
line of JSON: seconds and accuracy of each stage, seconds of its last epoch, and seconds of all.
With `--one-epoch` each stage of `classic` is one epoch, and the seconds of the others are reckoned
from it, for data with which the whole lesson would take too long.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

BEGAN = time.perf_counter()

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def make(asked: argparse.Namespace) -> Any:
    """Make loaders and learner by fastai's public calls."""
    import torch
    import torchvision
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        create_body,
        set_seed,
        vision_learner,
    )

    if asked.threads:
        torch.set_num_threads(asked.threads)
    set_seed(asked.seed)
    norm = Normalize.from_stats(*(HALF if asked.normalize == "half" else IMAGENET))
    dls = ImageDataLoaders.from_folder(
        asked.data,
        valid="valid",
        item_tfms=Resize(asked.size),
        batch_tfms=[*aug_transforms(), norm],
        bs=64,
        num_workers=asked.workers,
    )
    arch = getattr(torchvision.models, asked.arch, asked.arch)
    learn = vision_learner(dls, arch, pretrained=False, normalize=False, metrics=accuracy)
    if asked.weights not in (None, "none"):
        state = torch.load(asked.weights, map_location="cpu", weights_only=True)
        if isinstance(arch, str):
            learn.model[0].model.load_state_dict(state, strict=False)
        else:
            whole = arch(weights=None)
            whole.load_state_dict(state)
            learn.model[0] = create_body(whole, cut=-1 if asked.arch.startswith("sq") else -2)
            learn.model[0].to(dls.device)
    return learn


def timed(learn: Any) -> Any:
    """Have a learner's epochs timed; give the list that their seconds are added to."""
    from fastai.callback.core import Callback

    seconds: list[float] = []

    class Clock(Callback):
        order = 100

        def before_epoch(self) -> None:
            self.began = time.perf_counter()

        def after_epoch(self) -> None:
            seconds.append(time.perf_counter() - self.began)

    learn.add_cb(Clock())
    return seconds


EPOCHS = {"precomputed": 3, "frozen": 3, "whole": 7}
"""Of `classic`; a stage that ran one epoch has the seconds of the others added."""


def classic(learn: Any, lr: float = 3e-3, *, one_epoch: bool = False) -> Any:
    """Run the 2018 lesson; give each stage's name and accuracy when it ends."""
    learn.freeze()
    learn.lr_find(show_plot=False)
    learn.fit_one_cycle(1 if one_epoch else 3, lr)
    yield "precomputed", learn.recorder.values[-1][-1]
    for _ in range(1 if one_epoch else 3):  # one call cannot: its `cycle_mult=1` divides by zero
        learn.fit_sgdr(1, 1, lr)
    yield "frozen", learn.recorder.values[-1][-1]
    learn.unfreeze()
    learn.fit_sgdr(1 if one_epoch else 3, 1, slice(lr / 300, lr / 10), cycle_mult=2)
    yield "whole", learn.recorder.values[-1][-1]
    preds, targets = learn.tta(beta=0.5)
    yield "tta", float((preds.argmax(dim=1) == targets).float().mean())


def quick(learn: Any, lr: float = 3e-3, *, one_epoch: bool = False) -> Any:
    """Train the head alone."""
    learn.freeze()
    learn.fit_one_cycle(3, lr)
    yield "frozen", learn.recorder.values[-1][-1]


def main() -> None:
    """Run a recipe and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--normalize", default="imagenet")
    parser.add_argument("--recipe", choices=("classic", "quick"), default="classic")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--one-epoch", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    learn = make(asked)
    stages: dict[str, float] = {"imports": time.perf_counter() - BEGAN}
    reached: dict[str, float] = {}
    epochs: dict[str, float] = {}
    seconds = timed(learn)
    with learn.no_bar(), learn.no_logging():
        last = time.perf_counter()
        run = {"classic": classic, "quick": quick}[asked.recipe]
        for stage, accuracy in run(learn, one_epoch=asked.one_epoch):
            stages[stage], reached[stage] = time.perf_counter() - last, accuracy
            last = time.perf_counter()
            epochs[stage] = seconds[-1]
    if asked.one_epoch and asked.recipe == "classic":
        for stage, count in EPOCHS.items():
            stages[stage] += (count - 1) * epochs[stage]
    total = sum(stages.values())
    figures = {"total": total, "stages": stages, "accuracy": reached, "epochs": epochs}
    if asked.device == "cuda":
        import torch

        figures["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
