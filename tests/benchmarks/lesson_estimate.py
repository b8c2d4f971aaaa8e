"""How near the speed that `%gpu_check` measures comes to real training: the factor of its estimate.

    python tests/benchmarks/lesson_estimate.py [--device cpu] [--arch resnet34 …] [--rounds 5]

Times, in turns, the block that the probe times (fastmagic/gpu/probe.py) and whole training steps of
a network as fastai makes it, with Adam, on pictures that are there already: at first with all
weights, then with the body frozen and its batch norms kept, as recipe `classic` freezes it. Prints
the fastest of each and two ratios: efficiency, real operations a second per measured one, and what
a frozen step takes of a whole one. The constants of `fastmagic/gpu/estimate.py` come from here.
"""

from __future__ import annotations

import argparse
import runpy
import time
from pathlib import Path
from typing import Any

PROBE = Path(__file__).resolve().parents[2] / "fastmagic" / "gpu" / "probe.py"


def count(model: Any, size: int) -> float:
    """Count the operations of a training step for each picture, in 10**9, two a multiply-add."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, size, size)).sum().backward()
    return counter.get_total_flops() / 2 / 1e9


def make_step(model: Any, batch: int, size: int, device: str, precision: str, probe: Any) -> Any:
    """Make a function that takes one training step and gives its seconds."""
    import torch

    model = model.to(device)
    layout = torch.contiguous_format if precision == "fp32" else torch.channels_last
    model = model.to(memory_format=layout)
    pictures = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=layout)
    classes = torch.zeros(batch, dtype=torch.long, device=device)
    adam = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=1e-5)

    def step() -> float:
        began = time.perf_counter()
        with probe["_autocast"](device, precision):
            loss = torch.nn.functional.cross_entropy(model(pictures), classes)
        loss.backward()
        adam.step()
        adam.zero_grad()
        probe["_wait_for"](device)
        return time.perf_counter() - began

    return step


def freeze(model: Any) -> None:
    """Freeze the body with its batch norms, as `freeze()` and `keep_batch_norm()` do."""
    model[0].eval().requires_grad_(False)


def compare(arch: str, precision: str, asked: Any, probe: Any) -> None:
    """Time block and network in turns, and print the fastest of each."""
    from fastai.vision import models
    from fastai.vision.learner import create_vision_model

    def make() -> Any:
        return create_vision_model(getattr(models, arch), n_out=2, pretrained=False).train()

    operations = count(make(), asked.size)
    frozen_model = make()
    freeze(frozen_model)
    shape = (asked.bs, asked.size, asked.device, precision, probe)
    whole, frozen = make_step(make(), *shape), make_step(frozen_model, *shape)
    block, fast, fast_frozen = 0.0, float("inf"), float("inf")
    for number in range(asked.rounds + 1):
        block = max(block, probe["measure"](asked.device, precision))
        if number:  # the first steps load and choose kernels
            fast, fast_frozen = min(fast, whole()), min(fast_frozen, frozen())
        else:
            whole(), frozen()
    rate = asked.bs / fast
    print(
        f"{arch} {precision}: block {block:.0f} GFLOP/s; {rate:.1f} pictures/s of "
        f"{operations:.1f} GFLOP = {rate * operations:.0f} GFLOP/s; "
        f"efficiency {rate * operations / block:.2f}; frozen/whole {fast_frozen / fast:.2f}",
        flush=True,
    )


def main() -> None:
    """Compare for each network in each precision that the device claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arch", nargs="+", default=["resnet34", "resnet18"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--bs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    probe = runpy.run_path(str(PROBE))
    for arch in asked.arch:
        for precision in probe["precisions"](asked.device):
            compare(arch, precision, asked, probe)


if __name__ == "__main__":
    main()
