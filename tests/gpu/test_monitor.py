"""The monitor on real threads and in real processes, over a fake library beneath pynvml."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from fastmagic.faces import plain
from fastmagic.gpu import Monitor
from fastmagic.gpu.samples import read_csv
from fastmagic.gpu.sensors import HostReadings, Space

from .fake_nvml import T4, FakeLibrary, sixteen_v100

ROOT = Path(__file__).resolve().parents[2]
HOST = HostReadings(lambda: Space(13000, 4000, 9000), lambda: 1500, lambda: Space(5800, 120, 5680))
QUICK = {"host": HOST, "fast": 0.01, "slow": 0.02}


def wait_for(true, seconds=20.0):
    """Wait until it is true; a test that hangs ends here."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def counted(monitor, count):
    return lambda: monitor.summary().samples >= count


def test_a_summary_tells_of_the_cards_and_the_host(plug_in):
    pynvml = plug_in(FakeLibrary([replace(T4, utilisation=80)]))
    with Monitor(nvml=pynvml, **QUICK) as monitor:
        wait_for(counted(monitor, 8))
    summary = monitor.summary()
    gpu = summary.gpus[0]
    assert (gpu.name, gpu.uuid, gpu.memory_total, gpu.memory_peak) == (
        "Tesla T4",
        "GPU-4d0e",
        15360,
        3,
    )
    assert (gpu.utilisation_mean, gpu.temperature_peak, gpu.power_mean) == (80.0, 41, 9.7)
    assert gpu.lost_after_s is None
    assert (summary.ram_peak, summary.ram_limit, summary.rss_peak) == (4000, 13000, 1500)
    assert (summary.shm_peak, summary.shm_size, summary.note) == (120, 5800, "")
    assert summary.seconds > 0
    assert monitor.trouble == ""
    assert json.loads(json.dumps(plain(summary)))["gpus"][0]["name"] == "Tesla T4"


def test_the_shortest_block_still_has_a_sample(plug_in):
    with Monitor(nvml=plug_in(FakeLibrary([T4])), **QUICK) as monitor:
        pass
    assert monitor.summary().samples >= 1
    assert monitor.summary().gpus[0].memory_peak == 3


def test_use_is_read_four_times_a_second_and_what_changes_slowly_once(plug_in):
    with Monitor(nvml=plug_in(FakeLibrary([T4])), host=HOST) as monitor:
        time.sleep(1.1)
    often, seldom = (monitor.samples.series(f"gpu0_{of}") for of in ("utilisation", "power_w"))
    assert 3 <= len(often) <= 6  # at 0, 0.25 … 1 s and at the end
    assert 2 <= len(seldom) <= 3


def test_without_a_library_the_host_is_watched(plug_in):
    with Monitor(nvml=plug_in(None), **QUICK) as monitor:
        wait_for(counted(monitor, 3))
    summary = monitor.summary()
    assert summary.gpus == ()
    assert summary.ram_peak == 4000
    assert "No GPU was watched" in summary.note
    assert summary.sentences()[-1] == summary.note


def test_the_thread_ends_with_the_block_also_after_an_error(plug_in):
    module = plug_in(FakeLibrary([T4]))
    with pytest.raises(ZeroDivisionError), Monitor(nvml=module, **QUICK):
        1 / 0  # noqa: B018
    assert "fastmagic-monitor" not in [thread.name for thread in threading.enumerate()]


def test_a_lost_gpu_is_told_once_by_the_thread_that_leaves_the_block(plug_in):
    library = FakeLibrary([replace(T4), replace(T4)])
    told = []

    def tell(words):
        told.append((words, threading.current_thread() is threading.main_thread()))

    with Monitor(nvml=plug_in(library), tell=tell, **QUICK) as monitor:
        wait_for(counted(monitor, 3))
        library.lose(1)
        wait_for(lambda: monitor.summary().gpus[1].lost_after_s is not None)
        wait_for(counted(monitor, monitor.summary().samples + 3))
        assert told == []
    first, second = monitor.summary().gpus
    assert first.lost_after_s is None
    assert second.lost_after_s >= 0
    assert second.memory_peak == 3
    [(words, by_main)] = told
    assert words.startswith("GPU 1 (Tesla T4) was lost after")
    assert by_main
    assert "lost after" in monitor.summary().sentences()[1]


def test_an_error_in_the_thread_never_reaches_training(plug_in):
    calls = iter(range(100))

    def breaks():
        if next(calls) == 3:
            raise RuntimeError("the host is on fire")
        return 1500

    host = replace(HOST, rss=breaks)
    with Monitor(nvml=plug_in(FakeLibrary([T4])), **{**QUICK, "host": host}) as monitor:
        wait_for(lambda: monitor.trouble)
    assert "the host is on fire" in monitor.trouble
    assert monitor.summary().samples > 0
    assert "the host is on fire" in monitor.summary().note


def test_a_monitor_watches_one_block(plug_in):
    with Monitor(nvml=plug_in(None), **QUICK) as monitor:
        pass
    with pytest.raises(RuntimeError, match="one block"), monitor:
        pass


def test_a_driver_that_does_not_start_holds_nobody_up(plug_in):
    class Slow(FakeLibrary):
        def _nvmlInitWithFlags(self, flags):
            released.wait(20)
            return 0

    released = threading.Event()
    with Monitor(nvml=plug_in(Slow([T4])), **QUICK) as monitor:
        assert monitor.summary().samples == 0  # the block runs, though the driver hangs
        released.set()
        wait_for(counted(monitor, 1))


def test_a_driver_that_hangs_in_the_middle_does_not_hold_up_the_end(plug_in):
    class Hanging(FakeLibrary):
        def _nvmlDeviceGetUtilizationRates(self, handle, rates):
            hangs.set()
            released.wait(20)
            return 0

    hangs, released = threading.Event(), threading.Event()
    with Monitor(nvml=plug_in(Hanging([T4])), patience=0.1, **QUICK) as monitor:
        assert hangs.wait(20)
    assert "hung" in monitor.trouble
    assert "hung" in monitor.summary().note
    released.set()


def test_the_file_is_written_while_the_block_runs_and_at_its_end(plug_in, tmp_path):
    file = tmp_path / "monitor.csv"
    module = plug_in(FakeLibrary([T4]))
    with Monitor(file, nvml=module, save_every=0.02, **QUICK) as monitor:
        wait_for(file.exists)
    gpus, rows = read_csv(file)
    assert gpus == 1
    assert len(rows) == monitor.summary().samples


def test_a_run_that_goes_on_keeps_the_rows_of_before(plug_in, tmp_path):
    file = tmp_path / "monitor.csv"
    module = plug_in(FakeLibrary([T4]))
    with Monitor(file, nvml=module, **QUICK) as first:
        wait_for(counted(first, 5))
    with Monitor(file, nvml=module, **QUICK) as second:
        wait_for(counted(second, 5))
    _, rows = read_csv(file)
    assert len(rows) == first.summary().samples + second.summary().samples
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)


def test_a_file_that_cannot_be_read_is_put_aside(plug_in, tmp_path):
    file = tmp_path / "monitor.csv"
    file.write_text("not a monitor's file\n1\n")
    with Monitor(file, nvml=plug_in(None), **QUICK) as monitor:
        wait_for(counted(monitor, 1))
    assert "put aside" in monitor.trouble
    assert (tmp_path / "monitor.csv.unreadable").read_text().startswith("not a monitor")
    assert read_csv(file)[1]


def test_a_disk_that_cannot_be_written_is_trouble_and_the_sampling_goes_on(plug_in, tmp_path):
    (tmp_path / "monitor.csv.partial").mkdir()
    module = plug_in(FakeLibrary([T4]))
    with Monitor(tmp_path / "monitor.csv", nvml=module, save_every=0.01, **QUICK) as monitor:
        wait_for(lambda: monitor.trouble)
        wait_for(counted(monitor, monitor.summary().samples + 3))
    assert "could not be written" in monitor.summary().note


def test_every_fault_of_a_question_is_survived(plug_in):
    code = int(pynvml.NVML_ERROR_UNKNOWN)
    library = FakeLibrary([T4])
    for name in ("UtilizationRates", "MemoryInfo", "MemoryInfo_v2", "Temperature", "PowerUsage"):
        library.errors[f"nvmlDeviceGet{name}"] = code
    with Monitor(nvml=plug_in(library), **QUICK) as monitor:
        wait_for(counted(monitor, 3))
    assert monitor.trouble == ""
    assert monitor.summary().gpus[0].utilisation_mean is None
    assert "tells nothing" in monitor.summary().sentences()[0]


def test_sixteen_gpus_are_told_apart(plug_in):
    with Monitor(nvml=plug_in(sixteen_v100()), **QUICK) as monitor:
        wait_for(counted(monitor, 2))
    assert len({gpu.uuid for gpu in monitor.summary().gpus}) == 16
    assert monitor.summary().sentences()[15].startswith("GPU 15, Tesla V100")


PROCESS = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import pynvml
from tests.gpu.fake_nvml import T4, FakeLibrary
pynvml.nvmlLib = FakeLibrary([T4])
from fastmagic.gpu import Monitor

class Begun(Monitor):
    def __enter__(self):
        super().__enter__()
        while self.summary().samples < 5:
            time.sleep(0.005)
        return self

def watching(**options):
    return Begun(**{{"nvml": pynvml, "fast": 0.01, "slow": 0.02, **options}})

"""


def process(code: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROCESS + code],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize(
    ("code", "status", "last"),
    [
        ("monitor = watching().__enter__()\nprint('end')", 0, ""),
        ("watching().__enter__()\nprint('end')", 0, ""),
        ("watching().__enter__()\nprint('end')\nsys.exit(3)", 3, ""),
        ("with Monitor():\n    print('end')\n    sys.exit(4)", 4, ""),
        ("with watching():\n    print('end')\n    raise KeyError('mine')", 1, "KeyError: 'mine'"),
        ("watching().__enter__()\nprint('end')\n1 / 0", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_process_that_forgets_to_stop_it_ends_as_it_would_without(code, status, last):
    done = process(code)
    assert done.stdout.strip() == "end"
    assert done.returncode == status, done.stderr
    assert (done.stderr.strip().splitlines() or [""])[-1] == last


def test_a_process_that_forgets_to_stop_it_still_gets_its_file(tmp_path):
    file = tmp_path / "m.csv"
    done = process(f"from pathlib import Path\nwatching(csv=Path({str(file)!r})).__enter__()")
    assert done.returncode == 0, done.stderr
    assert len(read_csv(file)[1]) >= 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "raise SystemExit(0)"])
def test_forked_processes_inherit_no_sampler_and_no_lock(end, tmp_path):
    file = tmp_path / "m.csv"
    code = f"""
import threading, warnings
warnings.simplefilter("ignore")  # Python 3.12 and later warn of forking a process with threads
from pathlib import Path
always = dict(fast=0.0001, slow=0.0001, save_every=0)
with watching(csv=Path({str(file)!r}), **always) as monitor:
    for _ in range(30):
        child = os.fork()
        if child == 0:
            assert threading.active_count() == 1
            assert monitor.summary().samples >= 0  # does not wait for a lock that nobody opens
            monitor.stop()
            {end}
        assert os.waitpid(child, 0)[1] == 0
    before = monitor.summary().samples
    while monitor.summary().samples < before + 3:
        time.sleep(0.005)
assert not monitor.trouble, monitor.trouble
print("end")
"""
    done = process(code)
    assert (done.returncode, done.stdout.strip()) == (0, "end"), done.stderr
    assert read_csv(file)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.train
def test_the_workers_of_a_loader_run_beside_it():
    code = """
import warnings
warnings.simplefilter("ignore")
import torch
from torch.utils.data import DataLoader
workers = dict(num_workers=2, multiprocessing_context="fork")
with watching(fast=0.001, slow=0.001) as monitor:
    loader = DataLoader(list(range(64)), batch_size=4, **workers)
    for _ in range(5):
        assert sum(int(batch.sum()) for batch in loader) == 2016
assert not monitor.trouble, monitor.trouble
print("end")
"""
    done = process(code)
    assert (done.returncode, done.stdout.strip()) == (0, "end"), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
def test_a_killed_process_loses_no_more_than_the_last_period(tmp_path):
    file = tmp_path / "monitor.csv"
    code = f"""
from pathlib import Path
with Monitor(Path({str(file)!r}), nvml=pynvml, fast=0.01, slow=0.02, save_every=0.1):
    print("begun", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", PROCESS + code], stdout=subprocess.PIPE, text=True
    )
    try:
        child.stdout.readline()
        wait_for(lambda: file.exists() and len(read_csv(file)[1]) > 20, 60)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    rows = read_csv(file)[1]
    assert len(rows) > 20
    assert float(rows[-1]["time_s"]) > float(rows[0]["time_s"])


@pytest.mark.gpu
def test_a_real_gpu_is_watched():
    with Monitor() as monitor:
        time.sleep(1)
    summary = monitor.summary()
    assert summary.gpus[0].memory_peak is not None  # 0 MiB on a GPU that nobody uses
    assert summary.samples >= 4
    assert monitor.trouble == ""
