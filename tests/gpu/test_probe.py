from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fastmagic.gpu import torch_support

pytestmark = pytest.mark.train
pytest.importorskip("torch")

WITH_GPUS = Path(__file__).with_name("torch_with_gpus.py")
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")


@pytest.fixture(scope="module")
def probe() -> dict:
    return runpy.run_path(str(torch_support.PROBE))


def ask(*kinds: str, limit: float = 120.0) -> torch_support.Probe:
    command = [sys.executable, str(WITH_GPUS), ",".join(kinds), "probe"]
    return torch_support.ask(command=command, limit=limit)[0]


def outcomes(found: torch_support.Probe) -> dict[str, dict[str, bool]]:
    runs: dict[str, dict[str, bool]] = {}
    for run in found.runs:
        runs.setdefault(run.device, {})[run.precision] = run.ok
    return runs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_cpu_computes_the_right_gradient(probe, precision):
    run = probe["try_device"]("cpu", precision)
    assert (run["device"], run["precision"]) == ("cpu", precision)
    assert run["ok"], run["words"]


def test_a_device_that_raises_is_a_finding_in_torchs_own_words(probe):
    run = probe["try_device"]("meta")
    assert not run["ok"]
    assert "meta" in run["words"]


def test_a_device_that_is_not_there_is_a_finding(probe):
    run = probe["try_device"]("nonsense:0")
    assert not run["ok"]
    assert "nonsense" in run["words"]


def test_the_speed_of_the_cpu_is_measured(probe):
    assert probe["measure"]("cpu", "fp32") > 0


def test_fp32_comes_first_among_what_the_cpu_claims(probe):
    assert probe["precisions"]("cpu") in (["fp32"], ["fp32", "bf16"])


def test_asking_tries_nothing():
    command = [sys.executable, str(torch_support.PROBE), "ask"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fastmagic-answer:")]
    answer = json.loads(line.partition(":")[2])
    assert answer["runs"] == []
    assert answer["architectures"] or answer["version"].endswith("+cpu")


def test_what_is_known_is_told_before_and_after_each_trial():
    command = [sys.executable, str(torch_support.PROBE), "probe", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("fastmagic-answer:")]
    answers = [json.loads(line.partition(":")[2]) for line in lines]
    assert [answer["trying"] for answer in answers][:2] == ["cpu fp32", "cpu fp32"]
    assert [len(answer["runs"]) for answer in answers][:2] == [0, 1]
    assert answers[-1]["trying"] == ""
    assert all(run["gflops"] for run in answers[-1]["runs"])


def test_each_gpu_is_tried_in_the_precisions_that_it_claims():
    found = ask("works", "fails")
    assert found.fault == ""
    assert outcomes(found) | {"cpu": {}} == {
        "cpu": {},
        "cuda:0": {"fp32": True, "fp16": True},
        "cuda:1": {"fp32": False},
    }
    assert "no kernel image" in found.runs[-1].words
    assert found.devices[1].pci == "0000:3b:01.0"
    assert (found.devices[0].uuid, found.devices[0].capability) == ("uuid-0", (7, 5))
    assert found.devices[0].memory == 15360


def test_a_gpu_that_works_and_cannot_be_timed_says_so():
    """This torch makes no tensors on the GPU, which only the timing asks for."""
    runs = [run for run in ask("works").runs if run.device == "cuda:0"]
    assert all(run.ok and run.gflops is None for run in runs)
    assert all(run.words.startswith("not timed: ") for run in runs)


@posix
def test_a_gpu_that_kills_the_process_hides_neither_cpu_nor_the_other_gpus():
    found = ask("works", "dies", "works")
    assert (found.fault, found.died_at) == ("crashed", "cuda:1 fp32")
    assert "SIGKILL" in found.words
    results = outcomes(found)
    assert results["cpu"]["fp32"]
    assert results["cuda:0"] == {"fp32": True, "fp16": True}
    assert results["cuda:1"] == {"fp32": False}
    assert results["cuda:2"] == {"fp32": True, "fp16": True}
    assert found.ran_on("cuda")


@posix
@pytest.mark.slow
def test_a_gpu_that_hangs_leaves_what_was_found_before():
    found = ask("hangs", limit=20)
    assert (found.fault, found.died_at) == ("hung", "cuda:0 fp32")
    assert outcomes(found)["cpu"]["fp32"]
    assert len(found.devices) == 1


@pytest.mark.gpu
def test_the_real_gpu_works_and_is_timed():
    found, build = torch_support.ask(torch_support.installed())
    assert found.fault == ""
    assert found.ran_on("cuda")
    assert all(run.ok and run.gflops for run in found.runs), found.runs
    assert all(device.uuid for device in found.devices)
    assert build is not None
    assert build.cudnn
