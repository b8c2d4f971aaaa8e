"""From everything that was found out to one verdict: plain data in, plain data out.

Each rule is a function that gives a `Reason` or None; their order in `RULES` is the order of the
reasons, and the first one is the verdict. A training step that really ran has the last word: it
silences the rules that only infer (the driver's floor, the list of architectures). The words of
what to do are in `advice.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastmagic.gpu import advice, remarks
from fastmagic.gpu.cards import Card
from fastmagic.gpu.drivers import DRIVER_FLOORS
from fastmagic.gpu.evidence import FAULTS, Evidence

Code = Literal[
    "ready",
    "gpu_lost",
    "no_gpu",
    "no_driver",
    "driver_too_old",
    "torch_missing",
    "torch_cpu_build",
    "arch_unsupported",
    "gpu_busy",
    "probe_failed",
    "cpu_only",
    "mps",
]
Device = Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True)
class Reason:
    """Why the verdict is what it is, and what to do about it, one line each."""

    code: Code
    sentence: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict's code and sentence, its reasons, and the device that training will use.

    `remarks` are worth knowing and decide nothing.
    """

    code: Code
    sentence: str
    advice: tuple[str, ...]
    reasons: tuple[Reason, ...]
    device: Device
    remarks: tuple[str, ...] = ()


def judge(evidence: Evidence) -> Verdict:
    """Give the verdict.

    Examples
    --------
    >>> from fastmagic.gpu.nvml import NvmlLook
    >>> from fastmagic.gpu.torch_support import TorchBuild
    >>> judge(Evidence(NvmlLook("no_library"), TorchBuild("2.15.0+cpu"))).code
    'cpu_only'
    >>> judge(Evidence(NvmlLook("no_library"), None, place="colab")).code
    'no_gpu'
    """
    found = [reason for rule in RULES if (reason := rule(evidence)) is not None]
    # No driver and no other torch helps a card that is too old for all of them: that leads.
    found.sort(key=lambda reason: not (reason.code == "arch_unsupported" and _ancient(evidence)))
    device = _device(evidence, {reason.code for reason in found})
    reasons, worth_knowing = tuple(found), remarks.of(evidence)
    if not reasons:
        return Verdict("ready", _ready(evidence), (), (), device, worth_knowing)
    first = reasons[0]
    return Verdict(first.code, first.sentence, first.advice, reasons, device, worth_knowing)


def _device(evidence: Evidence, codes: set[Code]) -> Device:
    if evidence.cuda_ran:
        return "cuda"
    if codes == {"mps"}:
        return "mps"
    return "cuda" if evidence.cards and codes <= {"gpu_busy"} else "cpu"


def _ready(evidence: Evidence) -> str:
    card = evidence.training_card
    name = card.name if card is not None else None
    if name is None and evidence.probe and evidence.probe.cuda_names:
        names = evidence.probe.cuda_names
        name = names[min(evidence.training_number or 0, len(names) - 1)]
    name = name or "the GPU"
    usable = len([card for card in evidence.cards if card.cuda is not None])
    others = f" (one of {usable} GPUs here)" if usable > 1 else ""
    if evidence.cuda_ran:
        return f"Ready: training will run on {name}{others}; a small step has just run on it."
    return f"Training should run on {name}{others}; it was not tried."


def _lost(evidence: Evidence) -> Reason | None:
    lost = [card for card in evidence.nvml.cards if card.lost]
    if evidence.nvml.state != "lost" and not lost:
        return None
    name = lost[0].name if lost and lost[0].name else "A GPU"
    return Reason(
        "gpu_lost",
        f"{name} stopped answering: it fell off the bus.",
        advice.new_machine(evidence.place),
    )


def _no_gpu(evidence: Evidence) -> Reason | None:
    if evidence.hidden:
        return Reason(
            "no_gpu",
            "There is a GPU, but CUDA_VISIBLE_DEVICES hides it from PyTorch.",
            advice.uncover(evidence.visible or ""),
        )
    if _waits_for_slices(evidence):
        return Reason(
            "no_gpu",
            "The GPU is split into MIG instances, and there is none to train on.",
            advice.make_a_slice(),
        )
    seen = evidence.nvml.cards or evidence.card_in_slot or evidence.cuda_ran
    if seen or evidence.nvml.state in ("lost", "permission"):
        return None
    offer = advice.get_a_gpu(evidence.place)
    if offer:
        return Reason("no_gpu", "This session has no GPU.", (offer,))
    if evidence.nvml.state == "answered":
        sentence = "An NVIDIA driver runs here, but it sees no GPU."
        return Reason("no_gpu", sentence, advice.driver_sees_no_gpu())
    if evidence.promised:
        sentence = "This container is made for a GPU, but it was started without one."
        return Reason("no_gpu", sentence, (advice.CONTAINER,))
    return None


def _waits_for_slices(evidence: Evidence) -> bool:
    cards = evidence.cards
    return bool(cards) and all(card.mig and not card.slices for card in cards)


def _no_driver(evidence: Evidence) -> Reason | None:
    state = evidence.nvml.state
    if evidence.cuda_ran or state in ("answered", "lost"):
        return None
    if state == "mismatch":
        sentence = "NVIDIA's driver was updated while it was running; its parts do not match."
        return Reason("no_driver", sentence, advice.matching_driver(evidence.place))
    if state == "permission":
        sentence = "NVIDIA's driver is here, but this user may not ask it."
        return Reason("no_driver", sentence, advice.ask_for_permission())
    if not evidence.card_in_slot:
        return None
    if state == "no_package":
        sentence = "There is an NVIDIA card, but its driver cannot be asked."
        return Reason("no_driver", sentence, advice.install_nvml())
    said = state in ("failed", "too_old") and evidence.nvml.words
    words = f" NVML says: {evidence.nvml.words}." if said else ""
    if state == "no_library":
        sentence = "There is an NVIDIA card, but no driver for it is installed."
    else:
        sentence = f"There is an NVIDIA card, but its driver does not work.{words}"
    what_to_do = {"failed": advice.mend_driver, "not_loaded": advice.start_driver}
    return Reason(
        "no_driver", sentence, what_to_do.get(state, advice.install_driver)(evidence.place)
    )


def _driver_too_old(evidence: Evidence) -> Reason | None:
    torch, driver = evidence.torch, evidence.nvml.driver
    if evidence.cuda_ran or torch is None or torch.cuda is None or not driver:
        return None
    floor = DRIVER_FLOORS.get(_major(torch.cuda))
    if floor is None or not 0 < _major(driver) < floor:
        return None
    card = evidence.training_card
    return Reason(
        "driver_too_old",
        f"The NVIDIA driver {driver} is too old for PyTorch {torch.version}: CUDA {torch.cuda} "
        f"needs driver {floor} or newer.",
        advice.newer_driver(driver, floor, card.capability if card else None, evidence.place),
    )


def _major(version: str) -> int:
    head = version.split(".")[0]
    return int(head) if head.isdigit() else 0


def _torch_missing(evidence: Evidence) -> Reason | None:
    if evidence.torch is not None:
        return None
    return Reason("torch_missing", "PyTorch is not installed.", advice.install_torch())


def _torch_cpu_build(evidence: Evidence) -> Reason | None:
    torch = evidence.torch
    if torch is None or not evidence.cards or torch.cuda or torch.hip:
        return None
    sentence = f"There is a GPU, but PyTorch {torch.version} is a build for the CPU only."
    card = evidence.training_card
    what_to_do = advice.cuda_build(
        evidence.place, evidence.nvml.driver, card.capability if card else None
    )
    return Reason("torch_cpu_build", sentence, what_to_do)


def _ancient(evidence: Evidence) -> bool:
    capabilities = [card.capability for card in evidence.cards if card.capability]
    return bool(capabilities) and max(capabilities) < advice.OLDEST_USABLE


def _arch_unsupported(evidence: Evidence) -> Reason | None:
    card, unsupported = evidence.training_card, evidence.unsupported
    is_cuda_build = evidence.torch is None or evidence.torch.cuda is not None
    if evidence.cuda_ran or card not in unsupported or card is None or not is_cuda_build:
        return None
    if card.cuda is None and len(unsupported) < len(evidence.cards):
        return None  # which one torch would take is not known
    capability = card.capability or (0, 0)
    have = f"PyTorch {evidence.torch.version}" if evidence.torch else "today's PyTorch"
    return Reason(
        "arch_unsupported",
        f"{card.title} is not supported by {have}; the first step of training would fail.",
        advice.fitting_wheel(capability, evidence.place, evidence.nvml.driver),
    )


def _gpu_busy(evidence: Evidence) -> Reason | None:
    card = evidence.training_card
    if card is None or not card.is_full:
        return None
    free, total = card.room_free, card.room_total
    return Reason(
        "gpu_busy",
        f"Most of the GPU's memory is taken: {free:,} of {total:,} MiB are free.",
        _busy_advice(evidence, card),
    )


def _busy_advice(evidence: Evidence, card: Card) -> tuple[str, ...]:
    free = [other for other in evidence.cards if other is not card and not other.is_full]
    other = (advice.choose_card(free[0].uuid),) if free else ()
    return (*other, *_free_it(evidence, card))


def _free_it(evidence: Evidence, card: Card) -> tuple[str, ...]:
    if _held_here(evidence, card):
        return advice.free_own_memory()
    others = [holder for holder in card.holders or () if holder.here is False]
    if others and all(holder.name for holder in others):
        names = tuple(f"{holder.name}, process {holder.pid}" for holder in others)
        return advice.free_others_memory(names)
    return advice.free_somebodys_memory()


def _held_here(evidence: Evidence, card: Card) -> bool:
    """Whether this kernel's own cells hold the greater part of what is taken."""
    listed = [holder.memory or 0 for holder in card.holders or () if holder.here]
    return max([*listed, evidence.held_here or 0]) > (card.memory_used or 0) / 2


def _probe_failed(evidence: Evidence) -> Reason | None:
    probe = evidence.probe
    if probe is None or evidence.cuda_ran:
        return None
    if probe.fault:
        sentence = f"{FAULTS[probe.fault]} {probe.words}".strip()
        hung = probe.fault == "hung"
        return Reason(
            "probe_failed",
            sentence,
            advice.try_again(evidence.place) if hung else advice.check_setup(),
        )
    failed = [run for run in probe.runs if not run.ok and run.precision == "fp32"]
    if failed:
        words = failed[0].words.rstrip(".")
        sentence = f"A small training step on {failed[0].device} failed: {words}."
        explained = evidence.unsupported and failed[0].device != "cpu"
        return Reason(
            "probe_failed",
            sentence,
            advice.same_cause("a GPU that is not supported")
            if explained
            else advice.restart_kernel(evidence.place),
        )
    wants_cuda = evidence.cards and evidence.torch and evidence.torch.cuda and not evidence.hidden
    if wants_cuda and not probe.cuda_available and not _waits_for_slices(evidence):
        sentence = f"PyTorch cannot use the GPU. {probe.words}".strip()
        explained = _driver_too_old(evidence) is not None
        return Reason(
            "probe_failed",
            sentence,
            advice.same_cause("PyTorch over a driver that is too old")
            if explained
            else advice.restart_kernel(evidence.place),
        )
    return None


def _no_nvidia(evidence: Evidence) -> Reason | None:
    """A machine without an NVIDIA card, where that is no fault: the last of the reasons."""
    seen = evidence.nvml.cards or evidence.card_in_slot or evidence.cuda_ran
    if seen or advice.get_a_gpu(evidence.place) or evidence.promised:
        return None
    if evidence.nvml.state in ("answered", "lost", "mismatch", "permission"):
        return None
    if evidence.apple and (evidence.probe is None or evidence.probe.mps_available):
        tried = evidence.probe is not None and evidence.probe.ran_on("mps")
        note = "; a small training step has just run on it" if tried else ""
        return Reason("mps", f"Training will run on this Mac's own GPU (MPS){note}.")
    return Reason(
        "cpu_only",
        "No NVIDIA GPU here: training will run on the CPU, which is slow but works.",
        advice.small_first(),
    )


RULES: tuple[Callable[[Evidence], Reason | None], ...] = (
    _lost,
    _no_gpu,
    _no_driver,
    _driver_too_old,
    _torch_missing,
    _torch_cpu_build,
    _arch_unsupported,
    _gpu_busy,
    _probe_failed,
    _no_nvidia,
)
