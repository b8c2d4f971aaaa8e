"""A job on two hosts, each a network namespace of this machine, as the README starts it on two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastmagic.lesson.instead import export_job
from fastmagic.lesson.order import Order

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}
NET = "10.213.77"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Give the names of two namespaces with a cable between them."""
    if shutil.which("ip") is None:
        pytest.skip("two hosts need `ip` (iproute2)")
    names = [f"fm{os.getpid()}{side}" for side in "ab"]
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"two hosts cannot be made here: {error.stderr.strip()}")
        for number, name in enumerate(names, 1):
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"{NET}.{number}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def start(host: str, number: int, script: Path, cache: Path) -> subprocess.Popen[str]:
    """Start the job on a host, by the README's command and the host's own address."""
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run"]
    command += ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", f"{NET}.1:29500", "--local-addr", f"{NET}.{number}", script.name]
    # a namespace has no host name of its own, by which torch would know which of the two it is
    command[-1:-1] = ["--rdzv-conf", f"is_host={int(number == 1)}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"GLOO_SOCKET_IFNAME": host, "XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        command,
        cwd=script.parent,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_job_runs_on_two_hosts(hosts, small_folder, tmp_path):
    order = Order(small_folder, "learn.unfreeze()\nlearn.fit(1, 1e-3)", SMALL)
    script = export_job(order, tmp_path / "job.py")
    running = [
        start(host, number, script, tmp_path / f"cache-{number}")
        for number, host in enumerate(hosts, 1)
    ]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    (run,) = (tmp_path / "fastmagic-runs").iterdir()
    found = json.loads((run / "result.json").read_text())
    assert found["status"] == "finished"
    assert found["choices"]["processes"].startswith("2,")
