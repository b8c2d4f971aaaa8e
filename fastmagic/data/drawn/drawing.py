"""A small paint box whose pictures are the same, to the last bit, on every machine.

`sample` promises the same pixels for the same seed on every supported numpy and Pillow. So all
arithmetic here is ``+ - * /``, square roots and comparisons of float64, which IEEE 754 fixes to the
last bit whatever the processor's vector units do, and sums are of integers only. No sine, no
exponential, no matrix product, and none of Pillow's own drawing: their last bits move between
versions. Chance comes from numpy's ``RandomState``, whose stream is frozen for good (NEP 19).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

T = TypeVar("T")
Colour = tuple[int, int, int]
Point = tuple[float, float]

FINENESS = 2
"""Points drawn for each pixel, along each side; their mean smooths the edges."""


class Dice:
    """Chance that falls alike everywhere: what is drawn depends on the key alone.

    Examples
    --------
    >>> Dice(1, "fur").pick(["ginger", "grey", "black"])
    'black'
    """

    def __init__(self, *key: object) -> None:
        import numpy as np

        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._stream = np.random.RandomState(int.from_bytes(digest[:4], "little"))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._stream.random_sample())

    def chance(self, share: float) -> bool:
        return self.between(0, 1) < share

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.between(0, len(choices)))]

    def grid(self, *shape: int) -> Array:
        """Give independent numbers between 0 and 1 in an array of this shape."""
        return self._stream.random_sample(shape)


class Shape(Protocol):
    """An area in the coordinates of a frame."""

    def bounds(self) -> tuple[float, float, float, float]:
        """Give left, top, right and bottom."""

    def covers(self, x: Array, y: Array, grow: float) -> Array:
        """Say which points lie inside, or at most `grow` outside."""


@dataclass(frozen=True)
class Ellipse:
    """An ellipse; `tilt` is the tangent of half the angle it is turned by."""

    x: float
    y: float
    width: float
    height: float
    tilt: float = 0

    def bounds(self) -> tuple[float, float, float, float]:
        far = max(self.width, self.height) if self.tilt else 0
        across, down = far or self.width, far or self.height
        return self.x - across, self.y - down, self.x + across, self.y + down

    def covers(self, x: Array, y: Array, grow: float) -> Array:
        x, y = x - self.x, y - self.y
        if self.tilt:
            cosine, sine = turn(self.tilt)
            x, y = cosine * x + sine * y, cosine * y - sine * x
        x, y = x / (self.width + grow), y / (self.height + grow)
        return x * x + y * y <= 1


@dataclass(frozen=True)
class Polygon:
    """A convex polygon; its corners may run either way round."""

    corners: tuple[Point, ...]

    def bounds(self) -> tuple[float, float, float, float]:
        across, down = zip(*self.corners, strict=True)
        return min(across), min(down), max(across), max(down)

    def covers(self, x: Array, y: Array, grow: float) -> Array:
        (ax, ay), (bx, by), (cx, cy) = self.corners[:3]
        side = 1 if (bx - ax) * (cy - ay) > (by - ay) * (cx - ax) else -1
        inside = x == x + y * 0
        for (ax, ay), (bx, by) in zip(
            self.corners, self.corners[1:] + self.corners[:1], strict=True
        ):
            dx, dy = side * (bx - ax), side * (by - ay)
            reach = grow * math.sqrt(dx * dx + dy * dy)
            inside &= dx * (y - ay) - dy * (x - ax) >= -reach
        return inside


@dataclass(frozen=True)
class Stroke:
    """A line with round ends, from `start`'s to `end`'s thickness; `by` bends it (Bézier)."""

    start: Point
    end: Point
    thick: float
    thin: float
    by: Point | None = None

    def _beads(self) -> list[tuple[float, float, float]]:
        count = 10 if self.by else 1
        middle = self.by or ((self.start[0] + self.end[0]) / 2, (self.start[1] + self.end[1]) / 2)
        beads = []
        for step in range(count + 1):
            t = step / count
            a, b, c = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
            x = a * self.start[0] + b * middle[0] + c * self.end[0]
            y = a * self.start[1] + b * middle[1] + c * self.end[1]
            beads.append((x, y, self.thick + (self.thin - self.thick) * t))
        return beads

    def bounds(self) -> tuple[float, float, float, float]:
        beads = self._beads()
        return (
            min(x - r for x, _, r in beads),
            min(y - r for _, y, r in beads),
            max(x + r for x, _, r in beads),
            max(y + r for _, y, r in beads),
        )

    def covers(self, x: Array, y: Array, grow: float) -> Array:
        beads = self._beads()
        inside = x != x + y * 0
        for (ax, ay, ar), (bx, by, br) in pairwise(beads):
            dx, dy = bx - ax, by - ay
            along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
            along = along.clip(0, 1)
            across, down = x - ax - along * dx, y - ay - along * dy
            radius = ar + grow + along * (br - ar)
            inside |= across * across + down * down <= radius * radius
        return inside


@dataclass(frozen=True)
class Frame:
    """Coordinates of one animal: where its head is, how large, how turned, which way it looks.

    `x`, `y` and `size` are shares of the picture's side; `tilt` is as in `Ellipse`.
    """

    x: float
    y: float
    size: float
    tilt: float = 0
    mirrored: bool = False

    def outward(self, x: float, y: float) -> Point:
        """Give the place in the picture of a point of the frame."""
        cosine, sine = turn(self.tilt)
        x = -x if self.mirrored else x
        return self.x + self.size * (cosine * x - sine * y), self.y + self.size * (
            sine * x + cosine * y
        )

    def inward(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Give the place in the frame of points of the picture."""
        cosine, sine = turn(self.tilt)
        x, y = (x - self.x) / self.size, (y - self.y) / self.size
        across, down = cosine * x + sine * y, cosine * y - sine * x
        return (-across if self.mirrored else across), down


PAGE = Frame(0, 0, 1)
"""The picture's own coordinates: (0, 0) is its top left corner, (1, 1) its bottom right one."""


class Canvas:
    """A picture being painted, with `FINENESS` points a pixel along each side."""

    def __init__(self, side: int) -> None:
        import numpy as np

        self.side = side
        self.points = side * FINENESS
        self.pixels: Array = np.zeros((self.points, self.points, 3), np.uint8)
        middle = (np.arange(self.points) + 0.5) / self.points
        self.x, self.y = middle[None, :], middle[:, None]

    def paint(self, frame: Frame, shape: Shape, paint: Colour | Array, grow: float = 0) -> None:
        """Fill a shape with a colour, or with what lies there on a layer as large as the canvas."""
        import numpy as np

        rows, columns = self._window(frame, shape, grow)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        inside = shape.covers(*frame.inward(self.x[:, columns], self.y[rows]), grow)
        source = paint if isinstance(paint, tuple) else paint[rows, columns]
        np.copyto(
            self.pixels[rows, columns], np.asarray(source, np.uint8), where=inside[:, :, None]
        )

    def _window(self, frame: Frame, shape: Shape, grow: float) -> tuple[slice, slice]:
        left, top, right, bottom = shape.bounds()
        spare = 2 * grow  # the corners of a grown polygon move out by more than `grow`
        left, top, right, bottom = left - spare, top - spare, right + spare, bottom + spare
        corners = [frame.outward(x, y) for x in (left, right) for y in (top, bottom)]
        spans = []
        for axis in (1, 0):
            low = math.floor(min(c[axis] for c in corners) * self.points) - 1
            high = math.ceil(max(c[axis] for c in corners) * self.points) + 1
            spans.append(slice(min(max(low, 0), self.points), min(max(high, 0), self.points)))
        return spans[0], spans[1]

    def clouds(self, dice: Dice, cells: int) -> Array:
        """Give smooth random numbers between 0 and 1, `cells` hills along each side."""
        import numpy as np

        lattice = dice.grid(cells + 1, cells + 1)
        place = self.x[0] * cells
        low = place.astype(np.int64)
        share = place - low
        share = share * share * (3 - 2 * share)
        left, right = lattice[:, low], lattice[:, low + 1]
        columns = left + (right - left) * share[None, :]
        above = columns[low]
        return above + (columns[low + 1] - above) * share[:, None]

    def blend(self, first: Colour, second: Colour, share: Array) -> Array:
        """Give a layer that goes from one colour to another where `share` goes from 0 to 1."""
        import numpy as np

        layer: Array = np.empty((self.points, self.points, 3), np.uint8)
        for channel in range(3):
            layer[:, :, channel] = first[channel] + (second[channel] - first[channel]) * share
        return layer

    def photograph(self, dice: Dice) -> Array:
        """Give the finished picture, uint8 (side, side, 3): light, colour cast and noise added."""
        import numpy as np

        picture = np.zeros((self.side, self.side, 3))
        for row, column in product(range(FINENESS), repeat=2):
            picture += self.pixels[row::FINENESS, column::FINENESS]  # whole numbers: exact
        picture /= FINENESS * FINENESS
        across = (np.arange(self.side) + 0.5) / self.side - 0.5
        slope = dice.between(-0.4, 0.4), dice.between(-0.4, 0.4)
        light = 1 + slope[0] * across[None, :] + slope[1] * across[:, None]
        gain, lift = dice.between(0.75, 1.1), dice.between(-12, 22)
        cast = np.array([dice.between(0.9, 1.1) for _ in range(3)])
        grain = dice.between(4, 18)
        noise = dice.grid(self.side, self.side, 3) + dice.grid(self.side, self.side, 3) - 1
        picture = picture * (gain * light)[:, :, None] * cast + lift + grain * noise
        return np.floor(picture.clip(0, 255) + 0.5).astype(np.uint8)


def turn(tilt: float) -> Point:
    """Give the cosine and the sine of an angle from the tangent of its half, exactly rounded.

    Examples
    --------
    >>> turn(0.5)
    (0.6, 0.8)
    """
    square = tilt * tilt
    return (1 - square) / (1 + square), 2 * tilt / (1 + square)


def shade(colour: Colour, factor: float) -> Colour:
    """Make a colour darker (below 1) or lighter (above 1).

    Examples
    --------
    >>> shade((100, 200, 50), 0.5)
    (50, 100, 25)
    """
    red, green, blue = (min(255, int(part * factor + 0.5)) for part in colour)
    return red, green, blue


def any_colour(dice: Dice) -> Colour:
    """Choose any colour but the brightest and the darkest ones."""
    red, green, blue = (int(dice.between(25, 240)) for _ in range(3))
    return red, green, blue


def muted_colour(dice: Dice, fur: Colour) -> Colour:
    """Choose a muted colour that the animal stands out from."""
    for _ in range(20):
        red, green, blue = any_colour(dice)
        grey = (red + green + blue) // 3
        colour = (red + grey) // 2, (green + grey) // 2, (blue + grey) // 2
        if sum(abs(a - b) for a, b in zip(colour, fur, strict=True)) > 130:
            break
    return colour


def paint_background(canvas: Canvas, dice: Dice, fur: Colour) -> None:
    """Cover the canvas with a pattern and a few things, in colours that fur stands out from."""
    first, second = muted_colour(dice, fur), muted_colour(dice, fur)
    style = dice.pick(("clouds", "grass", "stripes", "checks", "horizon"))
    across, down = canvas.x + canvas.y * 0, canvas.y + canvas.x * 0
    if style == "clouds":
        share = canvas.clouds(dice, 3)
    elif style == "grass":
        share = canvas.clouds(dice, 24) * 0.5 + canvas.clouds(dice, 5) * 0.3
    elif style == "horizon":
        share = (down > dice.between(0.35, 0.8)) * 0.8 + 0.2 * canvas.clouds(dice, 8)
    else:
        pitch, lean = dice.between(2.5, 7), dice.between(-0.8, 0.8)
        share = _bands((across + lean * down) * pitch) * 0.4
        if style == "checks":
            share = share + _bands((down - lean * across) * pitch) * 0.3
    canvas.pixels[:] = canvas.blend(first, second, share)
    for _ in range(int(dice.between(0, 5))):
        canvas.paint(PAGE, _thing(dice), muted_colour(dice, fur))


def _bands(place: Array) -> Array:
    """Give 1 on every other band of width 1, 0 between them."""
    bands: Array = place + 64
    return bands.astype("int64") % 2 * 1.0


def _thing(dice: Dice) -> Shape:
    """Make something that just lies about: round, pointed or long, like parts of an animal."""
    x, y, size = dice.between(0, 1), dice.between(0, 1), dice.between(0.03, 0.16)
    form = dice.pick(("ball", "point", "stick"))
    if form == "ball":
        return Ellipse(x, y, size, size * dice.between(0.5, 1.6), dice.between(-0.5, 0.5))
    if form == "stick":
        end = (x + dice.between(-0.4, 0.4) + 0.01, y + dice.between(-0.4, 0.4))
        return Stroke((x, y), end, size * 0.3, size * 0.2)
    tip = (x + dice.between(-1, 1) * size, y - size * dice.between(1, 2))
    return Polygon(((x - size, y), (x + size, y + dice.between(-0.5, 0.5) * size), tip))


def make_coat(canvas: Canvas, frame: Frame, dice: Dice, fur: Colour, other: Colour) -> Array:
    """Make the fur, as a layer: plain, striped, spotted, patched or darker towards the feet."""
    across, down = frame.inward(canvas.x, canvas.y)
    style = dice.pick(("plain", "plain", "stripes", "spots", "patches", "shaded"))
    warp = canvas.clouds(dice, 6)
    if style == "stripes":
        bands = down * dice.between(1.6, 3) + warp * 3 + across * dice.between(-1, 1)
        share = _bands(bands) * 0.5
    elif style == "spots":
        share = (canvas.clouds(dice, 14) > 0.66) * 1.0
    elif style == "patches":
        share = (canvas.clouds(dice, 4) > 0.52) * 1.0
    elif style == "shaded":
        share = ((down + 0.4) / 2.5).clip(0, 1)
    else:
        share = warp * 0.15
    layer = canvas.blend(fur, other, share)
    light = 0.8 + 0.3 * canvas.clouds(dice, 10) - 0.08 * across.clip(-1.5, 1.5)
    return (layer * light[:, :, None]).clip(0, 255).astype("uint8")


def paint_obstacle(canvas: Canvas, frame: Frame, dice: Dice) -> None:
    """Put something before the animal, now and then; never over the middle of its head."""
    style = dice.pick(("none", "none", "none", "none", "plank", "ball", "grass"))
    colour = any_colour(dice)
    below = dice.between(1.1, 1.9) * (1 if dice.chance(0.75) else -1.1)
    if style == "plank":
        edge = below + (0.12 if below > 0 else -0.12) * 4
        ends = (-9.0, below), (9.0, below), (9.0, edge), (-9.0, edge)
        canvas.paint(frame, Polygon(ends), colour)
    elif style == "ball":
        x = dice.pick((-1, 1)) * dice.between(0.7, 1.5)
        canvas.paint(frame, Ellipse(x, below, 0.62, 0.62), colour)
    elif style == "grass":
        for _ in range(14):
            x, tall = dice.between(0, 1), dice.between(0.1, 0.35)
            tip = (x + dice.between(-0.1, 0.1), 1 - tall)
            blade = Stroke((x, 1.02), tip, 0.014, 0.004)
            canvas.paint(PAGE, blade, shade(colour, dice.between(0.7, 1.2)))
