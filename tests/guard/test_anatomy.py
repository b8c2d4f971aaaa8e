"""What is known of a network from the beginning of a pass holds as long as its parts are there."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard.anatomy import Anatomy, Kept  # noqa: E402


def network():
    from torch import nn

    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(body, nn.Linear(4, 2))


def test_a_network_with_another_head_is_looked_at_again():
    from torch import nn

    net = network()
    anatomy = Anatomy(net)
    assert anatomy.body is net[0]
    assert anatomy.is_of(net)
    assert not anatomy.is_of(network())
    net[1] = nn.Linear(4, 3)
    assert not anatomy.is_of(net)


def test_buffers_of_every_kind_and_shape_are_put_back():
    import torch

    net = network().train()
    net[0][1].register_buffer("scalar", torch.tensor(3.5, dtype=torch.float64))
    before = {name: value.clone() for name, value in net.named_buffers()}
    kept = Kept(list(net.buffers()))
    net[0](torch.rand(2, 3, 8, 8))
    net[0][1].scalar += 1
    assert any(not torch.equal(value, before[name]) for name, value in net.named_buffers())
    kept.put_back()
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_nothing_to_keep_is_no_error():
    kept = Kept([])
    kept.put_back()
    assert kept._kept == []
