"""Everything that was found out, gathered for the verdict and the remarks: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from fastmagic.gpu.advice import OLDEST_USABLE
from fastmagic.gpu.cards import Card
from fastmagic.gpu.nvml import NvmlLook
from fastmagic.gpu.torch_support import Probe, Run, TorchBuild, supports
from fastmagic.platforms import Name

# What each `Probe.fault` means.
FAULTS = {
    "crashed": "Trying PyTorch in a separate process crashed.",
    "hung": "Trying PyTorch in a separate process did not end.",
    "garbage": "Trying PyTorch in a separate process went wrong.",
    "not_started": "PyTorch could not be tried in a separate process.",
}


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict is made from.

    Attributes
    ----------
    nvml
        What NVIDIA's library answered; its cards carry torch's numbers (`Card.cuda`).
    torch
        The installed torch, or None.
    probe
        What the separate process found, or None if it was not asked.
    card_in_slot
        Whether an NVIDIA card is in the machine; None if that cannot be known.
    place
        The platform, which decides what can be done.
    visible
        `CUDA_VISIBLE_DEVICES`, or None if it is not set.
    hidden
        Whether that hides every card from torch.
    numbers_known
        Whether a card without torch's number is certainly not seen by torch.
    promised
        Whether this container was made for a GPU.
    held_here
        MiB of GPU memory that this very kernel's torch holds; None where it has not started CUDA.
    apple
        An Apple Silicon Mac.
    """

    nvml: NvmlLook
    torch: TorchBuild | None
    probe: Probe | None = None
    card_in_slot: bool | None = None
    place: Name = "jupyter"
    visible: str | None = None
    hidden: bool = False
    numbers_known: bool = False
    promised: bool = False
    held_here: int | None = None
    apple: bool = False

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards that still answer."""
        return tuple(card for card in self.nvml.cards if not card.lost)

    @property
    def cuda_ran(self) -> bool:
        """Whether a training step really ran on a CUDA (or ROCm) GPU."""
        return self.probe is not None and self.probe.ran_on("cuda")

    @property
    def ran(self) -> set[int]:
        """Torch's numbers of the GPUs on which a step in fp32 ran."""
        runs = self.probe.runs if self.probe else ()
        return {_number(run) for run in runs if run.ok and _is_cuda(run)}

    @property
    def training_number(self) -> int | None:
        """Torch's number of the GPU that training will use: the first on which a step ran."""
        return min(self.ran, default=None)

    @property
    def training_card(self) -> Card | None:
        """The card that training will use, or would use if it worked; None where none is seen."""
        number = self.training_number or 0
        seen = [card for card in self.cards if card.cuda == number]
        return next(iter((*seen, *self.cards)), None)

    @property
    def unsupported(self) -> list[Card]:
        """The cards that this torch (or, without torch, any of today's) has no kernels for."""
        names = self.torch.architectures if self.torch else ()

        def fits(capability: tuple[int, int]) -> bool:
            return supports(names, capability) if names else capability >= OLDEST_USABLE

        return [c for c in self.cards if c.capability is not None and not fits(c.capability)]


def _is_cuda(run: Run) -> bool:
    return run.device.split(":")[0] == "cuda" and run.precision == "fp32"


def _number(run: Run) -> int:
    number = run.device.partition(":")[2]
    return int(number) if number.isdigit() else 0
