from __future__ import annotations

import io
import math
import time

import pytest
from PIL import Image

from fastmagic import curve


def drawn(values: list[float]) -> Image.Image:
    return Image.open(io.BytesIO(curve.draw("loss", values)))


def test_a_curve_is_dark_on_an_opaque_white_ground():
    with drawn([1.0, 0.5, 0.25]) as picture:
        assert picture.size == (curve.WIDTH, curve.HEIGHT)
        assert picture.mode == "RGB"
        assert picture.getpixel((1, 1)) == (255, 255, 255)
        assert min(picture.convert("L").tobytes()) < 100


def test_a_falling_loss_falls_from_left_to_right():
    with drawn([1.0, 0.5, 0.0]) as picture:
        blue = picture.load()
        top, bottom = curve.TOP, curve.HEIGHT - curve.MARGIN
        assert blue[curve.LEFT, top] != (255, 255, 255)
        marks = [y for y in range(top + 8, bottom - 8) if blue[curve.WIDTH - 10, y][0] < 200]
        assert not marks


@pytest.mark.parametrize("values", [[], [0.5], [math.nan] * 5, [0.5, math.inf]])
def test_where_there_is_no_curve_there_is_no_picture(values):
    assert curve.draw("loss", values) == b""


def test_a_network_that_diverged_keeps_the_curve_it_had():
    assert curve.draw("loss", [0.5, 0.6, 0.7, math.nan, math.inf])[:4] == b"\x89PNG"
    assert curve.alternative("loss", [0.5, 0.7, math.nan]) == "loss, from 0.5000 to 0.7000"


def test_the_first_and_the_last_value_are_kept_however_long_it_is():
    values = [float(n) for n in range(100_003)]
    chosen = curve.thinned(values)
    assert len(chosen) == curve.POINTS
    assert chosen[0] == (0.0, 0.0)
    assert chosen[-1] == (1.0, 100_002.0)


def test_a_long_curve_takes_no_longer_than_a_short_one():
    curve.draw("loss", [1.0, 0.5])

    def quickest(values: list[float]) -> float:
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            curve.draw("loss", values)
            times.append(time.perf_counter() - begun)
        return min(times)

    short, long = quickest([1.0, 0.5] * 100), quickest([1.0, 0.5] * 200_000)
    assert long < 3 * short
