"""bf16 on a processor: asked for or found by a trial, the same again, and gone after the cell."""

from __future__ import annotations

import json

import pytest

import fastmagic
from fastmagic.errors import Stopped
from fastmagic.speed import half, trial

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}
needs_units = pytest.mark.skipif(not half.is_supported(), reason="this processor has no bf16")


@pytest.mark.parametrize(
    ("flags", "supported"),
    [
        ("fpu sse avx512f avx512_bf16 amx_tile", True),
        ("fpu amx_bf16", True),
        ("fpu avx512f", False),
    ],
)
def test_the_processors_flags_tell(tmp_path, flags, supported):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    assert half.is_supported(info) == supported


@needs_units
def test_a_lesson_in_bf16_goes_on_bit_for_bit_and_leaves_a_plain_learner(small_folder, tmp_path):
    body = """
from fastai.callback.core import Callback
class Stop(Callback):
    def before_batch(self):
        if self.training and halt and self.epoch == 1:
            raise KeyboardInterrupt
learn.freeze()
with learn.precomputed():
    learn.fit(1, 1e-3)
learn.unfreeze()
learn.fit(3, 1e-3, cbs=Stop())
kinds = {str(learn.model[0](dls.one_batch()[0]).dtype)}
"""

    def run(folder, halt, precision="bf16"):
        names = {"halt": halt}
        result = fastmagic.train_lesson1(
            small_folder,
            body,
            precision=precision,
            runs_folder=folder,
            namespace=names,
            **SMALL,
        )
        return result, names["learn"]

    whole, learn = run(tmp_path / "whole", False)
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", True)
    again, _ = run(tmp_path / "stopped", False)
    assert again.weights_sha256 == whole.weights_sha256
    assert not hasattr(learn, "mixed_precision")
    assert run(tmp_path / "fp32", False, "fp32")[0].weights_sha256 != whole.weights_sha256


@needs_units
def test_a_cell_that_goes_on_trains_in_the_precision_of_the_one_before(small_folder, tmp_path):
    look = """
from fastai.callback.core import Callback
class Look(Callback):
    def after_pred(self):
        kinds.append(str(self.pred.dtype))
learn.fit(1, 1e-3, cbs=Look())
"""
    seen, before = [], None
    for _ in range(3):
        names = {"kinds": []}
        flags = {} if before else {**SMALL, "precision": "bf16"}
        before = fastmagic.train_lesson1(
            small_folder, look, after=before, runs_folder=tmp_path, namespace=names, **flags
        )
        seen.append((set(names["kinds"]), before.choices["precision"].partition(":")[0]))
    assert seen == [({"torch.bfloat16"}, "bf16")] * 3


@needs_units
def test_a_model_exported_within_the_cell_loads_in_plain_fastai(small_folder, tmp_path):
    import subprocess
    import sys

    fastmagic.train_lesson1(
        small_folder,
        "learn.fit(1)\nlearn.export('in_the_cell.pkl')",
        precision="bf16",
        runs_folder=tmp_path,
        **SMALL,
    )
    [file] = tmp_path.rglob("in_the_cell.pkl")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); sys.modules['fastmagic'] = None\n"
        "from fastai.vision.all import load_learner\n"
        "learn = load_learner(sys.argv[1]); print(learn.predict(sys.argv[2])[0])"
    )
    picture = next((small_folder / "valid").rglob("*.png"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), str(picture)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("cats", "dogs")


class Clock:
    """Says that each step takes what is next in a list."""

    def __init__(self, *seconds):
        self.now, self.seconds, self.began = 0.0, list(seconds), False

    def __call__(self):
        if self.began:
            self.now += self.seconds.pop(0)
        self.began = not self.began
        return self.now


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        ([2.0, 1.0, 2.0, 1.0, 0.5, 1.0, 0.6], "bf16"),
        ([1.0, 1.0, 0.9, 1.0, 0.9, 1.0, 0.9], "fp32"),
        ([1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0], "fp32"),
        ([0.01, 0.02], "fp32"),
    ],
    ids=["twice as quick", "hardly quicker", "slower", "a small network"],
)
def test_the_quicker_one_is_chosen_and_remembered(tmp_path, seconds, name):
    from tests.guard.test_attach import make_learner

    learn = picture_learner(make_learner())
    before = {key: value.clone() for key, value in learn.model.state_dict().items()}
    file = tmp_path / "new" / "precision.json"
    found = trial.quicker(learn, 16, file, Clock(*seconds))
    assert found[0] == name
    assert trial.quicker(learn, 16, file, Clock()) == found  # no step is taken
    assert len(json.loads(file.read_text())) == 1
    after = learn.model.state_dict()
    assert all((before[key] == after[key]).all() for key in before)


def picture_learner(learn):
    """Give a learner a network that looks at pictures."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    learn.model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return learn


def test_short_steps_matter_where_there_are_many(tmp_path):
    from tests.guard.test_attach import make_learner

    learn, file = picture_learner(make_learner()), tmp_path / "precision.json"
    steps = [0.04, 0.04, 0.02] + [0.04, 0.02] * (trial.MOST - 1)
    assert trial.quicker(learn, 16, file, Clock(*steps[:2]))[0] == "fp32"
    learn.dls.train.n = 1600
    assert trial.quicker(learn, 16, file, Clock(*steps))[0] == "bf16"
    assert len(json.loads(file.read_text())) == 2


def test_a_memory_that_is_damaged_is_tried_again(tmp_path):
    from tests.guard.test_attach import make_learner

    file = tmp_path / "precision.json"
    file.write_text("[")
    learn = picture_learner(make_learner())
    steps = [1.0, 1.0, 0.2, 1.0, 0.2, 1.0, 0.2]
    assert trial.quicker(learn, 16, file, Clock(*steps))[0] == "bf16"


@pytest.mark.parametrize(
    "steps",
    [[1.0, 1.0, 0.1, 4.0, 0.9, 5.0, 0.9], [1.0, 1.0, 0.5, 5.0, 0.5, 6.0, 0.5]],
    ids=["in bf16", "in fp32"],
)
def test_what_a_busy_machine_says_is_not_remembered(tmp_path, steps):
    from tests.guard.test_attach import make_learner

    learn, file = picture_learner(make_learner()), tmp_path / "precision.json"
    name, why = trial.quicker(learn, 16, file, Clock(*steps))
    assert name == "fp32" and "--precision bf16" in why and not file.exists()
    quiet = [1.0, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5]
    assert trial.quicker(learn, 16, file, Clock(*quiet))[0] == "bf16" and file.exists()


@needs_units
def test_what_was_chosen_stays_with_the_run_whatever_is_remembered_later(small_folder, tmp_path):
    from fastmagic import platforms

    body = "stop = 1 / ready\nlearn.fit(1)"

    def run(folder, ready):
        names = {"ready": ready}
        result = fastmagic.train_lesson1(
            small_folder, body, runs_folder=folder, namespace=names, **SMALL
        )
        return result, names["learn"]

    first, learn = run(tmp_path / "first", 1)
    assert first.choices["precision"].startswith("fp32: epochs are so short")
    file = platforms.cache_folder() / "precision.json"
    [key] = json.loads(file.read_text())
    file.write_text(json.dumps({key: ["bf16", "twice as quick"]}))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "second", 0)
    file.write_text(json.dumps({key: ["fp32", "slower"]}))
    second, learn = run(tmp_path / "second", 1)
    assert second.choices["precision"] == "bf16: as this run was begun."
    assert not hasattr(learn, "mixed_precision")


def test_a_network_that_cannot_be_tried_trains_in_fp32(tmp_path):
    from tests.guard.test_attach import make_learner

    learn = picture_learner(make_learner())
    learn.model[3].register_forward_hook(lambda *_: 1 / 0)
    name, why = trial.quicker(learn, 16, tmp_path / "precision.json")
    assert name == "fp32"
    assert "could not be tried (division by zero)" in why
    assert not (tmp_path / "precision.json").exists()
