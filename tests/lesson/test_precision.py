"""Which precision is chosen for which device, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastmagic.errors import BadInput
from fastmagic.lesson import precision

CPU, MPS, CUDA = (SimpleNamespace(type=kind) for kind in ("cpu", "mps", "cuda"))


@pytest.mark.parametrize(
    ("device", "capability", "card", "name"),
    [
        (CPU, None, "", "fp32"),
        (MPS, None, "", "fp32"),
        (SimpleNamespace(type="xpu"), None, "", "fp32"),
        (CUDA, (3, 7), "Tesla K80", "fp32"),
        (CUDA, (6, 0), "Tesla P100-PCIE-16GB", "fp32"),
        (CUDA, (7, 0), "Tesla V100-SXM2-16GB", "fp16"),
        (CUDA, (7, 5), "Tesla T4", "fp16"),
        (CUDA, (7, 5), "NVIDIA GeForce GTX 1660 Ti", "fp32"),
        (CUDA, (7, 5), "NVIDIA T1000", "fp32"),
        (CUDA, (7, 5), "NVIDIA GeForce RTX 2060", "fp16"),
        (CUDA, (8, 0), "NVIDIA A100-SXM4-40GB", "bf16"),
        (CUDA, (12, 0), "NVIDIA GeForce RTX 5090", "bf16"),
        (CUDA, None, "", "fp32"),
    ],
)
@pytest.mark.parametrize("asked", [None, "auto"])
def test_each_device_gets_the_precision_that_pays_there(device, capability, card, name, asked):
    chosen = precision.choose(asked, device, capability, card)
    assert chosen.name == name
    assert chosen.why


@pytest.mark.parametrize("capability", [(3, 7), (6, 0)])
def test_a_card_without_tensor_cores_is_told_so(capability):
    assert "no tensor cores" in precision.choose(None, CUDA, capability).why


@pytest.mark.parametrize(
    ("asked", "device", "capability", "reason"),
    [
        ("fp16", CPU, None, "slowly"),
        ("bf16", CPU, None, "no bf16 units"),
        ("fp16", MPS, None, "CUDA's autocast"),
        ("bf16", CUDA, (7, 5), "emulated"),
        ("bf16", CUDA, (6, 0), "emulated"),
        ("fp16", CUDA, (3, 7), "below 5.3"),
        ("fp61", CUDA, (8, 0), "not known"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason_and_a_way_out(
    asked, device, capability, reason
):
    with pytest.raises(BadInput, match=reason) as caught:
        precision.choose(asked, device, capability)
    assert caught.value.next_step


def test_bf16_on_an_old_card_points_to_what_that_card_has():
    with pytest.raises(BadInput, match="--precision fp16"):
        precision.choose("bf16", CUDA, (7, 5))
    with pytest.raises(BadInput, match="--precision fp32"):
        precision.choose("bf16", CUDA, (6, 1))


@pytest.mark.parametrize(
    ("asked", "device", "capability"),
    [("fp32", CPU, None), ("fp32", CUDA, (8, 0)), ("fp16", CUDA, (8, 0)), ("fp16", CUDA, (6, 0))],
)
def test_what_makes_sense_is_taken_as_asked(asked, device, capability):
    assert precision.choose(asked, device, capability).name == asked


def test_a_processor_with_units_for_it_computes_in_bf16():
    assert precision.choose("bf16", CPU, None, units=True).name == "bf16"
    with pytest.raises(BadInput, match="slowly"):
        precision.choose("fp16", CPU, None, units=True)


@pytest.mark.train
def test_a_precision_is_one_of_fastais_own_callbacks_and_fp32_is_none():
    from tests.guard.test_attach import make_learner

    names = {}
    for name in ("fp32", "fp16", "bf16"):
        learn = make_learner()
        before = len(learn.cbs)
        precision.apply(learn, name)
        names[name] = [type(cb).__module__ for cb in learn.cbs[before:]]
    assert names == {"fp32": [], "fp16": ["fastai.callback.fp16"], "bf16": ["fastmagic.speed.half"]}
    assert learn.mixed_precision.amp_mode.value == "bf16"
    with pytest.raises(BadInput, match="'auto' is no precision"):
        precision.apply(learn, "auto")


@pytest.mark.train
def test_a_learner_in_half_precision_loads_and_predicts_without_fastmagic(small_folder, tmp_path):
    from fastai.vision.all import ImageDataLoaders, Resize, vision_learner
    from torchvision.models import squeezenet1_1

    dls = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(32), bs=16, num_workers=0
    )
    for name in ("fp16", "bf16"):
        learn = vision_learner(dls, squeezenet1_1, pretrained=False, path=tmp_path)
        precision.apply(learn, name)
        learn.export(f"{name}.pkl")
    code = f"""
import sys, warnings
sys.modules["fastmagic"] = None  # as where it is not installed
warnings.simplefilter("ignore")
from fastai.vision.all import load_learner
for name in ("fp16", "bf16"):
    learn = load_learner({str(tmp_path)!r} + f"/{{name}}.pkl")
    with learn.no_bar():
        print(learn.predict({str(next(small_folder.rglob("*.png")))!r})[0] in ("cats", "dogs"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]
