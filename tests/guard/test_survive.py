"""What the machine may do to a lesson: end it, take a loading process, fill the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import fastmagic

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}

LESSON = """
import sys
import fastmagic
result = fastmagic.train_lesson1(
    sys.argv[1], "learn.fit(epochs)\\nlearn.fit(1)", arch="squeezenet1_1", weights="none",
    size=32, bs=4, runs_folder=sys.argv[2], namespace={"epochs": 40}, show=True,
)
print(result.weights_sha256)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
def test_a_machine_that_shuts_down_finds_the_state_saved(small_folder, tmp_path):
    def lesson(runs):
        return subprocess.Popen(
            [sys.executable, "-c", LESSON, str(small_folder), str(runs)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # two wait for one another on busy cores
        )

    with lesson(tmp_path / "runs") as child:
        for line in child.stdout:
            if line.split()[:2] == ["1", "3"]:
                break
        time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        said = child.stdout.read()
        assert child.wait(60) == -signal.SIGTERM, said
    [folder] = [one for one in (tmp_path / "runs").iterdir() if one.is_dir()]
    kept = json.loads((folder / "result.json").read_text())
    assert kept["status"] == "stopped"
    assert "the machine asked it to end" in kept["incidents"][-1]["what"]
    done = len(kept["stages"][0]["epochs"])
    again, _ = lesson(tmp_path / "runs").communicate(timeout=300)
    assert "goes on" in again
    whole, _ = lesson(tmp_path / "whole").communicate(timeout=300)
    assert again.splitlines()[-1] == whole.splitlines()[-1]
    assert 3 <= done < 40


@pytest.mark.skipif(sys.platform != "linux", reason="loading processes are forked here")
def test_a_loading_process_that_is_killed_is_done_without(small_folder, tmp_path):
    body = """
import multiprocessing, os, signal
from fastai.callback.core import Callback
class Kill(Callback):
    def before_batch(self):
        if self.training and self.epoch == 1 and self.iter == 1 and kill:
            kill.pop()
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)
learn.fit(3, cbs=Kill())
"""

    def run(kill, name):
        return fastmagic.train_lesson1(
            small_folder,
            body,
            workers=2,
            runs_folder=tmp_path,
            name=name,
            namespace={"kill": kill},
            **{**SMALL, "bs": 4},
        )

    whole, hurt = run([], "whole"), run([True], "hurt")
    assert not whole.incidents
    [incident] = hurt.incidents
    assert "was killed" in incident.what
    assert whole.weights_sha256 == hurt.weights_sha256
    assert [len(stage.epochs) for stage in hurt.stages] == [3]


SHARED_IS_FULL = (
    "unable to allocate shared memory(shm) for file </torch_71_42_0>: No space left on device (28)",
    "unable to write to file </torch_71_42_0>: No space left on device (28)",
)


@pytest.mark.skipif(sys.platform != "linux", reason="loading processes are forked here")
@pytest.mark.parametrize("words", SHARED_IS_FULL, ids=["torch 2.15", "older"])
def test_loading_processes_that_find_no_shared_memory_are_done_without(
    small_folder, tmp_path, words
):
    body = """
from fastai.vision.all import *
from torch.utils.data import get_worker_info
class Full(Transform):
    calls = 0
    def encodes(self, x: PILImage):
        self.calls += 1
        if self.calls > 6 and get_worker_info():
            raise RuntimeError(words)
        return x
dls.train.after_item.add(Full())
learn.fit(2)
"""

    def run(workers):
        return fastmagic.train_lesson1(
            small_folder,
            body,
            workers=workers,
            runs_folder=tmp_path,
            name=f"with-{workers}",
            namespace={"words": words},
            **{**SMALL, "bs": 4},
        )

    alone, short = run(0), run(2)
    assert not alone.incidents
    assert [one.what for one in short.incidents] == [
        "a process that loads pictures found no room in /dev/shm"
    ] * 2
    assert [one.done for one in short.incidents] == [
        "1 of them go on",
        "the training process loads them itself",
    ]
    assert short.weights_sha256 == alone.weights_sha256


FULL = """
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
import fastmagic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(full):
    limit = 2_000_000 if full else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
body = "learn.fit(1)\\nfill(True)\\nlearn.fit(2)\\nfill(False)\\nlearn.fit(1)"
result = fastmagic.train_lesson1(
    sys.argv[1], body, arch="squeezenet1_1", weights="none", size=32, bs=16,
    runs_folder=sys.argv[2], namespace={"fill": fill},
)
print([str(one) for one in result.incidents], [len(stage.epochs) for stage in result.stages])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system's limit of a file's size is used")
def test_where_no_state_can_be_written_training_goes_on(small_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(small_folder), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not be saved (File too large)") == 1
    assert "[1, 2, 1]" in done.stdout


def test_batch_norms_are_kept_where_the_flag_says_so(small_folder, tmp_path):
    from torch import nn

    body = """
learn.fit(1)
learn.unfreeze()
learn.fit(1)
"""
    names: dict = {}
    fastmagic.train_lesson1(
        small_folder,
        "before = {k: v.clone() for k, v in learn.model[0].state_dict().items()}\n" + body,
        runs_folder=tmp_path,
        freeze_bn=True,
        namespace=names,
        **{**SMALL, "arch": "resnet18"},
    )
    after = names["learn"].model[0]
    norms = [n for n, module in after.named_modules() if isinstance(module, nn.BatchNorm2d)]
    now = after.state_dict()
    same = {key: bool((names["before"][key] == now[key]).all()) for key in now}
    assert norms and all(same[key] for key in now if key.rpartition(".")[0] in norms)
    assert not all(same.values())
