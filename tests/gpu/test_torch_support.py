from __future__ import annotations

import json
import sys

import pytest

from fastmagic.gpu import torch_support

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


def test_what_the_process_found_is_decoded():
    answer = {
        "cuda_available": False,
        "cuda_words": "",
        "cuda_names": [],
        "mps_available": False,
        "architectures": ["sm_75"],
        "runs": [{"device": "cpu", "ok": True, "words": ""}],
    }
    command = [sys.executable, "-c", f"print('fastmagic-answer:' + {json.dumps(answer)!r})"]
    probe, architectures = torch_support.ask(command=command, limit=60)
    assert probe.ran_on("cpu")
    assert not probe.ran_on("cuda")
    assert architectures == ("sm_75",)


def test_an_answer_with_parts_missing_is_garbage():
    command = [sys.executable, "-c", "print('fastmagic-answer:{}')"]
    probe, _ = torch_support.ask(command=command, limit=60)
    assert probe.fault == "garbage"


@pytest.mark.train
def test_the_real_torch_trains_on_the_cpu():
    pytest.importorskip("torch")
    probe, architectures = torch_support.ask()
    assert probe.fault == ""
    assert probe.ran_on("cpu")
    build = torch_support.installed()
    assert build is not None
    assert bool(architectures) == bool(build.cuda)
