"""Freed memory is kept within a lesson, and given back after it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fastmagic.speed.allocator import kept

CODE = """
import json, re
from pathlib import Path
import numpy as np
from fastmagic.speed.allocator import kept

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

def faults():
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])

def step():
    before = faults()
    np.ones(20_000_000)  # 160 MB
    return faults() - before

plain = [step() for _ in range(3)]
with kept() as keeps:
    within = [step() for _ in range(3)]
    held = resident()
print(json.dumps([keeps, plain, within, held, resident()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_what_a_step_frees_is_used_again_and_goes_back_at_the_end():
    env = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=env, check=True
    )
    keeps, plain, within, held, after = json.loads(done.stdout)
    if not keeps:
        pytest.skip("another C library allocates here")
    assert within[-1] < plain[-1] / 10
    assert after < held - 100


@pytest.mark.parametrize(
    "env",
    [
        {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4"},
        {"MALLOC_ARENA_MAX": "2"},
        {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"},
    ],
    ids=["Colab's allocator", "set up by hand", "tunables"],
)
def test_an_allocator_that_somebody_chose_is_left_alone(env):
    with kept(env=env) as keeps:
        assert not keeps
