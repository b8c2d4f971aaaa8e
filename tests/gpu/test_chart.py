from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from fastmagic.gpu import chart
from fastmagic.gpu.monitor import GpuSummary, MonitorSummary
from fastmagic.gpu.samples import Samples
from fastmagic.gpu.sensors import GpuSample, Sample


def recorded(gpus: int, count: int, gpu: GpuSample | None = None) -> Samples:
    samples = Samples(gpus)
    for number in range(count):
        one = gpu or GpuSample(number * 37 % 101, 400 + number % 5000, 60, 50.0)
        samples.add(number * 0.25, Sample((one,) * gpus, 4000 + number, 9000, 1500, 120))
    return samples


@pytest.mark.parametrize("gpus", [0, 1, 2, 4, 5, 16])
def test_a_chart_is_a_small_opaque_picture_on_white(gpus):
    png = chart.draw(recorded(gpus, 2000))
    assert png is not None
    assert len(png) <= 40_000
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (chart.WIDTH, chart.HEIGHT)
        assert picture.convert("RGBA").getpixel((2, 2)) == (255, 255, 255, 255)
        assert len(picture.convert("RGB").getcolors(100_000)) > 20


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_run_too_short_for_a_curve_has_no_chart(count):
    assert chart.draw(recorded(1, count)) is None


def test_a_gpu_that_tells_nothing_gives_way_to_the_host():
    assert chart.draw(recorded(1, 50, GpuSample())) == chart.draw(recorded(0, 50))


def test_without_matplotlib_there_is_no_chart(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert chart.draw(recorded(1, 50)) is None


def test_the_persons_dark_style_does_not_reach_it():
    import matplotlib as mpl

    plain = chart.draw(recorded(2, 50))
    dark = {"figure.facecolor": "black", "text.color": "white", "axes.labelcolor": "white"}
    with mpl.rc_context({**dark, "xtick.color": "white", "axes.edgecolor": "white"}):
        assert chart.draw(recorded(2, 50)) == plain


def test_drawing_imports_no_pyplot_and_so_chooses_no_backend():
    code = """
import sys
from fastmagic.gpu import chart
from fastmagic.gpu.samples import Samples
from fastmagic.gpu.sensors import Sample
samples = Samples(0)
for second in range(9):
    samples.add(second, Sample(ram_used=second))
assert chart.draw(samples)
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False"], done.stderr


def test_a_curve_is_even_however_dense_the_store_is():
    sparse = [(float(second), 10.0) for second in range(0, 100, 10)]
    dense = [(100 + second / 10, 30.0) for second in range(1000)]
    curve = chart.even([*sparse, *dense], 200, peak=False)
    half = chart.POINTS // 2
    before_the_dense = int(90 / 200 * chart.POINTS)
    assert curve[: before_the_dense + 1] == [10.0] * (before_the_dense + 1)
    assert curve[half:] == [30.0] * half


def test_a_curve_ends_where_the_gpu_was_lost():
    curve = chart.even([(1.0, 50.0), (40.0, 70.0)], 100, peak=True)
    assert curve[0] == 50.0
    assert curve[40] == 70.0
    assert math.isnan(curve[-1])


def test_the_words_for_a_picture_of_nothing_name_nothing():
    assert chart.alternative(MonitorSummary(5, 5)) == "Chart over 5 s."


def test_the_words_for_the_picture_name_each_gpu():
    gpu = GpuSummary("Tesla T4", None, 15360, 1024, 40.0, 60, 50.0)
    words = chart.alternative(MonitorSummary(60, 240, (gpu, gpu)))
    assert "GPU 0 40 % busy" in words
    assert "GPU 1 40 % busy" in words
