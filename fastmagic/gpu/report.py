"""What `gpu_check` gives back, and how a person sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastmagic import faces
from fastmagic.faces import Face, Part, Text
from fastmagic.gpu import host
from fastmagic.gpu.cards import Card, Holder, Slice
from fastmagic.gpu.estimate import Estimate
from fastmagic.gpu.host import Host
from fastmagic.gpu.torch_support import Probe, TorchBuild
from fastmagic.gpu.verdict import Code, Device, Reason

TITLE = "GPU check"
GPU_COLUMNS = ("GPU", "compute", "free / total", "in use", "temp", "power")


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
    remarks
        What is worth knowing and decides nothing: clocks held down, a small /dev/shm.
    gpus
        The NVIDIA cards, by NVML's number; `cuda` is torch's number of each.
    foreign_processes
        Whether the process numbers in `gpus` may be those of the container's host.
    driver, cuda
        NVIDIA's driver and the newest CUDA that it runs, or None.
    torch
        The installed torch, or None.
    probe
        What trying torch showed, or None if it was not asked.
    host
        Cores, memory and disk.
    estimate
        What lesson 1 can do here: precision, batch size, time; None without torch.
    device
        What training will use: "cuda", "mps" or "cpu".
    """

    verdict: Code
    sentence: str
    advice: tuple[str, ...]
    reasons: tuple[Reason, ...]
    remarks: tuple[str, ...]
    gpus: tuple[Card, ...]
    foreign_processes: bool
    driver: str | None
    cuda: str | None
    torch: TorchBuild | None
    probe: Probe | None
    host: Host
    estimate: Estimate | None
    device: Device

    @property
    def usable(self) -> bool:
        """Whether a GPU is there that training can use now."""
        return self.verdict in ("ready", "mps")

    def face(self) -> Face:
        """Show the verdict first, then what it stands on."""
        parts: list[Part] = [Text(self.sentence, strong=True), *map(Text, self.advice)]
        for reason in self.reasons[1:]:
            parts.append(Text(" ".join(["Also:", reason.sentence, *reason.advice])))
        parts += [Text(f"Note: {remark}") for remark in self.remarks]
        if self.gpus:
            rows = (row for card in self.gpus for row in _gpu_rows(card))
            parts.append(faces.table(GPU_COLUMNS, rows))
        parts += map(Text, _holders(self.gpus, self.foreign_processes))
        if self.estimate:
            parts.append(Text(f"Lesson 1 here (estimates): {_estimate_words(self.estimate)}"))
        parts.append(faces.table(("what", "here"), self._rows()))
        return Face(TITLE, tuple(parts))

    def _rows(self) -> Iterator[tuple[str, str | None]]:
        if self.gpus or self.driver:
            newest = f", up to CUDA {self.cuda}" if self.cuda else ""
            yield "NVIDIA driver", f"{self.driver or 'n/a'}{newest}"
        yield "training will use", self.device
        yield "PyTorch", _torch_words(self.torch)
        if self.torch and self.torch.cudnn:
            yield "cuDNN", self.torch.cudnn
        yield "tried", _probe_words(self.probe)
        yield from _host_rows(self.host)


def _gpu_rows(card: Card) -> Iterator[tuple[str | None, ...]]:
    state = " (lost)" if card.lost else f" ({card.words})" if card.words and not card.name else ""
    name = f"{card.name or 'GPU'}{state}"
    yield (
        name if card.index is None else f"{card.index}: {name}",
        None if card.capability is None else f"{card.capability[0]}.{card.capability[1]}",
        _memory(card.memory_free, card.memory_total),
        None if card.utilisation is None else f"{card.utilisation} %",
        None if card.temperature is None else f"{card.temperature} °C",
        _power(card),
    )
    for piece in card.slices:
        yield (
            f"  {_slice_name(piece)}",
            "",
            _memory(piece.memory_free, piece.memory_total),
            *3 * ("",),
        )


def _slice_name(piece: Slice) -> str:
    profile = (piece.name or "").rpartition("MIG ")[2]  # NVML repeats the card's name
    return f"MIG {piece.index}: {profile or 'instance'}"


def _memory(free: int | None, total: int | None) -> str | None:
    if total is None:
        return None
    return faces.mib_of(free, total, " / ")


def _power(card: Card) -> str | None:
    if card.power is None:
        return None
    limit = "" if card.power_limit is None else f" / {card.power_limit:.0f}"
    return f"{card.power:.0f}{limit} W"


def _holders(cards: tuple[Card, ...], foreign: bool) -> Iterator[str]:
    """Say who holds memory, a line a card; nothing where nobody does."""
    for card in cards:
        if card.holders:
            who = "; ".join(map(_holder, card.holders))
            yield f"Memory of GPU {card.index if card.index is not None else ''} is held by {who}."
    if foreign and any(card.holders for card in cards):
        yield (
            "In a container the driver may give the host's process numbers, which cannot be "
            "matched with the programs in here."
        )


def _holder(holder: Holder) -> str:
    name = "this kernel" if holder.here else holder.name or "a process without a name here"
    memory = "" if holder.memory is None else f", {holder.memory:,} MiB"
    return f"{name} ({holder.pid}{memory})"


def _estimate_words(estimate: Estimate) -> str:
    words = [
        f"precision {estimate.precision} ({estimate.precision_why})",
        f"batches of {estimate.batch_size} ({estimate.batch_why})",
    ]
    if estimate.seconds is not None:
        words.append(f"about {faces.duration(estimate.seconds)} in all ({estimate.seconds_why})")
    else:
        words.append(f"no time ({estimate.seconds_why})")
    return "; ".join(words) + "."


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
    results: dict[str, list[str]] = {}  # of each device, in the order of trying
    for run in probe.runs:
        said = f"{run.precision} {'works' if run.ok else 'fails'}"
        results.setdefault(run.device, []).append(said)
    alike: dict[str, list[str]] = {}  # the devices of each result, for machines with many
    for device, tried in results.items():
        alike.setdefault(", ".join(tried), []).append(device)
    words = [f"{_span(devices)}: {result}" for result, devices in alike.items()]
    if probe.fault:
        words.append(f"then no answer ({probe.fault.replace('_', ' ')})")
    return f"{'; '.join(words)} ({faces.duration(probe.seconds)})"


def _span(devices: list[str]) -> str:
    if len(devices) > 2 and devices[0] == "cpu":
        return f"cpu, {_span(devices[1:])}"
    return " and ".join(devices) if len(devices) < 3 else f"{devices[0]} to {devices[-1]}"


def _host_rows(here: Host) -> Iterator[tuple[str, str | None]]:
    whole = here.cores_machine is not None and here.cores_machine > here.cores
    yield "processor cores", f"{here.cores}{f' of {here.cores_machine}' if whole else ''}"
    limit = " (a limit of this container)" if here.ram_limited else ""
    yield (
        "memory",
        f"{faces.mib(here.ram_available)} available of {faces.mib(here.ram_total)}{limit}",
    )
    if here.shm_total is not None:
        yield host.SHM, f"{faces.mib(here.shm_free)} free of {faces.mib(here.shm_total)}"
    yield "free disk for data", faces.mib(here.disk_free)
