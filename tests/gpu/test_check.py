from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest

from fastmagic import progress
from fastmagic.errors import GpuRequired, Stopped
from fastmagic.gpu.check import gpu_check
from fastmagic.gpu.host import Host

from . import fake_nvml
from .fake_nvml import P100, T4, FakeCard, FakeLibrary
from .situations import NO_KERNEL, SITUATIONS, Situation, answer, process, run

READY = Situation("T4", (), fake_nvml.colab_t4(), probe=("ok",))


@pytest.fixture
def check(plug_in, tmp_path):
    """Check a situation; more arguments go to `gpu_check`, `world` changes its surroundings."""

    def call(situation, world=None, **arguments):
        plug_in(situation.library)
        surroundings = replace(situation.surroundings(tmp_path), **(world or {}))
        return gpu_check(surroundings=surroundings, **arguments)

    return call


@pytest.mark.parametrize("situation", SITUATIONS, ids=[case.name for case in SITUATIONS])
def test_each_machine_and_fault_has_its_verdict_and_advice(check, situation):
    report = check(situation)
    assert tuple(reason.code for reason in report.reasons) == situation.reasons
    assert report.verdict == (situation.reasons[0] if situation.reasons else "ready")
    assert report.usable == (report.verdict in ("ready", "mps"))
    assert situation.says in (report.advice or ("",))[0]
    assert all(reason.sentence for reason in report.reasons)
    assert all(reason.advice or reason.code == "mps" for reason in report.reasons)
    assert "Traceback" not in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_report_is_plain_data_and_has_two_faces(check):
    report = check(READY)
    assert json.loads(json.dumps(report.to_dict()))["gpus"][0]["name"] == "Tesla T4"
    assert set(report._repr_mimebundle_()) == {"text/plain", "text/html"}
    assert report.device == "cuda"
    assert report.cuda == "12.4"
    assert report.gpus[0].cuda == 0
    assert report.estimate is not None


def test_the_face_fits_a_terminal_of_eighty_columns(check):
    text = str(check(READY))
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("  0: Tesla T4"))
    assert row.split()[3:] == ["7.5", "14.6", "/", "15.0", "GiB", "0", "%", "41", "°C", "10", "/",
        "70", "W"]  # fmt: skip


def test_what_a_card_does_not_tell_is_shown_as_n_a(check):
    text = str(check(Situation("bare", (), fake_nvml.bare_card(), probe=("ok",))))
    row = next(line for line in text.splitlines() if "GeForce GT 610" in line and line[:2] == "  ")
    assert row.split() == ["0:", "GeForce", "GT", "610"] + ["n/a"] * 5


def test_what_holds_for_many_cards_is_said_once(check):
    hot = replace(T4, capability=(7, 0))
    library = FakeLibrary([replace(hot, uuid=f"GPU-{n}") for n in range(16)])
    report = check(Situation("many", (), library, probe=(NO_KERNEL,) * 15 + ("ok",)))
    assert len([remark for remark in report.remarks if "too old" in remark]) == 1
    assert "cuda:0 to cuda:14: fp32 fails" in " ".join(str(report).split())


def test_the_processor_is_not_counted_among_the_gpus(check):
    library = fake_nvml.sixteen_v100()
    text = " ".join(str(check(Situation("all", (), library, probe=("ok",) * 16))).split())
    assert "cpu, cuda:0 to cuda:15: fp32 works" in text


def test_mig_instances_have_rows_of_their_own(check):
    text = str(check(Situation("MIG", (), fake_nvml.split_h100(), probe=("ok",))))
    assert "MIG 0: 3g.40gb" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_old_card_is_found_without_a_probe_too(check):
    command = tuple(process(answer(runs=[])))
    situation = Situation("P100", (), FakeLibrary([P100]), command=command)
    assert check(situation, probe=False).verdict == "arch_unsupported"


def test_the_card_that_works_is_the_one_that_training_uses(check):
    library = FakeLibrary([P100, replace(T4, pci="00000000:00:05.0")])
    report = check(Situation("mixed", (), library, probe=(NO_KERNEL, "ok")))
    assert "Tesla T4" in report.sentence
    assert any("P100" in remark and "too old" in remark for remark in report.remarks)


def test_nvml_and_torch_number_the_same_card_by_its_uuid(check):
    library = FakeLibrary([replace(P100, uuid="GPU-aaaa"), replace(T4, uuid="GPU-bbbb")])
    seen = [dict(card) for card in Situation("", (), library, probe=("ok",) * 2).said()["devices"]]
    seen[0]["uuid"], seen[1]["uuid"] = "bbbb", "aaaa"  # CUDA puts the fastest first
    command = tuple(process(answer(("ok", NO_KERNEL), devices=seen)))
    report = check(Situation("order", (), library, command=command))
    assert [card.cuda for card in report.gpus] == [1, 0]
    assert "Tesla T4" in report.sentence


def test_a_kernel_that_holds_the_memory_itself_is_told_so(check):
    full = FakeLibrary([replace(T4, memory=(15360, 14000), processes=())])
    own = check(Situation("own", (), full, probe=("ok",), held=13000))
    assert "Restart the kernel" in own.advice[0]
    assert "gc.collect" in own.advice[1]


def test_another_free_card_is_named_by_its_uuid(check):
    full = replace(T4, memory=(15360, 14000))
    library = FakeLibrary([full, replace(T4, uuid="GPU-f4ee", pci="00000000:00:05.0")])
    report = check(Situation("two", (), library, probe=("ok", "ok")))
    assert report.verdict == "gpu_busy"
    assert "%env CUDA_VISIBLE_DEVICES=GPU-f4ee" in report.advice[0]


def test_half_precision_that_fails_is_a_remark_and_no_verdict(check):
    runs = [run("cpu"), run("cuda:0"), run("cuda:0", "CUBLAS_STATUS_NOT_SUPPORTED", "fp16")]
    command = tuple(process(answer(("ok",), runs=runs)))
    report = check(Situation("fp16", (), fake_nvml.colab_t4(), command=command))
    assert report.verdict == "ready"
    assert any("fp16 does not work" in remark for remark in report.remarks)


def test_clocks_that_are_held_down_and_memory_errors_are_remarks(check):
    hot = replace(T4, clocks=0x20, ecc=3)
    report = check(Situation("hot", (), FakeLibrary([hot]), probe=("ok",)))
    assert report.verdict == "ready"
    assert any("held down" in remark for remark in report.remarks)
    assert any("3 memory errors" in remark for remark in report.remarks)


def test_a_small_shared_memory_is_a_remark(check):
    small = Host(2, 2, 13005, 11000, shm_total=64, shm_free=64, disk_free=70000)
    report = check(READY, world={"host": lambda: small})
    assert any("/dev/shm" in remark for remark in report.remarks)


def test_without_torch_no_process_is_started(check, tmp_path):
    trace = tmp_path / "started"
    code = f"open({str(trace)!r}, 'w').close()"
    situation = Situation("", (), FakeLibrary([T4]), None, command=(sys.executable, "-c", code))
    report = check(situation)
    assert report.verdict == "torch_missing"
    assert report.torch is None
    assert not trace.exists()


def test_require_raises_where_no_gpu_can_be_used(check):
    with pytest.raises(GpuRequired, match="No NVIDIA GPU"):
        check(Situation("none", (), slot=False), require=True)


def test_require_is_content_with_a_ready_gpu(check):
    assert check(READY, require=True).usable


def test_json_is_all_that_is_printed(check, capsys):
    report = check(READY, json=True, show=True)
    assert json.loads(capsys.readouterr().out) == report.to_dict()


def test_the_first_words_come_before_torch_is_asked(check):
    class Order(progress.View):
        def _note(self, text):
            seen.append(text)

        def bar(self, label, *arguments):
            seen.append(label)

    seen: list[str] = []
    check(READY, show=Order())
    assert seen[0] == "Asking the NVIDIA driver"
    assert seen[1] == "NVIDIA driver 550.54.15: Tesla T4 (15.0 GiB)"
    assert "Trying PyTorch" in seen[2:]


def test_the_twin_prints_nothing_unless_asked(check, capsys, tmp_path):
    check(Situation("none", (), slot=False))
    assert capsys.readouterr().out == ""
    out = io.StringIO()
    check(Situation("none", (), None, None, slot=False), show=progress.LogView(out))
    assert "GPU check" in out.getvalue()


def test_an_interrupt_says_that_nothing_changed(check):
    class Impatient(progress.View):
        def bar(self, *arguments):
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="changes nothing"):
        check(READY, show=Impatient())


def test_what_a_card_is_called_is_escaped_in_a_notebook(check):
    card = FakeCard("<b>GPU</b>", "GPU-1", (7, 5), (15360, 0))
    html = check(Situation("", (), FakeLibrary([card]), probe=("ok",)))._repr_mimebundle_()
    assert "<b>GPU</b>" not in html["text/html"]
    assert "&lt;b&gt;GPU" in html["text/html"]


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
    assert report.gpus[0].cuda is not None
    assert report.estimate is not None
    assert report.estimate.seconds
