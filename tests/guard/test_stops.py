"""Stops that come at the worst moment."""

from __future__ import annotations

import signal
import sys

import pytest

from fastmagic.guard.stops import Stops, Terminated


class Stopped:
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
        Stopped(number)
        with stops.held():
            done.append("a step")
        done.append("another")
    assert done == ["a step"]


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
