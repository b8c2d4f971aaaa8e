from __future__ import annotations

import json
import sys

import pytest

from fastmagic.environment import verify
from fastmagic.environment.inventory import Interpreter, Inventory


def saying(good: list[str], failure: str = "") -> list[str]:
    answer = json.dumps({"good": good, "failure": failure})
    text = f"print('fastmagic-answer:' + {answer!r})"
    return [sys.executable, "-c", text]


def test_what_worked_is_told():
    trial = verify.try_out(Interpreter(), saying(["fastai 2.8.8", "torchvision 0.26"]), limit=60)
    assert trial.good == ("fastai 2.8.8", "torchvision 0.26")
    assert trial.failure == ""


def test_a_known_failure_has_its_cause():
    failure = "RuntimeError: operator torchvision::nms does not exist"
    trial = verify.try_out(Interpreter(), saying([], failure), limit=60)
    assert trial.failure == failure
    assert "another build" in trial.cause
    assert trial.remedy


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('hello')"])
def test_a_process_that_breaks_is_a_failure(code):
    trial = verify.try_out(Interpreter(), [sys.executable, "-c", code], limit=60)
    assert trial.failure
    assert trial.good == ()


def test_the_real_trial_script_tells_what_is_missing(tmp_path):
    isolated = Interpreter(sys.executable)
    command = [sys.executable, "-S", str(verify.TRIAL), str(verify.torch_support.PROBE)]
    trial = verify.try_out(isolated, command, limit=60)
    assert trial.cause == "A package that fastai needs is missing: fastai."


def test_a_verification_is_remembered_for_these_versions_only(tmp_path):
    memory = verify.Memory(tmp_path / "cache")
    one = verify.fingerprint(Interpreter("python"), Inventory({"fastai": "2.8.8"}))
    other = verify.fingerprint(Interpreter("python"), Inventory({"fastai": "2.8.9"}))
    assert memory.when(one) is None
    memory.remember(one)
    assert memory.when(one)
    assert memory.when(other) is None


def test_a_broken_memory_is_an_empty_one(tmp_path):
    (tmp_path / "verified.json").write_text("{broken")
    memory = verify.Memory(tmp_path)
    assert memory.when("x") is None
    memory.remember("x")
    assert memory.when("x")


def test_the_memory_stays_small(tmp_path):
    memory = verify.Memory(tmp_path)
    for number in range(verify.REMEMBERED + 5):
        memory.remember(str(number))
    assert memory.when("0") is None
    assert memory.when(str(verify.REMEMBERED + 4))


@pytest.mark.train
def test_the_real_fastai_works():
    pytest.importorskip("fastai")
    trial = verify.try_out(Interpreter())
    assert trial.failure == ""
    assert [words.split()[0] for words in trial.good[:3]] == ["fastai", "torchvision", "a"]


@pytest.mark.train
def test_an_opencv_that_is_there_is_imported_too(tmp_path, monkeypatch):
    pytest.importorskip("fastai")
    fake = tmp_path / "cv2.py"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fake.write_text("__version__ = '5.0'")
    assert verify.try_out(Interpreter()).good[-1] == "OpenCV 5.0"
    fake.write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    trial = verify.try_out(Interpreter())
    assert "libGL.so.1" in trial.failure
    assert trial.cause
