from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fastmagic.gpu import cards, nvml, processes
from fastmagic.gpu.processes import Holder, Neighbours

from .fake_nvml import T4, FakeCard, FakeLibrary, colab_t4, split_h100, two_k80

NAMES = {70: "python3", 71: "Xorg"}


@pytest.fixture
def machine(tmp_path: Path):
    """Make the processes seen from here: of the first namespace or of a container."""

    def make(container: bool = False, cuda: bool = False, wsl: bool = False) -> Neighbours:
        me = tmp_path / "self"
        for folder in ("ns", "fd", "task"):
            (me / folder).mkdir(parents=True)
        inode = 4026532000 if container else 4026531836
        (me / "ns" / "pid").symlink_to(f"pid:[{inode}]")
        (me / "fd" / "3").symlink_to("/dev/nvidiactl")
        if cuda or wsl:
            (me / "fd" / "4").symlink_to("/dev/dxg" if wsl else "/dev/nvidia-uvm")
        (me / "task" / "70").mkdir()
        (me / "task" / "75").mkdir()
        return Neighbours(me=70, proc=tmp_path, name_of=NAMES.get, windows=False)

    return make


def _holders(plug_in, neighbours, *held, graphics=()):
    card = replace(T4, processes=held, graphics=graphics)
    found = nvml.look(plug_in(FakeLibrary([card])), neighbours=neighbours)
    return found.cards[0].holders, found.foreign


def test_an_idle_card_is_held_by_nobody_though_the_driver_keeps_memory(plug_in):
    card = nvml.look(plug_in(colab_t4())).cards[0]
    assert (card.memory_used, card.memory_reserved, card.memory_free) == (0, 450, 14910)
    assert card.memory_total == card.memory_used + card.memory_reserved + card.memory_free


def test_before_driver_510_what_the_driver_keeps_is_part_of_used(plug_in):
    library = two_k80()
    library.cards[0] = replace(library.cards[0], reserved=60)
    card = nvml.look(plug_in(library)).cards[0]
    assert (card.memory_used, card.memory_reserved, card.memory_free) == (63, None, 11378)


def test_power_slot_and_errors_are_told(plug_in):
    card = nvml.look(plug_in(colab_t4())).cards[0]
    assert (card.pci, card.power_limit, card.ecc_errors) == ("00000000:00:04.0", 70.0, 0)
    assert (card.mig, card.slices, card.throttled, card.holders) == (None, (), (), ())


def test_errors_are_not_told_where_the_check_is_switched_off(plug_in):
    off = nvml.look(plug_in(FakeLibrary([replace(T4, ecc=5, ecc_on=False)]))).cards[0]
    on = nvml.look(plug_in(FakeLibrary([replace(T4, ecc=5)]))).cards[0]
    assert (off.ecc_errors, on.ecc_errors) == (None, 5)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (0, ()),
        (0x1 | 0x2 | 0x100, ()),
        (0x4, ("power limit reached",)),
        (0x8, (cards.UNNAMED_SLOWDOWN,)),
        (0x8 | 0x80, (cards.REASONS[0x80],)),
        (0x10 | 0x20, (cards.REASONS[0x20], cards.REASONS[0x10])),
        (0x1000, ()),
    ],
)
def test_only_what_holds_the_clocks_down_is_told(plug_in, mask, told):
    card = nvml.look(plug_in(FakeLibrary([replace(T4, clocks=mask)]))).cards[0]
    assert card.throttled == told


def test_clocks_are_asked_under_their_older_name_too(plug_in):
    library = FakeLibrary([replace(T4, clocks=0x4)])
    library.missing = ("nvmlDeviceGetCurrentClocksEventReasons",)
    assert nvml.look(plug_in(library)).cards[0].throttled == ("power limit reached",)


def test_a_split_card_shows_its_instances(plug_in):
    card = nvml.look(plug_in(split_h100())).cards[0]
    assert card.mig is True
    assert [part.index for part in card.slices] == [0, 2]
    assert [part.name for part in card.slices] == ["NVIDIA H100 80GB HBM3 MIG 3g.40gb"] * 2
    assert [part.memory_free for part in card.slices] == [40448, 40348]
    assert card.memory_total is None  # only the administrator may ask the whole card
    assert card.utilisation is None


@pytest.mark.parametrize("administrator", [True, False])
def test_a_split_card_tells_who_holds_it_to_everybody(plug_in, administrator):
    card = nvml.look(plug_in(split_h100(administrator))).cards[0]
    assert [(one.pid, one.memory) for one in card.holders] == [(4001, 100), (4000, 0)]


def test_a_process_with_two_contexts_is_one_holder(plug_in, machine):
    found, foreign = _holders(plug_in, machine(), (70, 300), graphics=((70, 300), (71, 20)))
    assert found == (Holder(70, 300, "python3", True), Holder(71, 20, "Xorg", False))
    assert not foreign


def test_memory_that_the_driver_does_not_tell_is_none(plug_in, machine):
    assert _holders(plug_in, machine(), (71, None))[0] == (Holder(71, None, "Xorg", False),)


def test_a_process_that_cannot_be_seen_has_no_name(plug_in, machine):
    assert _holders(plug_in, machine(), (999, 5))[0] == (Holder(999, 5, None, False),)


def test_processes_that_cannot_be_asked_are_none(plug_in):
    assert nvml.look(plug_in(FakeLibrary([T4]))).cards[0].holders is None


def test_in_a_container_another_process_with_the_hosts_number_gives_no_name(plug_in, machine):
    found, foreign = _holders(plug_in, machine(container=True), (71, 500), (70, 20))
    assert found == (Holder(71, 500, None, False), Holder(70, 20, None, False))
    assert foreign


def test_in_a_container_with_cuda_open_it_stays_open_which_holder_we_are(plug_in, machine):
    found, foreign = _holders(plug_in, machine(container=True, cuda=True), (4711, 500))
    assert found == (Holder(4711, 500, None, None),)
    assert foreign


def test_a_driver_that_translates_for_the_container_is_believed(plug_in, machine):
    found, foreign = _holders(plug_in, machine(container=True, cuda=True), (70, 500), (71, 9))
    assert found == (Holder(70, 500, "python3", True), Holder(71, 9, "Xorg", False))
    assert not foreign


def test_a_translated_number_may_be_that_of_one_of_our_threads(plug_in, machine):
    found, _ = _holders(plug_in, machine(container=True, cuda=True), (75, 500))
    assert found == (Holder(75, 500, "python3", True),)


def test_one_number_unknown_here_makes_all_of_them_doubtful(plug_in, machine):
    found, foreign = _holders(plug_in, machine(container=True, cuda=True), (70, 500), (4711, 9))
    assert [one.name for one in found] == [None, None]
    assert foreign


def test_on_windows_linux_it_stays_open_whether_we_hold_the_card(plug_in, machine):
    found, _ = _holders(plug_in, machine(container=True, wsl=True), (4711, 500))
    assert found[0].here is None


def test_without_a_proc_folder_numbers_are_believed_on_windows_only(tmp_path):
    nowhere = Neighbours(me=70, proc=tmp_path, name_of=NAMES.get, windows=False)
    assert processes.ours([70], nowhere) is False
    assert nowhere.cuda() is None
    assert processes.ours([70], replace(nowhere, windows=True)) is True


def test_this_very_process_is_found_by_its_real_name():
    neighbours = Neighbours()
    me = Holder(os.getpid(), 100)
    (found,) = processes.introduce((me,), True, neighbours)
    assert found.here
    assert found.name
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (other,) = processes.introduce((Holder(child.pid),), True, neighbours)
        assert (other.name is not None, other.here) == (True, False)
    finally:
        child.communicate(b"\n")
    (gone,) = processes.introduce((Holder(child.pid),), True, neighbours)
    assert gone.name is None


def test_a_card_whose_memory_is_unknown_is_still_asked_the_rest(plug_in):
    card = nvml.look(plug_in(FakeLibrary([FakeCard("A", power=1000, power_limit=2000)]))).cards[0]
    assert (card.memory_total, card.power, card.power_limit) == (None, 1.0, 2.0)
