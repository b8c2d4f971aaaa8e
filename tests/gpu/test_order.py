from __future__ import annotations

from dataclasses import dataclass

import pytest

from fastmagic.gpu import order
from fastmagic.gpu.cards import Card, Slice


@dataclass
class Device:
    uuid: str = ""
    pci: str = ""


A100 = Card("A100", "GPU-aaaa1111-00", (8, 0), 40960, pci="00000000:81:00.0")
T4 = Card("T4", "GPU-bbbb2222-00", (7, 5), 15360, pci="00000000:04:00.0")
TWIN = Card("T4", "GPU-bbbb3333-00", (7, 5), 15360, pci="00000000:03:00.0")
HALVES = Slice(0, uuid="MIG-cccc-0"), Slice(1, uuid="MIG-cccc-1")
SPLIT = Card("H100", "GPU-dddd4444-00", (9, 0), pci="0:5:00.0", mig=True, slices=HALVES)


def numbers(cards, devices=None, visible=None, wish=None):
    environment = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": wish}
    found = order.match(
        cards, devices, {name: text for name, text in environment.items() if text is not None}
    )
    return [card.cuda for card in found.cards], found.basis


def test_the_uuid_decides_though_torch_writes_it_without_its_beginning():
    devices = [Device("AAAA1111-00", "0000:04:00"), Device("bbbb2222-00")]
    assert numbers([T4, A100], devices) == ([1, 0], "torch")


def test_without_uuids_the_slot_decides_in_any_spelling():
    devices = [Device(pci="0000:81:00"), Device(pci="04:00.0")]
    assert numbers([T4, A100], devices) == ([1, 0], "torch")


def test_a_card_that_torch_does_not_see_has_no_number():
    assert numbers([T4, A100, TWIN], [Device("aaaa1111-00")]) == ([None, 0, None], "torch")


def test_torch_that_sees_nothing_numbers_nothing_and_hides_nothing():
    found = order.match([T4], [], {})
    assert (found.cards[0].cuda, found.basis, found.all_hidden) == (None, "torch", False)
    assert order.match([T4], [], {"CUDA_VISIBLE_DEVICES": "-1"}).all_hidden


def test_the_environment_helps_where_torch_cannot_name_its_only_device():
    assert numbers([T4], [Device()]) == ([0], "environment")
    assert numbers([T4, TWIN], [Device(), Device()]) == ([1, 0], "likely")
    assert numbers([T4, A100], [Device(), Device()]) == ([None, None], "unknown")


def test_the_environment_is_not_believed_against_torch():
    devices = [Device("bbbb2222-00"), Device("of another world")]
    assert numbers([T4, TWIN], devices) == ([0, None], "unknown")


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("GPU-aaaa1111-00", [None, 0]),
        ("GPU-aaaa,GPU-bbbb", [1, 0]),
        ("GPU-bbbb2222-00,GPU-nobody,GPU-aaaa", [0, None]),
        ("GPU-aaaa,GPU-aaaa1", [None, None]),
        ("GPU-nobody", [None, None]),
    ],
)
def test_uuids_and_their_beginnings_are_certain(visible, seen):
    assert numbers([T4, A100], visible=visible) == (seen, "environment")


def test_a_beginning_that_fits_two_cards_is_invalid():
    assert numbers([T4, TWIN, A100], visible="GPU-aaaa,GPU-bbbb,GPU-bbbb2") == (
        [None, None, 0],
        "environment",
    )


def test_mixed_lists_and_cards_without_uuid_are_not_certain():
    assert numbers([T4, A100], visible="GPU-aaaa,0")[1] == "unknown"
    assert numbers([T4, Card("A100")], visible="GPU-aaaa")[1] == "unknown"


@pytest.mark.parametrize("visible", ["", " ", "-1", "NoDevFiles", "2", "0,0", "-1,0", "GPU-none"])
def test_every_card_can_be_hidden(visible):
    found = order.match([T4, A100], None, {"CUDA_VISIBLE_DEVICES": visible})
    assert found.all_hidden
    assert found.known


def test_nothing_is_hidden_where_there_is_nothing():
    assert not order.match([], None, {"CUDA_VISIBLE_DEVICES": ""}).all_hidden
    assert not order.match([], None, {}).all_hidden


def test_different_cards_in_cudas_default_order_are_not_certain():
    assert numbers([T4, A100]) == ([None, None], "unknown")
    assert numbers([T4, A100], visible="0") == ([None, None], "unknown")


def test_in_the_order_of_the_slots_integers_are_certain():
    assert numbers([A100, T4, TWIN], wish="PCI_BUS_ID") == ([2, 1, 0], "environment")
    assert numbers([A100, T4, TWIN], visible="2,0,-1,1", wish="PCI_BUS_ID") == (
        [0, None, 1],
        "environment",
    )


def test_cards_that_are_alike_are_likely_in_the_order_of_the_slots():
    found = order.match([T4, TWIN], None, {"CUDA_VISIBLE_DEVICES": "1"})
    assert [card.cuda for card in found.cards] == [0, None]
    assert (found.basis, found.known) == ("likely", False)


def test_one_card_is_certain():
    assert numbers([T4]) == ([0], "environment")
    assert numbers([T4], visible="0") == ([0], "environment")
    assert numbers([T4], visible=" 0 , 1") == ([0], "environment")


def test_a_lost_card_or_a_missing_slot_leaves_the_order_open():
    assert numbers([T4, Card(lost=True)], wish="PCI_BUS_ID")[1] == "unknown"
    assert numbers([T4, Card("T4", "GPU-x", (7, 5), 15360)])[1] == "unknown"


def test_an_instance_counts_as_its_card():
    assert numbers([T4, SPLIT], [Device("cccc-1")]) == ([None, 0], "torch")
    assert numbers([T4, SPLIT], visible="MIG-cccc-1") == ([None, 0], "environment")
    assert numbers([T4, SPLIT], visible="MIG-GPU-dddd4444-00/1/0") == ([None, 0], "environment")
    assert numbers([T4, SPLIT], [Device("of the instance", "0000:05:00")]) == ([None, 0], "torch")


def test_of_two_instances_only_the_first_is_seen():
    other = Card("H100", "GPU-ffff", mig=True, slices=(Slice(0, uuid="MIG-eeee"),))
    assert numbers([SPLIT, other], visible="MIG-eeee,MIG-cccc-0") == ([None, 0], "environment")


def test_split_cards_among_others_are_not_certain():
    assert numbers([SPLIT]) == ([0], "environment")
    assert numbers([T4, SPLIT], wish="PCI_BUS_ID")[1] == "unknown"
    assert numbers([T4, SPLIT], visible="0", wish="PCI_BUS_ID") == ([0, None], "environment")
    assert numbers([T4, SPLIT], visible="MIG-of-somebody")[1] == "unknown"
    unsplit = Card("H100", "GPU-dddd4444-00", mig=True)
    assert numbers([unsplit])[1] == "unknown"


def test_sixteen_cards_are_numbered_by_uuid():
    cards = [Card("V100", f"GPU-{n:02d}") for n in range(16)]
    devices = [Device(f"{n:02d}") for n in reversed(range(16))]
    assert numbers(cards, devices) == (list(reversed(range(16))), "torch")
