"""What NVIDIA's management library says about the cards, as plain data.

Every single question may be refused (an old card, a container, a GPU that fell off the bus), so
each survives by itself and its answer is then None. The library is asked through `pynvml`, the
module of the distribution *nvidia-ml-py*.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["answered", "no_package", "no_library", "not_loaded", "mismatch", "lost", "failed"]

MIB = 2**20
NVIDIA_VENDOR = "0x10de"  # PCI-SIG vendor id of NVIDIA, https://pcisig.com/membership
DISPLAY_CLASS = "0x03"  # PCI base class 03: display controllers (VGA and 3D)
PCI_DEVICES = Path("/sys/bus/pci/devices")
TEMPERATURE_SENSOR = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True)
class Card:
    """One GPU; None stands for what the card does not tell.

    Attributes
    ----------
    capability
        CUDA compute capability, for example (7, 5).
    memory_total, memory_used, memory_free
        MiB.
    utilisation
        Per cent of the driver's last sampling period in which a kernel ran.
    temperature
        Degrees Celsius.
    power
        Watts.
    lost
        The GPU fell off the bus; only a reboot or a new virtual machine brings it back.
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


@dataclass(frozen=True)
class NvmlLook:
    """What NVML answered.

    Attributes
    ----------
    state
        `answered`, or why it did not: `no_package` (nvidia-ml-py is missing), `no_library` (no
        driver is installed), `not_loaded` (its kernel module is not running), `mismatch` (driver
        and library of different versions), `lost` (a GPU fell off the bus) or `failed`.
    words
        NVML's own words where it failed.
    driver
        The driver's version, for example "550.54.15".
    """

    state: State
    words: str = ""
    driver: str | None = None
    cards: tuple[Card, ...] = ()


class _Asker:
    """Asks one question at a time and remembers whether the GPU turned out to be lost."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.lost = False

    def __call__(self, question: str, *arguments: Any) -> Any:
        try:
            answer = getattr(self._nvml, question)(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in _lost_codes(self._nvml):
                self.lost = True
            return None
        except (AttributeError, OSError, ValueError):  # an older pynvml, or a broken answer
            return None
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer


def look(nvml: Any = None) -> NvmlLook:
    """Ask NVML for the driver and the cards.

    Parameters
    ----------
    nvml
        The `pynvml` module; imported by default.

    Returns
    -------
    NvmlLook
        Never raises: what went wrong is in `state` and `words`.

    Notes
    -----
    Source of the questions and the error codes: NVIDIA's NVML API reference,
    https://docs.nvidia.com/deploy/nvml-api/.
    """
    if nvml is None:
        try:
            import pynvml

            nvml = pynvml
        except ImportError as error:
            return NvmlLook("no_package", str(error))
    try:
        with _opened(nvml):
            return _read(nvml)
    except nvml.NVMLError as error:
        return NvmlLook(_state(nvml, error), _words(error))
    except (OSError, AttributeError) as error:
        return NvmlLook("failed", str(error))


@contextlib.contextmanager
def _opened(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _read(nvml: Any) -> NvmlLook:
    ask = _Asker(nvml)
    count = nvml.nvmlDeviceGetCount()
    driver = ask("nvmlSystemGetDriverVersion")
    return NvmlLook("answered", "", driver, tuple(_card(nvml, index) for index in range(count)))


def _card(nvml: Any, index: int) -> Card:
    ask = _Asker(nvml)
    handle = ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return Card(lost=ask.lost)
    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    rates = ask("nvmlDeviceGetUtilizationRates", handle)
    milliwatts = ask("nvmlDeviceGetPowerUsage", handle)
    capability = ask("nvmlDeviceGetCudaComputeCapability", handle)
    return Card(
        name=ask("nvmlDeviceGetName", handle),
        uuid=ask("nvmlDeviceGetUUID", handle),
        capability=None if capability is None else (capability[0], capability[1]),
        memory_total=None if memory is None else memory.total // MIB,
        memory_used=None if memory is None else memory.used // MIB,
        memory_free=None if memory is None else memory.free // MIB,
        utilisation=None if rates is None else rates.gpu,
        temperature=ask("nvmlDeviceGetTemperature", handle, TEMPERATURE_SENSOR),
        power=None if milliwatts is None else milliwatts / 1000,
        lost=ask.lost,
    )


def _lost_codes(nvml: Any) -> set[int]:
    names = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")
    return {getattr(nvml, name) for name in names if hasattr(nvml, name)}


def _state(nvml: Any, error: Any) -> State:
    if error.value in _lost_codes(nvml):
        return "lost"
    known: dict[int, State] = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_library",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "not_loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
    }
    return known.get(error.value, "failed")


def _words(error: Any) -> str:
    try:
        return str(error)
    except Exception:  # its text comes from the same library that has just failed
        return f"NVML error {error.value}"


def card_in_slot(devices: Path = PCI_DEVICES) -> bool | None:
    """Say whether the machine has an NVIDIA card at all, driver or not.

    Parameters
    ----------
    devices
        Linux's list of PCI devices.

    Returns
    -------
    bool or None
        None where the operating system keeps no such list (macOS, Windows, some containers).

    Examples
    --------
    >>> card_in_slot(Path("there is no such folder")) is None
    True
    """
    try:
        slots = list(devices.iterdir())
    except OSError:
        return None
    return any(_is_nvidia_display(slot) for slot in slots)


def _is_nvidia_display(slot: Path) -> bool:
    try:
        vendor = (slot / "vendor").read_text(encoding="ascii").strip()
        kind = (slot / "class").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return vendor == NVIDIA_VENDOR and kind.startswith(DISPLAY_CLASS)
