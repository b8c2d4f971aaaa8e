from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from fastmagic.gpu.cards import Card, Slice
from fastmagic.gpu.estimate import CLASSIC, Lesson, estimate
from fastmagic.gpu.host import Host
from fastmagic.gpu.torch_support import Run

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COLAB = Host(2, ram_available=12_000)
T4 = Card(name="Tesla T4", capability=(7, 5), memory_free=14_900, memory_total=15_360)


def card(name: str, *capability: int) -> Card:
    return Card(name=name, capability=(capability[0], capability[1]))


def ran(device: str, **gflops: float) -> list[Run]:
    return [Run(device, True, "", name, speed) for name, speed in gflops.items()]


@pytest.mark.parametrize(
    ("here", "precision"),
    [
        (card("Tesla T4", 7, 5), "fp16"),
        (card("Tesla V100-SXM2-16GB", 7, 0), "fp16"),
        (card("NVIDIA GeForce RTX 2060", 7, 5), "fp16"),
        (card("NVIDIA GeForce GTX 1660 Ti", 7, 5), "fp32"),
        (card("NVIDIA T1000", 7, 5), "fp32"),
        (card("NVIDIA T400 4GB", 7, 5), "fp32"),
        (card("NVIDIA A100-SXM4-40GB", 8, 0), "bf16"),
        (card("NVIDIA H100 80GB HBM3", 9, 0), "bf16"),
        (card("Tesla P100-PCIE-16GB", 6, 0), "fp32"),
        (card("Tesla K80", 3, 7), "fp32"),
        (Card(name=None), "fp32"),
        (None, "fp32"),
    ],
)
def test_without_a_measurement_the_generation_decides(here, precision):
    found = estimate(here, (), COLAB)
    assert found.precision == precision
    assert found.precision_why


@pytest.mark.parametrize(
    ("speeds", "precision", "why"),
    [
        ({"fp32": 4000.0, "fp16": 16000.0}, "fp16", "4.0 times"),
        ({"fp32": 4000.0, "fp16": 4400.0}, "fp32", "does not pay"),
        ({"fp32": 4000.0, "fp16": 9000.0, "bf16": 12000.0}, "bf16", "3.0 times"),
    ],
)
def test_what_was_measured_is_preferred(speeds, precision, why):
    found = estimate(T4, ran("cuda:0", **speeds), COLAB)
    assert found.precision == precision
    assert why in found.precision_why


def test_a_precision_that_failed_is_not_recommended():
    runs = [*ran("cuda:0", fp32=4000.0), Run("cuda:0", False, "wrong", "fp16")]
    found = estimate(T4, runs, COLAB)
    assert found.precision == "fp32"
    assert "failed" in found.precision_why


def test_only_the_runs_of_the_training_card_count():
    second = Card(name="Tesla T4", capability=(7, 5), cuda=1)
    runs = [*ran("cuda:0", fp32=100.0, fp16=100.0), *ran("cuda:1", fp32=4000.0, fp16=16000.0)]
    assert estimate(second, runs, COLAB).precision == "fp16"


def test_a_processor_with_bf16_says_that_fastai_does_not_use_it():
    found = estimate(None, ran("cpu", fp32=130.0, bf16=540.0), COLAB)
    assert found.precision == "bf16"
    assert "for CUDA alone" in found.precision_why


def test_a_gpu_that_nvml_does_not_know_is_estimated_from_its_runs():
    found = estimate(None, ran("cuda:0", fp32=20_000.0, fp16=60_000.0), COLAB)
    assert found.precision == "fp16"
    assert "not known" in found.batch_why
    assert found.seconds


@pytest.mark.parametrize(
    ("free", "batch", "why"),
    [
        (14_900, 64, "the lesson's own"),
        (4_000, 64, "the lesson's own"),
        (3_000, 32, "2.4 GiB of the 2.9 GiB free"),
        (2_000, 16, "free on the GPU"),
        (1_400, 8, "free on the GPU"),
        (500, 8, "may not fit"),
        (None, 64, "not known"),
    ],
)
def test_the_batch_follows_the_free_memory_of_the_gpu(free, batch, why):
    here = Card(name="GPU", capability=(7, 5), memory_free=free)
    found = estimate(here, (), COLAB)
    assert found.batch_size == batch
    assert why in found.batch_why


def test_of_a_split_card_the_slice_counts():
    here = Card(
        name="NVIDIA H100",
        capability=(9, 0),
        memory_free=80_000,
        mig=True,
        slices=(Slice(0, memory_free=3_000),),
    )
    found = estimate(here, (), COLAB)
    assert found.batch_size == 32
    assert "slice" in found.batch_why


def test_without_a_gpu_the_hosts_memory_counts():
    assert estimate(None, (), Host(2, ram_available=3_000)).batch_size == 32
    assert estimate(None, (), Host(2)).batch_size == 64


def test_there_is_no_time_without_a_measured_speed():
    found = estimate(T4, [Run("cuda:0", True)], COLAB)
    assert found.seconds is None
    assert "not measured" in found.seconds_why


def test_two_cores_starve_a_fast_gpu():
    found = estimate(T4, ran("cuda:0", fp32=20_000.0, fp16=60_000.0), COLAB)
    assert found.seconds == 25 * 60
    assert "2 processor cores, which load about 164 pictures/s" in found.seconds_why


def test_a_slow_gpu_sets_the_pace_itself():
    found = estimate(T4, ran("cuda:0", fp32=2_000.0, fp16=6_000.0), Host(16))
    assert found.seconds == 50 * 60
    assert "the pace is the GPU's, in fp16 about 15 min" in found.seconds_why


def test_half_precision_is_no_faster_than_the_loader():
    found = estimate(T4, ran("cuda:0", fp32=2_000.0, fp16=60_000.0), COLAB)
    assert "in fp16 about 25 min" in found.seconds_why


def test_more_than_eight_cores_load_no_faster():
    fast = ran("cuda:0", fp32=100_000.0)
    assert estimate(T4, fast, Host(64)).seconds == estimate(T4, fast, Host(8)).seconds


def test_on_a_processor_computing_and_loading_add_up():
    found = estimate(None, ran("cpu", fp32=130.0), COLAB)
    assert found.seconds == 14 * 3600
    assert "on this processor" in found.seconds_why


def test_a_smaller_lesson_takes_less():
    small = Lesson(train=2_000, valid=500)
    runs = ran("cpu", fp32=130.0)
    less, more = estimate(None, runs, COLAB, small), estimate(None, runs, COLAB)
    assert less.seconds and more.seconds
    assert less.seconds < more.seconds


def test_the_epochs_are_those_of_the_recipe():
    """Three cycles, each twice as long as the one before: 1 + 2 + 4."""
    from fastmagic.lesson import recipes

    text = recipes.body("classic")
    assert f"epochs = {CLASSIC.frozen}  # --epochs" in text
    unfrozen = text.partition("learn.unfreeze()")[2]
    assert re.search(r"^learn\.fit_(sgdr|cycles)\(3, ", unfrozen, re.MULTILINE)
    assert CLASSIC.whole == 1 + 2 + 4
    assert "learn.tta(" in text


@pytest.mark.train
def test_the_operations_and_the_memory_are_those_of_the_real_network():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import resnet34

    model = resnet34()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 3, 224, 224)).sum().backward()
    assert counter.get_total_flops() / 1e9 == pytest.approx(CLASSIC.gflop, rel=0.01)
    saved = runpy.run_path(str(BENCHMARKS / "lesson_memory.py"))["saved"]
    assert saved(model, 2, 224, False) == pytest.approx(CLASSIC.mib_each, rel=0.01)
