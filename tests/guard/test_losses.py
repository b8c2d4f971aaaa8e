"""What a loss function and a person's own modules count is there again when a cell goes on."""

from __future__ import annotations

from functools import partial

import pytest

pytestmark = pytest.mark.train

from tests.guard.test_attach import make_learner  # noqa: E402
from tests.guard.test_own_ways import same  # noqa: E402


def with_a_loss(learn, outer=lambda loss: loss):
    """Give a learner a loss that goes by what it saw before: an average, a tensor, a number."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("average", torch.ones(2))
            self.calls, self.last = 0, torch.ones(())

        def forward(self, found, wanted):
            found = found.as_subclass(torch.Tensor)
            self.calls += 1
            self.average.mul_(0.5).add_(found.detach().std(0), alpha=0.5)
            loss = cross_entropy(found / self.average, wanted.as_subclass(torch.Tensor))
            told = loss * (1 + 1 / self.calls) + 0.1 * self.last
            self.last = loss.detach()
            return told

    learn.loss_func = outer(Remembers())


def in_func(loss):
    """Put a module where fastai's own losses have torch's."""

    class Outer:
        def __init__(self, func):
            self.func = func

        def __call__(self, found, wanted):
            return self.func(found, wanted)

    return Outer(loss)


def counting(learn):
    """Give a learner a module that counts its steps, as a warm-up does."""
    from torch import nn

    class Warms(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps, self.share = 0, 0.0

        def forward(self, x):
            if self.training:
                self.steps += 1
                self.share = 1 / self.steps
            return x * (1 + self.share)

    learn.model = nn.Sequential(learn.model, Warms())


@pytest.mark.parametrize("give", [with_a_loss, partial(with_a_loss, outer=in_func), counting])
@pytest.mark.parametrize("stop", [(1, 1, 2), (2, 0, 0)])
def test_it_goes_on_with_what_was_held(tmp_path, give, stop):
    def do(learn):
        give(learn)
        learn.fit(2, 1e-2)
        learn.fit(1, 1e-3)

    same(tmp_path, do, stop)


def test_what_is_the_networks_is_not_kept_twice():
    """A GANLoss holds both networks."""
    import torch
    from torch import nn

    from fastmagic.guard import losses

    class Holds(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.scale = network, nn.Parameter(torch.ones(3))

    learn = make_learner()
    learn.loss_func = Holds(learn.model)
    kept = losses.held_by(learn)
    assert set(kept["tensors"]) == {"scale"}
    with torch.no_grad():
        learn.loss_func.scale.zero_()
    losses.put_back(learn, kept)
    assert learn.loss_func.scale.tolist() == [1, 1, 1]


def test_a_frozen_network_in_a_loss_is_not_kept_and_what_is_too_large_is_left_out():
    """A perceptual loss looks at pictures through VGG, which would be half a gigabyte a state."""
    from torch import nn

    from fastmagic.guard import held, losses

    class Perceives(nn.Module):
        def __init__(self):
            super().__init__()
            self.looks = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
            self.looks.requires_grad_(False)
            self.head = nn.Linear(4, 2)
            self.large = nn.Linear(held.BYTES // 4, 2, bias=False)

    learn = make_learner()
    learn.loss_func = Perceives()
    assert set(losses.held_by(learn)["tensors"]) == {"head.weight", "head.bias"}


def test_a_loss_that_is_a_function_holds_nothing():
    from torch.nn.functional import cross_entropy

    from fastmagic.guard import losses

    learn = make_learner()
    learn.loss_func = cross_entropy
    assert losses.held_by(learn) == {}
    losses.put_back(learn, {})
