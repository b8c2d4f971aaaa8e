"""What goes to a GPU and comes from it: the same numbers, without waiting."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train


def test_where_the_network_trains_on_the_processor_nothing_is_copied():
    import torch

    from fastmagic.speed.brought import brought

    here = torch.rand(3)
    assert brought(here, torch.device("cpu")) is here


class Sent:
    """Stands for a tensor: keeps how it was sent."""

    def __init__(self):
        self.asked = []

    def pin_memory(self):
        return self

    def to(self, device, **options):
        self.asked.append((device.type, options))
        return self


def test_a_copy_to_apples_gpu_is_waited_for():
    from fastmagic.speed.brought import brought

    sent = Sent()
    for device in ("cuda", "mps"):
        brought(sent, device)
    assert sent.asked == [
        ("cuda", {"non_blocking": True}),
        ("mps", {"non_blocking": False}),
    ]


@pytest.mark.gpu
def test_numbers_are_the_same_on_a_gpu_and_back():
    import torch
    from fastai.torch_core import TensorCategory

    from fastmagic.speed.brought import OnItsWay, brought

    there = []
    for number in range(200):  # the memory beside them is used again and again
        there.append(brought(TensorCategory(torch.full((1000,), number)), "cuda"))
    assert all(isinstance(one, TensorCategory) and one.is_cuda for one in there)
    coming = [OnItsWay(one.sum()) for one in there]
    assert [int(one.here()) for one in coming] == [1000 * number for number in range(200)]
    assert coming[0].here().device.type == "cpu"
