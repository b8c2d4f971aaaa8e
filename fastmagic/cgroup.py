"""What the container allows: the cores and the memory of this process's control group.

The machine's own figures mislead inside a container: `os.cpu_count()` and `/proc/meminfo` tell of
the whole host. Both versions of control groups are read, as the kernel's documents describe them:
v1 (https://docs.kernel.org/admin-guide/cgroup-v1/memory.html) and v2
(https://docs.kernel.org/admin-guide/cgroup-v2.html). Groups are nested, and each of them binds: the
smallest limit on the way from this process's group up to the root counts.

The folders are found once for each root; only their files are read again, so that a monitor may ask
every second.
"""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MIB = 2**20
ROOT = Path("/")
# v1 has no word for "no limit": it gives the largest multiple of a page below 2**63.
NO_LIMIT = 2**60


@dataclass(frozen=True)
class Memory:
    """The memory that the container allows.

    Attributes
    ----------
    limit
        MiB, the smallest limit of the nested groups.
    used
        MiB in use under that limit, without the file cache that the kernel drops by itself.
    room
        MiB that this process can still take before any of the nested groups is full.
    """

    limit: int
    used: int
    room: int


class Groups(NamedTuple):
    """This process's group and those around it, the innermost first; version 1 or 2."""

    version: int
    folders: tuple[Path, ...]


class Mount(NamedTuple):
    """One mounted hierarchy: where, which part of it, its version and its controllers."""

    point: str
    part: str
    version: int
    controllers: tuple[str, ...]


def cpu_quota(root: Path = ROOT) -> float | None:
    """Say how many cores' worth of time the container allows.

    Parameters
    ----------
    root
        The folder in which `proc` and `sys` lie; tests hand in a tree of their own.

    Returns
    -------
    float or None
        Cores, 1.5 for example; None without a limit or where there are no control groups.

    Notes
    -----
    v2 `cpu.max` holds "quota period" or "max period", v1 `cpu.cfs_quota_us` -1 for no limit.

    Examples
    --------
    >>> cpu_quota(Path("/no/such/folder")) is None
    True
    """
    groups = _groups(root, "cpu")
    quotas = [_quota(groups.version, folder) for folder in groups.folders]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory(root: Path = ROOT) -> Memory | None:
    """Say how much memory the container allows and how much of it is used.

    Parameters
    ----------
    root
        The folder in which `proc` and `sys` lie; tests hand in a tree of their own.

    Returns
    -------
    Memory or None
        None without a limit or where there are no control groups.

    Notes
    -----
    Used is the group's usage less its inactive file cache, which the kernel drops before it kills:
    the working set by which Kubernetes evicts (cadvisor, `container/libcontainer/handler.go`,
    `setMemoryStats`) and what `docker stats` shows (docker/cli,
    `cli/command/container/stats_helpers.go`, `calculateMemUsageUnixNoCache`).

    Examples
    --------
    >>> memory(Path("/no/such/folder")) is None
    True
    """
    groups = _groups(root, "memory")
    levels = [_memory_of(groups.version, folder) for folder in groups.folders]
    limited = [level for level in levels if level is not None]
    if not limited:
        return None
    limit, used = min(limited)
    room = min(max(limit - used, 0) for limit, used in limited)
    return Memory(limit // MIB, used // MIB, room // MIB)


def _quota(version: int, folder: Path) -> float | None:
    if version == 2:
        quota, _, period = (_read(folder, "cpu.max") or "max").partition(" ")
    else:
        quota = _read(folder, "cpu.cfs_quota_us") or "-1"
        period = _read(folder, "cpu.cfs_period_us") or "100000"
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return cores if cores > 0 else None


def _memory_of(version: int, folder: Path) -> tuple[int, int] | None:
    """Give limit and use of one group in bytes, or None where it has no limit."""
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit = _number(_read(folder, names[0]))
    if limit is None or limit >= NO_LIMIT:
        return None
    usage = _number(_read(folder, names[1]))
    if usage is None:
        return None
    stat = _read(folder, "memory.stat") or ""
    cache = re.search(rf"^{names[2]} (\d+)$", stat, re.MULTILINE)
    return limit, max(usage - (int(cache[1]) if cache else 0), 0)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _read(folder: Path, name: str) -> str | None:
    try:
        return (folder / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


@functools.cache
def _groups(root: Path, controller: str) -> Groups:
    """Find the folders of this process's groups; a controller is in v1 or in v2, never in both."""
    own = (_read(root, "proc/self/cgroup") or "").splitlines()
    mounts = [_mount(line) for line in (_read(root, "proc/self/mountinfo") or "").splitlines()]
    found = [mount for mount in mounts if mount is not None]
    for version, wanted in ((1, controller), (2, "")):
        path = _own_path(own, wanted)
        for mount in found:
            if path is not None and mount.version == version and wanted in mount.controllers:
                return Groups(version, _upwards(root, mount, path))
    return Groups(2, ())


def _own_path(lines: list[str], controller: str) -> str | None:
    """Read "4:memory:/a/b" (v1) or "0::/a/b" (v2) of `/proc/self/cgroup`, see cgroups(7)."""
    for line in lines:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(",") and path.startswith("/"):
            return path
    return None


def _mount(line: str) -> Mount | None:
    """Read a line of `/proc/self/mountinfo`, see proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    place, kind = before.split(), after.split()
    if len(place) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
        return None
    part, point = (re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), x) for x in place[3:5])
    version = 2 if kind[0] == "cgroup2" else 1
    return Mount(point, part, version, ("",) if version == 2 else tuple(kind[2].split(",")))


def _upwards(root: Path, mount: Mount, path: str) -> tuple[Path, ...]:
    """Give the folders from a group up to the mount's own.

    Docker mounts the container's group alone while the path is the host's: the mount's part is
    taken off. Where the path lies outside (or is a "/.." of another namespace), or its folder is
    not there, the mount itself is all that can be seen.
    """
    top = root / mount.point.lstrip("/")
    inside = posixpath.relpath(path, mount.part)
    steps = [] if inside == "." or inside.startswith("..") else inside.split("/")
    folders = [top.joinpath(*steps[:count]) for count in range(len(steps), -1, -1)]
    return tuple(folder for folder in folders if folder.is_dir())
