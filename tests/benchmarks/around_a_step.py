"""What a training step takes beside the network: the optimizer, loading a batch, and its changes.

    python tests/benchmarks/around_a_step.py [--arch resnet34] [--size 224] [--batch 64]
        [--device cpu]

fastai's way beside ours, in turns, each the fastest of several. No data and no weights are needed.
A batch is cut from small copies of noise (one in eight has to be enlarged): one picture after
another, to be put together by fastai, and in one go, on a GPU in its memory. The augmentation is
that of pictures of 8 pixels, so that what is timed is the work of the processor, for which a GPU
waits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TRIES = 20


def best(ways: dict[str, Callable[[], object]], wait: Callable[[], object]) -> dict[str, float]:
    """Give the milliseconds of the fastest try of each way."""
    took = dict.fromkeys(ways, float("inf"))
    for _ in range(TRIES):
        for name, way in ways.items():
            wait()
            began = time.perf_counter()
            way()
            wait()
            took[name] = min(took[name], 1e3 * (time.perf_counter() - began))
    return took


def optimizers(arch: str, device: str) -> dict[str, Callable[[], object]]:
    """Give an update of all weights and the zeroing of their gradients, in both ways."""
    import torch
    import torchvision
    from fastai.optimizer import Adam

    from fastmagic.guard.updating import careful_step
    from fastmagic.speed import together

    def make() -> Any:
        optimizer = Adam(list(getattr(torchvision.models, arch)().to(device).parameters()), lr=1e-4)
        for p, *_ in optimizer.all_params():
            p.grad = torch.rand_like(p)
        return optimizer

    plain, quick = make(), make()

    def fastais() -> None:
        plain.step()
        plain.zero_grad()

    def ours() -> None:
        careful_step(quick)
        together.zeroed(quick)

    return {"fastai": fastais, "fastmagic": ours}


def loaded(size: int, count: int, device: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Give the loading of a batch from small copies, in both ways."""
    import numpy as np
    import torch
    from fastai.data.load import fa_collate
    from fastai.torch_core import TensorImage
    from PIL import Image

    from fastmagic.speed.batches import Batches
    from fastmagic.speed.pictures import Pictures
    from fastmagic.speed.resident import BILINEAR, Resident

    files = [folder / f"{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        side = size * 4 // 3 if number % 8 else size * 3 // 4  # one in eight has to be enlarged
        noise = np.random.default_rng(number).integers(0, 255, (side, side * 4 // 3, 3), np.uint8)
        Image.fromarray(noise).save(file)
    pictures = Pictures(folder / "copies", (size, size))
    pictures.make(files, threads=2)
    shares = [(0.3, 0.6)] * count
    resident = None if device == "cpu" else Resident(pictures, files, device)
    dataset = SimpleNamespace(tls=[SimpleNamespace(items=files)])
    batches = Batches(pictures, dataset, [torch.zeros(count).long()], resident)

    def singly() -> None:
        cut = [TensorImage(pictures.cut(file, shares[0], BILINEAR)) for file in files]
        fa_collate([(one, 0) for one in cut])[0].to(device)

    return {"fastai": singly, "fastmagic": lambda: batches.make(range(count), shares, BILINEAR)}


def augmentations(count: int, device: str) -> dict[str, Callable[[], object]]:
    """Give the augmentation of a batch of tiny pictures, in both ways."""
    import torch
    from fastai.torch_core import TensorImage
    from fastai.vision.augment import aug_transforms, setup_aug_tfms

    from fastmagic.speed import augment

    pictures = TensorImage(torch.rand(count, 3, 8, 8, device=device))
    ways = {}
    for name in ("fastai", "fastmagic"):
        steps = setup_aug_tfms(aug_transforms())
        if name == "fastmagic":
            for step in steps:
                augment.by_host(step)

        def way(steps: Any = steps) -> None:
            batch = (pictures,)
            for step in steps:
                batch = step(batch, split_idx=0)

        ways[name] = way
    return ways


def main() -> None:
    """Measure both, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="resnet34")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    import torch

    wait = torch.cuda.synchronize if asked.device == "cuda" else lambda: None
    print("| what | fastai, ms | fastmagic, ms | times as fast |\n|---|---|---|---|")
    size, count, device = asked.size, asked.batch, asked.device
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            f"optimizer, {asked.arch}": optimizers(asked.arch, device),
            f"a batch of {count} cut and put together": loaded(size, count, device, Path(folder)),
            f"the augmentation of {count}": augmentations(count, device),
        }
        for what, ways in parts.items():
            took = best(ways, wait)
            times = took["fastai"] / took["fastmagic"]
            print(f"| {what} | {took['fastai']:.1f} | {took['fastmagic']:.1f} | {times:.1f} |")


if __name__ == "__main__":
    main()
