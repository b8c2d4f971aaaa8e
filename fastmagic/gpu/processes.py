"""Which processes hold a card's memory, and how far their numbers can be trusted.

NVIDIA's driver counts processes as the host does; only its newer open kernel modules translate
the numbers for a container. A host's number may by chance be another process's in here, so a
name is given only where the numbers are known to be ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastmagic.gpu.asking import Asker

MIB = 2**20

# Newest first: `_v3` came with driver 510, `_v2` with 450. pynvml's unversioned names mean `_v3`.
COMPUTE = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
GRAPHICS = ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2")

# PID_NS_INIT_INO, the fixed inode of the machine's first PID namespace: Linux,
# include/uapi/linux/nsfs.h (earlier PROC_PID_INIT_INO in include/linux/proc_ns.h).
FIRST_NAMESPACE = "pid:[4026531836]"
CUDA_DEVICE = "/dev/nvidia-uvm"  # opened by CUDA and not by NVML
WSL_DEVICE = "/dev/dxg"  # on Windows' Linux everything goes through it


@dataclass(frozen=True)
class Holder:
    """One process that holds memory of a card.

    Attributes
    ----------
    pid
        The process's number as NVML gives it; inside a container it may be the host's.
    memory
        MiB; None where the driver does not tell (Windows, some containers).
    name
        The process's name; None where it cannot be seen from here or `pid` may not be ours.
    here
        Whether it is this very process; None where that cannot be told.
    """

    pid: int
    memory: int | None = None
    name: str | None = None
    here: bool | None = None


def holders(ask: Asker, handle: Any) -> tuple[Holder, ...] | None:
    """Ask NVML which processes have a compute or graphics context on a card.

    Why only in a one-off look: one such question costs milliseconds and holds the driver's lock.

    Parameters
    ----------
    ask
        The asker of this card.
    handle
        NVML's handle of the card or of a MIG instance.

    Returns
    -------
    tuple of Holder, or None
        By memory, largest first, without names; None where NVML does not answer. An empty tuple
        proves nothing inside a container, where older drivers hide every process.
    """
    lists = [ask.first(names, handle) for names in (COMPUTE, GRAPHICS)]
    if all(found is None for found in lists):
        return None
    return merged(_holder(process) for found in lists for process in found or ())


def merged(found: Iterable[Holder]) -> tuple[Holder, ...]:
    """Join the entries of one process, which may be listed as compute and as graphics.

    Parameters
    ----------
    found
        Holders, some with the same `pid`.

    Examples
    --------
    >>> [(one.pid, one.memory) for one in merged([Holder(7, 300), Holder(9, 500), Holder(7)])]
    [(9, 500), (7, 300)]
    """
    largest: dict[int, Holder] = {}
    for holder in found:
        known = largest.get(holder.pid)
        if known is None or (holder.memory or 0) > (known.memory or 0):
            largest[holder.pid] = holder
    return tuple(sorted(largest.values(), key=lambda holder: (-(holder.memory or 0), holder.pid)))


def _holder(process: Any) -> Holder:
    memory = process.usedGpuMemory  # pynvml has turned NVML_VALUE_NOT_AVAILABLE into None
    return Holder(process.pid, None if memory is None else memory // MIB)


def _name(pid: int) -> str | None:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except (psutil.Error, OSError):
        return None


@dataclass(frozen=True)
class Neighbours:
    """The processes that can be seen from here.

    Attributes
    ----------
    me
        The number of this process.
    proc
        Linux's folder of processes.
    name_of
        Gives the name of a process, None where there is no such process.
    windows
        Windows knows no PID namespaces: its numbers are always ours.
    """

    me: int = field(default_factory=os.getpid)
    proc: Path = Path("/proc")
    name_of: Callable[[int], str | None] = _name
    windows: bool = sys.platform == "win32"

    def first_namespace(self) -> bool:
        """Say whether numbers mean here what they mean to the driver (no container around us)."""
        if self.windows:
            return True
        try:
            return str((self.proc / "self" / "ns" / "pid").readlink()) == FIRST_NAMESPACE
        except OSError:
            return False

    def cuda(self) -> bool | None:
        """Say whether this process has CUDA open, without asking torch; None: cannot be told."""
        try:
            opened = {_target(link) for link in (self.proc / "self" / "fd").iterdir()}
        except OSError:
            return None
        if CUDA_DEVICE in opened:
            return True
        return None if WSL_DEVICE in opened else False

    def is_me(self, pid: int) -> bool:
        """Say whether `pid` is this process or a thread of it.

        The open kernel modules translate the number of the thread that made the context.
        """
        return pid == self.me or (self.proc / "self" / "task" / str(pid)).exists()


def ours(listed: Iterable[int], neighbours: Neighbours) -> bool:
    """Say whether the numbers that NVML lists are those of the processes in here.

    Parameters
    ----------
    listed
        The numbers of all holders of all cards.
    neighbours
        The processes that can be seen from here.

    Returns
    -------
    bool
        True in the machine's first PID namespace, and in a container only where the driver proves
        that it translates: this process has CUDA open, is listed under its own number, and every
        other number listed exists here too. In every other case False: it is not known.

    Notes
    -----
    Sources: NVIDIA/nvidia-docker#1483 ("you will always get the host pids") against
    `_gpuConvertPid` in NVIDIA/open-gpu-kernel-modules, which translates. Files such as
    `/.dockerenv` say that there is a container, not whether it has a PID namespace of its own
    (`docker run --pid=host` has none), so the namespace itself is asked.
    """
    if neighbours.first_namespace():
        return True
    numbers = set(listed)
    mine = {pid for pid in numbers if neighbours.is_me(pid)}
    if not mine or not neighbours.cuda():
        return False
    return all(neighbours.name_of(pid) is not None for pid in numbers - mine)


def introduce(
    found: tuple[Holder, ...], trusted: bool, neighbours: Neighbours
) -> tuple[Holder, ...]:
    """Give the holders of one card their names, as far as that can be done honestly.

    Parameters
    ----------
    found
        Holders as NVML lists them.
    trusted
        What `ours` answered for all cards together.
    neighbours
        The processes that can be seen from here.

    Returns
    -------
    tuple of Holder
        With names and a certain `here` where the numbers are ours. Otherwise without names, and
        `here` is False where this process has no CUDA open, so that none of them can be it.
    """
    if trusted:
        return tuple(_introduced(holder, neighbours) for holder in found)
    here = False if neighbours.cuda() is False else None
    return tuple(replace(holder, here=here) for holder in found)


def _introduced(holder: Holder, neighbours: Neighbours) -> Holder:
    here = neighbours.is_me(holder.pid)
    name = neighbours.name_of(neighbours.me if here else holder.pid)
    return replace(holder, name=name, here=here)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
