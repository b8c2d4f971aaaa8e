"""The order in which a network's weights lie in memory: channels last is quicker on processors.

The numbers are the same; convolutions of oneDNN and of tensor cores read them as they lie, instead
of turning them round in every step.
"""

from __future__ import annotations

from typing import Any


def channels_last(model: Any) -> None:
    """Let a network's convolutions keep their weights with the channels last.

    Only on a processor: on a GPU it was not measured here.

    Parameters
    ----------
    model
        A torch module; it is changed in place, and its weights stay the same numbers.
    """
    import torch

    weights = [p for p in model.parameters() if p.ndim == 4]
    if weights and all(p.device.type == "cpu" for p in weights):
        model.to(memory_format=torch.channels_last)


def contiguous(model: Any) -> None:
    """Put a network's weights back as torch makes them."""
    import torch

    if any(p.ndim == 4 and p.device.type == "cpu" for p in model.parameters()):
        model.to(memory_format=torch.contiguous_format)
