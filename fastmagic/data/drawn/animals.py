"""The anatomy of the sample's cats and dogs, and the scenes that they are drawn in.

Each animal is built of the shapes of `drawing`, in a frame whose unit is about half a head's width,
with the head's middle at (0, 0), x to the side it looks, y downwards. A `Scene` is what the cat and
the dog of one number have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastmagic.data.drawn.drawing import (
    Canvas,
    Colour,
    Dice,
    Ellipse,
    Frame,
    Polygon,
    Shape,
    Stroke,
    any_colour,
    make_coat,
    paint_background,
    shade,
)

if TYPE_CHECKING:
    from fastmagic.data.drawn.drawing import Array

FUR: tuple[Colour, ...] = (
    (70, 68, 74), (104, 106, 114), (140, 142, 148), (238, 236, 230), (230, 208, 170),
    (222, 146, 66), (192, 108, 48), (134, 86, 50), (110, 72, 52), (206, 176, 130),
    (122, 130, 148), (168, 124, 90),
)  # fmt: skip
EYES: tuple[Colour, ...] = ((120, 170, 60), (226, 170, 40), (110, 66, 30), (90, 150, 210))
PINK: Colour = (232, 130, 142)
BLACK: Colour = (24, 20, 22)


@dataclass(frozen=True)
class Scene:
    """What the two pictures of a pair have in common."""

    pose: str
    profile: bool
    frame: Frame
    canvas: Canvas
    coat: Array
    second: Array
    line: Colour
    pale: Colour
    eye: Colour
    nose: Colour
    collar: Colour | None
    whisker: Colour

    def fill(self, shapes: Sequence[Shape], paint: Colour | Array, line: float = 0.08) -> None:
        """Paint shapes as one body with one outline round them all."""
        if line:
            for shape in shapes:
                self.canvas.paint(self.frame, shape, self.line, line)
        for shape in shapes:
            self.canvas.paint(self.frame, shape, paint)


# ---------------------------------------------------------------- the scene


def make_scene(dice: Dice, side: int) -> Scene:
    """Choose everything that the cat and the dog of one number share, and paint the background."""
    canvas = Canvas(side)
    fur, other = dice.pick(FUR), dice.pick(FUR)
    paint_background(canvas, dice, fur)
    pose = dice.pick(("portrait", "portrait", "portrait", "sitting", "lying", "standing"))
    frame = _place(dice, pose)
    coat = make_coat(canvas, frame, dice, fur, other)
    second = canvas.blend(other, shade(other, 0.8), canvas.clouds(dice, 12))
    return Scene(
        pose=pose,
        profile=dice.chance(0.5 if pose == "standing" else 0.2),
        frame=frame,
        canvas=canvas,
        coat=coat,
        second=second if dice.chance(0.5) else coat,
        line=shade(fur, 0.3),
        pale=dice.pick(((244, 240, 232), shade(fur, 1.3), shade(other, 1.1))),
        eye=dice.pick(EYES),
        nose=dice.pick((BLACK, BLACK, (196, 104, 112), (90, 60, 52))),
        collar=any_colour(dice) if dice.chance(0.3) else None,
        whisker=dice.pick(((250, 250, 250), (30, 30, 30))),
    )


def _place(dice: Dice, pose: str) -> Frame:
    """Choose where the head is, how large it is, how turned, and which way it looks."""
    x, y, small, large = {
        "portrait": (0.5, 0.54, 0.24, 0.31),
        "sitting": (0.5, 0.36, 0.2, 0.24),
        "lying": (0.56, 0.46, 0.2, 0.26),
        "standing": (0.68, 0.42, 0.19, 0.23),
    }[pose]
    mirrored = dice.chance(0.5)
    size = dice.between(small, large)
    x, y = x + dice.between(-0.12, 0.12), y + dice.between(-0.08, 0.08)
    return Frame(1 - x if mirrored else x, y, size, dice.between(-0.1, 0.1), mirrored)


# ---------------------------------------------------------------- heads


def _cat_ears(scene: Scene, dice: Dice, middles: Sequence[float]) -> None:
    tall, wide = dice.between(1.3, 1.62), dice.between(0.34, 0.44)
    for middle in middles:
        lean = middle * dice.between(1.15, 1.5)
        ear = Polygon(((middle - wide, -0.48), (middle + wide, -0.48), (lean, -tall)))
        scene.fill([ear], scene.second)
        inner = ((middle - wide * 0.5, -0.6), (middle + wide * 0.5, -0.6), (lean, 0.22 - tall))
        scene.fill([Polygon(inner)], PINK, line=0)


def _whiskers(scene: Scene, dice: Dice, x: float, y: float, sides: Sequence[float]) -> None:
    for side in sides:
        for rise in (-0.2, 0.03, 0.26):
            end = (side * (x + 1.05), y + rise * dice.between(0.9, 1.5))
            whisker = Stroke((side * x, y + rise * 0.25), end, 0.035, 0.02)
            scene.fill([whisker], scene.whisker, line=0)


def _eye(scene: Scene, x: float, y: float, size: float, slit: float) -> None:
    scene.fill([Ellipse(x, y, size, size)], scene.eye)
    scene.fill([Ellipse(x, y, size * slit, size * 0.88)], BLACK, line=0)
    glint = Ellipse(x + size * 0.25, y - size * 0.35, size * 0.22, size * 0.22)
    scene.fill([glint], (250, 250, 250), line=0)


def _cat_front(scene: Scene, dice: Dice) -> None:
    apart = dice.between(0.52, 0.62)
    _cat_ears(scene, dice, (-apart, apart))
    wide = dice.between(0.95, 1.08)
    scene.fill([Ellipse(0, 0, wide, 0.82), Ellipse(0, 0.24, wide, 0.56)], scene.coat)
    for side in (-1, 1):
        _eye(scene, side * 0.44, -0.06, dice.between(0.19, 0.24), dice.between(0.3, 0.5))
    scene.fill([Ellipse(side * 0.17, 0.42, 0.23, 0.18) for side in (-1, 1)], scene.pale, line=0)
    scene.fill([Polygon(((-0.13, 0.23), (0.13, 0.23), (0, 0.37)))], scene.nose, line=0.02)
    _whiskers(scene, dice, 0.32, 0.42, (-1, 1))


def _dog_front(scene: Scene, dice: Dice) -> None:
    scene.fill([Ellipse(0, -0.08, dice.between(0.8, 0.92), 0.86)], scene.coat)
    for side in (-1, 1):
        _eye(scene, side * 0.36, -0.2, dice.between(0.15, 0.19), 0.75)
    if dice.chance(0.5):
        tongue = Stroke((0, 0.8), (dice.between(-0.1, 0.1), dice.between(1.05, 1.25)), 0.17, 0.19)
        scene.fill([tongue], PINK)
    long = dice.between(0.48, 0.58)
    scene.fill([Ellipse(0, 0.5, dice.between(0.44, 0.54), long)], scene.pale, line=0.05)
    scene.fill([Ellipse(0, 0.24, 0.22, 0.15)], scene.nose, line=0.02)
    scene.fill([Stroke((0, 0.36), (0, 0.7), 0.035, 0.035)], BLACK, line=0)
    scene.fill([Stroke((-0.28, 0.74), (0.28, 0.74), 0.035, 0.035, by=(0, 0.86))], BLACK, line=0)
    _dog_ears(scene, dice)


def _dog_ears(scene: Scene, dice: Dice) -> None:
    """Hang the ears down, or fold only their tips."""
    if dice.chance(0.8):
        drop, out = dice.between(0.45, 0.8), dice.between(0.9, 1.12)
        ears = [
            Stroke((s * 0.72, -0.55), (s * out, drop), 0.2, 0.3, by=(s * 1.12, -0.5))
            for s in (-1, 1)
        ]
        scene.fill(ears, scene.second)
        return
    tall = dice.between(0.95, 1.15)
    for s in (-1, 1):
        stem = ((s * 0.3, -0.72), (s * 0.84, -0.4), (s * 0.95, -tall), (s * 0.6, -tall))
        flap = ((s * 0.52, -tall - 0.04), (s * 1.0, -tall), (s * 1.12, -0.45))
        scene.fill([Polygon(stem)], scene.coat)
        scene.fill([Polygon(flap)], scene.second)


def _cat_side(scene: Scene, dice: Dice) -> None:
    _cat_ears(scene, dice, (dice.between(0.25, 0.4), dice.between(-0.5, -0.35)))
    scene.fill([Ellipse(0, 0, 0.9, 0.82), Ellipse(0.62, 0.3, 0.42, 0.34)], scene.coat)
    scene.fill([Ellipse(0.72, 0.4, 0.28, 0.2)], scene.pale, line=0)
    _eye(scene, 0.42, -0.1, dice.between(0.19, 0.23), dice.between(0.3, 0.5))
    scene.fill([Ellipse(1.0, 0.2, 0.11, 0.09)], scene.nose, line=0.02)
    _whiskers(scene, dice, 0.62, 0.42, (1,))


def _dog_side(scene: Scene, dice: Dice) -> None:
    end = dice.between(1.3, 1.6)
    if dice.chance(0.5):
        tongue = Stroke((end - 0.35, 0.55), (end - 0.25, dice.between(0.95, 1.2)), 0.13, 0.17)
        scene.fill([tongue], PINK)
    snout = Stroke((0.4, 0.18), (end, 0.36), 0.46, 0.27)
    scene.fill([Ellipse(-0.05, 0, 0.84, 0.84), snout], scene.coat)
    scene.fill([Stroke((0.8, 0.32), (end, 0.4), 0.3, 0.22)], scene.pale, line=0)
    scene.fill([Ellipse(end + 0.2, 0.22, 0.17, 0.15)], scene.nose, line=0.02)
    mouth = Stroke((0.75, 0.62), (end + 0.1, 0.52), 0.035, 0.035)
    scene.fill([mouth], BLACK, line=0)
    _eye(scene, 0.36, -0.2, dice.between(0.15, 0.18), 0.75)
    hang = (dice.between(-0.6, -0.3), dice.between(0.55, 0.85))
    ear = Stroke((-0.2, -0.55), hang, 0.22, 0.32, by=(-0.6, -0.4))
    scene.fill([ear], scene.second)


HEADS = {
    ("cat", False): _cat_front,
    ("cat", True): _cat_side,
    ("dog", False): _dog_front,
    ("dog", True): _dog_side,
}

# ---------------------------------------------------------------- bodies


def _tail(scene: Scene, dice: Dice, kind: str, x: float, y: float) -> None:
    """Grow the tail from (x, y) away from the head's side: long and bent, or short and straight."""
    if kind == "cat":
        end = (x - dice.between(0.5, 0.9), y - dice.between(1.2, 1.8))
        tail = Stroke((x, y), end, 0.18, 0.14, by=(x - 1.5, y + dice.between(-0.2, 0.3)))
    else:
        end = (x - dice.between(0.6, 0.9), y - dice.between(0.5, 0.9))
        tail = Stroke((x, y), end, 0.24, 0.1, by=(x - 0.6, y - 0.1))
    scene.fill([tail], scene.coat)


def _collar(scene: Scene, y: float) -> None:
    if scene.collar:
        band = Stroke((-0.5, y), (0.5, y), 0.13, 0.13, by=(0, y + 0.3))
        scene.fill([band], scene.collar)


def _portrait(scene: Scene, _dice: Dice, _kind: str) -> None:
    scene.fill([Stroke((-0.25, 0.7), (-0.5, 3.6), 0.62, 1.5)], scene.coat)
    scene.fill([Stroke((0, 1.3), (-0.2, 3.0), 0.25, 0.6)], scene.pale, line=0)
    _collar(scene, 1.1)


def _sitting(scene: Scene, dice: Dice, kind: str) -> None:
    _tail(scene, dice, kind, -0.6, 2.3)
    haunches: list[Shape] = [Ellipse(side * 0.62, 2.1, 0.4, 0.5) for side in (-1, 1)]
    scene.fill([Stroke((0, 0.7), (0, 1.9), 0.5, 0.74), *haunches], scene.coat)
    scene.fill([Ellipse(0, 1.4, 0.28, 0.46)], scene.pale, line=0)
    _legs(scene, (-0.27, 0.27), 1.7, 2.45)
    _collar(scene, 0.95)


def _lying(scene: Scene, dice: Dice, kind: str) -> None:
    _tail(scene, dice, kind, -1.9, 1.2)
    scene.fill([Ellipse(-0.95, 0.95, 1.25, 0.7), Ellipse(0, 0.85, 0.7, 0.7)], scene.coat)
    for side in (0.45, -0.2):
        paw = Stroke((side - 0.3, 1.38), (side + 0.45, 1.48), 0.21, 0.21)
        scene.fill([paw], scene.coat)
    _collar(scene, 0.9)


def _standing(scene: Scene, dice: Dice, kind: str) -> None:
    _tail(scene, dice, kind, -2.4, 0.85)
    _legs(scene, (-0.55, -2.0), 1.2, 2.0)
    barrel, neck = (
        Stroke((-0.7, 1.0), (-2.0, 1.0), 0.62, 0.56),
        Stroke((0, 0.3), (-0.6, 0.9), 0.5, 0.6),
    )
    scene.fill([barrel, neck], scene.coat)
    _legs(scene, (-0.85, -2.3), 1.3, 2.1)


def _legs(scene: Scene, places: Sequence[float], top: float, bottom: float) -> None:
    for x in places:
        leg = Stroke((x, top), (x, bottom), 0.23, 0.17)
        scene.fill([leg, Ellipse(x + 0.08, bottom + 0.05, 0.25, 0.15)], scene.coat)


BODIES: dict[str, Callable[[Scene, Dice, str], None]] = {
    "portrait": _portrait,
    "sitting": _sitting,
    "lying": _lying,
    "standing": _standing,
}
