"""From everything that was found out to one verdict: plain data in, plain data out.

Each rule is a function that gives a `Reason` or None; their order in `RULES` is the order of the
reasons, and the first one is the verdict. A training step that really ran has the last word: it
silences the rules that only infer (the driver's floor, the list of architectures).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastmagic.gpu.nvml import Card, NvmlLook
from fastmagic.gpu.torch_support import Probe, TorchBuild, supports

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

# CUDA major version -> oldest NVIDIA driver branch that runs it (Linux). Source: NVIDIA CUDA
# Toolkit release notes, table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor
# Version Compatibility", https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/.
DRIVER_FLOORS = {13: 580, 12: 525, 11: 450, 10: 440}

# Compute capability below which no PyTorch build since 2.4 has kernels, whatever the driver: the
# builds for CUDA 11.8 moved to cuDNN 9, which needs 5.0 and later. Source: cuDNN 9 support matrix,
# https://docs.nvidia.com/deeplearning/cudnn/latest/reference/support-matrix.html.
OLDEST_USABLE = (5, 0)
# Compute capability below which the builds that pip takes by default have no kernels. Source:
# https://github.com/pytorch/pytorch/blob/main/RELEASE.md, "Release Compatibility Matrix".
OLDEST_DEFAULT = (7, 5)

LITTLE_MIB = 3072  # a resnet34 at 224 pixels in batches of 64 needs about 3 GiB; an estimate
HELD_SHARE = 0.25


@dataclass(frozen=True)
class Reason:
    """Why the verdict is what it is, and what to do about it, one line each."""

    code: Code
    sentence: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict is made from.

    Attributes
    ----------
    nvml
        What NVIDIA's library answered.
    torch
        The installed torch, or None.
    probe
        What the separate process found, or None if it was not asked.
    card_in_slot
        Whether an NVIDIA card is in the machine; None if that cannot be known.
    offer
        How this platform gives a GPU; empty where it does not.
    visible
        `CUDA_VISIBLE_DEVICES`, or None if it is not set.
    apple
        An Apple Silicon Mac.
    """

    nvml: NvmlLook
    torch: TorchBuild | None
    probe: Probe | None = None
    card_in_slot: bool | None = None
    offer: str = ""
    visible: str | None = None
    apple: bool = False

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards that still answer."""
        return tuple(card for card in self.nvml.cards if not card.lost)

    @property
    def hidden(self) -> bool:
        """Whether the environment hides every card from torch."""
        return bool(self.cards) and self.visible is not None and self.visible.strip() in ("", "-1")

    @property
    def cuda_ran(self) -> bool:
        """Whether a training step really ran on a CUDA (or ROCm) GPU."""
        return self.probe is not None and self.probe.ran_on("cuda")


@dataclass(frozen=True)
class Verdict:
    """The verdict's code and sentence, its reasons, and the device that training will use."""

    code: Code
    sentence: str
    advice: tuple[str, ...]
    reasons: tuple[Reason, ...]
    device: Literal["cuda", "mps", "cpu"]


def judge(evidence: Evidence) -> Verdict:
    """Give the verdict.

    Examples
    --------
    >>> judge(Evidence(NvmlLook("no_library"), TorchBuild("2.15.0+cpu"))).code
    'cpu_only'
    >>> judge(Evidence(NvmlLook("no_library"), None, offer="Runtime menu > ...")).code
    'no_gpu'
    """
    found = [reason for rule in RULES if (reason := rule(evidence)) is not None]
    # No driver and no other torch helps a card that is too old for all of them: that leads.
    found.sort(key=lambda reason: not (reason.code == "arch_unsupported" and _ancient(evidence)))
    device = _device(evidence, {reason.code for reason in found})
    reasons = tuple(found)
    if not reasons:
        return Verdict("ready", _ready(evidence), (), (), device)
    first = reasons[0]
    return Verdict(first.code, first.sentence, first.advice, reasons, device)


def _device(evidence: Evidence, codes: set[Code]) -> Literal["cuda", "mps", "cpu"]:
    if evidence.cuda_ran:
        return "cuda"
    if codes == {"mps"}:
        return "mps"
    return "cuda" if evidence.cards and codes <= {"gpu_busy"} else "cpu"


def _ready(evidence: Evidence) -> str:
    names = [card.name or "an unnamed GPU" for card in evidence.cards]
    if not names and evidence.probe:
        names = list(evidence.probe.cuda_names)
    count = f" ({len(names)} GPUs)" if len(names) > 1 else ""
    name = f"{names[0] if names else 'the GPU'}{count}"
    if evidence.cuda_ran:
        return f"Ready: training will run on {name}; a small training step has just run on it."
    return f"Training should run on {name}; it was not tried."


def _lost(evidence: Evidence) -> Reason | None:
    if evidence.nvml.state != "lost" and not any(card.lost for card in evidence.nvml.cards):
        return None
    return Reason(
        "gpu_lost",
        "A GPU stopped answering: it fell off the bus.",
        (
            "Get a new virtual machine (Colab: Runtime > Disconnect and delete runtime; Kaggle: "
            "stop and start the session), or restart this computer.",
        ),
    )


def _no_gpu(evidence: Evidence) -> Reason | None:
    if evidence.hidden:
        return Reason(
            "no_gpu",
            "There is a GPU, but CUDA_VISIBLE_DEVICES hides it from PyTorch.",
            ("Remove CUDA_VISIBLE_DEVICES from the environment and restart the kernel.",),
        )
    seen = evidence.nvml.cards or evidence.card_in_slot or evidence.cuda_ran
    if seen or evidence.nvml.state == "lost":
        return None
    if evidence.offer:
        return Reason("no_gpu", "This session has no GPU.", (evidence.offer,))
    if evidence.nvml.state == "answered":
        return Reason(
            "no_gpu",
            "An NVIDIA driver runs here, but it sees no GPU.",
            (
                "In a container, start it with its GPUs (docker run --gpus all).",
                "On your own computer, check that the card is plugged in and powered.",
            ),
        )
    return None


def _no_driver(evidence: Evidence) -> Reason | None:
    state = evidence.nvml.state
    if evidence.cuda_ran or state in ("answered", "lost"):
        return None
    if state == "mismatch":
        return Reason(
            "no_driver",
            "NVIDIA's driver was updated while it was running; its parts do not match.",
            ("Restart the computer.",),
        )
    if not evidence.card_in_slot:
        return None
    words = f" NVML says: {evidence.nvml.words}." if state == "failed" else ""
    if state == "no_package":
        return Reason(
            "no_driver",
            "There is an NVIDIA card, but its driver cannot be asked.",
            ("Run %pip install nvidia-ml-py, then %gpu_check again.",),
        )
    return Reason(
        "no_driver",
        f"There is an NVIDIA card, but its driver does not work.{words}",
        ("Install the driver from https://www.nvidia.com/drivers and restart the computer.",),
    )


def _driver_too_old(evidence: Evidence) -> Reason | None:
    torch = evidence.torch
    if evidence.cuda_ran or torch is None or torch.cuda is None or not evidence.nvml.driver:
        return None
    floor = DRIVER_FLOORS.get(_major(torch.cuda))
    if floor is None or _major(evidence.nvml.driver) >= floor or _major(evidence.nvml.driver) == 0:
        return None
    return Reason(
        "driver_too_old",
        f"The NVIDIA driver {evidence.nvml.driver} is too old for PyTorch {torch.version}: CUDA "
        f"{torch.cuda} needs driver {floor} or newer.",
        (
            f"Install driver {floor} or newer from https://www.nvidia.com/drivers and restart, or "
            "install a PyTorch for an older CUDA: "
            "https://pytorch.org/get-started/previous-versions/.",
        ),
    )


def _major(version: str) -> int:
    head = version.split(".")[0]
    return int(head) if head.isdigit() else 0


def _torch_missing(evidence: Evidence) -> Reason | None:
    if evidence.torch is not None:
        return None
    return Reason(
        "torch_missing",
        "PyTorch is not installed.",
        ("Run %fastai_setup; it installs PyTorch and fastai.",),
    )


def _torch_cpu_build(evidence: Evidence) -> Reason | None:
    torch = evidence.torch
    if torch is None or not evidence.cards or torch.cuda or torch.hip:
        return None
    return Reason(
        "torch_cpu_build",
        f"There is a GPU, but PyTorch {torch.version} is a build for the CPU only.",
        (
            "On Colab and Kaggle start a new session with the GPU switched on: its PyTorch has "
            "CUDA.",
            "Elsewhere install the CUDA build: https://pytorch.org/get-started/locally/.",
        ),
    )


def _unsupported(evidence: Evidence) -> list[Card]:
    """The cards that this torch (or, without torch, any of today's) has no kernels for."""
    known = [card for card in evidence.cards if card.capability]
    if evidence.torch is None or not evidence.torch.architectures:
        return [card for card in known if (card.capability or (0, 0)) < OLDEST_USABLE]
    names = evidence.torch.architectures
    return [card for card in known if card.capability and not supports(names, card.capability)]


def _ancient(evidence: Evidence) -> bool:
    return any((card.capability or (9, 0)) < OLDEST_USABLE for card in evidence.cards)


def _arch_unsupported(evidence: Evidence) -> Reason | None:
    cards = _unsupported(evidence)
    is_cuda_build = evidence.torch is None or evidence.torch.cuda is not None
    if evidence.cuda_ran or not cards or not is_cuda_build:
        return None
    card = cards[0]
    capability = card.capability or (0, 0)
    have = f"PyTorch {evidence.torch.version}" if evidence.torch else "today's PyTorch"
    return Reason(
        "arch_unsupported",
        f"{card.name or 'This GPU'} (compute capability {capability[0]}.{capability[1]}) is not "
        f"supported by {have}; the first step of training would fail.",
        _arch_advice(capability, evidence.offer),
    )


def _arch_advice(capability: tuple[int, int], offer: str) -> tuple[str, ...]:
    if offer:
        return (f"Pick another accelerator: {offer}",)
    if capability < OLDEST_USABLE:
        # Wheels that exist: https://download.pytorch.org/whl/cu118/torch/ (cp38 to cp312).
        return (
            "Training on the CPU works here. The last PyTorch for this card is 2.3.1 for CUDA "
            "11.8, for Python 3.8 to 3.12.",
        )
    if capability < OLDEST_DEFAULT:
        # Wheels that exist: https://download.pytorch.org/whl/cu126/torch/.
        return (
            'In a new environment: python -m pip install "torch<2.14" torchvision --index-url '
            "https://download.pytorch.org/whl/cu126, the last builds with kernels for this card.",
        )
    return ("Install the newest PyTorch: https://pytorch.org/get-started/locally/.",)


def _gpu_busy(evidence: Evidence) -> Reason | None:
    busy = [card for card in evidence.cards if _is_full(card)]
    if not busy or len(busy) < len(evidence.cards):
        return None
    card = busy[0]
    return Reason(
        "gpu_busy",
        f"Most of the GPU's memory is taken: {card.memory_free:,} of {card.memory_total:,} MiB "
        "are free.",
        (
            "If earlier cells of this notebook trained something, restart the kernel: that frees "
            "their memory.",
            "Otherwise close other notebooks and programs that use the GPU.",
        ),
    )


def _is_full(card: Card) -> bool:
    if card.memory_free is None or card.memory_used is None or not card.memory_total:
        return False
    return card.memory_free < LITTLE_MIB and card.memory_used > HELD_SHARE * card.memory_total


FAULTS = {
    "crashed": "Trying PyTorch in a separate process crashed.",
    "hung": "Trying PyTorch in a separate process did not end.",
    "garbage": "Trying PyTorch in a separate process gave no readable answer.",
    "not_started": "PyTorch could not be tried in a separate process.",
}


def _probe_failed(evidence: Evidence) -> Reason | None:
    probe = evidence.probe
    if probe is None or evidence.cuda_ran:
        return None
    if probe.fault:
        return Reason(
            "probe_failed",
            f"{FAULTS[probe.fault]} {probe.words}".strip(),
            ("Run %fastai_setup; it checks whether PyTorch and its friends work together.",),
        )
    failed = [run for run in probe.runs if not run.ok]
    if failed:
        where = failed[0].device
        sentence = f"A small training step on {where} failed: {failed[0].words}"
        return Reason("probe_failed", sentence, ("Restart the kernel and run %gpu_check again.",))
    wants_cuda = evidence.cards and evidence.torch and evidence.torch.cuda and not evidence.hidden
    if wants_cuda and not probe.cuda_available:
        sentence = f"PyTorch cannot use the GPU. {probe.words}".strip()
        return Reason("probe_failed", sentence, ("Restart the kernel and run %gpu_check again.",))
    return None


def _no_nvidia(evidence: Evidence) -> Reason | None:
    """A machine without an NVIDIA card, where that is no fault: the last of the reasons."""
    seen = evidence.nvml.cards or evidence.card_in_slot or evidence.cuda_ran
    if seen or evidence.offer or evidence.nvml.state in ("answered", "lost", "mismatch"):
        return None
    if evidence.apple and (evidence.probe is None or evidence.probe.mps_available):
        tried = evidence.probe is not None and evidence.probe.ran_on("mps")
        note = "; a small training step has just run on it" if tried else ""
        return Reason("mps", f"Training will run on this Mac's own GPU (MPS){note}.")
    return Reason(
        "cpu_only",
        "No NVIDIA GPU here: training will run on the CPU, which is slow but works.",
        (
            "Small data trains well: %train_lesson1 --data sample takes about a minute "
            "(an estimate).",
            "For more, use a free GPU on Colab or Kaggle.",
        ),
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
