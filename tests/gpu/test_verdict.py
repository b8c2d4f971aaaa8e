from __future__ import annotations

from dataclasses import replace

import pytest

from fastmagic.environment.planning.torch_tables import CUDA_BUILDS
from fastmagic.environment.planning.wishes import read_torch
from fastmagic.gpu import advice
from fastmagic.gpu.cards import Card, Holder, Slice
from fastmagic.gpu.estimate import estimate
from fastmagic.gpu.evidence import Evidence
from fastmagic.gpu.host import Host
from fastmagic.gpu.nvml import NvmlLook
from fastmagic.gpu.torch_support import Probe, Run, TorchBuild
from fastmagic.gpu.verdict import judge

T4 = Card("Tesla T4", "GPU-1", (7, 5), 15360, 3, 15357)
K80 = Card("Tesla K80", "GPU-2", (3, 7), 11441, 3, 11438)
P100 = Card("Tesla P100", "GPU-3", (6, 0), 16384, 0, 16384)
TODAY = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
TORCH = TorchBuild("2.11.0+cu128", "12.8", None, TODAY)
CPU_RAN = Run("cpu", True)
GOOD = Probe(tried=True, cuda_available=True, runs=(Run("cuda:0", True), CPU_RAN))
NOTHING = NvmlLook("no_library")


def answered(*cards: Card, driver: str = "550.54.15") -> NvmlLook:
    return NvmlLook("answered", "", driver, cards)


def failed(words: str) -> Probe:
    return Probe(tried=True, cuda_available=True, runs=(Run("cuda:0", False, words), CPU_RAN))


@pytest.mark.parametrize(
    ("evidence", "codes", "device"),
    [
        (Evidence(answered(T4), TORCH, GOOD), [], "cuda"),
        (Evidence(answered(T4), TORCH), [], "cuda"),
        (Evidence(NOTHING, TORCH), ["cpu_only"], "cpu"),
        (Evidence(NOTHING, None), ["torch_missing", "cpu_only"], "cpu"),
        (Evidence(NOTHING, TORCH, place="colab"), ["no_gpu"], "cpu"),
        (Evidence(answered(), TORCH), ["no_gpu"], "cpu"),
        (Evidence(answered(T4), TORCH, visible="-1", hidden=True), ["no_gpu"], "cpu"),
        (Evidence(NOTHING, TORCH, card_in_slot=True), ["no_driver"], "cpu"),
        (Evidence(NvmlLook("mismatch"), TORCH), ["no_driver"], "cpu"),
        (Evidence(NvmlLook("permission"), TORCH), ["no_driver"], "cpu"),
        (Evidence(NOTHING, TORCH, promised=True), ["no_gpu"], "cpu"),
        (Evidence(answered(T4), None), ["torch_missing"], "cpu"),
        (Evidence(answered(T4), TorchBuild("2.11.0+cpu")), ["torch_cpu_build"], "cpu"),
        (Evidence(answered(T4, driver="470.82"), TORCH), ["driver_too_old"], "cpu"),
        (Evidence(answered(P100), TORCH, failed("no kernel image")), ["arch_unsupported",
            "probe_failed"], "cpu"),
        (Evidence(answered(K80, K80, driver="470.82"), TORCH), ["arch_unsupported",
            "driver_too_old"], "cpu"),
        (Evidence(answered(K80), None), ["arch_unsupported", "torch_missing"], "cpu"),
        (Evidence(answered(T4), TORCH, Probe("hung", "No answer", True)), ["probe_failed"], "cpu"),
        (Evidence(answered(T4), TORCH, Probe(tried=True, words="Unexpected error")),
            ["probe_failed"], "cpu"),
        (Evidence(answered(Card(lost=True)), TORCH), ["gpu_lost"], "cpu"),
        (Evidence(NOTHING, TORCH, apple=True), ["mps"], "mps"),
    ],
)  # fmt: skip
def test_each_situation_has_its_verdict(evidence, codes, device):
    verdict = judge(evidence)
    assert [reason.code for reason in verdict.reasons] == codes
    assert verdict.code == (codes[0] if codes else "ready")
    assert verdict.device == device
    assert verdict.sentence.endswith((".", "fail.", "image", "error", "answer"))


def test_a_step_that_ran_silences_what_is_only_inferred():
    verdict = judge(Evidence(answered(T4, driver="470.82"), TORCH, GOOD))
    assert verdict.code == "ready"


def test_a_full_card_is_busy_and_stays_the_device():
    full = Card("Tesla T4", "GPU-1", (7, 5), 15360, 14000, 1360)
    verdict = judge(Evidence(answered(full), TORCH, GOOD))
    assert verdict.code == "gpu_busy"
    assert verdict.device == "cuda"
    assert "1,360 of 15,360 MiB" in verdict.sentence


def test_the_card_that_training_uses_decides_whether_it_is_busy():
    full = Card("Tesla T4", "GPU-1", (7, 5), 15360, 14000, 1360, cuda=0)
    free = Card("Tesla T4", "GPU-2", (7, 5), 15360, 3, 15357, cuda=1)
    verdict = judge(Evidence(answered(full, free), TORCH, GOOD))
    assert verdict.code == "gpu_busy"
    assert "CUDA_VISIBLE_DEVICES=GPU-2" in verdict.advice[0]
    swapped = Card("Tesla T4", "GPU-1", (7, 5), 15360, 14000, 1360, cuda=1)
    other = Card("Tesla T4", "GPU-2", (7, 5), 15360, 3, 15357, cuda=0)
    assert judge(Evidence(answered(swapped, other), TORCH, GOOD)).code == "ready"


def test_other_programs_that_hold_the_memory_are_named():
    holder = Holder(pid=812, memory=13900, name="python3", here=False)
    full = Card("Tesla T4", "GPU-1", (7, 5), 15360, 14000, 1360, holders=(holder,))
    verdict = judge(Evidence(answered(full), TORCH, GOOD))
    assert "python3, process 812" in verdict.advice[0]


def test_a_full_instance_of_a_split_card_is_busy():
    piece = Slice(0, "3g.40gb", "MIG-1", 40448, 39000, 1448)
    card = Card("H100", "GPU-1", (9, 0), 81559, 39000, 42559, mig=True, slices=(piece,))
    assert judge(Evidence(answered(card), TORCH, GOOD)).code == "gpu_busy"


def test_the_first_instance_counts_for_it_is_the_one_that_cuda_gives():
    taken = Slice(0, "3g.40gb", "MIG-1", 40448, 39000, 1448)
    free = Slice(1, "3g.40gb", "MIG-2", 40448, 0, 40448)
    card = Card("H100", "GPU-1", (9, 0), 81559, 39000, 42559, mig=True, slices=(taken, free))
    verdict = judge(Evidence(answered(card), TORCH, GOOD))
    assert "1,448 of 40,448 MiB" in verdict.sentence
    assert "1.4 GiB free in the GPU's slice" in estimate(card, (), Host(2)).batch_why


def test_the_offer_of_the_platform_is_the_advice():
    verdict = judge(Evidence(NOTHING, TORCH, place="colab"))
    assert verdict.advice[0].startswith("Runtime menu > Change runtime type")


def test_a_p100_on_kaggle_is_told_to_pick_another_accelerator():
    verdict = judge(Evidence(answered(P100), TORCH, failed("no kernel"), place="kaggle"))
    assert "GPU T4 x2" in verdict.advice[0]


def test_an_old_card_elsewhere_is_told_the_last_wheel_that_has_it():
    verdict = judge(Evidence(answered(P100), TORCH, failed("no kernel")))
    assert "%fastai_setup --torch cu126" in verdict.advice[0]


def test_the_driver_and_the_card_are_told_the_same_build():
    v100 = Card("Tesla V100", "GPU-4", (7, 0), 16384, 0, 16384)
    verdict = judge(Evidence(answered(v100, driver="470.82"), TORCH))
    assert [reason.code for reason in verdict.reasons] == ["driver_too_old", "arch_unsupported"]
    assert all("--torch cu118" in reason.advice[-1] for reason in verdict.reasons)


@pytest.mark.parametrize("driver", ["470.82", "535.104.05", "570.86", "580.65"])
@pytest.mark.parametrize("capability", [(3, 7), (6, 0), (7, 0), (9, 0), (12, 0)])
def test_every_build_that_is_advised_is_one_that_the_set_up_knows(driver, capability):
    lines = (
        *advice.newer_driver(driver, 580, capability),
        *advice.fitting_wheel(capability, "jupyter", driver, (3, 11)),
        *advice.cuda_build("jupyter", driver, capability),
    )
    named = [line.split("--torch ")[1] for line in lines if "--torch " in line]
    assert named or capability == (12, 0)
    for name in named:
        label = read_torch(name).label
        driver_floor = min(build.driver for build in CUDA_BUILDS if build.label == label)
        assert any(b.label == label and b.lowest <= capability <= b.highest for b in CUDA_BUILDS)
        assert driver_floor <= int(driver[:3])


@pytest.mark.parametrize("state", ["no_library", "not_loaded", "mismatch", "failed"])
@pytest.mark.parametrize("place", ["colab", "kaggle"])
def test_nobody_is_told_to_mend_the_driver_of_a_rented_machine(state, place):
    verdict = judge(Evidence(NvmlLook(state), TORCH, card_in_slot=True, place=place))
    assert verdict.code == "no_driver"
    assert "session" in verdict.advice[0] or "runtime" in verdict.advice[0]
    assert not any(words in line for line in verdict.advice for words in ("nvidia.com", "computer"))


def test_what_torch_says_of_an_old_driver_is_no_second_riddle():
    old = Probe(tried=True, words="The NVIDIA driver on your system is too old")
    verdict = judge(Evidence(answered(T4, driver="470.82"), TORCH, old))
    assert [reason.code for reason in verdict.reasons] == ["driver_too_old", "probe_failed"]
    assert verdict.reasons[1].advice == (
        "That is how PyTorch over a driver that is too old fails.",
    )


def test_a_trial_that_hangs_is_tried_again_before_the_machine_is_given_up():
    hung = Evidence(answered(T4), TORCH, Probe("hung", "No answer", True), place="kaggle")
    first, second = judge(hung).advice
    assert "%gpu_check again" in first
    assert "Stop the notebook's session" in second


LOST = Card(lost=True)
FULL_V100 = Card("Tesla V100", "GPU-5", (7, 0), 16384, 16000, 384)


@pytest.mark.parametrize(
    ("evidence", "codes"),
    [
        (
            Evidence(answered(LOST, FULL_V100, driver="470.82"), TORCH, failed("no kernel")),
            ["gpu_lost", "driver_too_old", "arch_unsupported", "gpu_busy", "probe_failed"],
        ),
        (Evidence(answered(LOST, FULL_V100), None), ["gpu_lost", "torch_missing", "gpu_busy"]),
        (
            Evidence(answered(LOST, FULL_V100), TorchBuild("2.11.0+cpu")),
            ["gpu_lost", "torch_cpu_build", "gpu_busy"],
        ),
        (Evidence(NOTHING, None, card_in_slot=True), ["no_driver", "torch_missing"]),
    ],
)
def test_every_reason_that_applies_is_listed_the_root_of_the_trouble_first(evidence, codes):
    reasons = judge(evidence).reasons
    assert [reason.code for reason in reasons] == codes
    assert all(reason.advice for reason in reasons)


def test_a_card_that_no_driver_can_help_is_not_told_to_install_one():
    verdict = judge(Evidence(answered(K80, driver="470.82"), TORCH))
    assert verdict.code == "arch_unsupported"
    assert not any("Install driver" in line for reason in verdict.reasons for line in reason.advice)


def test_an_old_card_beside_a_good_one_is_no_reason():
    verdict = judge(Evidence(answered(T4, K80, driver="470.82"), TORCH))
    assert [reason.code for reason in verdict.reasons] == ["driver_too_old"]


@pytest.mark.parametrize(
    ("numbers", "code", "remarked"),
    [((1, 0), "ready", True), ((None, 0), "ready", False), ((0, None), "arch_unsupported", False)],
)
def test_the_quick_look_judges_the_card_that_torch_takes_first(numbers, code, remarked):
    old, good = (replace(card, cuda=one) for card, one in zip((K80, T4), numbers, strict=True))
    verdict = judge(Evidence(answered(old, good), TORCH, numbers_known=True))
    assert verdict.code == code
    assert any("will not be used" in remark for remark in verdict.remarks) == remarked


def test_a_crash_after_a_good_step_is_a_remark():
    runs = (CPU_RAN, Run("cuda:0", True), Run("cuda:0", False, "it died", "fp16"))
    probe = Probe("crashed", "It was ended by SIGSEGV", True, True, runs=runs)
    verdict = judge(Evidence(answered(T4), TORCH, probe))
    assert verdict.code == "ready"
    assert any("SIGSEGV" in remark for remark in verdict.remarks)


def test_an_amd_gpu_that_ran_is_ready():
    probe = Probe(tried=True, cuda_available=True, cuda_names=("Radeon",), runs=GOOD.runs)
    verdict = judge(Evidence(NOTHING, TorchBuild("2.15.0+rocm7", None, "7.0"), probe))
    assert verdict.code == "ready"
    assert "Radeon" in verdict.sentence


def test_every_reason_but_a_mac_says_what_to_do():
    for nvml in (NOTHING, answered(K80), answered(Card(lost=True)), NvmlLook("failed", "no")):
        for reason in judge(Evidence(nvml, None, card_in_slot=True)).reasons:
            assert reason.advice
