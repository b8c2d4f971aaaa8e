"""What other programs take of the processor, as the system's own counters tell it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from fastmagic.others import Others, Used, Watch, used

SPINS = "while True: pass"


def spin(seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


def watched(*, all_of_them, own, seconds=10.0, cores=2, machine=2):
    found = iter([Used(100.0, 10.0), Used(100.0 + all_of_them, 10.0 + own)])
    clock = iter([0.0, seconds])
    return Watch(lambda: next(found), lambda: next(clock), cores, machine).others()


def test_what_a_child_uses_is_our_own():
    """A real child that spins: its time must be in both counts, whoever else is busy here."""
    before = used()
    child = subprocess.Popen([sys.executable, "-c", SPINS])
    try:
        spin(1.0)
        after = used()
    finally:
        child.kill()
        child.wait()
    assert after.by_us - before.by_us > 0.2
    assert used().by_us >= after.by_us - 0.05  # also when it has ended
    assert after.by_all - before.by_all >= after.by_us - before.by_us - 0.2


def test_a_program_that_is_no_child_is_another():
    script = (
        "import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid)"
    )
    orphan = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "import time\nt = time.time()\nwhile time.time() < t + 3: pass",
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # its parent has ended: it is nobody's child now
    before, began = used(), time.monotonic()
    time.sleep(1.5)
    after, passed = used(), time.monotonic() - began
    assert int(orphan.stdout) > 0
    others = (after.by_all - before.by_all) - (after.by_us - before.by_us)
    assert others > 0.2 * passed


def test_it_is_said_from_a_share_of_the_cores_on():
    assert watched(all_of_them=19.0, own=10.0) == Others(0.9, 2)
    assert "Other programs used 0.9 of the 2" in watched(all_of_them=19.0, own=10.0).words("now")
    assert watched(all_of_them=11.0, own=10.0).words("now") == ""
    assert watched(all_of_them=9.9, own=10.0) == Others(0.0, 2)  # the counters' grain


@pytest.mark.parametrize("asked", [{"seconds": 0.1}, {"cores": 2, "machine": 16}])
def test_where_it_cannot_be_known_nothing_is_said(asked):
    assert watched(all_of_them=19.0, own=10.0, **asked) is None


def test_one_of_several_processes_takes_the_others_for_its_own(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert watched(all_of_them=19.0, own=10.0) is None


def test_a_system_that_does_not_tell_is_no_error():
    def refuses():
        raise OSError

    seconds = iter([0.0, 10.0])
    assert Watch(refuses, lambda: next(seconds), 2, 2).others() is None
