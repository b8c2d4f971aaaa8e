from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastmagic.gpu.cards import Card, Slice
from fastmagic.gpu.estimate import CLASSIC, Lesson, estimate
from fastmagic.gpu.host import Host
from fastmagic.gpu.torch_support import Device, Run
from fastmagic.lesson.precision import choose

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
    "here",
    [
        T4,
        card("NVIDIA GeForce GTX 1660 Ti", 7, 5),
        card("NVIDIA A100-SXM4-40GB", 8, 0),
        card("Tesla P100-PCIE-16GB", 6, 0),
        card("Tesla K80", 3, 7),
    ],
    ids=lambda here: here.name,
)
def test_the_precision_is_the_one_that_the_lesson_takes(here):
    """Whatever the probe measured: a cell of the lesson does not ask it."""
    taken = choose(None, SimpleNamespace(type="cuda"), here.capability, here.name).name
    for runs in ((), ran("cuda:0", fp32=4000.0, fp16=4400.0, bf16=12000.0)):
        found = estimate(here, runs, COLAB)
        assert found.precision == taken
        assert ("--precision fp32" in found.precision_why) == (taken != "fp32")
        assert "to_" not in found.precision_why  # fastai's callback is there already


def test_what_was_measured_stands_beside():
    why = estimate(T4, ran("cuda:0", fp32=4000.0, fp16=16000.0), COLAB).precision_why
    assert "tensor cores" in why and "4.0 times the speed of fp32" in why


def test_a_precision_that_failed_has_the_other_one_as_advice():
    runs = [*ran("cuda:0", fp32=4000.0), Run("cuda:0", False, "wrong", "fp16")]
    found = estimate(T4, runs, COLAB)
    assert "failed when it was tried here: give --precision fp32" in found.precision_why
    assert " in fp32; " in found.seconds_why


def test_only_the_runs_of_the_training_card_count():
    second = Card(name="Tesla T4", capability=(7, 5), cuda=1)
    runs = [*ran("cuda:0", fp32=100.0, fp16=100.0), *ran("cuda:1", fp32=4000.0, fp16=16000.0)]
    assert "4.0 times" in estimate(second, runs, COLAB).precision_why


@pytest.mark.parametrize(
    ("half", "precision"), [({"bf16": 540.0}, "bf16"), ({"bf16": 140.0}, "fp32"), ({}, "fp32")]
)
def test_on_a_processor_the_lesson_will_try_both_where_it_has_the_units(half, precision):
    found = estimate(None, ran("cpu", fp32=130.0, **half), COLAB)
    assert found.precision == precision
    assert ("tries its network in both" in found.precision_why) == bool(half)
    assert f" in {precision}, on this processor" in found.seconds_why


def test_a_gpu_that_nvml_does_not_know_is_known_to_torch():
    runs = ran("cuda:0", fp32=20_000.0, fp16=60_000.0)
    found = estimate(None, runs, COLAB, devices=[Device(0, "Tesla T4", capability=(7, 5))])
    assert found.precision == "fp16"
    assert "not known" in found.batch_why
    assert found.seconds
    assert estimate(None, runs, COLAB).precision == "fp32"  # as the lesson, where nobody knows


@pytest.mark.parametrize(
    ("free", "batch", "why"),
    [
        (14_900, 64, "the lesson's own"),
        (4_000, 64, "the lesson's own"),
        (3_000, 64, "2.4 GiB of the 2.9 GiB free"),
        (2_000, 32, "free on the GPU"),
        (1_400, 16, "free on the GPU"),
        (500, 8, "may not fit"),
        (None, 64, "not known"),
    ],
)
def test_the_batch_follows_the_free_memory_of_the_gpu(free, batch, why):
    here = Card(name="GPU", capability=(7, 5), memory_free=free)
    found = estimate(here, (), COLAB)
    assert found.batch_size == batch
    assert why in found.batch_why


def test_in_fp32_a_batch_takes_twice_the_memory():
    old = Card(name="Tesla P100-PCIE-16GB", capability=(6, 0), memory_free=3_000)
    assert estimate(old, (), COLAB).batch_size == 32


def test_of_a_split_card_the_slice_counts():
    here = Card(
        name="NVIDIA H100",
        capability=(9, 0),
        memory_free=80_000,
        mig=True,
        slices=(Slice(0, memory_free=2_000),),
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


def test_a_lesson_is_timed_in_its_own_precision():
    """203,667 pictures at 207 a second, a look counted as a third; decoding takes 152 s."""
    found = estimate(T4, ran("cuda:0", fp32=2_000.0, fp16=6_000.0), COLAB)
    assert found.seconds == 20 * 60
    assert "dogscats in fp16; 3 min of it to decode each photograph once, on 2 cores" in (
        found.seconds_why
    )
    assert found.seconds_why.endswith("with --precision fp32 about 50 min")


def test_a_fast_gpu_waits_for_python():
    fast = ran("cuda:0", fp32=500_000.0, fp16=900_000.0)
    assert estimate(T4, fast, Host(16)).seconds == 2 * 60


def test_the_estimate_is_near_what_was_measured_on_an_h200():
    """docs/speed.md: 76 s for the first lesson on these pictures, with two cores."""
    runs = ran("cuda:0", fp32=100_000.0, bf16=300_000.0)
    h200 = card("NVIDIA H200", 9, 0)
    found = estimate(h200, runs, COLAB, Lesson(train=6_400, valid=600))
    assert found.seconds == 60


def test_on_a_processor_decoding_comes_on_top():
    found = estimate(None, ran("cpu", fp32=130.0), COLAB)
    assert found.seconds == 13 * 3600
    assert "on this processor" in found.seconds_why


def test_a_smaller_lesson_takes_less():
    small = Lesson(train=2_000, valid=500)
    runs = ran("cpu", fp32=130.0)
    less, more = estimate(None, runs, COLAB, small), estimate(None, runs, COLAB)
    assert less.seconds and more.seconds
    assert less.seconds < more.seconds


def test_the_epochs_are_those_of_the_recipe():
    """As the lesson's own forecast reads them."""
    from fastmagic.lesson import recipes
    from fastmagic.lesson.forecast.plan import read_plan

    amounts: Counter[str] = Counter()
    for work in read_plan(recipes.body("classic")).works:
        amounts[work.kind] += work.amount
    known = {"features": CLASSIC.looks, "kept": CLASSIC.frozen, "whole": CLASSIC.whole}
    known["predict"] = CLASSIC.passes
    on_features = {"lr_find": 100, "precomputed": 3}
    assert amounts == Counter({**known, **on_features})


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
    assert saved(model, 2, 224, True) == pytest.approx(CLASSIC.mib_half, rel=0.01)
