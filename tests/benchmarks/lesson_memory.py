"""How much memory a training step of lesson 1 keeps, counted tensor by tensor on the CPU.

    python tests/benchmarks/lesson_memory.py [--arch resnet34] [--size 224] [--bs 8]

Prints the MiB that the forward pass saves for the backward pass, for each picture, in fp32 and with
bf16 autocast (fp16 keeps as much), and the MiB that weights, gradients and Adam's two averages take
whatever the batch. Nothing is timed, so any machine gives the same figures. What a GPU needs on top
(CUDA's context, cuDNN's workspace, gradients on their way, fragments) is not in them. The constants
of `fastmagic/gpu/estimate.py` come from here.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

MIB = 2**20


def saved(model: Any, batch: int, size: int, half: bool) -> float:
    """Count the MiB that a forward pass saves for each picture, the network's own weights apart."""
    import torch

    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    kept: dict[int, Any] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # kept alive: no address comes twice
        return tensor

    def total(pictures: int) -> int:
        kept.clear()
        mixed = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
        batch = torch.randn(pictures, 3, size, size)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), mixed:
            loss = torch.nn.functional.cross_entropy(model(batch), torch.zeros(pictures).long())
        del loss
        return sum(storage.nbytes() for storage in kept.values())

    # What does not grow with the batch, such as weights cast to bf16, is not the pictures'.
    return (total(2 * batch) - total(batch)) / batch / MIB


def main() -> None:
    """Count for one network."""
    import torch
    from fastai.vision import models
    from fastai.vision.learner import create_vision_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet34")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--bs", type=int, default=8)
    asked = parser.parse_args()
    model = create_vision_model(getattr(models, asked.arch), n_out=2, pretrained=False).train()
    for name, half in (("fp32", False), ("bf16", True)):
        each = saved(model, asked.bs, asked.size, half)
        print(f"{asked.arch} at {asked.size}, {name}: {each:.1f} MiB a picture")
    weights = sum(weight.numel() for weight in model.parameters())
    print(
        f"weights, gradients and Adam: {4 * 4 * weights / MIB:.0f} MiB (torch {torch.__version__})"
    )


if __name__ == "__main__":
    main()
