"""What NVIDIA's management library says about the cards, as plain data.

Every single question may be refused (an old card, a container, a GPU that fell off the bus), so
each survives by itself and its answer is then None. The library is asked through `pynvml`, the
module of the distribution *nvidia-ml-py*.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fastmagic.gpu.asking import Asker, lost_codes, words
from fastmagic.gpu.cards import Card, read
from fastmagic.gpu.processes import Neighbours, introduce, ours

__all__ = ["Card", "NvmlLook", "State", "card_in_slot", "look", "lost_codes", "opened"]

State = Literal[
    "answered",
    "no_package",
    "no_library",
    "not_loaded",
    "mismatch",
    "too_old",
    "permission",
    "lost",
    "failed",
]

NVIDIA_VENDOR = "0x10de"  # PCI-SIG vendor id of NVIDIA, https://pcisig.com/membership
DISPLAY_CLASS = "0x03"  # PCI base class 03: display controllers (VGA and 3D)
PCI_DEVICES = Path("/sys/bus/pci/devices")
CUDA_VERSION = ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion")


@dataclass(frozen=True)
class NvmlLook:
    """What NVML answered.

    Attributes
    ----------
    state
        `answered`, or why it did not: `no_package` (nvidia-ml-py is missing or too old),
        `no_library` (no driver is installed), `not_loaded` (its kernel module is not running),
        `mismatch` (driver and library of different versions), `too_old` (the library lacks what
        has been in every driver for years), `permission` (this user may not talk to the driver),
        `lost` (a GPU fell off the bus) or `failed`.
    words
        NVML's own words where it failed, or Python's about the package.
    driver
        The driver's version, for example "550.54.15".
    cards
        In NVML's order.
    cuda
        The newest CUDA version that the driver knows, for example "12.4".
    foreign
        The holders' numbers may be the host's and not this container's: their names are withheld,
        and there may be holders that are not listed.
    """

    state: State
    words: str = ""
    driver: str | None = None
    cards: tuple[Card, ...] = ()
    cuda: str | None = None
    foreign: bool = False


def look(
    nvml: Any = None, processes: bool = True, neighbours: Neighbours | None = None
) -> NvmlLook:
    """Ask NVML for the driver and the cards.

    Parameters
    ----------
    nvml
        The `pynvml` module; imported by default.
    processes
        Whether to list the processes that hold memory. It costs milliseconds a card and holds the
        driver's lock: never in a loop.
    neighbours
        The processes that can be seen from here.

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
        found = _asked(nvml, processes)
    except AttributeError as error:  # a package too old to know what is asked, or its errors
        return NvmlLook("no_package", str(error))
    return _introduced(found, neighbours or Neighbours()) if processes else found


@contextlib.contextmanager
def opened(nvml: Any) -> Iterator[None]:
    """Keep NVML started inside a `with` block.

    NVML counts its starts: blocks may lie inside each other and in several threads.

    Parameters
    ----------
    nvml
        The `pynvml` module.

    Raises
    ------
    pynvml.NVMLError
        Where the library does not start.
    """
    nvml.nvmlInit()
    try:
        yield
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _asked(nvml: Any, processes: bool) -> NvmlLook:
    try:
        with opened(nvml):
            return _read(nvml, processes)
    except nvml.NVMLError as error:
        return NvmlLook(_state(nvml, error), words(error))
    except OSError as error:
        return NvmlLook("failed", str(error))


def _read(nvml: Any, processes: bool) -> NvmlLook:
    ask = Asker(nvml)
    driver, cuda = ask("nvmlSystemGetDriverVersion"), _cuda(ask.first(CUDA_VERSION))
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return NvmlLook(_state(nvml, error), words(error), driver, cuda=cuda)
    cards = tuple(read(Asker(nvml), index, processes) for index in range(count))
    return NvmlLook("answered", "", driver, cards, cuda)


def _cuda(number: int | None) -> str | None:
    """Write NVML's 12040 as "12.4"."""
    return None if not number else f"{number // 1000}.{number % 1000 // 10}"


def _introduced(found: NvmlLook, neighbours: Neighbours) -> NvmlLook:
    """Give the holders their names; the cards together tell whether the numbers are ours."""
    listed = [holder.pid for card in found.cards for holder in card.holders or ()]
    trusted = ours(listed, neighbours)
    cards = tuple(
        replace(card, holders=introduce(card.holders, trusted, neighbours))
        if card.holders
        else card
        for card in found.cards
    )
    return replace(found, cards=cards, foreign=not trusted)


def _state(nvml: Any, error: Any) -> State:
    if error.value in lost_codes(nvml):
        return "lost"
    known: dict[int, State] = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_library",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "not_loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "too_old",
        nvml.NVML_ERROR_NO_PERMISSION: "permission",
    }
    return known.get(error.value, "failed")


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
