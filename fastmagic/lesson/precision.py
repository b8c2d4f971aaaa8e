"""In which precision a lesson is trained, and why: `--precision`.

Half precision is worth its rounding only where the hardware is made for it. What fastai does for it
(`to_fp16`, `to_bf16`) is for NVIDIA's GPUs alone: it asks for `autocast('cuda')`, whatever the
device is (fastai 2.8, `callback/fp16.py`). For processors with bf16 units there is `speed.half`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmagic.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "fp32", "fp16", "bf16")
"""What `--precision` takes."""

# bf16 came with 8.0 (Ampere), arithmetic in fp16 with 5.3: CUDA C++ Programming Guide, "Compute
# Capabilities".
BF16 = (8, 0)
FP16_ARITHMETIC = (5, 3)
TENSOR_CORES = (7, 0)
"""The capability with which they came (Volta), for half precision: the same table."""

# Turing without tensor cores (TU116, TU117), which answers 7.5 like the others: GTX 16, MX450,
# MX550, T400 to T2000. https://en.wikipedia.org/wiki/Turing_(microarchitecture).
NO_TENSOR_CORES = re.compile(r"GTX 16\d\d|MX[45]50|\bT(?:400|500|550|600|1000|1200|2000)\b")


@dataclass(frozen=True)
class Precision:
    """What to train in.

    Attributes
    ----------
    name
        `fp32`, `fp16` or `bf16`.
    why
        The reason, to stand behind the name: "bf16: this card has ...".
    """

    name: str
    why: str

    @property
    def said(self) -> str:
        """How it stands among a lesson's choices."""
        return f"{self.name}: {self.why}."


def name_in(said: str) -> str:
    """Give the name out of what a lesson's choices say of a precision.

    Examples
    --------
    >>> name_in(Precision("fp32", "what every device computes in").said), name_in("")
    ('fp32', '')
    """
    return said.partition(":")[0]


def check_word(asked: str) -> None:
    """Refuse what is no precision on any device.

    Raises
    ------
    BadInput
        With the nearest word that is.
    """
    if asked not in CHOICES:
        hint = did_you_mean(str(asked), CHOICES) or f"Give one of {', '.join(CHOICES)}."
        raise BadInput(f"--precision {asked!r} is not known.", hint)


def choose(
    asked: str | None,
    device: torch.device,
    capability: tuple[int, int] | None,
    card: str = "",
    units: bool = False,
) -> Precision:
    """Choose the precision for a device, or take the one that was asked for if it makes sense.

    Parameters
    ----------
    asked
        One of `CHOICES`; None is `auto`.
    device
        Where the lesson trains; its `type` decides.
    capability
        The GPU's compute capability, as `torch.cuda.get_device_capability` gives it; None where
        there is none or it is not known.
    card
        The GPU's name, as `torch.cuda.get_device_name` gives it.
    units
        Whether the processor computes in bf16.

    Raises
    ------
    BadInput
        For a word that is no precision, and for one that makes no sense on this device.

    Examples
    --------
    >>> from types import SimpleNamespace as Device
    >>> choose(None, Device(type="cuda"), (7, 5), "Tesla T4")
    Precision(name='fp16', why='this card has tensor cores for it (capability 7.5)')
    >>> choose("auto", Device(type="cpu"), None).name
    'fp32'
    """
    wanted = asked or "auto"
    check_word(wanted)
    if wanted == "auto":
        return _best(device.type, capability, card)
    if wanted != "fp32" and not (wanted == "bf16" and device.type == "cpu" and units):
        _refuse_nonsense(wanted, device.type, capability)
    return Precision(wanted, "asked for")


def _best(kind: str, capability: tuple[int, int] | None, card: str) -> Precision:
    if kind == "cpu":
        return Precision("fp32", "this processor has no units for half precision")
    if kind == "mps":
        return Precision("fp32", "fastai's half precision is not for Apple's GPU")
    if kind != "cuda":
        return Precision("fp32", f"nothing narrower is known to work on {kind}")
    if capability is None:
        return Precision("fp32", "the GPU's generation is not known")
    if capability >= BF16:
        return Precision("bf16", f"this card has tensor cores for it ({_version(capability)})")
    if capability < TENSOR_CORES:
        return Precision(
            "fp32",
            f"this card ({_version(capability)}) has no tensor cores, without which half precision "
            "gains next to nothing",
        )
    if NO_TENSOR_CORES.search(card):
        return Precision("fp32", "this card has no tensor cores, though its generation has them")
    return Precision("fp16", f"this card has tensor cores for it ({_version(capability)})")


def _refuse_nonsense(wanted: str, kind: str, capability: tuple[int, int] | None) -> None:
    use_fp32 = "Leave --precision out: fp32 is used"
    if kind == "cpu":
        reason = (
            "processors compute in it slowly, or not at all"
            if wanted == "fp16"
            else "this one has no bf16 units, and would compute in it slowly"
        )
        raise BadInput(
            f"--precision {wanted} is not for the CPU: {reason}.", f"{use_fp32} on CPUs."
        )
    if kind != "cuda":
        raise BadInput(
            f"--precision {wanted} is not for {kind}: fastai's mixed precision asks for CUDA's "
            "autocast, whatever the device is.",
            f"{use_fp32} there.",
        )
    if capability is None:
        return
    if wanted == "bf16" and capability < BF16:
        other = "fp16" if capability >= TENSOR_CORES else "fp32"
        raise BadInput(
            f"--precision bf16 makes no sense on this card ({_version(capability)}): below 8.0 it "
            "is emulated, and slower than fp32.",
            f"Leave --precision out, or give --precision {other}.",
        )
    if wanted == "fp16" and capability < FP16_ARITHMETIC:
        raise BadInput(
            f"--precision fp16 makes no sense on this card ({_version(capability)}): below 5.3 it "
            "cannot compute in it.",
            f"{use_fp32} on it.",
        )


def _version(capability: tuple[int, int]) -> str:
    return f"capability {capability[0]}.{capability[1]}"


def apply(learn: Any, name: str) -> None:
    """Let a learner train in a precision, by fastai's own callbacks: exports load without us.

    Parameters
    ----------
    learn
        fastai's learner.
    name
        A `Precision`'s name; `fp32` changes nothing.

    Raises
    ------
    BadInput
        For any other name.
    """
    if name not in CHOICES[1:]:
        raise BadInput(f"{name!r} is no precision.", f"Give one of {', '.join(CHOICES[1:])}.")
    import fastai.callback.fp16  # noqa: F401 - gives learners these methods

    device = getattr(learn.dls, "device", None)
    if name == "bf16" and getattr(device, "type", "") == "cpu":
        from fastmagic.speed.half import MixedPrecision

        learn.add_cb(MixedPrecision())
    elif name == "fp16":
        learn.to_fp16()
    elif name == "bf16":
        learn.to_bf16()
