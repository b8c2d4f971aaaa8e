from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import pytest

from fastmagic import progress
from fastmagic.errors import BadInput
from fastmagic.gpu.sensors import Sensors
from fastmagic.gpu.watch import SHORTEST, bars, watch

from .fake_nvml import T4, FakeLibrary


class Time:
    """A clock that sleeping moves on, and that the person stops after some naps."""

    def __init__(self, naps: int) -> None:
        self.now, self.naps, self.slept = 0.0, naps, []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) >= self.naps:
            raise KeyboardInterrupt

    def clock(self) -> float:
        return self.now


@pytest.fixture
def look_on(plug_in):
    """Watch a fake library for some readings."""

    def call(library, naps=3, seconds=1.0, show=False):
        nvml, time = plug_in(library), Time(naps)
        report = watch(
            seconds, show=show, sensors=lambda: Sensors(nvml), sleep=time.sleep, clock=time.clock
        )
        return report, time

    return call


def test_stop_is_the_way_to_end_it_and_gives_what_was_seen(look_on):
    report, _ = look_on(FakeLibrary([T4]), naps=5)
    lines = {line.what: line for line in report.lines}
    assert lines["GPU 0, temperature"].now == 41
    assert lines["GPU 0, memory"].peak == 3
    assert len(lines["GPU 0, temperature"].curve) == 5
    assert report.seconds == 5
    assert report.gpus == ("Tesla T4",)
    assert json.loads(json.dumps(report.to_dict()))["interval"] == 1


def test_it_reads_at_most_five_times_a_second(look_on):
    report, time = look_on(FakeLibrary([T4]), seconds=0.001)
    assert set(time.slept) == {SHORTEST}
    assert report.interval == SHORTEST


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(seconds):
    with pytest.raises(BadInput):
        watch(seconds, show=False)


def test_without_a_gpu_the_host_is_watched_and_the_reason_said(look_on):
    report, _ = look_on(None)
    assert "No GPU was watched" in report.note
    assert "memory of this machine" in str(report)


def test_a_row_fits_a_terminal_of_eighty_columns_whatever_the_card_is_called(look_on):
    h100 = replace(T4, name="NVIDIA H100 80GB HBM3 with a very long name", memory=(81559, 60000))
    report, _ = look_on(FakeLibrary([h100]), naps=40)
    text = str(report)
    assert "GPU 0: NVIDIA H100" in text
    assert max(map(len, text.splitlines())) <= 80
    assert {len(line.curve) for line in report.lines} == {20}


def test_a_terminal_redraws_in_place(look_on):
    out = io.StringIO()
    now = iter(range(100))
    view = progress.TerminalView(out, clock=lambda: float(next(now)), columns=lambda: 60)
    look_on(FakeLibrary([T4]), naps=3, show=view)
    text = out.getvalue()
    assert "\x1b[" in text
    last = text.rpartition("\x1b[J")[2]
    assert last.count("GPU, live") == 1
    assert all(len(line) <= 59 for line in text.partition("\x1b[")[0].splitlines())


def test_a_low_terminal_is_never_written_beyond_its_height(look_on):
    out = io.StringIO()
    now = iter(range(100))
    view = progress.TerminalView(out, clock=lambda: float(next(now)), rows=lambda: 6)
    look_on(FakeLibrary([T4]), naps=3, show=view)
    ups = [int(one) for one in re.findall(r"\x1b\[(\d+)A", out.getvalue())]
    assert ups and max(ups) == 5
    assert "lines more: make this window higher" in out.getvalue()


def test_a_log_gets_whole_lines_and_no_escape_codes(look_on):
    out = io.StringIO()
    look_on(FakeLibrary([T4]), show=progress.LogView(out))
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_notebook_has_one_output_that_is_replaced(look_on):
    class Handle:
        def update(self, bundle, raw):
            shown.append(bundle)

    def display(bundle, raw, display_id):
        shown.append(bundle)
        return Handle()

    shown: list[dict[str, str]] = []
    now = iter(range(100))
    view = progress.NotebookView("GPU, live", display, clock=lambda: float(next(now)))
    look_on(FakeLibrary([T4]), naps=3, show=view)
    assert len(shown) == 4
    assert "<table" in shown[-1]["text/html"]


def test_a_curve_stays_within_its_bars():
    assert bars([-5, 0, 1000], top=100) == "▁▁█"
    assert bars([], top=100) == ""
