"""The machine around the GPU: processor cores, memory, shared memory, disk, and what is short.

In a container the machine's own figures are not what this process gets: the limits of its control
groups are read too (`cgroup.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import cgroup, faces, platforms

MIB = 2**20
SHM = "/dev/shm"  # noqa: S108 - where loader processes hand over their batches

# MiB in /dev/shm that two loader processes fill with batches of 64 pictures of 460 x 460 pixels,
# fastai's usual size before its augmentation: 6 batches of 39 MiB. A loader keeps two batches a
# process ready (torch's `prefetch_factor`); measured with torch 2.15: 55 MiB for two processes and
# batches of 9.2 MiB, so two batches more. Docker's own 64 MB: docs.docker.com, "docker run",
# --shm-size.
SHM_NEEDED = 240
# MiB on disk for dogscats: the archive (839 MB, fastai's URLs.DOGS), as much again unpacked, for
# JPEG files do not shrink, and 0.6 GB for a run's saved states of resnet34.
DISK_NEEDED = 2200
# MiB of RAM, by rule of thumb: fastai and torch are 1 GB resident once imported (measured), CUDA's
# libraries and a few loader processes about as much again (not measured), then as much for reserve.
RAM_NEEDED = 4096


@dataclass(frozen=True)
class Host:
    """What the host offers to this process; None where the operating system does not say.

    Attributes
    ----------
    cores
        Processor cores that this process may use.
    cores_machine
        Processor cores of the machine.
    ram_total, ram_available
        MiB, under the container's limit where that is smaller.
    ram_limited
        Whether a container's limit is smaller than the machine's memory.
    shm_total, shm_free
        MiB of /dev/shm, through which loader processes hand over batches; None where there is none.
    disk_free
        MiB on the disk where data sets go.
    disk
        The folder that was asked for.
    """

    cores: int
    cores_machine: int | None = None
    ram_total: int | None = None
    ram_available: int | None = None
    ram_limited: bool = False
    shm_total: int | None = None
    shm_free: int | None = None
    disk_free: int | None = None
    disk: str = ""


def look(
    folder: Path | None = None,
    root: Path = cgroup.ROOT,
    machine_memory: Callable[[], Any] | None = None,
    disk_usage: Callable[[Path], Any] = shutil.disk_usage,
) -> Host:
    """Measure the host.

    Parameters
    ----------
    folder
        Where data will go; fastai's data folder by default.
    root
        The folder in which `proc`, `sys` and `dev` lie.
    machine_memory
        Gives the machine's `total` and `available` bytes; psutil's `virtual_memory` by default.
        It may raise OSError.
    disk_usage
        Gives `total` and `free` bytes of the disk under a folder, or raises OSError.

    Examples
    --------
    >>> look(Path.cwd()).cores >= 1
    True
    """
    if machine_memory is None:
        import psutil

        machine_memory = psutil.virtual_memory
    folder = folder or platforms.data_folder()
    ram_total, ram_available, limited = _ram(machine_memory, cgroup.memory(root))
    shm_total, shm_free = _disk([root / SHM.lstrip("/")], disk_usage)
    return Host(
        cores=platforms.usable_cores(root),
        cores_machine=os.cpu_count(),
        ram_total=ram_total,
        ram_available=ram_available,
        ram_limited=limited,
        shm_total=shm_total,
        shm_free=shm_free,
        disk_free=_disk([folder, *folder.parents], disk_usage)[1],
        disk=str(folder),
    )


def _ram(
    machine_memory: Callable[[], Any], allowed: cgroup.Memory | None
) -> tuple[int | None, int | None, bool]:
    try:
        machine = machine_memory()
    except OSError:  # a sandbox without /proc
        return (None, None, False) if allowed is None else (allowed.limit, allowed.room, True)
    total, available = machine.total // MIB, machine.available // MIB
    if allowed is None:
        return total, available, False
    return min(total, allowed.limit), min(available, allowed.room), allowed.limit < total


def _disk(
    places: list[Path], disk_usage: Callable[[Path], Any]
) -> tuple[int, int] | tuple[None, None]:
    """Ask the disk of the first of these folders that is there."""
    for place in places:
        try:
            usage = disk_usage(place)
        except OSError:
            continue
        return usage.total // MIB, usage.free // MIB
    return None, None


def remarks(host: Host) -> tuple[str, ...]:
    """Say what is short here, what it would break, and what to do about it.

    Parameters
    ----------
    host
        As `look` measured it.

    Returns
    -------
    tuple of str
        One text for each thing that is short; empty where nothing is.

    Notes
    -----
    The bus error: https://github.com/fastai/fastai/issues/931, on dogs and cats itself.

    Examples
    --------
    >>> for words in remarks(Host(cores=2, shm_total=64, shm_free=64)):
    ...     print(words)
    /dev/shm has 64 MiB free: loader processes hand over their batches through it, and where it is \
full they die with a bus error. Start docker with --shm-size=2g, or use %train_lesson1 --workers 0.
    """
    checks = (_of_shm(host), _of_ram(host), _of_disk(host))
    return tuple(words for words in checks if words)


def _of_shm(host: Host) -> str:
    if host.shm_free is None or host.shm_free >= SHM_NEEDED:
        return ""
    return (
        f"{SHM} has {faces.mib(host.shm_free)} free: loader processes hand over their batches "
        "through it, and where it is full they die with a bus error. Start docker with "
        "--shm-size=2g, or use %train_lesson1 --workers 0."
    )


def _of_ram(host: Host) -> str:
    if host.ram_available is None or host.ram_available >= RAM_NEEDED:
        return ""
    whose = "this container may still take" if host.ram_limited else "is available"
    return (
        f"Only {faces.mib(host.ram_available)} of memory {whose}; training wants about "
        f"{faces.mib(RAM_NEEDED)}, and where memory runs out the kernel is killed. Shut down other "
        "notebooks' kernels, or use %train_lesson1 --bs 16 --workers 0."
    )


def _of_disk(host: Host) -> str:
    if host.disk_free is None or host.disk_free >= DISK_NEEDED:
        return ""
    return (
        f"Only {faces.mib(host.disk_free)} free on the disk of {host.disk or 'the data folder'}: "
        f"dogscats wants {faces.mib(DISK_NEEDED)} while it is unpacked. Make room, put it on "
        "another disk with %get_data dogscats --dest FOLDER, or use %get_data sample."
    )
