from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from fastmagic.gpu import nvml
from fastmagic.gpu.processes import Neighbours

from .fake_nvml import (
    BARE,
    K80,
    T4,
    Failure,
    FakeCard,
    FakeLibrary,
    bare_card,
    colab_t4,
    kaggle_p100,
    sixteen_v100,
    split_h100,
    two_k80,
)

MACHINES = (two_k80, colab_t4, kaggle_p100, split_h100, bare_card, sixteen_v100)
FAULTS = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_UNKNOWN,
    pynvml.NVML_ERROR_NO_PERMISSION,
)
NOBODY = Neighbours(proc=Path("nowhere"), windows=False)  # the machine's own processes stay out
WITHOUT_WHICH_NOTHING = (
    "nvmlInitWithFlags",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
)
SPLIT = {"slices", "holders"}  # instances answer the same questions as cards
MEMORY = {"memory_total", "memory_used", "memory_free", "memory_reserved"} | SPLIT
TELLS = {  # the fields that a C function fills; every other must survive without it
    "nvmlDeviceGetName": {"name"} | SPLIT,
    "nvmlDeviceGetUUID": {"uuid"} | SPLIT,
    "nvmlDeviceGetPciInfo_v3": {"pci"},
    "nvmlDeviceGetCudaComputeCapability": {"capability"},
    "nvmlDeviceGetMemoryInfo": MEMORY,
    "nvmlDeviceGetMemoryInfo_v2": MEMORY,
    "nvmlDeviceGetUtilizationRates": {"utilisation"},
    "nvmlDeviceGetTemperature": {"temperature"},
    "nvmlDeviceGetPowerUsage": {"power"},
    "nvmlDeviceGetEnforcedPowerLimit": set(),  # its older name answers instead
    "nvmlDeviceGetEccMode": {"ecc_errors"},
    "nvmlDeviceGetTotalEccErrors": {"ecc_errors"},
    "nvmlDeviceGetCurrentClocksEventReasons": set(),
    "nvmlDeviceGetCurrentClocksThrottleReasons": {"throttled"},
    "nvmlDeviceGetMigMode": {"mig"} | SPLIT,
    "nvmlDeviceGetMaxMigDeviceCount": SPLIT,
    "nvmlDeviceGetMigDeviceHandleByIndex": SPLIT,
    "nvmlDeviceGetComputeRunningProcesses_v2": {"holders"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"holders"},
}


def test_a_t4_tells_everything(plug_in):
    found = nvml.look(plug_in(FakeLibrary([T4])))
    assert found.state == "answered"
    assert found.driver == "550.54.15"
    assert found.cuda == "12.4"
    facts = ("Tesla T4", "GPU-4d0e", (7, 5), 15360, 3, 15357, 0, 41, 9.7)
    assert found.cards == (nvml.Card(*facts, index=0, memory_reserved=0),)


def test_the_cards_keep_their_order(plug_in):
    found = nvml.look(plug_in(FakeLibrary([T4, K80])))
    assert [card.name for card in found.cards] == ["Tesla T4", "Tesla K80"]
    assert [card.index for card in found.cards] == [0, 1]


def test_a_card_that_supports_nothing_but_its_name_is_still_shown(plug_in):
    assert nvml.look(plug_in(FakeLibrary([BARE]))).cards == (nvml.Card("GeForce GT 610", index=0),)


@pytest.mark.parametrize("count", [0, 16])
def test_none_and_sixteen_cards_are_numbers_like_others(plug_in, count):
    library = sixteen_v100() if count else FakeLibrary()
    found = nvml.look(plug_in(library))
    assert found.state == "answered"
    assert [card.index for card in found.cards] == list(range(count))
    assert len({card.uuid for card in found.cards}) == count


def test_two_dies_of_a_k80_are_read_on_driver_470(plug_in):
    found = nvml.look(plug_in(two_k80()))
    assert (found.driver, found.cuda) == ("470.256.02", "11.4")
    assert [card.memory_total for card in found.cards] == [11441, 11441]
    assert [card.memory_reserved for card in found.cards] == [None, None]
    assert [card.holders for card in found.cards] == [(), ()]


def test_a_library_without_the_newer_functions_is_survived(plug_in):
    old = FakeLibrary([T4], missing=("nvmlDeviceGetPowerUsage", "nvmlSystemGetDriverVersion"))
    found = nvml.look(plug_in(old))
    assert found.driver is None
    assert found.cards[0].power is None
    assert found.cards[0].temperature == 41


def test_the_cuda_version_is_asked_under_its_older_name_too(plug_in):
    old = FakeLibrary([T4], cuda=11080, missing=("nvmlSystemGetCudaDriverVersion_v2",))
    assert nvml.look(plug_in(old)).cuda == "11.8"


def test_no_library_is_a_finding(plug_in):
    assert nvml.look(plug_in(None)).state == "no_library"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not_loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "mismatch"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "lost"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "permission"),
        (pynvml.NVML_ERROR_UNKNOWN, "failed"),
        (12345, "failed"),
    ],
)
def test_a_library_that_does_not_start_is_a_finding(plug_in, code, state):
    found = nvml.look(plug_in(FakeLibrary([T4], init=code)))
    assert found.state == state
    assert found.words


def test_a_library_too_old_for_pynvml_is_a_finding(plug_in):
    found = nvml.look(plug_in(FakeLibrary([T4], missing=("nvmlInitWithFlags",))))
    assert found.state == "too_old"


@pytest.mark.parametrize(
    ("code", "state"),
    [(pynvml.NVML_ERROR_UNKNOWN, "failed"), (pynvml.NVML_ERROR_GPU_IS_LOST, "lost")],
)
def test_cards_that_cannot_be_counted_leave_the_driver_known(plug_in, code, state):
    found = nvml.look(plug_in(FakeLibrary([T4], errors={"nvmlDeviceGetCount_v2": code})))
    assert (found.state, found.driver, found.cuda) == (state, "550.54.15", "12.4")
    assert found.words
    assert found.cards == ()


def test_a_missing_pynvml_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.look().state == "no_package"


def test_a_lost_card_does_not_hide_the_others(plug_in):
    found = nvml.look(plug_in(FakeLibrary([FakeCard(lost=True), T4])))
    assert [card.lost for card in found.cards] == [True, False]
    assert found.cards[0].words == "GPU is lost"
    assert found.cards[1].name == "Tesla T4"


def test_a_card_that_may_not_be_opened_does_not_hide_the_others(plug_in):
    refused = replace(T4, errors={"nvmlDeviceGetHandleByIndex_v2": 4})
    found = nvml.look(plug_in(FakeLibrary([refused, T4])))
    assert found.state == "answered"
    assert found.cards[0] == nvml.Card(index=0, words="Insufficient Permissions")
    assert found.cards[1].name == "Tesla T4"


@pytest.mark.parametrize("after", range(1, 22))
def test_a_card_lost_between_two_calls_keeps_what_it_had_answered(plug_in, after):
    whole = nvml.look(plug_in(colab_t4())).cards[0]
    library = colab_t4()
    library.lose(0, after)
    found = nvml.look(plug_in(library))
    card = found.cards[0]
    assert found.state == "answered"
    assert card.lost == (whole != card)
    kept = {name: value for name, value in vars(card).items() if name != "lost" and value}
    assert kept.items() <= vars(whole).items()


def test_a_lost_card_is_not_asked_any_more(plug_in):
    library = colab_t4()
    library.lose(0, after=1)
    asked = _count_calls(library)
    nvml.look(plug_in(library))
    assert len([name for name in asked if name.startswith("nvmlDevice")]) == 3  # count, handle, one


@pytest.mark.parametrize("machine", MACHINES)
def test_the_machines_answer_their_questions(plug_in, machine):
    """Guards the test below: a machine that answers nothing could lose nothing."""
    card = nvml.look(plug_in(machine())).cards[0]
    told = [name for name, value in vars(card).items() if value not in (None, "", False, ())]
    assert len(told) >= (1 if machine is bare_card else 8)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_single_question_may_fail(plug_in, machine, fault):
    whole = nvml.look(plug_in(machine()), neighbours=NOBODY)
    for question in _questions(machine()):
        library = machine()
        library.errors[question] = fault
        found = nvml.look(plug_in(library), neighbours=NOBODY)
        assert found.state == "answered", question
        assert len(found.cards) == len(whole.cards)
        for card, before in zip(found.cards, whole.cards, strict=True):
            missing = {name for name in vars(card) if getattr(card, name) != getattr(before, name)}
            assert missing <= TELLS.get(question, set()), question


@pytest.mark.parametrize("machine", MACHINES)
def test_every_single_function_may_be_missing(plug_in, machine):
    for question in _questions(machine()):
        library = machine()
        library.missing += (question,)
        assert nvml.look(plug_in(library), neighbours=NOBODY).state == "answered", question


def test_a_question_that_fails_once_is_answered_the_next_time(plug_in):
    library = FakeLibrary([T4], errors={"nvmlDeviceGetTemperature": Failure(999, times=1)})
    module = plug_in(library)
    assert nvml.look(module).cards[0].temperature is None
    assert nvml.look(module).cards[0].temperature == 41


def test_an_older_pynvml_is_survived(plug_in, monkeypatch):
    module = plug_in(colab_t4())
    for name in ("nvmlMemory_v2", "nvmlDeviceGetCurrentClocksEventReasons"):
        monkeypatch.delattr(module, name)
    card = nvml.look(module).cards[0]
    assert (card.memory_used, card.memory_reserved, card.throttled) == (450, None, ())


def test_text_that_is_not_utf8_is_no_answer(plug_in):
    class Garbled(FakeLibrary):
        def _nvmlDeviceGetName(self, handle, text, length):
            text.value = b"Tesla \xff\xfe"
            return 0

    card = nvml.look(plug_in(Garbled([T4]))).cards[0]
    assert (card.name, card.uuid) == (None, "GPU-4d0e")


def test_without_processes_none_are_listed(plug_in):
    library = colab_t4()
    asked = _count_calls(library)
    assert nvml.look(plug_in(library), processes=False).cards[0].holders is None
    assert not any("Processes" in name for name in asked)


def test_the_library_is_closed_as_often_as_it_is_opened(plug_in):
    library = colab_t4()
    asked = _count_calls(library)
    module = plug_in(library)
    with nvml.opened(module), nvml.opened(module):
        pass
    with pytest.raises(KeyError), nvml.opened(module):
        raise KeyError
    assert asked.count("nvmlInitWithFlags") == asked.count("nvmlShutdown") == 3


def test_a_lost_card_is_known_by_either_code():
    codes = nvml.lost_codes(pynvml)
    assert codes == {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}


def test_many_threads_may_look_at_once(plug_in):
    module, found = plug_in(split_h100()), []
    once = nvml.look(module, neighbours=NOBODY)
    threads = [
        threading.Thread(target=lambda: found.append(nvml.look(module, neighbours=NOBODY)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [once] * 8


def test_the_pci_list_tells_whether_a_card_is_there(tmp_path: Path):
    slot = tmp_path / "0000:00:04.0"
    slot.mkdir()
    assert nvml.card_in_slot(tmp_path) is False
    (slot / "vendor").write_text("0x10de\n")
    (slot / "class").write_text("0x030200\n")
    assert nvml.card_in_slot(tmp_path) is True


@pytest.mark.gpu
def test_a_real_card_says_what_nvidia_smi_says():
    query = ["nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()
    found = nvml.look()
    assert found.state == "answered"
    told = [f"{card.uuid}, {card.name}, {card.memory_total}" for card in found.cards]
    assert told == [line.strip() for line in lines]
    for card in found.cards:
        parts = (card.memory_used, card.memory_free, card.memory_reserved or 0)
        assert abs(card.memory_total - sum(parts)) <= 3


def _count_calls(library: FakeLibrary) -> list[str]:
    """Note the names of the C functions that are called from now on."""
    asked: list[str] = []
    inner = library.failure

    def noted(name: str) -> int:
        asked.append(name)
        return inner(name)

    library.failure = noted
    return asked


def _questions(library: FakeLibrary) -> list[str]:
    """Name every C function that a look asks of this machine, but for starting and counting."""
    asked = _count_calls(library)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynvml, "nvmlLib", library)
        patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        nvml.look(pynvml)
    kept = [name for name, _ in itertools.groupby(sorted(asked))]
    return [name for name in kept if name not in WITHOUT_WHICH_NOTHING]


@pytest.mark.parametrize(
    ("package", "missing"),
    [
        (types.SimpleNamespace(), "NVMLError"),
        (types.SimpleNamespace(NVMLError=pynvml.NVMLError), "nvmlInit"),
    ],
)
def test_a_package_too_old_is_no_broken_driver(package, missing):
    look = nvml.look(package)
    assert look.state == "no_package"
    assert missing in look.words
