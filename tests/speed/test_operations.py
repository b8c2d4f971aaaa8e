"""What a GPU is told in a step of the lesson, counted on torch's device that computes nothing."""

import statistics

import pytest

from tests.benchmarks.operations import PARTS, WAYS, fit

pytestmark = pytest.mark.train


def told(way, tmp_path):
    steps = fit(way, "resnet18", 8, tmp_path / str(WAYS.index(way)))
    parts = [statistics.median(step[part] for step in steps) for part in PARTS]
    return *parts, max(step["answers"] for step in steps)


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_step_tells_a_gpu_less_than_half_and_waits_for_its_loss_alone(way, tmp_path):
    batch, forward, backward, optimizer, answers = told(way, tmp_path)
    batch_before, forward_before, backward_before, optimizer_before, answers_before = told(
        WAYS[0], tmp_path
    )
    assert batch < batch_before / 2
    assert optimizer < optimizer_before / 8
    assert forward <= forward_before + 4
    assert backward < backward_before * 2 / 3
    loaded = 2 * (way == WAYS[1])  # the pictures and what they are
    assert answers == 1 + loaded < answers_before  # the loss


def test_no_number_of_the_host_meets_one_of_the_device_in_a_step(tmp_path):
    """What would be an error on a GPU is one here: the epoch would not end."""
    steps = fit(WAYS[2], "resnet18", 8, tmp_path / "run")
    assert len(steps) == 7 and all(step["forward"] for step in steps)
