"""A fake NVML library that lies beneath the real pynvml: cards, whole machines, and faults.

Everything that pynvml asks of the C library is answered here; what is not here is answered by
pynvml itself with FunctionNotFound, as by an old library. Answers are read from plain data and
counted with `itertools.count`, so that many threads may ask at once.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pynvml

MIB = 2**20
NOT_SUPPORTED = int(pynvml.NVML_ERROR_NOT_SUPPORTED)
LOST = int(pynvml.NVML_ERROR_GPU_IS_LOST)
SLICE_STEP = 100  # a handle is the card's number + 1, plus this for each of its slices
NOT_AVAILABLE = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value

# What libraries of these drivers did not have yet.
BEFORE_510 = (
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
)
BEFORE_535 = ("nvmlDeviceGetCurrentClocksEventReasons",)
PROCESS_LISTS = tuple(
    f"nvmlDeviceGet{kind}RunningProcesses_{version}"
    for kind in ("Compute", "Graphics")
    for version in ("v2", "v3")
)


@dataclass
class FakeCard:
    """What one card (or MIG instance) answers; a missing value answers NotSupported."""

    name: str | None = "Tesla T4"
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    memory: tuple[int, int] | None = None  # total, and used without the reserved, MiB
    utilisation: int | None = None
    temperature: int | None = None
    power: int | None = None  # milliwatts
    lost: bool = False
    pci: str | None = None
    reserved: int = 0  # MiB
    power_limit: int | None = None  # milliwatts
    ecc: int | None = None  # uncorrected errors; None: ECC is not supported
    ecc_on: bool = True
    clocks: int | None = None  # bit mask of reasons
    mig: bool | None = None
    slices: tuple[FakeCard | None, ...] = ()  # None: an empty place
    processes: tuple[tuple[int, int | None], ...] | None = None  # number, MiB
    graphics: tuple[tuple[int, int | None], ...] = ()
    errors: dict[str, int] = field(default_factory=dict)  # by the C function's name


T4 = FakeCard("Tesla T4", "GPU-4d0e", (7, 5), (15360, 3), 0, 41, 9700)
K80 = FakeCard("Tesla K80", "GPU-80a", (3, 7), (11441, 3), 0, 35, 27000)
P100 = FakeCard("Tesla P100-PCIE-16GB", "GPU-100", (6, 0), (16384, 0), 0, 30, 26000)
H100 = FakeCard("NVIDIA H100 80GB HBM3", "GPU-b100", (9, 0), (81559, 0), 0, 33, 70000, reserved=560)
BARE = FakeCard("GeForce GT 610")


@dataclass
class Failure:
    """A question that fails with `code` from its `start`-th call on (1: always), `times` times."""

    code: int
    start: int = 1
    times: int | None = None

    def at(self, call: int) -> bool:
        """Say whether the `call`-th call fails."""
        return call >= self.start and (self.times is None or call < self.start + self.times)


@dataclass
class FakeLibrary:
    """Behaves like the ctypes library that pynvml loads: C functions that fill pointers.

    `errors` maps the name of a C function to an error code or a `Failure`; `missing` names
    functions that the library does not have. `lose(index, after=n)` lets a card fall off the bus
    after n more answers of its own, also while other threads are asking.
    """

    cards: list[FakeCard] = field(default_factory=list)
    driver: str | None = "550.54.15"
    init: int = 0
    missing: tuple[str, ...] = ()
    cuda: int | None = 12040
    errors: dict[str, int | Failure] = field(default_factory=dict)
    calls: defaultdict[str, Iterator[int]] = field(
        default_factory=lambda: defaultdict(lambda: itertools.count(1))
    )
    _falling: dict[int, tuple[Iterator[int], int]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml") or name in self.missing:
            raise AttributeError(name)
        return _c_function(self, name, getattr(self, f"_{name}"))

    def lose(self, index: int, after: int = 0) -> None:
        """Let a card fall off the bus after `after` more answers."""
        self._falling[index] = (itertools.count(), after)

    def failure(self, name: str) -> int:
        """Give the code with which this call of a C function fails; 0 where it does not."""
        wanted = self.errors.get(name)
        if wanted is None:
            return 0
        if isinstance(wanted, int):
            return wanted
        return wanted.code if wanted.at(next(self.calls[name])) else 0

    def trouble(self, name: str, handle: Any) -> int:
        """Give the code with which a card refuses this question; 0 where it does not."""
        index = _number(handle) % SLICE_STEP - 1
        falling = self._falling.get(index)
        if self.cards[index].lost or (falling and next(falling[0]) >= falling[1]):
            return LOST
        return self._card(handle).errors.get(name, 0)

    def _nvmlInitWithFlags(self, flags: Any) -> int:
        return self.init

    def _nvmlShutdown(self) -> int:
        return 0

    def _nvmlErrorString(self, code: Any) -> bytes:
        return b"an error that pynvml has no words for"

    def _nvmlSystemGetDriverVersion(self, text: Any, length: Any) -> int:
        return _fill_text(text, self.driver)

    def _nvmlSystemGetCudaDriverVersion(self, version: Any) -> int:
        return _fill(version, "value", self.cuda)

    _nvmlSystemGetCudaDriverVersion_v2 = _nvmlSystemGetCudaDriverVersion

    def _nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return _fill(count, "value", len(self.cards))

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        if not 0 <= index.value < len(self.cards):
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        found = _handle(index.value + 1)
        handle._obj.contents = found.contents
        return self.trouble("nvmlDeviceGetHandleByIndex_v2", found)

    def _nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:
        for index, card in enumerate(self.cards):
            if card.uuid is not None and card.uuid.encode() == uuid.value:
                handle._obj.contents = _handle(index + 1).contents
                return self.trouble("nvmlDeviceGetHandleByUUID", _handle(index + 1))
        return int(pynvml.NVML_ERROR_NOT_FOUND)

    def _card(self, handle: Any) -> FakeCard:
        part, index = divmod(_number(handle), SLICE_STEP)
        card = self.cards[index - 1]
        found = card.slices[part - 1] if part else card
        assert found is not None, "an empty place has no handle"
        return found

    def _nvmlDeviceGetName(self, handle: Any, text: Any, length: Any) -> int:
        return _fill_text(text, self._card(handle).name)

    def _nvmlDeviceGetUUID(self, handle: Any, text: Any, length: Any) -> int:
        return _fill_text(text, self._card(handle).uuid)

    def _nvmlDeviceGetIndex(self, handle: Any, index: Any) -> int:
        return _fill(index, "value", _number(handle) % SLICE_STEP - 1)

    def _nvmlDeviceGetPciInfo_v3(self, handle: Any, info: Any) -> int:
        pci = self._card(handle).pci
        return _fill(info, "busId", None if pci is None else pci.encode())

    def _nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:
        capability = self._card(handle).capability
        if capability is None:
            return NOT_SUPPORTED
        major._obj.value, minor._obj.value = capability
        return 0

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        card = self._card(handle)
        if card.memory is None:
            return int(pynvml.NVML_ERROR_UNKNOWN)
        total, used = (amount * MIB for amount in card.memory)
        held = used + card.reserved * MIB
        memory._obj.total, memory._obj.used, memory._obj.free = total, held, total - held
        return 0

    def _nvmlDeviceGetMemoryInfo_v2(self, handle: Any, memory: Any) -> int:
        if memory._obj.version != pynvml.nvmlMemory_v2:
            return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        code = self._nvmlDeviceGetMemoryInfo(handle, memory)
        memory._obj.reserved = self._card(handle).reserved * MIB
        memory._obj.used -= memory._obj.reserved
        return code

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        return _fill(rates, "gpu", self._card(handle).utilisation)

    def _nvmlDeviceGetTemperature(self, handle: Any, sensor: Any, degrees: Any) -> int:
        return _fill(degrees, "value", self._card(handle).temperature)

    def _nvmlDeviceGetPowerUsage(self, handle: Any, milliwatts: Any) -> int:
        return _fill(milliwatts, "value", self._card(handle).power)

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, milliwatts: Any) -> int:
        return _fill(milliwatts, "value", self._card(handle).power_limit)

    _nvmlDeviceGetPowerManagementLimit = _nvmlDeviceGetEnforcedPowerLimit

    def _nvmlDeviceGetEccMode(self, handle: Any, current: Any, pending: Any) -> int:
        card = self._card(handle)
        mode = None if card.ecc is None else int(card.ecc_on)
        return _fill(current, "value", mode) or _fill(pending, "value", mode)

    def _nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: Any, since: Any, count: Any) -> int:
        uncorrected = kind.value == pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
        volatile = since.value == pynvml.NVML_VOLATILE_ECC
        card = self._card(handle)
        return _fill(count, "value", card.ecc if uncorrected and volatile else None)

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any, mask: Any) -> int:
        return _fill(mask, "value", self._card(handle).clocks)

    _nvmlDeviceGetCurrentClocksThrottleReasons = _nvmlDeviceGetCurrentClocksEventReasons

    def _nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:
        mig = self._card(handle).mig
        mode = None if mig is None else int(mig)
        return _fill(current, "value", mode) or _fill(pending, "value", mode)

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> int:
        return _fill(count, "value", len(self._card(handle).slices))

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, part: Any) -> int:
        if self._card(handle).slices[index.value] is None:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        part._obj.contents = _handle(_number(handle) + SLICE_STEP * (index.value + 1)).contents
        return 0

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, out: Any) -> int:
        return _fill_processes(self._card(handle).processes, count, out)

    def _nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: Any, count: Any, out: Any) -> int:
        card = self._card(handle)
        return _fill_processes(None if card.processes is None else card.graphics, count, out)

    _nvmlDeviceGetComputeRunningProcesses_v2 = _nvmlDeviceGetComputeRunningProcesses_v3
    _nvmlDeviceGetGraphicsRunningProcesses_v2 = _nvmlDeviceGetGraphicsRunningProcesses_v3


def two_k80() -> FakeLibrary:
    """The two dies of a K80 on the last driver that knows it."""
    dies = [
        replace(
            K80,
            uuid=f"GPU-80a{n}0000-0000-0000-0000-00000000000{n}",
            pci=f"00000000:00:0{4 + n}.0",
            power_limit=149000,
            ecc=0,
            processes=(),
        )
        for n in range(2)
    ]
    missing = (*BEFORE_510, *BEFORE_535)
    return FakeLibrary(dies, driver="470.256.02", cuda=11040, missing=missing)


def colab_t4() -> FakeLibrary:
    """One T4 with everything that it tells."""
    card = replace(
        T4,
        uuid="GPU-4d0e1111-2222-3333-4444-555555555555",
        pci="00000000:00:04.0",
        memory=(15360, 0),
        reserved=450,
        power_limit=70000,
        ecc=0,
        clocks=0x1,
        processes=(),
    )
    return FakeLibrary([card])


def kaggle_p100() -> FakeLibrary:
    """One P100 of 16 GB on a driver of the 560 branch."""
    card = replace(P100, pci="00000000:00:04.0", power_limit=250000, ecc=0, processes=())
    return FakeLibrary([card], driver="560.35.03", cuda=12060)


def split_h100(administrator: bool = False) -> FakeLibrary:
    """One H100 split into two 3g.40gb instances; only the administrator may ask the whole card."""
    parts = tuple(
        FakeCard(
            "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
            f"MIG-3a3a000{n}-0000-0000-0000-000000000000",
            (9, 0),
            (40448, 100 * n),
            processes=((4000 + n, 100 * n),),
        )
        for n in range(2)
    )
    refused = dict.fromkeys((*PROCESS_LISTS, "nvmlDeviceGetMemoryInfo_v2"), 4)  # NO_PERMISSION
    card = replace(
        H100,
        pci="00000000:04:00.0",
        utilisation=None,
        power_limit=700000,
        ecc=0,
        clocks=0,
        mig=True,
        slices=(parts[0], None, parts[1], None),
        processes=((4000, 0), (4001, 100)),
        errors={} if administrator else refused | {"nvmlDeviceGetMemoryInfo": 4},
    )
    return FakeLibrary([card], driver="580.65.06", cuda=13000)


def bare_card() -> FakeLibrary:
    """A card that supports nothing but its name."""
    return FakeLibrary([BARE])


def sixteen_v100() -> FakeLibrary:
    """Sixteen cards that are alike but for uuid and slot."""
    card = FakeCard("Tesla V100-SXM3-32GB", None, (7, 0), (32768, 0), 0, 30, 50000)
    return FakeLibrary(
        [
            replace(
                card,
                uuid=f"GPU-{n:08x}-0000-0000-0000-000000000000",
                pci=f"00000000:{0x34 + n:02X}:00.0",
            )
            for n in range(16)
        ]
    )


def _c_function(library: FakeLibrary, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    asks_a_card = name.startswith("nvmlDeviceGet") and not name.startswith(
        ("nvmlDeviceGetCount", "nvmlDeviceGetHandle")
    )

    def call(*arguments: Any) -> Any:
        code = library.failure(name)
        if not code and asks_a_card:
            code = library.trouble(name, arguments[0])
        return code or method(*arguments)

    return call  # a plain function takes the `restype` that pynvml sets, like ctypes' own


def _handle(number: int) -> Any:
    return ctypes.cast(number, ctypes.POINTER(pynvml.struct_c_nvmlDevice_t))


def _number(handle: Any) -> int:
    return ctypes.addressof(handle.contents)


def _fill(pointer: Any, name: str, value: Any) -> int:
    if value is None:
        return NOT_SUPPORTED
    setattr(pointer._obj, name, value)
    return 0


def _fill_text(buffer: Any, value: str | None) -> int:
    if value is None:
        return NOT_SUPPORTED
    buffer.value = value.encode()
    return 0


def _fill_processes(found: tuple[tuple[int, int | None], ...] | None, count: Any, out: Any) -> int:
    if found is None:
        return NOT_SUPPORTED
    room, count._obj.value = count._obj.value, len(found)
    if room < len(found):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    for place, (number, memory) in enumerate(found):
        out[place].pid = number
        out[place].usedGpuMemory = NOT_AVAILABLE if memory is None else memory * MIB
    return 0
