from __future__ import annotations

import hashlib

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard import positions, state  # noqa: E402
from fastmagic.guard.stages import Epoch, Stage, from_plain, to_plain  # noqa: E402


def test_the_digest_is_that_of_the_documented_form():
    import torch

    weights = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(3)}
    form = (
        b"a\0int64\0\0"
        + (3).to_bytes(8, "little")
        + b"b\0float32\x002\0"
        + bytes.fromhex("0000803f")
        + bytes.fromhex("00000040")
    )
    assert state.weights_sha256(weights) == hashlib.sha256(form).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {**w, "x": w["x"] + 1e-7},
        lambda w: {"y": w["x"]},
        lambda w: {"x": w["x"].reshape(2, 2)},
        lambda w: {"x": w["x"].double()},
        lambda w: {**w, "y": w["x"]},
    ],
)
def test_the_digest_changes_with_every_bit_name_shape_and_type(change):
    import torch

    weights = {"x": torch.tensor([0.0, 1.0, 2.0, 3.0])}
    assert state.weights_sha256(change(weights)) != state.weights_sha256(weights)


def test_the_digest_does_not_depend_on_how_a_tensor_is_stored():
    import torch

    grid = torch.arange(6.0).reshape(2, 3)
    assert state.weights_sha256({"x": grid.T.contiguous().T}) == state.weights_sha256({"x": grid})
    half = torch.ones(3, dtype=torch.bfloat16)
    assert state.weights_sha256({"x": half})


def test_a_stage_survives_the_way_through_json():
    stage = Stage(2, 3, "all", [Epoch(0, {"valid_loss": None, "error_rate": 0.1}, 0.9, 1.5)], True)
    assert from_plain(to_plain(stage)) == stage


def test_every_position_has_its_own_randomness_and_always_the_same():
    import torch

    def draw(*position):
        positions.set_position(42, *position)
        return torch.rand(3).tolist()

    with positions.kept_apart():
        assert draw("epoch", 1, 0) == draw("epoch", 1, 0)
        assert draw("epoch", 1, 0) != draw("epoch", 1, 1)
        assert draw("epoch", 1, 11) != draw("epoch", 11, 1)
