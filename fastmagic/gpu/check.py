"""The verb `gpu_check`: will training run here, on what, and if not, why and what to do.

look at NVML -> look at the host -> ask torch, in a process of its own -> judge -> report.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastmagic import faces, platforms, progress
from fastmagic.errors import GpuRequired, Stopped
from fastmagic.gpu import estimate, host, nvml, order, torch_support, verdict
from fastmagic.gpu.cards import Card
from fastmagic.gpu.estimate import Estimate
from fastmagic.gpu.evidence import Evidence
from fastmagic.gpu.host import Host
from fastmagic.gpu.nvml import NvmlLook
from fastmagic.gpu.processes import Neighbours
from fastmagic.gpu.report import TITLE, GpuReport
from fastmagic.gpu.torch_support import Probe
from fastmagic.progress import Show, View


@dataclass(frozen=True)
class Surroundings:
    """The outside world of `gpu_check`; each part can be replaced.

    Attributes
    ----------
    pynvml
        The module; imported by default.
    neighbours
        The processes that can be seen from here; this machine's by default.
    card_in_slot
        Says whether an NVIDIA card is in the machine.
    torch_paths
        Folders in which torch is looked for; `sys.path` by default.
    probe_command
        The process that is asked about torch.
    probe_limit
        Seconds that it gets.
    held_here
        Says how many MiB of GPU memory this kernel's own torch holds.
    host
        Measures the host.
    place
        The platform; found by itself by default.
    env
        Environment variables.
    apple
        Whether this is an Apple Silicon Mac.
    """

    pynvml: Any = None
    neighbours: Neighbours | None = None
    card_in_slot: Callable[[], bool | None] = nvml.card_in_slot
    torch_paths: Sequence[str] | None = None
    probe_command: Sequence[str] | None = None
    probe_limit: float = torch_support.PROBE_SECONDS
    held_here: Callable[[], int | None] = torch_support.held_here
    host: Callable[[], Host] = host.look
    place: platforms.Platform | None = None
    env: Mapping[str, str] | None = None
    apple: bool = sys.platform == "darwin" and platform.machine() == "arm64"


def gpu_check(
    *,
    probe: bool = True,
    require: bool = False,
    json: bool = False,
    show: Show = False,
    surroundings: Surroundings | None = None,
) -> GpuReport:
    """Say whether training will run here, on which GPU, and if not, why and what to do.

    Parameters
    ----------
    probe
        Run a small training step on each device, in a separate process (some seconds).
    require
        Raise where no usable GPU is there, for notebooks that run unattended.
    json
        Print the report as JSON, and nothing else.
    show
        Show progress and result; False for neither.
    surroundings
        The outside world, for tests.

    Returns
    -------
    GpuReport
        With `verdict`, `sentence`, `advice`, `reasons`, `gpus`, `torch`, `host`, `estimate` and
        `device`.

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
    with progress.open_view(False if json else show, TITLE, world.place) as view:
        try:
            report = _check(world, probe, view)
        except KeyboardInterrupt:
            raise Stopped(
                "The GPU check was stopped; it changes nothing.",
                "Run %gpu_check again, or %gpu_check --no-probe for the quick look alone.",
            ) from None
        view.finish(report.face())
    if json:
        progress.print_json(report.to_dict())
    if require and not report.usable:
        raise GpuRequired(report.sentence, " ".join(report.advice))
    return report


def _check(world: Surroundings, probe: bool, view: View) -> GpuReport:
    view.bar("Asking the NVIDIA driver", 0)  # a driver at rest takes a second to answer
    look = nvml.look(world.pynvml, neighbours=world.neighbours)
    view.note(_first_words(look))
    here = world.host()
    evidence = _gather(world, look)
    if evidence.torch and (probe or evidence.cards or evidence.apple):
        evidence = _ask_torch(world, evidence, probe, view)
    return _report(_numbered(world, evidence), here)


def _gather(world: Surroundings, look: NvmlLook) -> Evidence:
    env = _env(world)
    return Evidence(
        nvml=look,
        torch=torch_support.installed(world.torch_paths),
        card_in_slot=world.card_in_slot(),
        place=(world.place or platforms.where()).name,
        visible=env.get("CUDA_VISIBLE_DEVICES"),
        promised=_promised(env),
        held_here=world.held_here(),
        apple=world.apple,
    )


def _env(world: Surroundings) -> Mapping[str, str]:
    return os.environ if world.env is None else world.env


def _promised(env: Mapping[str, str]) -> bool:
    """Whether the container's image asks for GPUs.

    Source: NVIDIA Container Toolkit, "Specialized Configurations with Docker",
    https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html.
    """
    return env.get("NVIDIA_VISIBLE_DEVICES", "") not in ("", "void", "none")


def _ask_torch(world: Surroundings, evidence: Evidence, probe: bool, view: View) -> Evidence:
    label = "Trying PyTorch" if probe else "Asking PyTorch"
    found, torch = torch_support.ask(
        evidence.torch,
        probe,
        world.probe_command,
        world.probe_limit,
        tick=lambda seconds: view.bar(label, round(seconds, 1), None, " s"),
    )
    view.clear_bar()
    return dataclasses.replace(evidence, torch=torch, probe=found)


def _numbered(world: Surroundings, evidence: Evidence) -> Evidence:
    """Give the cards torch's numbers, by UUID, so that both mean the same card."""
    found = evidence.probe
    asked = found is not None and (bool(found.devices) or not found.fault)
    matched = order.match(
        evidence.nvml.cards, found.devices if found and asked else None, _env(world)
    )
    look = dataclasses.replace(evidence.nvml, cards=matched.cards)
    return dataclasses.replace(
        evidence, nvml=look, hidden=matched.all_hidden, numbers_known=matched.known
    )


def _report(evidence: Evidence, here: Host) -> GpuReport:
    found = verdict.judge(evidence)
    look, probe = evidence.nvml, evidence.probe
    card = evidence.training_card if found.device == "cuda" else None
    return GpuReport(
        verdict=found.code,
        sentence=found.sentence,
        advice=found.advice,
        reasons=found.reasons,
        remarks=(*found.remarks, *host.remarks(here)),
        gpus=look.cards,
        foreign_processes=look.foreign,
        driver=look.driver,
        cuda=look.cuda,
        torch=evidence.torch,
        probe=probe,
        host=here,
        estimate=_estimate(card, probe, here),
        device=found.device,
    )


def _estimate(card: Card | None, probe: Probe | None, here: Host) -> Estimate:
    if probe is None:
        return estimate.estimate(card, (), here)
    return estimate.estimate(card, probe.runs, here, devices=probe.devices)


def _first_words(look: NvmlLook) -> str:
    if not look.cards:
        return "No NVIDIA GPU answers here."
    names = ", ".join(
        f"{card.name or 'GPU'} ({faces.mib(card.memory_total)})" for card in look.cards[:4]
    ) + (" …" if len(look.cards) > 4 else "")
    return f"NVIDIA driver {look.driver or 'n/a'}: {names}"
