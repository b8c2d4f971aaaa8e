"""Parameters that are updated together become what fastai's own optimizer makes of each."""

from __future__ import annotations

import copy
from functools import partial

import pytest

from fastmagic.guard.updating import careful_step
from fastmagic.speed import together


def parameters(seed=0):
    import torch

    torch.manual_seed(seed)
    sizes = [(3, 2, 3, 3), (5,), (4, 4), (5,), (7, 2)]
    params = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
    return [params[:2], params[2:]]


def optimizers():
    from fastai.optimizer import SGD, Adam

    return {
        "Adam": partial(Adam, wd=0.1),
        "Adam with l2": partial(Adam, wd=0.1, decouple_wd=False),
        "SGD": partial(SGD, wd=0.1),
        "SGD with l2": partial(SGD, wd=0.1, decouple_wd=False),
        "SGD with momentum": partial(SGD, mom=0.9),
    }


def trained(make, step, steps=4):
    """Take steps with gradients that are always the same; give the weights and the states."""
    import torch

    groups = parameters()
    optimizer = make(groups, lr=0.1)
    optimizer.set_hyper("lr", [0.01, 0.3])
    optimizer.state[groups[1][1]] = {"do_wd": False}
    torch.manual_seed(1)
    for number in range(steps):
        for group in groups:
            for p in group:
                p.grad = torch.randn_like(p)
        if number == 2:
            groups[0][0].grad = None  # not of the graph this time
        step(optimizer)
    weights = [p.detach() for group in groups for p in group]
    return weights, [optimizer.state[p] for group in groups for p in group]


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_a_step_is_to_the_bit_fastais(name, monkeypatch):
    import torch

    monkeypatch.setattr(together, "AT_ONCE", 70)  # bytes: several pieces
    make = optimizers()[name]
    ours, states = trained(make, careful_step)
    fastais, known = trained(make, lambda optimizer: optimizer.step())
    assert all(torch.equal(a, b) for a, b in zip(ours, fastais, strict=True))
    for a, b in zip(states, known, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key]))


def test_all_but_the_first_step_is_taken_together():
    from fastai.optimizer import Adam

    pieces = []
    trained(Adam, lambda one: (pieces.append([p.parts for p in together.alike(one)]), one.step()))
    assert [all(pieces[0]), all(pieces[1])] == [False, True]
    assert len(pieces[1]) == 3  # two rates, and one without weight decay


def test_a_callback_of_somebody_elses_has_each_updated_alone():
    from fastai.optimizer import Adam, Lamb

    def make(params, lr):
        optimizer = Adam(params, lr=lr)
        optimizer.cbs.append(lambda p, **_: None)
        return optimizer

    for one in (make, Lamb):
        pieces = []
        trained(one, lambda o: (pieces.extend(p.parts for p in together.alike(o)), o.step()))  # noqa: B023
        assert set(map(type, pieces)) == {type(None)}


def test_where_there_is_no_room_to_update_together_each_is_updated_alone():
    import torch
    from fastai.optimizer import Adam

    told = []

    def full(like):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB")

    whole, _ = trained(Adam, careful_step)
    alone, _ = trained(
        Adam, lambda optimizer: careful_step(optimizer, lambda: told.append(1), like=full)
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, alone, strict=True))
    assert told


def test_gradients_that_are_zero_are_known_until_something_is_added():
    import torch
    from fastai.optimizer import SGD

    groups = parameters()
    optimizer = SGD(groups, lr=0.1)
    for group in groups:
        for p in group:
            p.grad = torch.ones_like(p)
    first, second = groups[0]
    other = copy.deepcopy(second.grad)
    zeroed = together.zeroed(optimizer)
    assert all(float(p.grad.abs().sum()) == 0 for group in groups for p in group)
    assert zeroed.holds(first.grad)
    (first * 2).sum().backward()
    assert not zeroed.holds(first.grad)
    assert zeroed.holds(second.grad)
    assert not zeroed.holds(other)


def test_a_way_back_writes_over_zeros_and_adds_to_the_rest():
    import torch
    from torch import nn

    reached, other, kept = (nn.Parameter(torch.ones(2)) for _ in "abc")
    for p in (reached, other, kept):
        p.grad = torch.zeros(2)
    before = reached.grad
    zeroed = together.Zeroed([reached.grad, other.grad])
    kept.grad += 5  # of a batch before
    with zeroed.left_out([reached, other, kept]):
        assert reached.grad is None and kept.grad.tolist() == [5, 5]
        (3 * reached + 2 * kept).sum().backward()
    assert reached.grad is not before  # torch kept what it computed
    assert [p.grad.tolist() for p in (reached, other, kept)] == [[3, 3], [0, 0], [7, 7]]


def test_a_way_back_that_fails_leaves_zeros():
    import torch
    from torch import nn

    one = nn.Parameter(torch.ones(2))
    one.grad = torch.zeros(2)
    with pytest.raises(RuntimeError), together.Zeroed([one.grad]).left_out([one]):
        raise RuntimeError("CUDA error")
    assert one.grad.tolist() == [0, 0]


def test_the_memory_of_zeros_is_free_while_they_are_left_out():
    import gc
    import weakref

    import torch
    from torch import nn

    one = nn.Parameter(torch.ones(2))
    one.grad = torch.zeros(2)
    zeros, zeroed = weakref.ref(one.grad), together.Zeroed([one.grad])
    with zeroed.left_out([one]):
        gc.collect()
        assert zeros() is None
