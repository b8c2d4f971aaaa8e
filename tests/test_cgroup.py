from __future__ import annotations

from pathlib import Path

import pytest

from fastmagic import cgroup
from fastmagic.cgroup import Memory

GIB = 2**30
NO_LIMIT_V1 = "9223372036854771712"  # what Linux shows
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup rw"


def tree(root: Path, own: str, mounts: str, files: dict[str, str]) -> Path:
    """Lay out /proc and /sys/fs/cgroup as a kernel shows them."""
    shown = {"proc/self/cgroup": own, "proc/self/mountinfo": mounts}
    shown.update({f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    for name, text in shown.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def v1(controller: str, part: str = "/") -> str:
    folder = controller.replace(",", "\\054")
    return f"35 31 0:32 {part} /sys/fs/cgroup/{folder} rw,relatime - cgroup cgroup rw,{controller}"


def memory_v2(limit: str, used: int, cache: int = 0, at: str = "") -> dict[str, str]:
    stat = f"active_file 7\ninactive_file {cache}\nslab 1"
    values = {"memory.max": limit, "memory.current": str(used), "memory.stat": stat}
    return {f"{at}{name}": text for name, text in values.items()}


def test_a_container_of_version_2_tells_its_memory_and_cores(tmp_path):
    files = {**memory_v2(str(4 * GIB), 3 * GIB, cache=GIB), "cpu.max": "150000 100000"}
    root = tree(tmp_path, "0::/", V2, files)
    assert cgroup.memory(root) == Memory(limit=4096, used=2048, room=2048)
    assert cgroup.cpu_quota(root) == 1.5


def test_a_container_of_version_1_sees_its_group_at_the_mount(tmp_path):
    """Docker: the path is the host's, but only the container's own group is mounted."""
    own = "4:memory:/docker/ab12\n2:cpu,cpuacct:/docker/ab12\n1:name=systemd:/docker/ab12"
    mounts = "\n".join([v1("memory", "/docker/ab12"), v1("cpu,cpuacct", "/docker/ab12")])
    files = {
        "memory/memory.limit_in_bytes": str(2 * GIB),
        "memory/memory.usage_in_bytes": str(GIB),
        "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}",
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    root = tree(tmp_path, own, mounts, files)
    assert cgroup.memory(root) == Memory(limit=2048, used=512, room=1536)
    assert cgroup.cpu_quota(root) == 2.0


def test_no_limit_is_said_by_each_version_in_its_own_way(tmp_path):
    files = {**memory_v2("max", GIB), "cpu.max": "max 100000"}
    newer = tree(tmp_path / "2", "0::/", V2, files)
    files = {
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "memory/memory.usage_in_bytes": "5",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    }
    older = tree(tmp_path / "1", "2:memory:/\n1:cpu:/", f"{v1('memory')}\n{v1('cpu')}", files)
    for root in (newer, older):
        assert cgroup.memory(root) is None
        assert cgroup.cpu_quota(root) is None


def test_the_smallest_limit_of_nested_groups_counts(tmp_path):
    files = {
        **memory_v2("max", GIB, at="pods/mine/"),
        "pods/mine/cpu.max": "400000 100000",
        **memory_v2(str(2 * GIB), GIB, at="pods/"),
        "pods/cpu.max": "50000 100000",
        **memory_v2(str(8 * GIB), 2 * GIB),
    }
    root = tree(tmp_path, "0::/pods/mine", V2, files)
    assert cgroup.memory(root) == Memory(limit=2048, used=1024, room=1024)
    assert cgroup.cpu_quota(root) == 0.5


def test_the_room_is_that_of_the_fullest_group(tmp_path):
    files = {
        **memory_v2(str(2 * GIB), GIB, at="mine/"),
        **memory_v2(str(8 * GIB), 8 * GIB - GIB // 4),
    }
    assert cgroup.memory(tree(tmp_path, "0::/mine", V2, files)) == Memory(2048, 1024, 256)


def test_a_group_over_its_limit_has_no_room(tmp_path):
    root = tree(tmp_path, "0::/", V2, memory_v2(str(GIB), 2 * GIB))
    assert cgroup.memory(root) == Memory(limit=1024, used=2048, room=0)


def test_a_controller_of_version_1_is_found_beside_version_2(tmp_path):
    mounts = f"{V2.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}\n{v1('memory')}"
    files = {
        "memory/mine/memory.limit_in_bytes": str(GIB),
        "memory/mine/memory.usage_in_bytes": "0",
        "unified/cpu.max": "300000 100000",
    }
    root = tree(tmp_path, "4:memory:/mine\n0::/", mounts, files)
    assert cgroup.memory(root) == Memory(limit=1024, used=0, room=1024)
    assert cgroup.cpu_quota(root) == 3.0


@pytest.mark.parametrize("path", ["/../../elsewhere", "/not/mounted/here"])
def test_a_group_that_cannot_be_seen_leaves_the_mount(tmp_path, path):
    root = tree(tmp_path, f"0::{path}", V2, memory_v2(str(GIB), 0))
    assert cgroup.memory(root) == Memory(limit=1024, used=0, room=1024)


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "rubbish", "cpu.max": "rubbish"},
        {"memory.max": "", "cpu.max": "100000 0"},
        {"memory.max": str(GIB), "cpu.max": "100000"},
        {},
    ],
)
def test_what_cannot_be_read_is_no_limit(tmp_path, files):
    root = tree(tmp_path, "0::/", V2, {"here": "", **files})
    assert cgroup.memory(root) is None
    assert cgroup.cpu_quota(root) is None


@pytest.mark.parametrize(("own", "mounts"), [("", ""), ("0::/", "rubbish - cgroup2"), ("x", V2)])
def test_a_machine_without_groups_has_no_limits(tmp_path, own, mounts):
    root = tree(tmp_path, own, mounts, memory_v2(str(GIB), 0))
    assert cgroup.memory(root) is None
    assert cgroup.cpu_quota(root) is None


def test_use_is_read_anew_each_time(tmp_path):
    root = tree(tmp_path, "0::/", V2, memory_v2(str(GIB), 0))
    assert cgroup.memory(root) == Memory(1024, 0, 1024)
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(str(GIB // 2))
    assert cgroup.memory(root) == Memory(1024, 512, 512)


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="needs Linux")
def test_this_machines_own_groups_are_found():
    memory, quota = cgroup.memory(), cgroup.cpu_quota()
    assert memory is None or memory.limit > 0
    assert quota is None or quota > 0
