"""A batch that is made ahead: the same batches, draws and errors as without."""

import random

import pytest
import torch

from fastmagic.guard.ahead import Coming

pytestmark = pytest.mark.train


def drawing(count):
    for number in range(count):
        yield number, random.random(), float(torch.rand(1))


def seeded():
    random.seed(1)
    torch.manual_seed(1)


def test_made_ahead_or_not_all_come_in_their_order():
    coming = Coming(iter(range(5)))
    found = []
    for number in coming:
        found.append(number)
        if number % 2:
            coming.make_next()
            coming.make_next()  # one at most
    assert found == [0, 1, 2, 3, 4]


def test_making_one_leaves_the_generators_as_they_are():
    seeded()
    coming = Coming(drawing(2))
    before = random.getstate(), torch.get_rng_state()
    coming.make_next()
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def failing():
    yield 1
    raise RuntimeError("the second cannot be made")


def test_what_goes_wrong_is_told_when_its_turn_comes():
    coming = Coming(failing())
    assert next(coming) == 1
    coming.make_next()
    with pytest.raises(RuntimeError, match="the second cannot be made"):
        next(coming)
    assert next(coming, "over") == "over"


def test_the_end_comes_when_its_turn_does():
    coming = Coming(iter([1]))
    next(coming)
    coming.make_next()
    assert next(coming, "over") == "over"


def test_a_stop_is_not_kept_for_later():
    def stopped():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        Coming(stopped()).make_next()
