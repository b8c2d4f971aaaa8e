from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from fastmagic.gpu import host
from fastmagic.gpu.host import Host

GIB = 2**30
MIB = 2**20
Memory = namedtuple("Memory", "total available")
Usage = namedtuple("Usage", "total free")


def machine() -> Memory:
    return Memory(16 * GIB, 12 * GIB)


def container(root: Path, limit: int, used: int) -> Path:
    files = {
        "proc/self/cgroup": "0::/",
        "proc/self/mountinfo": "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw",
        "cg/memory.max": str(limit),
        "cg/memory.current": str(used),
        "cg/cpu.max": "100000 100000",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_machine_without_limits_is_told_as_it_is(tmp_path):
    here = host.look(tmp_path, root=tmp_path, machine_memory=machine)
    assert (here.ram_total, here.ram_available, here.ram_limited) == (16384, 12288, False)
    assert here.cores_machine is not None
    assert 1 <= here.cores <= here.cores_machine
    assert here.disk == str(tmp_path)


def test_a_containers_limits_are_what_counts(tmp_path):
    root = container(tmp_path, 4 * GIB, 3 * GIB)
    here = host.look(tmp_path, root=root, machine_memory=machine)
    assert (here.ram_total, here.ram_available, here.ram_limited) == (4096, 1024, True)
    assert here.cores == 1


def test_a_machine_fuller_than_its_container_has_what_the_machine_has(tmp_path):
    root = container(tmp_path, 64 * GIB, 0)
    here = host.look(tmp_path, root=root, machine_memory=machine)
    assert (here.ram_total, here.ram_available, here.ram_limited) == (16384, 12288, False)


def test_shared_memory_is_measured_where_it_is(tmp_path):
    assert host.look(tmp_path, root=tmp_path, machine_memory=machine).shm_total is None
    (tmp_path / "dev/shm").mkdir(parents=True)
    sizes = {tmp_path / "dev/shm": Usage(64 * MIB, 60 * MIB), tmp_path: Usage(9 * GIB, 8 * GIB)}
    here = host.look(tmp_path, tmp_path, machine, sizes.__getitem__)
    assert (here.shm_total, here.shm_free, here.disk_free) == (64, 60, 8192)


def test_a_folder_that_is_not_there_yet_is_asked_above(tmp_path):
    here = host.look(tmp_path / "not" / "yet", root=tmp_path, machine_memory=machine)
    assert here.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free // MIB, abs=1024)


def test_disks_that_cannot_be_asked_are_not_known(tmp_path):
    def broken(place: Path) -> Usage:
        raise PermissionError(place)

    here = host.look(tmp_path, tmp_path, machine, broken)
    assert (here.disk_free, here.shm_free) == (None, None)
    assert host.remarks(here) == ()


@pytest.mark.parametrize(
    ("here", "what", "next_step"),
    [
        (Host(2, shm_total=64, shm_free=64), "64 MiB", "--shm-size=2g"),
        (Host(2, ram_available=2048), "2.0 GiB of memory is available", "--bs 16"),
        (Host(2, ram_available=900, ram_limited=True), "this container may still take", "--bs 16"),
        (Host(2, disk_free=1024, disk="/data"), "the disk of /data", "%get_data sample"),
    ],
)
def test_what_is_short_is_said_with_what_to_do(here, what, next_step):
    (words,) = host.remarks(here)
    assert what in words
    assert next_step in words


def test_a_roomy_host_has_no_warnings():
    roomy = Host(8, ram_available=12000, shm_total=6000, shm_free=6000, disk_free=50_000)
    assert host.remarks(roomy) == ()


def test_docker_with_two_gigabytes_of_shared_memory_is_not_warned_about():
    assert host.remarks(Host(2, shm_total=2048, shm_free=2048)) == ()


WITHOUT_PROC = """
import psutil
psutil.PROCFS_PATH = "/nonexistent"
from pathlib import Path
from fastmagic.gpu import host
from fastmagic.guard.pressure import Pressure, used_share
nowhere = Path("/nonexistent")
print(used_share(nowhere), Pressure(lambda: used_share(nowhere)).eased())
here = host.look(Path.cwd(), nowhere)
print(here.ram_total, here.ram_available, here.ram_limited, host._of_ram(here))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil reads no /proc")
def test_without_proc_the_memory_is_not_known():
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_PROC], capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["None", "None", "None", "None", "False"], said.stderr


def test_without_proc_a_containers_limit_still_counts(tmp_path):
    def no_proc() -> Memory:
        raise FileNotFoundError("/proc/meminfo")

    here = host.look(tmp_path, container(tmp_path, 4 * GIB, 3 * GIB), no_proc)
    assert (here.ram_total, here.ram_available, here.ram_limited) == (4096, 1024, True)
