"""A fake NVML library that lies beneath the real pynvml."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml

MIB = 2**20


@dataclass
class FakeCard:
    """What one card answers; a missing value answers NotSupported."""

    name: str | None = "Tesla T4"
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    memory: tuple[int, int] | None = None  # total and used, MiB
    utilisation: int | None = None
    temperature: int | None = None
    power: int | None = None  # milliwatts
    lost: bool = False


T4 = FakeCard("Tesla T4", "GPU-4d0e", (7, 5), (15360, 3), 0, 41, 9700)
K80 = FakeCard("Tesla K80", "GPU-80a", (3, 7), (11441, 3), 0, 35, 27000)
P100 = FakeCard("Tesla P100-PCIE-16GB", "GPU-100", (6, 0), (16384, 0), 0, 30, 26000)


@dataclass
class FakeLibrary:
    """Behaves like the ctypes library that pynvml loads: C functions that fill pointers."""

    cards: list[FakeCard] = field(default_factory=list)
    driver: str = "550.54.15"
    init: int = 0
    missing: tuple[str, ...] = ()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml"):
            if name in object.__getattribute__(self, "missing"):
                raise AttributeError(name)
            return _c_function(object.__getattribute__(self, f"_{name}"))
        return object.__getattribute__(self, name)

    def _nvmlInitWithFlags(self, flags: Any) -> int:
        return self.init

    def _nvmlShutdown(self) -> int:
        return 0

    def _nvmlErrorString(self, code: Any) -> bytes:
        return b"Driver Not Loaded"

    def _nvmlSystemGetDriverVersion(self, text: Any, length: Any) -> int:
        text.value = self.driver.encode()
        return 0

    def _nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = len(self.cards)
        return 0

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        if self.cards[index.value].lost:
            return int(pynvml.NVML_ERROR_GPU_IS_LOST)
        address = ctypes.cast(index.value + 1, ctypes.POINTER(pynvml.struct_c_nvmlDevice_t))
        handle._obj.contents = address.contents
        return 0

    def _card(self, handle: Any) -> FakeCard:
        return self.cards[ctypes.addressof(handle.contents) - 1]

    def _nvmlDeviceGetName(self, handle: Any, text: Any, length: Any) -> int:
        return _fill_text(text, self._card(handle).name)

    def _nvmlDeviceGetUUID(self, handle: Any, text: Any, length: Any) -> int:
        return _fill_text(text, self._card(handle).uuid)

    def _nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:
        capability = self._card(handle).capability
        if capability is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        major._obj.value, minor._obj.value = capability
        return 0

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        found = self._card(handle).memory
        if found is None:
            return int(pynvml.NVML_ERROR_UNKNOWN)
        total, used = (amount * MIB for amount in found)
        memory._obj.total, memory._obj.used, memory._obj.free = total, used, total - used
        return 0

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        return _fill(rates, "gpu", self._card(handle).utilisation)

    def _nvmlDeviceGetTemperature(self, handle: Any, sensor: Any, degrees: Any) -> int:
        return _fill(degrees, "value", self._card(handle).temperature)

    def _nvmlDeviceGetPowerUsage(self, handle: Any, milliwatts: Any) -> int:
        return _fill(milliwatts, "value", self._card(handle).power)


def _c_function(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return method(*arguments)

    return call  # a plain function takes the `restype` that pynvml sets, like ctypes' own


def _fill(pointer: Any, name: str, value: int | None) -> int:
    if value is None:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    setattr(pointer._obj, name, value)
    return 0


def _fill_text(buffer: Any, value: str | None) -> int:
    if value is None:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    buffer.value = value.encode()
    return 0
