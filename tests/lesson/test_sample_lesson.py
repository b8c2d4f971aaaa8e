"""The embedded default, from nothing to a trained model, with its own settings."""

from __future__ import annotations

import pytest

import fastmagic

pytestmark = pytest.mark.train


def test_the_sample_is_learned_from_scratch_and_not_at_once(tmp_path):
    result = fastmagic.train_lesson1("sample", runs_folder=tmp_path)
    epochs = [epoch.accuracy for epoch in result.stages[0].epochs]
    assert result.accuracy >= 0.95
    assert result.accuracy == epochs[-1]
    assert epochs[0] < result.accuracy - 0.1
    assert result.arguments["weights"] == "none"
    assert len(result.stages) == 1
