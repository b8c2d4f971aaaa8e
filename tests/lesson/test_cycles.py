"""Cycles of training that start again at the full rate."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lesson.test_precomputed import learner

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def learn(small_folder):
    """Give the smallest network, its head on features: an epoch takes no time."""
    from fastmagic.lesson.additions.precomputed import precomputed

    with precomputed(learner(small_folder)) as learn:
        yield learn


def rates(learn):
    return np.array(learn.recorder.lrs)


def cycles(learn, *args, **options):
    from fastmagic.lesson.additions.cycles import fit_cycles

    fit_cycles(learn, *args, **options)
    return rates(learn)


def test_cycles_that_double_are_those_of_fastai(learn):
    found = cycles(learn, 3, 1e-3, cycle_len=1, cycle_mult=2)
    learn.fit_sgdr(3, 1, lr_max=1e-3)
    assert np.array_equal(found, rates(learn))
    assert len(found) == 7 * len(learn.dls.train)


@pytest.mark.parametrize(("count", "length"), [(1, 1), (3, 1), (2, 2), (10, 1)])
def test_cycles_of_equal_length_start_at_the_full_rate_and_end_near_nothing(learn, count, length):
    found = cycles(learn, count, 1e-3, cycle_len=length)
    batches = len(learn.dls.train) * length
    assert len(found) == count * batches
    for cycle in np.split(found, count):
        assert cycle.max() == pytest.approx(1e-3, rel=0.2)  # a restart may be a batch late
        assert cycle[-1] < 0.5e-3


def test_rates_may_differ_by_group(learn):
    cycles(learn, 1, slice(1e-5, 1e-3))
    first, *_, last = learn.opt.hypers
    assert 0 <= first["lr"] < last["lr"]


def test_without_a_rate_the_learners_own_is_taken(learn):
    assert cycles(learn, 2)[0] == pytest.approx(learn.lr)


def test_it_is_one_fit(learn):
    from fastai.callback.core import Callback

    begun = []

    class Count(Callback):
        def before_fit(self):
            begun.append(self.n_epoch)

    cycles(learn, 3, 1e-3, cbs=Count())
    assert begun == [3]


def test_small_pictures_come_first_and_validation_sees_whole_ones(small_folder):
    from fastai.callback.core import Callback

    from fastmagic.lesson.additions.cycles import fit_cycles

    seen = {True: [], False: []}

    class Sides(Callback):
        def before_batch(self):
            seen[self.training].append((self.epoch, tuple(self.x.shape[-2:])))

    learn = learner(small_folder, size=96)
    before = list(learn.dls.train.after_batch.fs)
    fit_cycles(learn, 3, 1e-3, cycle_mult=2, cbs=Sides(), small_first=True)
    sides = [64, 64, 64, 72, 72, 96, 96]  # none below 64
    assert set(seen[True]) == {(epoch, (side, side)) for epoch, side in enumerate(sides)}
    assert {size for _, size in seen[False]} == {(96, 96)}
    assert list(learn.dls.train.after_batch.fs) == before


def test_a_fit_that_fails_leaves_no_small_pictures_behind(small_folder):
    from fastai.callback.core import Callback

    from fastmagic.lesson.additions.cycles import fit_cycles

    class Fails(Callback):
        def before_step(self):
            raise ZeroDivisionError("on purpose")

    learn = learner(small_folder, size=96)
    before = list(learn.dls.train.after_batch.fs)
    with pytest.raises(ZeroDivisionError):
        fit_cycles(learn, 1, 1e-3, cbs=Fails(), small_first=True)
    assert list(learn.dls.train.after_batch.fs) == before


def test_the_forecast_knows_how_small():
    from fastmagic.lesson.additions import cycles
    from fastmagic.lesson.forecast import calls

    assert calls.SMALL_FIRST == cycles.SHARES
