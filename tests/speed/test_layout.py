"""How a network's weights lie in memory."""

from __future__ import annotations

from types import SimpleNamespace as Like

import pytest

from fastmagic.speed import layout


def laid(model) -> bool:
    import torch

    return layout.channels_last(Like(model=model), torch.device("cpu"))


def is_turned(kernel) -> bool:
    import torch

    return kernel.is_contiguous(memory_format=torch.channels_last)


def of_volumes_too():
    """Give a network with kernels of three dimensions, which it does not use for pictures."""
    from torch import nn

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.volumes, self.flat = nn.Conv3d(1, 2, 3), nn.Conv2d(4, 8, 3)

        def forward(self, pictures):
            return self.flat(pictures).mean((2, 3))

    return Both()


def test_of_a_network_that_looks_at_volumes_too_the_flat_kernels_alone_are_turned():
    import torch

    model = of_volumes_too()
    before = [one.detach().clone() for one in model.parameters()]
    model.flat.weight.grad = torch.ones_like(model.flat.weight)
    assert laid(model)
    assert is_turned(model.flat.weight) and is_turned(model.flat.weight.grad)
    assert model.volumes.weight.is_contiguous()
    layout.contiguous(model)
    assert model.flat.weight.is_contiguous() and model.flat.weight.grad.is_contiguous()
    assert all(a.equal(b) for a, b in zip(model.parameters(), before, strict=True))


def kernel_before(*rest):
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), *rest)


def test_a_network_that_takes_its_maps_flat_by_view_stays_as_it_is():
    import torch
    from fastai.layers import Flatten
    from torch import nn

    by_view = kernel_before(Flatten(), nn.Linear(8 * 31 * 31, 2))
    before = {name: one.clone() for name, one in by_view.state_dict().items()}
    position = torch.get_rng_state()
    assert not laid(by_view)
    assert by_view[0].weight.is_contiguous() and not is_turned(by_view[0].weight)
    assert all(one.equal(before[name]) for name, one in by_view.state_dict().items())
    assert torch.get_rng_state().equal(position)
    assert laid(kernel_before(nn.Flatten(), nn.Linear(8 * 31 * 31, 2)))


@pytest.mark.parametrize("head", ["maps", "maps among others", "a hook", "one size"])
def test_where_its_maps_may_be_read_or_it_cannot_be_tried_it_stays_as_it_is(head):
    from torch import nn

    class Pair(nn.Module):
        def forward(self, maps):
            return maps.mean((2, 3)), {"maps": maps}

    ends = {"maps": [], "maps among others": [Pair()], "one size": [nn.Flatten(), nn.Linear(8, 2)]}
    model = kernel_before(*ends.get(head, [nn.AdaptiveAvgPool2d(1), nn.Flatten()]))
    if head == "a hook":
        assert laid(model)
        model[0].register_forward_hook(lambda part, given, maps: maps.view(len(maps), -1))
    assert not laid(model)
    assert not is_turned(model[0].weight)


def test_a_network_whose_layers_are_changed_is_tried_again():
    from fastai.layers import Flatten
    from torch import nn

    model = kernel_before(nn.AdaptiveAvgPool2d(1), Flatten())
    assert laid(model) and is_turned(model[0].weight)
    model[3] = nn.AdaptiveAvgPool2d(2)
    assert not laid(model)
    assert model[0].weight.is_contiguous()


def test_a_network_that_the_person_has_laid_so_stays_so_untried():
    import torch

    model = kernel_before().to(memory_format=torch.channels_last)
    assert laid(model)
    layout.contiguous(model)
    assert is_turned(model[0].weight)
