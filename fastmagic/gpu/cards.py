"""One GPU as NVML describes it: what it is, what it does now, who holds its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastmagic.gpu.asking import Asker
from fastmagic.gpu.processes import MIB, Holder, holders, merged

__all__ = ["Card", "Holder", "Memory", "Slice", "memory", "read", "reasons"]

TEMPERATURE_SENSOR = 0  # NVML_TEMPERATURE_GPU
ENABLED = 1  # NVML_FEATURE_ENABLED, NVML_DEVICE_MIG_ENABLE
UNCORRECTED, VOLATILE = 1, 0  # NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC

POWER_LIMIT = ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit")
CLOCKS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")

# nvmlClocksEventReason*, https://docs.nvidia.com/deploy/nvml-api/ "NvmlClocksEventReasons". Idle
# (0x1), application clocks (0x2) and display clocks (0x100) are settings or rest. NVML names
# two more (board limit 0x200, reliability 0x400) without saying when they are set.
HARDWARE_SLOWDOWN = 0x08
REASONS = {
    0x40: "too hot: the hardware at least halves the clocks",
    0x20: "too hot: the driver lowers the clocks",
    0x80: "the power supply's brake: the hardware at least halves the clocks",
    0x04: "power limit reached",
    0x10: "held back to the clocks of the other cards of its group",
}
UNNAMED_SLOWDOWN = "the hardware at least halves the clocks (heat or power)"

# A batch of 64 for resnet34 at 224 pixels takes 2.3 GiB (`tests/benchmarks/lesson_memory.py`), and
# CUDA's own context about half a GiB.
LITTLE_MIB = 3072
HELD_SHARE = 0.25


@dataclass(frozen=True)
class Slice:
    """One MIG instance: a part of a card that CUDA treats as a card.

    Attributes
    ----------
    index
        NVML's number of it on its card.
    name
        For example "NVIDIA H100 80GB HBM3 MIG 3g.40gb".
    uuid
        For example "MIG-2b6f…"; `CUDA_VISIBLE_DEVICES` takes it.
    memory_total, memory_used, memory_free
        MiB.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None


@dataclass(frozen=True)
class Card:
    """One GPU; None stands for what the card does not tell.

    Attributes
    ----------
    name, uuid
        As NVML gives them; the uuid begins with "GPU-".
    capability
        CUDA compute capability, for example (7, 5).
    memory_total, memory_used, memory_free
        MiB; used is what programs hold, as nvidia-smi shows it, and free is what can still be
        allocated.
    utilisation
        Per cent of the driver's last sampling period in which a kernel ran.
    temperature
        Degrees Celsius.
    power, power_limit
        Watts drawn, and the limit that the card really keeps.
    lost
        The GPU fell off the bus; only a reboot or a new virtual machine brings it back. What was
        answered before that is kept.
    index
        NVML's number, which is also nvidia-smi's and may differ from CUDA's.
    pci
        Bus id as NVML gives it, for example "00000000:00:04.0".
    memory_reserved
        MiB that the driver keeps for itself: total = used + free + reserved, up to rounding.
        None before driver 510, where it is part of used.
    ecc_errors
        Uncorrected memory errors since the driver was loaded; None where ECC is off or missing.
    throttled
        Why the clocks are held down now, in plain words; empty where they are not.
    mig
        Whether the card is split into instances.
    slices
        The instances of a split card.
    holders
        The processes that hold memory; None where that was not asked or not answered.
    cuda
        torch's number of this card, filled in by `order.match`; None where torch does not see
        it or nobody was asked.
    words
        NVML's own words where the card could not even be opened (no permission, lost).
    """

    name: str | None = None
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: float | None = None
    lost: bool = False
    index: int | None = None
    pci: str | None = None
    memory_reserved: int | None = None
    power_limit: float | None = None
    ecc_errors: int | None = None
    throttled: tuple[str, ...] | None = None
    mig: bool | None = None
    slices: tuple[Slice, ...] = ()
    holders: tuple[Holder, ...] | None = None
    cuda: int | None = None
    words: str = ""

    @property
    def title(self) -> str:
        """The card's name, with its compute capability where that is known."""
        name = self.name or "This GPU"
        if self.capability is None:
            return name
        return f"{name} (compute capability {self.capability[0]}.{self.capability[1]})"

    @property
    def room_total(self) -> int | None:
        """MiB that a training can use: of the whole card, or of its first MIG instance.

        A process gets one instance, the first unless `CUDA_VISIBLE_DEVICES` names another: NVIDIA
        Multi-Instance GPU User Guide, https://docs.nvidia.com/datacenter/tesla/mig-user-guide/.
        """
        return self.slices[0].memory_total if self.slices else self.memory_total

    @property
    def room_free(self) -> int | None:
        """MiB of `room_total` that are free now."""
        return self.slices[0].memory_free if self.slices else self.memory_free

    @property
    def is_full(self) -> bool:
        """Whether little of the room is left because somebody uses it.

        Examples
        --------
        >>> Card("T4", memory_total=15360, memory_used=14000, memory_free=1360).is_full
        True
        >>> Card("an old card that tells nothing").is_full
        False
        """
        free, total = self.room_free, self.room_total
        if free is None or not total:
            return False
        return free < LITTLE_MIB and total - free > HELD_SHARE * total


@dataclass(frozen=True)
class Memory:
    """A card's memory in MiB; reserved is None where it is part of used (before driver 510)."""

    total: int | None = None
    used: int | None = None
    free: int | None = None
    reserved: int | None = None


def read(ask: Asker, index: int, processes: bool = True) -> Card:
    """Ask everything about one card; whatever is refused is None.

    Parameters
    ----------
    ask
        A fresh asker.
    index
        NVML's number of the card.
    processes
        Whether to list the processes that hold memory (milliseconds, under the driver's lock).

    Returns
    -------
    Card
        With holders that have no names yet (`processes.introduce`).
    """
    handle = ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return Card(index=index, lost=ask.lost, words=ask.words)
    held = memory(ask, handle)
    rates = ask("nvmlDeviceGetUtilizationRates", handle)
    capability = ask("nvmlDeviceGetCudaComputeCapability", handle)
    split = _split(ask, handle)
    parts = _parts(ask, handle) if split else []
    return Card(
        name=ask("nvmlDeviceGetName", handle),
        uuid=ask("nvmlDeviceGetUUID", handle),
        pci=_pci(ask, handle),
        capability=None if capability is None else (capability[0], capability[1]),
        memory_total=held.total,
        memory_used=held.used,
        memory_free=held.free,
        memory_reserved=held.reserved,
        utilisation=None if rates is None else rates.gpu,
        temperature=ask("nvmlDeviceGetTemperature", handle, TEMPERATURE_SENSOR),
        power=_watts(ask("nvmlDeviceGetPowerUsage", handle)),
        power_limit=_watts(ask.first(POWER_LIMIT, handle)),
        ecc_errors=_ecc_errors(ask, handle),
        throttled=_throttled(ask, handle),
        mig=split,
        slices=tuple(_slice(ask, number, part) for number, part in parts),
        holders=_holders(ask, handle, parts) if processes else None,
        index=index,
        lost=ask.lost,  # last: the arguments above are asked in this order
    )


def memory(ask: Asker, handle: Any) -> Memory:
    """Ask how much of a card's memory is in use.

    Why not simply `nvmlDeviceGetMemoryInfo`: what it calls used contains what the driver keeps
    for itself (hundreds of MiB), so that an idle card seems to be held by somebody.

    Parameters
    ----------
    ask
        The asker of this card.
    handle
        NVML's handle of the card or of a MIG instance.

    Returns
    -------
    Memory
        nvidia-smi's figures: total = used + free + reserved, up to rounding.

    Notes
    -----
    Source: `nvmlMemory_t` ("used: sum of Reserved and Allocated device memory") and
    `nvmlMemory_v2_t` of the NVML API reference, https://docs.nvidia.com/deploy/nvml-api/. Its
    edition for driver 525 says that the second `used` contains `reserved` too, later ones do not;
    used is therefore computed from the other three, which are not in doubt.
    """
    version = ask.constant("nvmlMemory_v2")
    found = None if version is None else ask("nvmlDeviceGetMemoryInfo", handle, version)
    if found is not None:
        used = found.total - found.reserved - found.free
        return Memory(*(size // MIB for size in (found.total, used, found.free, found.reserved)))
    found = ask("nvmlDeviceGetMemoryInfo", handle)
    if found is None:
        return Memory()
    return Memory(found.total // MIB, found.used // MIB, found.free // MIB)


def reasons(mask: int) -> tuple[str, ...]:
    """Say in plain words why a card's clocks are held down.

    Parameters
    ----------
    mask
        NVML's bit mask of clock event reasons.

    Returns
    -------
    tuple of str
        The worst first; empty where the clocks are free, idle or set by hand.

    Examples
    --------
    >>> reasons(0x1)
    ()
    >>> reasons(0x8 | 0x40)
    ('too hot: the hardware at least halves the clocks',)
    """
    found = [words for bit, words in REASONS.items() if mask & bit]
    if mask & HARDWARE_SLOWDOWN and not mask & (0x40 | 0x80):
        found.insert(0, UNNAMED_SLOWDOWN)
    return tuple(found)


def _throttled(ask: Asker, handle: Any) -> tuple[str, ...] | None:
    mask = ask.first(CLOCKS, handle)
    return None if mask is None else reasons(mask)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _pci(ask: Asker, handle: Any) -> str | None:
    found = ask("nvmlDeviceGetPciInfo", handle)
    if found is None:
        return None
    bus = found.busId
    return (bus.decode("ascii", "replace") if isinstance(bus, bytes) else str(bus)) or None


def _ecc_errors(ask: Asker, handle: Any) -> int | None:
    modes = ask("nvmlDeviceGetEccMode", handle)
    if modes is None or modes[0] != ENABLED:
        return None
    count: int | None = ask("nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, VOLATILE)
    return count


def _split(ask: Asker, handle: Any) -> bool | None:
    modes = ask("nvmlDeviceGetMigMode", handle)
    return None if modes is None else modes[0] == ENABLED


def _parts(ask: Asker, handle: Any) -> list[tuple[int, Any]]:
    most = ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    found = ((n, ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, n)) for n in range(most))
    return [(number, part) for number, part in found if part is not None]


def _slice(ask: Asker, number: int, part: Any) -> Slice:
    held = memory(ask, part)
    name, uuid = ask("nvmlDeviceGetName", part), ask("nvmlDeviceGetUUID", part)
    return Slice(number, name, uuid, held.total, held.used, held.free)


def _holders(ask: Asker, handle: Any, parts: list[tuple[int, Any]]) -> tuple[Holder, ...] | None:
    """Ask the card; a split one answers for all instances only to the administrator."""
    found = holders(ask, handle)
    if found is not None or not parts:
        return found
    lists = [found for _, part in parts if (found := holders(ask, part)) is not None]
    return merged(holder for found in lists for holder in found) if lists else None
