from __future__ import annotations

import sys
import types
from collections import Counter
from dataclasses import replace

import pynvml
import pytest

from fastmagic.gpu import sensors
from fastmagic.gpu.sensors import GpuSample, HostReadings, Sensors, Space, this_host

from .fake_nvml import T4, FakeCard, FakeLibrary

HOST = HostReadings(lambda: Space(13000, 4000, 9000), lambda: 1500, lambda: Space(5800, 120, 5680))


@pytest.fixture
def count(monkeypatch):
    """Count the questions behind pynvml's cache of functions."""
    asked = Counter()
    plain = pynvml._nvmlGetFunctionPointer

    def counted(name):
        asked[name] += 1
        return plain(name)

    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer", counted)
    return asked


def test_a_slow_reading_tells_everything(plug_in):
    sensors = Sensors(plug_in(FakeLibrary([replace(T4, utilisation=87)])), HOST)
    sample = sensors.read()
    assert sample.gpus == (GpuSample(87, 3, 41, 9.7),)
    assert (sample.ram_used, sample.ram_available, sample.rss) == (4000, 9000, 1500)
    assert sample.shm_used == 120
    assert (sensors.ram_limit, sensors.shm_size, sensors.note) == (13000, 5800, "")
    assert [card.name for card in sensors.cards] == ["Tesla T4"]
    sensors.close()


def test_a_fast_reading_asks_for_utilisation_and_memory_alone(plug_in, count):
    sensors = Sensors(plug_in(FakeLibrary([T4])), HOST)
    count.clear()
    sample = sensors.read(slow=False)
    assert sample.gpus == (GpuSample(0, 3),)
    assert sample.rss is None
    assert sum(count.values()) == 2


def test_what_is_not_supported_is_asked_once(plug_in, count):
    sensors = Sensors(plug_in(FakeLibrary([FakeCard("GeForce GT 610", memory=(1024, 9))])), HOST)
    for _ in range(5):
        assert sensors.read().gpus == (GpuSample(None, 9),)
    assert count["nvmlDeviceGetUtilizationRates"] == 1
    assert count["nvmlDeviceGetPowerUsage"] == 1


def test_what_fails_for_once_is_asked_again(plug_in):
    library = FakeLibrary([replace(T4)])
    sensors = Sensors(plug_in(library), HOST)
    library.errors["nvmlDeviceGetUtilizationRates"] = int(pynvml.NVML_ERROR_UNKNOWN)
    assert sensors.read().gpus[0].utilisation is None
    library.errors.clear()
    assert sensors.read().gpus[0].utilisation == 0


def test_processes_are_never_listed(plug_in, count):
    sensors = Sensors(plug_in(FakeLibrary([replace(T4, processes=((1, 100),))])), HOST)
    sensors.read()
    assert count
    assert not [name for name in count if "Processes" in name]


@pytest.mark.parametrize("after", range(4))
def test_a_gpu_lost_at_any_question_is_told_once_and_the_rest_goes_on(plug_in, after):
    library = FakeLibrary([replace(T4), replace(T4)])
    sensors = Sensors(plug_in(library), HOST)
    assert sensors.read().lost == ()
    library.lose(0, after)
    samples = [sensors.read() for _ in range(3)]
    assert [sample.lost for sample in samples] == [(0,), (), ()]
    assert samples[1].gpus == (GpuSample(), GpuSample(0, 3, 41, 9.7))
    assert samples[2].ram_used == 4000


def test_a_gpu_lost_before_the_beginning_is_told_too(plug_in):
    sensors = Sensors(plug_in(FakeLibrary([FakeCard(lost=True), T4])), HOST)
    assert sensors.read().lost == (0,)
    assert sensors.cards[1].name == "Tesla T4"


def test_without_a_library_the_host_is_watched_and_it_is_said_why(plug_in):
    sensors = Sensors(plug_in(None), HOST)
    assert sensors.read().ram_used == 4000
    assert sensors.cards == ()
    assert sensors.note == "No GPU was watched: no NVIDIA driver is installed here."


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not running"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "different versions"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "does not let"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "lost"),
        (pynvml.NVML_ERROR_UNKNOWN, "error 999"),
    ],
)
def test_a_library_that_does_not_start_is_said_in_plain_words(plug_in, code, words):
    sensors = Sensors(plug_in(FakeLibrary([T4], init=int(code))), HOST)
    assert words in sensors.note
    assert sensors.read().gpus == ()


def test_a_driver_without_cards_and_a_missing_package_are_said(plug_in, monkeypatch):
    assert "shows none" in Sensors(plug_in(FakeLibrary([])), HOST).note
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in Sensors(host=HOST).note


def test_the_library_is_let_go_as_often_as_it_was_taken(plug_in, count):
    sensors = Sensors(plug_in(FakeLibrary([T4])), HOST)
    sensors.close()
    sensors.close()
    assert (count["nvmlInitWithFlags"], count["nvmlShutdown"]) == (1, 1)


def test_this_host_tells_its_memory():
    here = this_host()
    memory = here.memory()
    assert memory is not None
    assert 0 < memory.used < memory.total
    before = here.rss()
    block = bytearray(80 * 2**20)
    assert here.rss() >= before + 70
    del block
    here.close()


def test_linux_tells_what_psutil_tells():
    psutil = pytest.importorskip("psutil")
    try:
        system = sensors._Proc()
    except OSError:
        pytest.skip("there is no /proc here")
    total, available = system.memory()
    assert total == psutil.virtual_memory().total // 2**20
    assert abs(available - psutil.virtual_memory().available // 2**20) < 1024
    assert abs(system.rss() - psutil.Process().memory_info().rss // 2**20) < 64
    system.close()
    with pytest.raises(ValueError, match="closed file"):
        system.rss()


def test_a_linux_too_old_to_tell_what_is_available_is_asked_by_psutil(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").write_text("100 50 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 4 kB\nMemFree: 3 kB\nBuffers: 1 kB\n")
    with pytest.raises(ValueError, match="MemAvailable"):
        sensors._Proc(tmp_path)


def test_the_host_is_let_go_with_the_sensors(plug_in):
    closed = []
    opened = Sensors(plug_in(None), replace(HOST, close=lambda: closed.append(1)))
    opened.close()
    opened.close()
    assert closed == [1]


def test_a_host_that_tells_nothing_is_survived(plug_in):
    silent = HostReadings(lambda: None, lambda: None, lambda: None)
    sample = Sensors(plug_in(None), silent).read()
    assert (sample.ram_used, sample.rss, sample.shm_used) == (None, None, None)


@pytest.mark.gpu
def test_a_real_gpu_is_read():
    sensors = Sensors()
    assert sensors.note == ""
    sample = sensors.read()
    assert sample.gpus[0].memory is not None
    sensors.close()


def test_a_package_too_old_is_named_as_the_cause():
    assert Sensors(types.SimpleNamespace(), HOST).note.endswith("nvidia-ml-py is too old.")
