"""Batch norms that are kept: nothing of the body's moves, frozen or not."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

from .test_precomputed import learner  # noqa: E402


def norms(learn):
    """Give every weight and average of the body's batch norms."""
    from torch import nn

    return {
        f"{name}.{key}": value.clone()
        for name, module in learn.model[0].named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize("unfrozen", [False, True])
def test_kept_batch_norms_do_not_move_and_the_rest_trains(small_folder, unfrozen):
    from fastmagic.lesson.additions.batch_norm import keep_batch_norm

    learn = learner(small_folder, "resnet18")
    if unfrozen:
        learn.unfreeze()
    keep_batch_norm(learn)
    keep_batch_norm(learn)
    before = norms(learn)
    first = next(learn.model[0].parameters()).clone()
    head = learn.model[1][-1].weight.clone()
    learn.fit(1, 1e-2)
    after = norms(learn)
    assert before and all(bool((before[name] == after[name]).all()) for name in before)
    assert bool((first != next(learn.model[0].parameters())).any()) is unfrozen
    assert bool((head != learn.model[1][-1].weight).any())
    assert len([cb for cb in learn.cbs if type(cb).__name__ == "BnFreeze"]) == 1


def test_without_it_a_frozen_body_forgets_its_averages(small_folder):
    learn = learner(small_folder, "resnet18")
    before = norms(learn)
    learn.fit(1, 1e-2)
    assert any(bool((before[name] != value).any()) for name, value in norms(learn).items())
