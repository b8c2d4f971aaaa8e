"""The verb `gpu_check`: will training run here, on what, and if not, why and what to do.

NVML is asked first, for it answers at once; torch is asked afterwards and in a process of its own.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastmagic import faces, platforms, progress
from fastmagic.errors import GpuRequired, Stopped
from fastmagic.faces import Face, Part, Text
from fastmagic.gpu import host, nvml, torch_support, verdict
from fastmagic.gpu.host import Host
from fastmagic.gpu.nvml import Card, NvmlLook
from fastmagic.gpu.torch_support import Probe, TorchBuild
from fastmagic.gpu.verdict import Code, Evidence, Reason, Verdict
from fastmagic.progress import View

TITLE = "GPU check"
GPU_COLUMNS = ("GPU", "capability", "memory free / total", "in use", "temperature", "power")


@dataclass(frozen=True)
class Surroundings:
    """The outside world of `gpu_check`; each part can be replaced.

    Attributes
    ----------
    pynvml
        The module; imported by default.
    card_in_slot
        Says whether an NVIDIA card is in the machine.
    torch_paths
        Folders in which torch is looked for; `sys.path` by default.
    probe_command
        The process that is asked about torch.
    probe_limit
        Seconds that it gets.
    place
        The platform; found by itself by default.
    env
        Environment variables.
    apple
        Whether this is an Apple Silicon Mac.
    """

    pynvml: Any = None
    card_in_slot: Callable[[], bool | None] = nvml.card_in_slot
    torch_paths: Sequence[str] | None = None
    probe_command: Sequence[str] | None = None
    probe_limit: float = torch_support.PROBE_SECONDS
    place: platforms.Platform | None = None
    env: Mapping[str, str] | None = None
    apple: bool = sys.platform == "darwin" and platform.machine() == "arm64"


@dataclass(frozen=True)
class GpuReport(faces.Shown):
    """What `gpu_check` found.

    Attributes
    ----------
    verdict
        A code: `ready`, `no_gpu`, `no_driver`, `driver_too_old`, `torch_missing`,
        `torch_cpu_build`, `arch_unsupported`, `gpu_busy`, `gpu_lost`, `probe_failed`, `cpu_only` or
        `mps`.
    sentence, advice
        The verdict in words, and what to do next.
    reasons
        Every reason that applies, the verdict's own first.
    gpus
        The NVIDIA cards.
    driver
        NVIDIA's driver, or None.
    torch
        The installed torch, or None.
    probe
        What trying torch showed, or None if it was not asked.
    host
        Cores, memory and disk.
    device
        What training will use: "cuda", "mps" or "cpu".
    """

    verdict: Code
    sentence: str
    advice: tuple[str, ...]
    reasons: tuple[Reason, ...]
    gpus: tuple[Card, ...]
    driver: str | None
    torch: TorchBuild | None
    probe: Probe | None
    host: Host
    device: Literal["cuda", "mps", "cpu"]

    @property
    def usable(self) -> bool:
        """Whether a GPU is there that training can use now."""
        return self.verdict in ("ready", "mps")

    def face(self) -> Face:
        """Show the verdict first, then what it stands on."""
        parts: list[Part] = [Text(self.sentence, strong=True), *map(Text, self.advice)]
        for reason in self.reasons[1:]:
            parts.append(Text(" ".join(["Also:", reason.sentence, *reason.advice])))
        if self.gpus:
            parts.append(faces.table(GPU_COLUMNS, map(_gpu_row, self.gpus)))
        parts.append(faces.table(("what", "here"), self._rows()))
        return Face(TITLE, tuple(parts))

    def _rows(self) -> list[tuple[str, str | None]]:
        here = self.host
        memory = f"{_gib(here.ram_available)} available of {_gib(here.ram_total)}"
        rows: list[tuple[str, str | None]] = [
            ("training will use", self.device),
            ("PyTorch", _torch_words(self.torch)),
            ("tried", _probe_words(self.probe)),
            ("processor cores", str(here.cores)),
            ("memory", memory),
            ("free disk for data", _gib(here.disk_free)),
        ]
        return [("NVIDIA driver", self.driver), *rows] if self.gpus or self.driver else rows


def gpu_check(
    *,
    probe: bool = True,
    require: bool = False,
    show: bool | View = False,
    surroundings: Surroundings | None = None,
) -> GpuReport:
    """Say whether training will run here, on which GPU, and if not, why and what to do.

    Parameters
    ----------
    probe
        Run a small training step on each device, in a separate process (some seconds).
    require
        Raise where no usable GPU is there, for notebooks that run unattended.
    show
        Show progress and result; False for neither.
    surroundings
        The outside world, for tests.

    Returns
    -------
    GpuReport
        With `verdict`, `sentence`, `advice`, `reasons`, `gpus`, `torch`, `host` and `device`.

    Raises
    ------
    GpuRequired
        With `require`, where no GPU can be used.
    Stopped
        When the person pressed stop.

    Examples
    --------
    >>> report = gpu_check(probe=False)
    >>> report.device in ("cuda", "mps", "cpu")
    True
    """
    world = surroundings or Surroundings()
    with progress.open_view(show, TITLE, world.place) as view:
        try:
            report = _check(world, probe, view)
        except KeyboardInterrupt:
            raise Stopped(
                "The GPU check was stopped; it changes nothing.",
                "Run %gpu_check again, or %gpu_check --no-probe for the quick look alone.",
            ) from None
        view.finish(report.face())
    if require and not report.usable:
        raise GpuRequired(report.sentence, " ".join(report.advice))
    return report


def _check(world: Surroundings, probe: bool, view: View) -> GpuReport:
    look = nvml.look(world.pynvml)
    view.note(_first_words(look))
    evidence = _gather(world, look)
    if evidence.torch and (probe or evidence.cards or evidence.apple):
        evidence = _ask_torch(world, evidence, probe, view)
    return _report(look, evidence, verdict.judge(evidence), host.look())


def _gather(world: Surroundings, look: NvmlLook) -> Evidence:
    env = os.environ if world.env is None else world.env
    return Evidence(
        nvml=look,
        torch=torch_support.installed(world.torch_paths),
        card_in_slot=world.card_in_slot(),
        offer=(world.place or platforms.where()).offers_gpu,
        visible=env.get("CUDA_VISIBLE_DEVICES"),
        apple=world.apple,
    )


def _ask_torch(world: Surroundings, evidence: Evidence, probe: bool, view: View) -> Evidence:
    label = "Trying PyTorch" if probe else "Asking PyTorch"
    found, architectures = torch_support.ask(
        probe,
        world.probe_command,
        world.probe_limit,
        tick=lambda seconds: view.bar(label, round(seconds, 1), None, " s"),
    )
    view.clear_bar()
    assert evidence.torch is not None
    torch = dataclasses.replace(evidence.torch, architectures=architectures)
    return dataclasses.replace(evidence, torch=torch, probe=found)


def _report(look: NvmlLook, evidence: Evidence, found: Verdict, here: Host) -> GpuReport:
    return GpuReport(
        verdict=found.code,
        sentence=found.sentence,
        advice=found.advice,
        reasons=found.reasons,
        gpus=look.cards,
        driver=look.driver,
        torch=evidence.torch,
        probe=evidence.probe,
        host=here,
        device=found.device,
    )


def _first_words(look: NvmlLook) -> str:
    if not look.cards:
        return "No NVIDIA GPU answers here."
    names = ", ".join(f"{card.name or 'GPU'} ({_gib(card.memory_total)})" for card in look.cards)
    return f"NVIDIA driver {look.driver or 'n/a'}: {names}"


def _gpu_row(card: Card) -> tuple[str | None, ...]:
    name = f"{card.name or 'GPU'} (lost)" if card.lost else card.name
    memory = f"{_gib(card.memory_free)} / {_gib(card.memory_total)}"
    return (
        name,
        None if card.capability is None else f"{card.capability[0]}.{card.capability[1]}",
        None if card.memory_total is None else memory,
        None if card.utilisation is None else f"{card.utilisation} %",
        None if card.temperature is None else f"{card.temperature} °C",
        None if card.power is None else f"{card.power:.0f} W",
    )


def _torch_words(torch: TorchBuild | None) -> str:
    if torch is None:
        return "not installed"
    cuda = f"for CUDA {torch.cuda}" if torch.cuda else "for ROCm" if torch.hip else "for CPU"
    names = torch.architectures
    kernels = f" ({names[0]} to {names[-1]})" if torch.cuda and names else ""
    return f"{torch.version} {cuda}{kernels}"


def _probe_words(probe: Probe | None) -> str:
    if probe is None or not probe.tried:
        return "not tried"
    if probe.fault:
        return f"no answer ({probe.fault.replace('_', ' ')})"
    runs = [f"{run.device} {'works' if run.ok else 'fails'}" for run in probe.runs]
    return f"{', '.join(runs)} ({faces.duration(probe.seconds)})"


def _gib(mib: int | None) -> str:
    return "n/a" if mib is None else f"{mib / 1024:.1f} GiB"
