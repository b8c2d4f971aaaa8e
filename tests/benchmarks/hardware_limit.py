"""What this machine could do at best: how fast its parts are, each alone.

    python tests/benchmarks/hardware_limit.py --data FOLDER --arch squeezenet1_1 [--size 128]

Measures, with random weights (which take as long as others): pictures a second of a training step
of the whole network, of a look by the frozen body, and of a look by the whole, each at the best of
several batches and precisions, with the channels last and, on a processor, freed memory kept; and
how many photographs a second are decoded and reduced by all cores. `lesson_speed.py` makes of these
the time that a recipe takes at least. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TRIES = 4


def network(arch: str) -> Any:
    """Make a network of torchvision's, or of timm's."""
    import torchvision

    if hasattr(torchvision.models, arch):
        return getattr(torchvision.models, arch)(weights=None)
    import timm

    return timm.create_model(arch)


def best(step: Callable[[], object], wait: Callable[[], object]) -> float:
    """Give the seconds of the fastest of several steps."""
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        step()
        wait()
        took.append(time.perf_counter() - began)
    return min(took)


def arithmetic(arch: str, size: int, device: str, batches: tuple[int, ...]) -> dict[str, float]:
    """Give pictures a second of a training step and of a look, at the best of all settings."""
    import torch

    model = network(arch).to(device).to(memory_format=torch.channels_last)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    halves = (None, torch.bfloat16, torch.float16) if device == "cuda" else (None, torch.bfloat16)
    rates = {"step": 0.0, "look": 0.0}
    for count in batches:
        pictures = torch.rand(count, 3, size, size, device=device)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        for half in halves:

            def look(pictures: Any = pictures, half: Any = half) -> Any:
                with torch.autocast(device, half, enabled=half is not None):
                    return model(pictures)

            def train(look: Callable[[], Any] = look) -> None:
                look().float().logsumexp(dim=1).sum().backward()
                model.zero_grad(set_to_none=True)

            model.train()
            rates["step"] = max(rates["step"], count / best(train, wait))
            model.eval()
            with torch.no_grad():
                rates["look"] = max(rates["look"], count / best(look, wait))
    return rates


def decoding(files: list[Path], size: int, threads: int) -> float:
    """Give photographs a second that are decoded and reduced."""
    from fastmagic.speed.pictures import small_copy

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as crew:
        for _ in crew.map(lambda file: small_copy(file, (size, size)), files):
            pass
    return len(files) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64])
    asked = parser.parse_args()
    from fastmagic import platforms
    from fastmagic.speed import allocator

    parts = {name: sorted(Path(asked.data, name).glob("*/*")) for name in ("train", "valid")}
    with allocator.kept(wanted=asked.device == "cpu"):
        rates = arithmetic(asked.arch, asked.size, asked.device, tuple(asked.batches))
    rates["decode"] = decoding(
        (parts["train"] + parts["valid"])[:1000], asked.size, platforms.usable_cores()
    )
    print(json.dumps({**rates, **{name: len(files) for name, files in parts.items()}}))


if __name__ == "__main__":
    main()
