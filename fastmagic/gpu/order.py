"""Which of NVML's cards is which of torch's devices.

NVML and CUDA number the cards independently, and `CUDA_VISIBLE_DEVICES` hides and renumbers CUDA's.
Everything here is pure: cards, torch's answer and the environment in, cards with torch's numbers
out.

Sources: CUDA Programming Guide, "CUDA Environment Variables",
https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html, and,
where that is silent, torch's own reading of the variable (`_parse_visible_devices` and
`_transform_uuid_to_ordinals` in torch/cuda/__init__.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from fastmagic.gpu.cards import Card

Basis = Literal["torch", "environment", "likely", "unknown"]

BUS = re.compile(r"(?:([0-9a-f]+):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})(?:\.[0-9a-f])?", re.IGNORECASE)
LEADING_NUMBER = re.compile(r"[+-]?\d+")


class CudaDevice(Protocol):
    """One device as torch numbers it; what torch does not tell is the empty string.

    Attributes
    ----------
    uuid
        `str(torch.cuda.get_device_properties(i).uuid)`: 8-4-4-4-12 hexadecimal digits without
        "GPU-" (`uuid_to_string` in torch/csrc/cuda/Module.cpp).
    pci
        Domain, bus and device in hexadecimal digits, for example "0000:00:04".
    """

    @property
    def uuid(self) -> str: ...
    @property
    def pci(self) -> str: ...


@dataclass(frozen=True)
class Match:
    """NVML's cards with torch's numbers.

    Attributes
    ----------
    cards
        In NVML's order, with `cuda` filled in.
    basis
        Where the numbers come from: `torch` (it was asked), `environment` (the variables leave
        no doubt), `likely` (CUDA's default order of several cards that are alike: by PCI bus id,
        which NVIDIA does not document) or `unknown` (a card without a number may be seen, too).
    all_hidden
        `CUDA_VISIBLE_DEVICES` leaves torch no card.
    """

    cards: tuple[Card, ...]
    basis: Basis
    all_hidden: bool = False

    @property
    def known(self) -> bool:
        """Whether a card without a number is certainly not seen by torch."""
        return self.basis in ("torch", "environment")


def match(
    cards: Sequence[Card],
    devices: Sequence[CudaDevice] | None,
    environment: Mapping[str, str],
) -> Match:
    """Give each card torch's number.

    Parameters
    ----------
    cards
        What NVML sees, in its order.
    devices
        What torch sees, in its order; None where it was not asked. That it sees nothing may have
        other reasons than the environment: an old driver, a build for the CPU.
    environment
        `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` as this process was started with them.

    Returns
    -------
    Match
        By uuid first, by PCI bus id second; a MIG instance counts as its card.

    Examples
    --------
    >>> two = Card(name="T4", uuid="GPU-aa"), Card(name="T4", uuid="GPU-bb")
    >>> [card.cuda for card in match(two, None, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}).cards]
    [None, 0]
    >>> match(two, None, {"CUDA_VISIBLE_DEVICES": ""}).all_hidden
    True
    """
    read = _from_environment(cards, environment)
    if devices is None:
        return read
    if not devices:
        return Match(_numbered(cards, ()), "torch", read.all_hidden)
    places = [_place(cards, device) for device in devices]
    if None not in places:
        return Match(_numbered(cards, places), "torch")
    if len(read.places) == len(devices) and all(
        found in (None, foreseen) for found, foreseen in zip(places, read.places, strict=True)
    ):
        return Match(read.cards, read.basis)
    return Match(_numbered(cards, places), "unknown")


@dataclass(frozen=True)
class _Read(Match):
    """What the environment alone tells: also, for each of torch's numbers, the card's place."""

    places: tuple[int, ...] = ()


def _place(cards: Sequence[Card], device: CudaDevice) -> int | None:
    """Find a device of torch's among the cards."""
    wanted = _bare(device.uuid)
    for place, card in enumerate(cards):
        if wanted and wanted in {_bare(card.uuid), *(_bare(part.uuid) for part in card.slices)}:
            return place
    slot = bus(device.pci)
    found = [place for place, card in enumerate(cards) if slot and bus(card.pci) == slot]
    return found[0] if len(found) == 1 else None


def _bare(uuid: str | None) -> str:
    return (uuid or "").lower().removeprefix("gpu-").removeprefix("mig-")


def bus(text: str | None) -> tuple[int, int, int] | None:
    """Read a PCI bus id in any of its spellings as (domain, bus, device).

    Parameters
    ----------
    text
        NVML writes "00000000:00:04.0", Linux and CUDA "0000:00:04.0", some "00:04.0".

    Examples
    --------
    >>> bus("00000000:0B:00.0") == bus("0000:0b:00")
    True
    >>> bus("") is None
    True
    """
    found = BUS.fullmatch((text or "").strip())
    if found is None:
        return None
    domain, line, device = found.groups()
    return int(domain or "0", 16), int(line, 16), int(device, 16)


def _numbered(cards: Sequence[Card], places: Sequence[int | None]) -> tuple[Card, ...]:
    """Number the cards: place i in `places` belongs to torch's device i."""
    numbers: dict[int, int] = {}
    for number, place in enumerate(places):
        if place is not None:
            numbers.setdefault(place, number)
    return tuple(replace(card, cuda=numbers.get(place)) for place, card in enumerate(cards))


def _from_environment(cards: Sequence[Card], environment: Mapping[str, str]) -> _Read:
    """Read the variables as CUDA does, as far as that is certain."""
    unknown = _Read(_numbered(cards, ()), "unknown")
    order, basis = _order(cards, environment.get("CUDA_DEVICE_ORDER", ""))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        places = order
    elif not cards:
        return unknown
    elif visible.strip().startswith(("GPU-", "MIG-")):
        places, basis = _by_uuid(cards, visible), "environment"
    else:
        numbers = _integers(visible, len(cards))
        places = None if order is None and numbers else [(order or [])[n] for n in numbers]
        basis = basis if numbers else "environment"
    if places is None or _one_of_many(cards, places):
        return unknown
    return _seen(cards, places, basis)


def _one_of_many(cards: Sequence[Card], places: Sequence[int]) -> bool:
    """Whether split cards make it uncertain what is seen: CUDA shows one MIG instance only.

    Source: "only single MIG instance enumeration is supported", CUDA C++ Programming Guide, table
    of environment variables, CUDA_VISIBLE_DEVICES.
    """
    split = [cards[place] for place in places if cards[place].mig]
    return bool(split) and (len(places) > 1 or not split[0].slices)


def _seen(cards: Sequence[Card], places: Sequence[int], basis: Basis) -> _Read:
    hidden = bool(cards) and not places
    return _Read(_numbered(cards, places), basis, hidden, tuple(places))


def _order(cards: Sequence[Card], wish: str) -> tuple[list[int] | None, Basis]:
    """Put the cards in CUDA's own order, before anything is hidden; None where nobody knows.

    CUDA's default, FASTEST_FIRST, sorts by "a simple heuristic" that NVIDIA does not describe.
    """
    if len(cards) <= 1:
        return list(range(len(cards))), "environment"
    slots = [bus(card.pci) for card in cards]
    if any(card.lost for card in cards) or None in slots:
        return None, "unknown"
    by_slot = sorted(range(len(cards)), key=lambda place: slots[place] or (0, 0, 0))
    if wish == "PCI_BUS_ID":
        return by_slot, "environment"
    kinds = {(card.name, card.capability, card.memory_total) for card in cards}
    alike = len(kinds) == 1 and cards[0].name is not None
    return (by_slot, "likely") if alike else (None, "unknown")


def _integers(visible: str, count: int) -> list[int]:
    """Read a list of integers: it ends at the first one that is no card, repeats empty it.

    Examples
    --------
    >>> _integers("0,2,-1,1", 3), _integers("-1", 3), _integers("1,1", 3), _integers("", 3)
    ([0, 2], [], [], [])
    """
    numbers: list[int] = []
    for entry in visible.split(","):
        leading = LEADING_NUMBER.match(entry.strip())
        number = int(leading.group()) if leading else -1
        if number in numbers:
            return []
        if not 0 <= number < count:
            break
        numbers.append(number)
    return numbers


def _by_uuid(cards: Sequence[Card], visible: str) -> list[int] | None:
    """Read a list of uuids or of their unique beginnings; None where it cannot be certain.

    "GPU-…" and "MIG-…" are not mixed, and of MIG instances CUDA takes the first only.
    """
    entries = [entry.strip() for entry in visible.split(",")]
    if entries[0].startswith("MIG-"):
        return _by_slice(cards, entries[0])
    places: list[int] = []
    for entry in entries:
        if entry and not entry.startswith("GPU-"):
            return None  # what CUDA does with a mixed list is not documented
        found = [i for i, card in enumerate(cards) if entry and (card.uuid or "").startswith(entry)]
        if len(found) != 1:
            unnamed = any(card.uuid is None for card in cards)
            return None if unnamed else places
        if found[0] in places:
            return []
        places += found
    return places


def _by_slice(cards: Sequence[Card], entry: str) -> list[int] | None:
    """Find the card of "MIG-<uuid>" or, before driver 470, "MIG-GPU-<uuid>/1/0"."""
    parent = entry.removeprefix("MIG-").partition("/")[0]
    for place, card in enumerate(cards):
        if card.uuid == parent or any(part.uuid == entry for part in card.slices):
            return [place]
    return None  # instances may be there that this user cannot see
