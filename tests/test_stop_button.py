"""Stop, pressed where a magic has not begun yet, or has done its work already."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest

import fastmagic
from fastmagic.errors import LessonError, Stopped
from fastmagic.guard.keeper import Keeper
from fastmagic.guard.stops import put_off
from fastmagic.lesson import runs
from fastmagic.progress import View
from tests.lesson.stopping import SMALL, STOP


@pytest.fixture
def pressed():
    """Let SIGINT be what the stop button is, also where the tests run without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def said_by(script, *arguments):
    """Run Python code in a process of its own, and give what it prints."""
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", begin + script, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_what_must_not_be_broken_off_is_not_however_often_stop_is_pressed(pressed):
    done = []
    with pytest.raises(KeyboardInterrupt), put_off():
        pressed()
        pressed()
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_nothing_is_put_off():
    done = []

    def work():
        with put_off():
            done.append(threading.current_thread().name)

    thread = threading.Thread(target=work, name="another")
    thread.start()
    thread.join()
    assert done == ["another"]


LOADING = """
import os, sys, threading, time
import fastmagic
from fastmagic.errors import Stopped

def press():
    while "torch" not in sys.modules:
        time.sleep(0.001)
    loaded.append("fastai.learner" in sys.modules)
    os.kill(os.getpid(), signal.SIGINT)

loaded = []
threading.Thread(target=press, daemon=True).start()
call = dict(code="learn.fit(1)", runs_folder=sys.argv[1])
try:
    fastmagic.train_lesson1("sample", **call)
except Stopped as stop:
    print(stop.what, stop.next_step)
print(loaded, fastmagic.train_lesson1("sample", **call).status)
"""


def test_after_a_stop_while_torch_is_loaded_the_same_cell_runs(tmp_path):
    first, second = said_by(LOADING, tmp_path).splitlines()
    assert first == "Stopped. Nothing was begun yet; run the same cell again."
    assert second == "[False] finished"


EARLY = """
import sys
from IPython.core.interactiveshell import InteractiveShell

class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == "fastmagic.gpu.check":
            signal.raise_signal(signal.SIGINT)

shell = InteractiveShell.instance(colors="NoColor")
shell.run_line_magic("load_ext", "fastmagic")
sys.meta_path.insert(0, Presses())
shell.run_cell("%gpu_check")
"""


def test_a_stop_while_a_magic_loads_its_parts_shows_none_of_them():
    assert said_by(EARLY).strip() == "Stopped.\nNext: Run the same line again."


class Presses(View):
    """Has stop pressed when something is said."""

    def __init__(self, words, press):
        super().__init__()
        self.words, self.press = words, press

    def note(self, text):
        if self.words in text:
            self.press()


def test_a_stop_while_a_run_is_claimed_leaves_it_to_the_same_cell(pressed, small_folder, tmp_path):
    body = f"{STOP}\nlearn.fit(2, cbs=Stop())"
    call = {**SMALL, "runs_folder": tmp_path, "name": "mine"}
    with pytest.raises(Stopped):
        fastmagic.train_lesson1(small_folder, body, namespace={"stop": True}, **call)
    again = Presses("Going on with mine", pressed)
    with pytest.raises(Stopped, match="What was trained before is kept") as kept:
        fastmagic.train_lesson1(small_folder, body, namespace={"stop": False}, show=again, **call)
    result = fastmagic.train_lesson1(small_folder, body, namespace={"stop": False}, **call)
    assert result.folder.name == "mine"
    assert kept.value.__traceback__ is not None  # as IPython keeps it


def test_a_run_that_cannot_be_claimed_is_not_held(tmp_path):
    runs.claim(tmp_path, "one", name="mine", stem="x").release()
    no_folder = tmp_path / ("long" * 100)
    with pytest.raises(LessonError) as kept:
        runs.claim(tmp_path, "one", name="mine", stem="x", copies=no_folder)
    again = runs.claim(tmp_path, "one", name="mine", stem="x")
    assert again.resumed and again.folder.name == "mine"
    assert kept.value.__traceback__ is not None


def test_a_stop_while_the_last_state_is_written_ends_the_thread_all_the_same(pressed, tmp_path):
    written = []

    def write(folder, name, content, generations):
        pressed()
        written.append(name)

    keeper = Keeper(tmp_path, write)
    with pytest.raises(KeyboardInterrupt):
        keeper.keep("fit-001", 1)
        keeper.close()
    thread = keeper._thread
    thread.join(10)
    assert not thread.is_alive()
    assert written == ["fit-001"]


def test_a_stop_when_several_processes_have_finished_gives_the_result(
    pressed, small_folder, tmp_path
):
    class Late(View):
        pressed = False

        def clear_bar(self):
            told = [json.loads(file.read_text()) for file in tmp_path.glob("*/run.json")]
            if not self.pressed and any(one["status"] == "finished" for one in told):
                self.pressed = True
                pressed()

    view = Late()
    result = fastmagic.train_lesson1(
        small_folder, "learn.fit(1)", runs_folder=tmp_path, processes=2, show=view, **SMALL
    )
    assert view.pressed and result.status == "finished" and result.learn is not None
