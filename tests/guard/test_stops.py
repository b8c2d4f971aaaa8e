"""Stops that come at the worst moment."""

from __future__ import annotations

import signal
import sys

import pytest

from fastmagic.errors import Stopped
from fastmagic.guard.stops import Stops, Terminated, held_to_the_end
from fastmagic.progress import View


class StopsLate:
    """Is told to stop while it is taken away, where Python drops what is raised."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_stop_that_python_drops_comes_after_the_next_step(number, kind):
    done = []
    with pytest.raises(kind), Stops() as stops:
        StopsLate(number)
        with stops.held():
            done.append("a step")
        done.append("another")
    assert done == ["a step"]


def test_a_stop_in_a_block_within_another_waits_for_the_outer_one():
    done = []
    with pytest.raises(KeyboardInterrupt), Stops() as stops:
        with stops.held():
            with stops.held():
                signal.raise_signal(signal.SIGINT)
                done.append("the inner one")
            done.append("the outer one")
        done.append("more")
    assert done == ["the inner one", "the outer one"]


def test_other_dropped_errors_are_told_as_before_and_the_hook_is_given_back():
    told, before = [], sys.unraisablehook
    sys.unraisablehook = told.append

    class Fails:
        def __del__(self) -> None:
            raise ValueError("on purpose")

    try:
        with Stops() as stops:
            Fails()
            with stops.held():
                pass
        assert sys.unraisablehook == told.append
    finally:
        sys.unraisablehook = before
    assert [type(lost.exc_value) for lost in told] == [ValueError]


@pytest.fixture
def pressed():
    """Let SIGINT be what the stop button is, also where the tests run without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_a_press_while_the_end_is_written_has_come_too_late(pressed):
    with held_to_the_end(Stopped("half", "again")):
        pressed()
        written = True
    assert written
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_press_ends_it_in_words(pressed):
    with pytest.raises(Stopped, match="half"), held_to_the_end(Stopped("half", "again")):
        pressed()
        pressed()
        raise AssertionError("the second one is raised at once")


def test_a_stop_while_the_report_is_shown_gives_the_result_all_the_same(pressed, tmp_path):
    import fastmagic

    class Pressing(View):
        def finish(self, face):
            pressed()
            super().finish(face)

    result = fastmagic.train_lesson1("sample", "1", runs_folder=tmp_path, show=Pressing())
    assert result.status == "finished"


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="processes are no children here")
def test_the_end_of_processes_that_are_let_go_is_nobodys_concern(pressed):
    def torchs(number, frame):
        raise RuntimeError("a worker is killed")

    before = signal.signal(signal.SIGCHLD, torchs)
    try:
        with Stops() as stops:
            with stops.letting_go():
                signal.raise_signal(signal.SIGCHLD)
            with pytest.raises(RuntimeError, match="a worker"), stops.held():
                signal.raise_signal(signal.SIGCHLD)
        assert signal.getsignal(signal.SIGCHLD) is torchs
    finally:
        signal.signal(signal.SIGCHLD, before)
