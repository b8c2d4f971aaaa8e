"""What a training step takes beside the network: the optimizer, and putting a batch together.

    python tests/benchmarks/around_a_step.py [--arch resnet34] [--size 224] [--batch 64]
        [--device cpu]

fastai's way beside ours, in turns, each the fastest of several. No data and no weights are needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
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


def batches(size: int, count: int) -> dict[str, Callable[[], object]]:
    """Give the putting together of pictures whose bytes have the channels last, in both ways."""
    import torch
    from fastai.data.load import fa_collate
    from fastai.torch_core import TensorImage

    from fastmagic.guard.loaders import turned

    shape = (count, size, size, 3)
    bytes_ = torch.randint(0, 255, shape, dtype=torch.uint8)
    pictures = [TensorImage(one.permute(2, 0, 1)) for one in bytes_]
    return {"fastai": lambda: fa_collate(pictures), "fastmagic": lambda: turned(pictures)}


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
    parts = {
        f"optimizer, {asked.arch}": optimizers(asked.arch, asked.device),
        f"a batch of {asked.batch} put together": batches(asked.size, asked.batch),
    }
    for what, ways in parts.items():
        took = best(ways, wait)
        times = took["fastai"] / took["fastmagic"]
        print(f"| {what} | {took['fastai']:.1f} | {took['fastmagic']:.1f} | {times:.1f} |")


if __name__ == "__main__":
    main()
