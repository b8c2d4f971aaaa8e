from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastmagic import child


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_the_answer_is_found_among_other_output():
    text = "print('noise'); print('fastmagic-answer:{\"a\": [1]}'); print('more')"
    assert child.ask(script(text), limit=60).data == {"a": [1]}


def test_a_crash_is_a_finding_with_its_last_words():
    answer = child.ask(script("raise RuntimeError('the driver is unhappy')"), limit=60)
    assert answer.fault == "crashed"
    assert "the driver is unhappy" in answer.words


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_crash_by_a_signal_names_it():
    answer = child.ask(script("import os; os.kill(os.getpid(), 11)"), limit=60)
    assert answer.fault == "crashed"
    assert "SIGSEGV" in answer.words


def test_the_last_of_several_answers_counts():
    text = "print('fastmagic-answer:{\"a\": 1}'); print('fastmagic-answer:{\"a\": 2}')"
    assert child.ask(script(text), limit=60).data == {"a": 2}


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_crash_leaves_what_was_known_before_it():
    text = (
        "import os, sys\n"
        "print('fastmagic-answer:{\"a\": 1}', flush=True)\n"
        "sys.stdout.write('fastmagic-answer:{\"a\": 2')\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), 11)"
    )
    answer = child.ask(script(text), limit=60)
    assert (answer.fault, dict(answer.data)) == ("crashed", {"a": 1})
    assert "fastmagic-answer" not in answer.words


def test_a_hang_leaves_what_was_known_before_it():
    text = "import time; print('fastmagic-answer:{\"a\": 1}', flush=True); time.sleep(60)"
    answer = child.ask(script(text), limit=2)
    assert (answer.fault, dict(answer.data)) == ("hung", {"a": 1})


@pytest.mark.skipif(os.name != "posix", reason="needs sessions")
def test_a_hang_whose_own_child_keeps_the_pipe_still_ends(tmp_path):
    free, late = tmp_path / "free", tmp_path / "late"
    escaped = (
        "import pathlib, time\n"
        "end = time.monotonic() + 30\n"
        f"while not pathlib.Path({str(free)!r}).exists() and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        f"time.monotonic() < end or pathlib.Path({str(late)!r}).touch()"
    )
    text = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {escaped!r}], start_new_session=True)\n"
        "time.sleep(60)"
    )
    answer = child.ask(script(text), limit=1)
    free.touch()
    assert answer.fault == "hung"
    assert not late.exists()


def test_a_hang_ends_at_the_limit():
    start = time.monotonic()
    answer = child.ask(script("import time; time.sleep(60)"), limit=0.5)
    assert answer.fault == "hung"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("line", ["hello", "fastmagic-answer:{", "fastmagic-answer:[1]"])
def test_garbage_is_a_finding(line):
    assert child.ask(script(f"print({line!r})"), limit=60).fault == "garbage"


def test_a_program_that_is_not_there_is_a_finding():
    assert child.ask(["no such program"], limit=60).fault == "not_started"


def test_it_ticks_while_it_waits():
    ticks: list[float] = []
    child.ask(script("import time; time.sleep(0.5)"), limit=60, tick=ticks.append)
    assert len(ticks) >= 2


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupt_ends_the_child(tmp_path):
    pid_file = tmp_path / "pid"
    text = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt():
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        child.ask(script(text), limit=60)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_polite_end_lets_the_child_tidy_up(tmp_path):
    ready, tidy = tmp_path / "ready", tmp_path / "tidy"
    text = (
        "import time\n"
        "try:\n"
        f"    open({str(ready)!r}, 'w').close(); time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    open({str(tidy)!r}, 'w').close()\n"
    )
    process = child.start_process(script(text), None, subprocess.DEVNULL)
    while not ready.exists():
        time.sleep(0.02)
    child.end_process(process, patience=10)
    assert tidy.exists()
    assert process.stdout
    process.stdout.close()


def test_a_child_writes_what_is_read_whatever_the_locale_is(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    answer = child.ask(script('print(\'fastmagic-answer:{"a": "Jürgen █"}\')'), limit=60)
    assert (answer.fault, dict(answer.data)) == ("", {"a": "Jürgen █"})
