"""How a network's weights lie in memory."""

from __future__ import annotations

from types import SimpleNamespace as Like

from fastmagic.speed import layout


def test_of_a_network_that_looks_at_volumes_too_the_flat_kernels_alone_are_turned():
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv2d(4, 8, 3))
    before = [one.detach().clone() for one in model.parameters()]
    model[1].weight.grad = torch.ones_like(model[1].weight)
    last = {"memory_format": torch.channels_last}
    layout.channels_last(Like(model=model), torch.device("cpu"))
    assert model[1].weight.is_contiguous(**last) and model[1].weight.grad.is_contiguous(**last)
    assert model[0].weight.is_contiguous()
    layout.contiguous(model)
    assert model[1].weight.is_contiguous() and model[1].weight.grad.is_contiguous()
    assert all(a.equal(b) for a, b in zip(model.parameters(), before, strict=True))
