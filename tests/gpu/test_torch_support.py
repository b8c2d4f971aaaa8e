from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastmagic.gpu import torch_support
from fastmagic.gpu.torch_support import Device, Run, TorchBuild

TODAY = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


def test_torch_is_read_without_importing_it(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "torch" / "version.py").write_text(
        "from typing import Optional\n__version__ = '2.11.0+cu128'\n"
        "cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    build = torch_support.installed([str(tmp_path)])
    assert build == torch_support.TorchBuild("2.11.0+cu128", "12.8", None)


def test_a_torch_with_a_broken_version_file_counts_as_missing(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text("def")
    assert torch_support.installed([str(tmp_path)]) is None


@pytest.mark.parametrize(
    ("architectures", "capability", "supported"),
    [
        (TODAY, (7, 5), True),
        (TODAY, (8, 9), True),
        (TODAY, (6, 0), False),
        (TODAY, (3, 7), False),
        (TODAY, (12, 1), True),
        (["sm_90a"], (9, 0), True),
        (["sm_90a"], (10, 0), False),
        (["compute_60"], (7, 0), True),
        (["rubbish"], (7, 0), False),
    ],
)
def test_the_architecture_list_is_read_as_cuda_reads_it(architectures, capability, supported):
    assert torch_support.supports(architectures, capability) is supported


KNOWN = {
    "cuda_available": False,
    "cuda_words": "",
    "cuda_names": [],
    "mps_available": False,
    "architectures": ["sm_75"],
    "runs": [{"device": "cpu", "ok": True, "words": ""}],
}
TWO_GPUS = {
    **KNOWN,
    "cuda_available": True,
    "cuda_names": ["Tesla T4", "Tesla T4"],
    "cudnn": "9.10.2",
    "devices": [
        {
            "index": number,
            "name": "Tesla T4",
            "uuid": f"ab-{number}",
            "pci": f"0000:00:0{4 + number}.0",
            "capability": [7, 5],
            "memory": 14912,
        }
        for number in range(2)
    ],
}
BUILD = TorchBuild("2.11.0+cu128", "12.8")


def saying(*answers: dict, then: str = "") -> list[str]:
    """A process that prints these answers, and then does something."""
    lines = "\n".join("fastmagic-answer:" + json.dumps(answer) for answer in answers)
    return [sys.executable, "-c", f"import os, sys, time\nprint({lines!r}, flush=True)\n{then}"]


def test_what_the_process_found_is_decoded():
    probe, build = torch_support.ask(BUILD, command=saying(KNOWN), limit=60)
    assert probe.ran_on("cpu")
    assert not probe.ran_on("cuda")
    assert probe.runs == (Run("cpu", True, "", "fp32", None),)
    assert build is not None
    assert (build.architectures, build.cudnn) == (("sm_75",), None)


def test_devices_precisions_and_speeds_are_decoded():
    runs = [
        {"device": "cuda:1", "precision": "fp16", "ok": True, "words": "", "gflops": 31000},
        {"device": "cuda:1", "precision": "fp32", "ok": False, "words": "no", "gflops": None},
    ]
    probe, build = torch_support.ask(BUILD, command=saying({**TWO_GPUS, "runs": runs}), limit=60)
    assert probe.devices[1] == Device(1, "Tesla T4", "ab-1", "0000:00:05.0", (7, 5), 14912)
    assert probe.runs[0] == Run("cuda:1", True, "", "fp16", 31000.0)
    assert not probe.ran_on("cuda"), "half precision alone is not enough"
    assert build is not None
    assert (probe.cudnn, build.cudnn) == ("9.10.2", "9.10.2")


def test_without_an_installed_torch_there_is_no_build_to_tell_of():
    assert torch_support.ask(command=saying(KNOWN), limit=60)[1] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"runs": []},
        {**KNOWN, "runs": [{"device": "cpu"}]},
        {**KNOWN, "runs": [{"device": "cpu", "ok": True, "words": "", "gflops": "fast"}]},
        {**KNOWN, "devices": [{"index": 0}]},
        {**KNOWN, "cuda_names": 5},
    ],
)
def test_an_answer_with_parts_missing_or_wrong_is_garbage(wrong):
    probe, _ = torch_support.ask(command=saying(wrong), limit=60)
    assert probe.fault == "garbage"


def test_an_empty_answer_is_garbage():
    assert torch_support.ask(command=saying({}), limit=60)[0].fault == "garbage"


def test_a_crash_before_any_answer_has_no_runs():
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    probe, build = torch_support.ask(BUILD, command=command, limit=60)
    assert (probe.fault, probe.runs, build) == ("crashed", (), BUILD)
    assert "exit code 3" in probe.words


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_crash_leaves_what_was_tried_before_and_names_what_was_tried_then():
    now = {**TWO_GPUS, "trying": "cuda:0 fp16", "to_try": []}
    command = saying(now, then="os.kill(os.getpid(), 11)")
    probe, build = torch_support.ask(BUILD, command=command, limit=60)
    assert (probe.fault, probe.died_at) == ("crashed", "cuda:0 fp16")
    assert "While trying cuda:0 in fp16: It was ended by SIGSEGV" in probe.words
    assert probe.ran_on("cpu")
    assert [(run.device, run.precision, run.ok) for run in probe.runs] == [
        ("cpu", "fp32", True),
        ("cuda:0", "fp16", False),
    ]
    assert len(probe.devices) == 2
    assert build is not None
    assert build.architectures == ("sm_75",)


def test_a_hang_leaves_what_was_tried_before_and_starts_nothing_more():
    now = {**TWO_GPUS, "trying": "cuda:0 fp32", "to_try": ["cuda:1"]}
    probe, _ = torch_support.ask(BUILD, command=saying(now, then="time.sleep(60)"), limit=2)
    assert (probe.fault, probe.died_at) == ("hung", "cuda:0 fp32")
    assert [run.device for run in probe.runs] == ["cpu", "cuda:0"]


def test_a_trial_that_dies_while_it_is_timed_has_failed():
    worked = {"device": "cuda:0", "precision": "fp32", "ok": True, "words": "", "gflops": None}
    now = {**TWO_GPUS, "runs": [worked], "trying": "cuda:0 fp32", "to_try": []}
    command = saying(now, then="raise SystemExit(1)")
    probe, _ = torch_support.ask(BUILD, command=command, limit=60)
    assert not probe.ran_on("cuda")
    assert len(probe.runs) == 1


def test_a_broken_gpu_does_not_hide_the_next_one():
    """The first process dies at cuda:0; the second one is given cuda:1 and answers."""
    first = {**TWO_GPUS, "trying": "cuda:0 fp32", "to_try": ["cuda:1"]}
    second = {**TWO_GPUS, "runs": [{"device": "cuda:1", "ok": True, "words": ""}]}
    then = (
        "if sys.argv[1:] != ['cuda:1']: sys.exit(1)\n"
        f"print('fastmagic-answer:' + {json.dumps(second)!r})"
    )
    ticks: list[float] = []
    command = saying(first, then=then)
    probe, _ = torch_support.ask(BUILD, command=command, limit=60, tick=ticks.append)
    assert probe.fault == "crashed"
    assert [(run.device, run.ok) for run in probe.runs] == [
        ("cpu", True),
        ("cuda:0", False),
        ("cuda:1", True),
    ]
    assert ticks == sorted(ticks)


def test_gpus_that_could_not_be_tried_after_a_crash_are_named():
    first = {**TWO_GPUS, "trying": "cuda:0 fp32", "to_try": ["cuda:1"]}
    command = saying(first, then="sys.exit(1)")
    command[2] = "import sys\nif sys.argv[1:]: raise RuntimeError('driver gone')\n" + command[2]
    probe, _ = torch_support.ask(BUILD, command=command, limit=60)
    assert "Then cuda:1 could not be tried" in probe.words
    assert "driver gone" in probe.words


def test_a_process_that_always_crashes_is_not_started_for_ever():
    now = {**TWO_GPUS, "trying": "cuda:0 fp32", "to_try": ["cuda:0", "cuda:1"]}
    probe, _ = torch_support.ask(BUILD, command=saying(now, then="sys.exit(1)"), limit=60)
    assert probe.fault == "crashed"


class FakeCuda:
    def __init__(self, started: bool, held: tuple[int, ...] = (), broken: bool = False):
        self.started, self.held, self.broken = started, held, broken

    def is_initialized(self) -> bool:
        return self.started

    def device_count(self) -> int:
        return len(self.held)

    def memory_reserved(self, index: int) -> int:
        if self.broken:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return self.held[index] * 2**20


@pytest.mark.parametrize(
    ("torch", "held"),
    [
        (SimpleNamespace(cuda=FakeCuda(True, (300, 20))), 320),
        (SimpleNamespace(cuda=FakeCuda(True, (0,))), 0),
        (SimpleNamespace(cuda=FakeCuda(False, (300,))), None),
        (SimpleNamespace(cuda=FakeCuda(True, (1,), broken=True)), None),
        (SimpleNamespace(), None),
        (None, None),
    ],
)
def test_memory_held_here_is_that_of_a_torch_that_has_started(torch, held):
    assert torch_support.held_here({"torch": torch}) == held


def test_asking_what_is_held_imports_nothing():
    code = (
        "import sys\nfrom fastmagic.gpu import torch_support\n"
        "assert torch_support.held_here() is None\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.train
def test_asking_what_is_held_starts_no_cuda():
    torch = pytest.importorskip("torch")
    assert torch_support.held_here() is None
    assert not torch.cuda.is_initialized()


@pytest.mark.train
def test_the_real_torch_trains_on_the_cpu():
    pytest.importorskip("torch")
    installed = torch_support.installed()
    probe, build = torch_support.ask(installed)
    assert probe.fault == ""
    assert probe.ran_on("cpu")
    assert all(run.ok and run.gflops for run in probe.runs)
    assert build is not None
    assert bool(build.architectures) == bool(build.cuda)
