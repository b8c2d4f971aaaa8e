from __future__ import annotations

import sys
from pathlib import Path

import pynvml
import pytest

from fastmagic.gpu import nvml

from .fake_nvml import K80, T4, FakeCard, FakeLibrary


def test_a_t4_tells_everything(plug_in):
    found = nvml.look(plug_in(FakeLibrary([T4])))
    assert found.state == "answered"
    assert found.driver == "550.54.15"
    assert found.cards == (nvml.Card("Tesla T4", "GPU-4d0e", (7, 5), 15360, 3, 15357, 0, 41, 9.7),)


def test_the_cards_keep_their_order(plug_in):
    found = nvml.look(plug_in(FakeLibrary([T4, K80])))
    assert [card.name for card in found.cards] == ["Tesla T4", "Tesla K80"]


def test_a_card_that_supports_nothing_but_its_name_is_still_shown(plug_in):
    found = nvml.look(plug_in(FakeLibrary([FakeCard("GeForce GT 610")])))
    assert found.cards == (nvml.Card("GeForce GT 610"),)


def test_a_library_without_the_newer_functions_is_survived(plug_in):
    old = FakeLibrary([T4], missing=("nvmlDeviceGetPowerUsage", "nvmlSystemGetDriverVersion"))
    found = nvml.look(plug_in(old))
    assert found.driver is None
    assert found.cards[0].power is None
    assert found.cards[0].temperature == 41


def test_no_library_is_a_finding(plug_in):
    assert nvml.look(plug_in(None)).state == "no_library"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not_loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "mismatch"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "lost"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "failed"),
        (pynvml.NVML_ERROR_UNKNOWN, "failed"),
    ],
)
def test_a_library_that_does_not_start_is_a_finding(plug_in, code, state):
    found = nvml.look(plug_in(FakeLibrary([T4], init=code)))
    assert found.state == state
    assert found.words


def test_a_missing_pynvml_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.look().state == "no_package"


def test_a_lost_card_does_not_hide_the_others(plug_in):
    found = nvml.look(plug_in(FakeLibrary([FakeCard(lost=True), T4])))
    assert [card.lost for card in found.cards] == [True, False]
    assert found.cards[1].name == "Tesla T4"


def test_the_pci_list_tells_whether_a_card_is_there(tmp_path: Path):
    slot = tmp_path / "0000:00:04.0"
    slot.mkdir()
    assert nvml.card_in_slot(tmp_path) is False
    (slot / "vendor").write_text("0x10de\n")
    (slot / "class").write_text("0x030200\n")
    assert nvml.card_in_slot(tmp_path) is True
