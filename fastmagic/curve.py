"""A small picture of a curve that grows, quick enough to be drawn anew five times a second."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

WIDTH, HEIGHT = 400, 90  # pixels
POINTS = 180  # of the curve, at most: one for every two of its pixels
LEFT, TOP, MARGIN = 52, 16, 6  # pixels beside the curve
INK, FAINT, BLUE = "#222222", "#d9d9d9", "#0072B2"


def draw(label: str, values: Sequence[float]) -> bytes:
    """Draw a curve, however long, with its last value and its range.

    Parameters
    ----------
    label
        What it is of.
    values
        In order; what is not finite is left out.

    Returns
    -------
    bytes
        A PNG of 400 x 90 pixels on white; empty for fewer than two values that can be drawn.

    Examples
    --------
    >>> draw("loss", [0.5])
    b''
    >>> draw("loss", [0.5, 0.4, 0.3])[:4]
    b'\\x89PNG'
    """
    points = thinned(values)
    if len(points) < 2:
        return b""
    from PIL import Image, ImageDraw

    low, high = min(value for _, value in points), max(value for _, value in points)
    line = [
        (2 * (LEFT + share * (WIDTH - LEFT - MARGIN)), 2 * _height(value, low, high))
        for share, value in points
    ]
    large = Image.new("L", (2 * WIDTH, 2 * HEIGHT), 0)  # twice the size, for smooth edges
    ImageDraw.Draw(large).line(line, fill=255, width=3, joint="curve")
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    for value in {low, high}:
        y = _height(value, low, high)
        pen.line([(LEFT, y), (WIDTH - MARGIN, y)], fill=FAINT)
        pen.text((LEFT - 6, y), _short(value), fill=INK, font=_font(), anchor="rm")
    picture.paste(BLUE, (0, 0), large.reduce(2))
    words = f"{label} {_short(points[-1][1])}"
    pen.text((WIDTH - MARGIN, 1), words, fill=INK, font=_font(), anchor="ra")
    png = io.BytesIO()
    picture.save(png, "PNG", compress_level=3)
    return png.getvalue()


def alternative(label: str, values: Sequence[float]) -> str:
    """Give the words that stand for the picture where it cannot be seen.

    Examples
    --------
    >>> alternative("loss", [0.7, 0.5, 0.1234])
    'loss, from 0.7000 to 0.1234'
    >>> alternative("loss", [])
    'loss, no values yet'
    """
    points = thinned(values)
    if not points:
        return f"{label}, no values yet"
    return f"{label}, from {_short(points[0][1])} to {_short(points[-1][1])}"


def thinned(values: Sequence[float], most: int = POINTS) -> list[tuple[float, float]]:
    """Choose evenly spread points, the first and the last among them; what is not finite is out.

    Returns
    -------
    list of (float, float)
        Where along the curve, 0 to 1, and the value; at most `most` of them.

    Examples
    --------
    >>> thinned([5.0, 4.0, 3.0, 2.0, 1.0], most=3)
    [(0.0, 5.0), (0.5, 3.0), (1.0, 1.0)]
    """
    last = len(values) - 1
    parts = min(len(values), most) - 1
    places = [round(n * last / parts) for n in range(parts + 1)] if parts > 0 else [0][: last + 1]
    chosen = ((n / max(last, 1), float(values[n])) for n in places)
    return [(share, value) for share, value in chosen if math.isfinite(value)]


def _height(value: float, low: float, high: float) -> float:
    share = 0.5 if high == low else (value - low) / (high - low)
    return HEIGHT - MARGIN - share * (HEIGHT - MARGIN - TOP)


def _short(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1000 else f"{value:.3g}"


@lru_cache(maxsize=1)
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(11)
