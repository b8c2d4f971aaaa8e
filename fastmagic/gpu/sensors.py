"""Readings that may be taken several times a second: the cards and the host around them.

A reading costs far less than a look (`nvml.look`): NVML stays open, what a card refused for good
is not asked again, and the processes on a card are never listed, for that takes milliseconds and
holds the driver's lock meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastmagic import cgroup
from fastmagic.gpu import nvml as library
from fastmagic.gpu.asking import Asker
from fastmagic.gpu.cards import Card, memory
from fastmagic.gpu.host import MIB, SHM

TEMPERATURE_SENSOR = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True)
class GpuSample:
    """One reading of one GPU; None for what it does not tell or was not asked this time.

    Attributes
    ----------
    utilisation
        Per cent of the driver's last sampling period (1/6 to 1 s) in which a kernel ran.
    memory
        MiB in use, by whatever process.
    temperature
        Degrees Celsius.
    power
        Watts.
    """

    utilisation: int | None = None
    memory: int | None = None
    temperature: int | None = None
    power: float | None = None


@dataclass(frozen=True)
class Sample:
    """One reading of everything; None for what is not told or was not asked this time.

    Attributes
    ----------
    gpus
        One for each of `Sensors.cards`, in that order.
    ram_used, ram_available
        MiB under the container's limit where there is one, else of the machine.
    rss
        MiB that this process holds in memory.
    shm_used
        MiB in use of /dev/shm.
    lost
        The numbers of the GPUs that were found to be lost in this reading; each is named once.
    """

    gpus: tuple[GpuSample, ...] = ()
    ram_used: int | None = None
    ram_available: int | None = None
    rss: int | None = None
    shm_used: int | None = None
    lost: tuple[int, ...] = ()


class Space(NamedTuple):
    """MiB of memory or of a disk."""

    total: int
    used: int
    available: int


@dataclass(frozen=True)
class HostReadings:
    """How the host is asked; a test hands in its own.

    Attributes
    ----------
    memory, shm
        Give what there is and what of it is used; None where the system does not say.
    rss
        Gives the MiB that this process holds in memory.
    close
        Is called once, after the last question.
    """

    memory: Callable[[], Space | None]
    rss: Callable[[], int | None]
    shm: Callable[[], Space | None]
    close: Callable[[], object] = lambda: None


class _Proc:
    """What Linux tells of the machine's memory and this process's, from files that stay open.

    To read such a file again takes a quarter of what opening and reading it takes (0.04 against
    0.17 ms of CPU with cold caches, as a monitor finds them).
    """

    def __init__(self, root: Path = Path("/proc")) -> None:
        with contextlib.ExitStack() as opened:
            self._meminfo = opened.enter_context((root / "meminfo").open("rb", buffering=0))
            self._statm = opened.enter_context((root / "self" / "statm").open("rb", buffering=0))
            self._page = os.sysconf("SC_PAGE_SIZE")
            self.memory()  # before Linux 3.14 there is no MemAvailable
            self.close = opened.pop_all().close

    def memory(self) -> tuple[int, int]:
        """Give MiB in all and available; the third line is MemAvailable, see proc_meminfo(5)."""
        words = os.pread(self._meminfo.fileno(), 256, 0).split()
        if words[6] != b"MemAvailable:":
            raise ValueError("no MemAvailable")
        total, available = int(words[1]) // 1024, int(words[7]) // 1024
        return total, min(available, total)

    def rss(self) -> int:
        """Give the MiB of this process; the second word is in pages, see proc_pid_statm(5)."""
        return int(os.pread(self._statm.fileno(), 64, 0).split()[1]) * self._page // MIB


class _Psutil:
    """The same by psutil, on other systems."""

    def __init__(self) -> None:
        import psutil

        self._memory, self._process = psutil.virtual_memory, psutil.Process()

    def memory(self) -> tuple[int, int]:
        """Give MiB in all and available."""
        found = self._memory()
        return found.total // MIB, found.available // MIB

    def rss(self) -> int:
        """Give the MiB of this process."""
        return int(self._process.memory_info().rss // MIB)

    def close(self) -> None:
        """Nothing is open."""


def _this_system() -> _Proc | _Psutil:
    try:
        return _Proc()
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux, or a very old one
        return _Psutil()


def this_host() -> HostReadings:
    """Ask this host, through /proc or psutil and the container's control group.

    DataLoader's worker processes are left out of `rss` on purpose. They share most pages with the
    process that forked them, so the sum of their RSS counts the same memory several times; and to
    find them costs more than all the rest together (psutil's `children()`: 0.6 ms among 80
    processes, against 6 µs for our own RSS). `memory` counts them, and counts them right.

    Examples
    --------
    >>> here = this_host()
    >>> here.rss() > 1
    True
    >>> here.close()
    """
    system = _this_system()
    limited = cgroup.memory() is not None  # a limit does not come to a container that has none

    def ram() -> Space | None:
        total, available = system.memory()
        container = cgroup.memory() if limited else None
        if container is None or container.limit >= total:
            return Space(total, total - available, available)
        return Space(container.limit, container.used, min(container.room, available))

    return HostReadings(ram, system.rss, _shared_memory, system.close)


def _shared_memory() -> Space | None:
    ask = getattr(os, "statvfs", None)  # not on Windows
    if ask is None:
        return None
    try:
        found = ask(SHM)
    except OSError:
        return None
    total = found.f_blocks * found.f_frsize // MIB
    free = found.f_bfree * found.f_frsize // MIB
    return Space(total, total - free, free)


class _Gpu(Asker):
    """One card that is asked over and over: what it refused for good is not asked again."""

    def __init__(self, nvml: Any, index: int) -> None:
        super().__init__(nvml)
        self._refused: set[tuple[Any, ...]] = set()
        self._for_good = {
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_INVALID_ARGUMENT,
        }
        self.told = False
        self._handle = self("nvmlDeviceGetHandleByIndex", index)
        self.card = self._card()

    def __call__(self, question: str, *arguments: Any) -> Any:
        """Ask; None where it is refused now, or was refused for good."""
        key = (question, *arguments[1:])  # without the handle
        if self.lost or key in self._refused:
            return None
        try:
            return _text(getattr(self._nvml, question)(*arguments))
        except self._nvml.NVMLError as error:
            self.lost = self.lost or error.value in self._lost_codes
            if error.value in self._for_good:
                self._refused.add(key)
        except (AttributeError, TypeError, OSError, ValueError):  # an older pynvml
            self._refused.add(key)
        return None

    def _card(self) -> Card:
        if self._handle is None:
            return Card(lost=self.lost)
        return Card(
            name=self("nvmlDeviceGetName", self._handle),
            uuid=self("nvmlDeviceGetUUID", self._handle),
            memory_total=memory(self, self._handle).total,
        )

    def read(self, slow: bool) -> GpuSample:
        """Ask the card; a lost one answers nothing, for ever."""
        handle = self._handle
        if self.lost or handle is None:
            return GpuSample()
        rates = self("nvmlDeviceGetUtilizationRates", handle)
        held = memory(self, handle)
        temperature = milliwatts = None
        if slow:
            temperature = self("nvmlDeviceGetTemperature", handle, TEMPERATURE_SENSOR)
            milliwatts = self("nvmlDeviceGetPowerUsage", handle)
        return GpuSample(
            None if rates is None else rates.gpu,
            held.used,
            temperature,
            None if milliwatts is None else milliwatts / 1000,
        )


def _text(answer: Any) -> Any:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer


class Sensors:
    """The sensors of the cards and the host, opened once and read often.

    Parameters
    ----------
    nvml
        The `pynvml` module; imported by default.
    host
        How the host is asked; this one by default.

    Attributes
    ----------
    cards
        The GPUs that are watched, with name, UUID and total memory alone.
    note
        Why no GPU is watched, in plain words; empty where one is.
    ram_limit, shm_size
        MiB; None where the system does not say.

    Examples
    --------
    >>> sensors = Sensors()
    >>> sample = sensors.read(slow=True)
    >>> len(sample.gpus) == len(sensors.cards), sample.rss > 1
    (True, True)
    >>> sensors.close()
    """

    def __init__(self, nvml: Any = None, host: HostReadings | None = None) -> None:
        self._open = contextlib.ExitStack()
        self._gpus, self.note = self._find(nvml)
        self.cards = tuple(gpu.card for gpu in self._gpus)
        self._host = this_host() if host is None else host
        self._open.callback(self._host.close)
        ram, shm = self._host.memory(), self._host.shm()
        self.ram_limit = None if ram is None else ram.total
        self.shm_size = None if shm is None else shm.total

    def _find(self, nvml: Any) -> tuple[list[_Gpu], str]:
        """Open NVML and find the cards; the words say why there are none."""
        if nvml is None:
            try:
                import pynvml

                nvml = pynvml
            except ImportError:
                return [], "No GPU was watched: the package nvidia-ml-py is not installed."
        try:
            return self._all(nvml)
        except AttributeError:
            return [], "No GPU was watched: the package nvidia-ml-py is too old."

    def _all(self, nvml: Any) -> tuple[list[_Gpu], str]:
        try:
            self._open.enter_context(library.opened(nvml))
            gpus = [_Gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            return [], f"No GPU was watched: {_reason(nvml, error)}."
        except OSError as error:
            return [], f"No GPU was watched: NVIDIA's library does not work ({error})."
        return gpus, "" if gpus else "No GPU was watched: NVIDIA's driver shows none."

    def read(self, slow: bool = True) -> Sample:
        """Take one reading.

        Parameters
        ----------
        slow
            Also ask what changes slowly: temperature, power, and everything of the host.

        Returns
        -------
        Sample
            Never raises for what a card refuses; a GPU that is lost is named once.
        """
        gpus = tuple(gpu.read(slow) for gpu in self._gpus)
        lost = tuple(n for n, gpu in enumerate(self._gpus) if gpu.lost and not gpu.told)
        for number in lost:
            self._gpus[number].told = True
        if not slow:
            return Sample(gpus, lost=lost)
        ram, shm = self._host.memory(), self._host.shm()
        return Sample(
            gpus,
            None if ram is None else ram.used,
            None if ram is None else ram.available,
            self._host.rss(),
            None if shm is None else shm.used,
            lost,
        )

    def close(self) -> None:
        """Let NVML and the host go."""
        self._open.close()


def _reason(nvml: Any, error: Any) -> str:
    known = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed here",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVIDIA's driver is not running",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "NVIDIA's driver and its library are of different "
        "versions",
        nvml.NVML_ERROR_NO_PERMISSION: "NVIDIA's driver does not let this user ask",
        **dict.fromkeys(library.lost_codes(nvml), "a GPU is lost (it fell off the bus)"),
    }
    return known.get(error.value, f"NVIDIA's library answers with error {error.value}")
