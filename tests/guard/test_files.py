"""States on disk: whole or not there, the generation before kept, nothing unpickled."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard import files  # noqa: E402


def content(number):
    import torch

    return {"n": number, "weights": torch.full((1000,), float(number)), "rates": [0.1, None]}


def test_what_was_written_is_read_and_two_generations_are_kept(tmp_path):
    for number in range(4):
        files.write(tmp_path, "fit-001", content(number))
    found, damaged = files.read(tmp_path, "fit-001")
    assert found["n"] == 3 and float(found["weights"][0]) == 3.0 and not damaged
    assert len(list(tmp_path.iterdir())) == 2
    assert files.names(tmp_path) == ["fit-001"]
    files.drop(tmp_path, "fit-001")
    assert files.read(tmp_path, "fit-001") == (None, [])


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign"])
def test_a_damaged_generation_is_known_and_the_one_before_is_taken(tmp_path, damage):
    files.write(tmp_path, "fit-001", content(1))
    newest = files.write(tmp_path, "fit-001", content(2))
    whole = newest.read_bytes()
    changed = {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:900] + bytes([whole[900] ^ 1]) + whole[901:],
        "empty": b"",
        "foreign": b"PK\x03\x04 not really",
    }
    newest.write_bytes(changed[damage])
    found, damaged = files.read(tmp_path, "fit-001")
    assert found["n"] == 1
    assert damaged == [newest.name]


def test_code_in_a_file_is_not_run_even_where_its_name_fits(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    evil = pickle.dumps(Evil())
    name = f"fit-001-000009-{hashlib.sha256(evil).hexdigest()}.pt"
    (tmp_path / name).write_bytes(evil)
    assert files.read(tmp_path, "fit-001") == (None, [name])
    assert not (tmp_path / "owned").exists()


def test_a_disk_that_is_full_leaves_the_generations_before(tmp_path):
    files.write(tmp_path, "fit-001", content(1))

    class Full:
        def __reduce__(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.write(tmp_path, "fit-001", {"n": Full()})
    assert files.read(tmp_path, "fit-001")[0]["n"] == 1
    assert len(list(tmp_path.iterdir())) == 1


WRITER = """
import sys
from pathlib import Path
import torch
from fastmagic.guard import files
number = 0
while True:
    number += 1
    x = torch.full((400_000,), float(number))
    files.write(Path(sys.argv[1]), "fit-001", {"n": number, "x": x})
    if number == 2:
        print("writing", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_kill_in_the_middle_of_writing_leaves_a_whole_state(tmp_path):
    for kill in range(8):
        folder = tmp_path / str(kill)
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline()
        time.sleep(0.003 * kill)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        found, damaged = files.read(folder, "fit-001")
        assert found is not None and not damaged
        assert bool((found["x"] == found["n"]).all())


def test_an_old_generation_that_cannot_be_removed_does_not_fail_the_write(tmp_path):
    old = tmp_path / f"fit-001-000001-{'0' * 64}.pt"
    (old / "held").mkdir(parents=True)
    for number in (2, 3, 4):
        files.write(tmp_path, "fit-001", content(number))
    assert files.read(tmp_path, "fit-001")[0]["n"] == 4
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "copy" / old.name / "held").mkdir(parents=True)
    (tmp_path / "copy" / f"fit-001-000002-{'0' * 64}.pt").touch()
    assert files.bring(tmp_path, tmp_path / "copy") == ["fit-001"]
    assert files.read(tmp_path / "copy", "fit-001")[0]["n"] == 4
