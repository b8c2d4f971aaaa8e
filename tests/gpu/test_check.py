from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from fastmagic import platforms, progress
from fastmagic.errors import GpuRequired, Stopped
from fastmagic.gpu.check import Surroundings, gpu_check

from .fake_nvml import K80, P100, T4, FakeCard, FakeLibrary

TODAY = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
LOCAL = platforms.Platform("jupyter", "log")
KAGGLE = platforms.Platform("kaggle", "log")


def answering(cuda: str = "", **more: object) -> list[str]:
    """A process that answers as torch would; `cuda` is its error on the GPU, or "ok"."""
    runs = [{"device": "cpu", "ok": True, "words": ""}]
    if cuda:
        runs.insert(0, {"device": "cuda:0", "ok": cuda == "ok", "words": cuda})
    answer = {
        "architectures": TODAY,
        "cuda_available": bool(cuda),
        "cuda_words": "",
        "cuda_names": [],
        "mps_available": False,
        "runs": runs,
        **more,
    }
    return [sys.executable, "-c", f"print('fastmagic-answer:' + {json.dumps(answer)!r})"]


@pytest.fixture
def surround(plug_in, tmp_path: Path):
    """Build surroundings from a library, a torch build and a probe's command."""

    def make(library, torch="12.8", command=None, place=LOCAL, limit=60.0, env=None):
        if torch:
            folder = tmp_path / "torch"
            folder.mkdir()
            (folder / "__init__.py").touch()
            cuda = None if torch == "cpu" else torch
            (folder / "version.py").write_text(f"__version__ = '2.11.0'\ncuda = {cuda!r}\n")
        return Surroundings(
            pynvml=plug_in(library),
            card_in_slot=lambda: library is not None,
            torch_paths=[str(tmp_path)],
            probe_command=command or answering(),
            probe_limit=limit,
            place=place,
            env=env or {},
            apple=False,
        )

    return make


def test_a_t4_with_a_fitting_torch_is_ready(surround):
    report = gpu_check(surroundings=surround(FakeLibrary([T4]), command=answering("ok")))
    assert report.verdict == "ready"
    assert report.usable
    assert report.device == "cuda"
    assert report.gpus[0].memory_total == 15360
    assert report.torch is not None
    assert report.torch.architectures == tuple(TODAY)
    assert "Tesla T4" in str(report)
    assert "15.0 GiB / 15.0 GiB" in str(report)


def test_the_report_is_plain_data_and_has_two_faces(surround):
    report = gpu_check(surroundings=surround(FakeLibrary([T4]), command=answering("ok")))
    assert json.loads(json.dumps(report.to_dict()))["gpus"][0]["name"] == "Tesla T4"
    assert set(report._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_card_that_supports_nothing_but_its_name_is_ready_and_shows_n_a(surround):
    library = FakeLibrary([FakeCard("Old card")])
    report = gpu_check(surroundings=surround(library, command=answering("ok")))
    assert report.verdict == "ready"
    row = next(line for line in str(report).splitlines() if line.startswith("  Old card"))
    assert row.split() == ["Old", "card"] + ["n/a"] * 5


@pytest.mark.parametrize("card", [K80, P100], ids=["K80", "P100"])
def test_a_card_too_old_for_this_torch_is_found(surround, card):
    words = "CUDA error: no kernel image is available for execution on the device"
    report = gpu_check(surroundings=surround(FakeLibrary([card]), command=answering(words)))
    assert report.verdict == "arch_unsupported"
    assert report.device == "cpu"
    assert [reason.code for reason in report.reasons] == ["arch_unsupported", "probe_failed"]
    assert words in report.reasons[1].sentence


def test_an_old_card_is_found_without_a_probe_too(surround):
    command = answering(runs=[])
    report = gpu_check(probe=False, surroundings=surround(FakeLibrary([P100]), command=command))
    assert report.verdict == "arch_unsupported"


def test_a_cpu_build_beside_a_gpu_is_found(surround):
    report = gpu_check(surroundings=surround(FakeLibrary([T4]), torch="cpu"))
    assert report.verdict == "torch_cpu_build"


def test_a_lost_gpu_is_found(surround):
    report = gpu_check(surroundings=surround(FakeLibrary([FakeCard(lost=True)])))
    assert report.verdict == "gpu_lost"


def test_no_library_and_no_card_is_cpu_only(surround):
    report = gpu_check(surroundings=surround(None))
    assert report.verdict == "cpu_only"
    assert report.device == "cpu"


def test_kaggle_without_a_gpu_tells_its_steps(surround):
    report = gpu_check(surroundings=surround(None, place=KAGGLE))
    assert report.verdict == "no_gpu"
    assert "Accelerator" in report.advice[0]


def test_without_torch_no_process_is_started(surround, tmp_path):
    trace = tmp_path / "started"
    command = [sys.executable, "-c", f"open({str(trace)!r}, 'w').close()"]
    world = surround(FakeLibrary([T4]), torch="", command=command)
    report = gpu_check(surroundings=world)
    assert report.verdict == "torch_missing"
    assert report.torch is None
    assert not trace.exists()


@pytest.mark.parametrize(
    ("code", "limit", "fault"),
    [
        ("raise SystemExit(3)", 60, "crashed"),
        ("import time; time.sleep(60)", 0.5, "hung"),
        ("print('hello')", 60, "garbage"),
    ],
)
def test_a_faulty_probe_is_a_finding_not_the_end(surround, code, limit, fault):
    command = [sys.executable, "-c", code]
    report = gpu_check(surroundings=surround(FakeLibrary([T4]), command=command, limit=limit))
    assert report.verdict == "probe_failed"
    assert report.probe is not None
    assert report.probe.fault == fault
    assert report.advice


def test_require_raises_where_no_gpu_can_be_used(surround):
    with pytest.raises(GpuRequired, match="No NVIDIA GPU"):
        gpu_check(require=True, surroundings=surround(None))


def test_require_is_content_with_a_ready_gpu(surround):
    world = surround(FakeLibrary([T4]), command=answering("ok"))
    assert gpu_check(require=True, surroundings=world).usable


def test_the_cards_are_told_before_torch_is_asked(surround):
    class Order(progress.View):
        def _note(self, text):
            seen.append(text)

        def bar(self, *arguments):
            seen.append("bar")

    seen: list[str] = []
    world = surround(FakeLibrary([T4]), command=answering("ok"))
    gpu_check(show=Order(), surroundings=world)
    assert seen[0] == "NVIDIA driver 550.54.15: Tesla T4 (15.0 GiB)"
    assert "bar" in seen[1:]


def test_the_twin_prints_nothing_unless_asked(surround, capsys):
    world = surround(None)
    gpu_check(surroundings=world)
    assert capsys.readouterr().out == ""
    out = io.StringIO()
    gpu_check(show=progress.LogView(out), surroundings=world)
    assert "GPU check" in out.getvalue()


def test_an_interrupt_says_that_nothing_changed(surround):
    class Impatient(progress.View):
        def bar(self, *arguments):
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="changes nothing"):
        gpu_check(show=Impatient(), surroundings=surround(None))


@pytest.mark.train
def test_the_real_machine_gets_a_verdict():
    pytest.importorskip("torch")
    report = gpu_check()
    assert report.probe is not None
    assert report.probe.ran_on("cpu")
    assert "torch_missing" not in {reason.code for reason in report.reasons}


@pytest.mark.gpu
def test_a_real_gpu_is_ready():
    report = gpu_check(require=True)
    assert report.device == "cuda"
    assert report.gpus[0].name
