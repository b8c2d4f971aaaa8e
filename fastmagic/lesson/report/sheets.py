"""A sheet of pictures with what was said of each below it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastmagic import faces
from fastmagic.lesson.report.judged import Opinion

COLUMNS = 3
CELL = 160  # pixels, the width of a picture and of its caption
SIDES = range(160, 63, -16)  # pixels: smaller pictures where the file would be too large
LIMIT = 100_000
"""Bytes of a sheet; a notebook that keeps its outputs stays small."""

_GAP, _LINE, _POINT = 8, 16, 12  # pixels
_INK, _FAINT = 34, 96  # of 255, the white of the paper
_GREYS = 16


def draw(opinions: Sequence[Opinion]) -> bytes:
    """Draw the pictures with their captions as a PNG of at most `LIMIT` bytes.

    A picture that has gone leaves its place empty, and says so.

    Parameters
    ----------
    opinions
        What was said of each picture, in order; empty bytes come back where there is none.

    Examples
    --------
    >>> draw([])
    b''
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on EXIF and palettes
        tiles = [_tile(opinion.file) for opinion in opinions]
    png = b""
    for side in SIDES if tiles else ():
        png = _sheet(tiles, opinions, side)
        if len(png) <= LIMIT:
            break
    return png


def alternative(opinions: Sequence[Opinion]) -> str:
    """Give the words that stand for the sheet where it cannot be seen.

    Examples
    --------
    >>> cat = Opinion(Path("valid/cat.1.jpg"), "cat", "dog", 0.03, 0.97)
    >>> print(alternative([cat, cat]))
    2 pictures: cat.1.jpg, said dog 97 %, is cat; cat.1.jpg, said dog 97 %, is cat.
    """
    count = f"{len(opinions)} picture{'' if len(opinions) == 1 else 's'}"
    return f"{count}: {'; '.join(f'{one.file.name}, {one.words()}' for one in opinions)}."


def _tile(file: Path) -> Any:
    """Open one picture, whole and upright; None where that cannot be done."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * CELL, 2 * CELL))
            image.thumbnail((4 * CELL, 4 * CELL))
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # gone, or changed since it was trained with: Pillow raises many kinds
        return None


def _sheet(tiles: Sequence[Any], opinions: Sequence[Opinion], side: int) -> bytes:
    from PIL import Image, ImageOps

    lines = -(-len(tiles) // COLUMNS)
    step = side + 3 * _LINE + _GAP
    width = min(COLUMNS, len(tiles)) * (CELL + _GAP) - _GAP
    photos = Image.new("RGB", (width, lines * step - _GAP), "white")
    boxes = []
    for number, tile in enumerate(tiles):
        left, top = number % COLUMNS * (CELL + _GAP), number // COLUMNS * step
        if tile is not None:
            small = ImageOps.contain(tile, (CELL, side))
            at = left, top + side - small.height
            photos.paste(small, at)
            boxes.append((*at, at[0] + small.width, top + side))
    sheet = _on_paper(photos, boxes)
    for number, (tile, opinion) in enumerate(zip(tiles, opinions, strict=True)):
        place = number % COLUMNS * (CELL + _GAP), number // COLUMNS * step + side
        sheet.paste(_caption(opinion, gone=tile is None), place)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _on_paper(photos: Any, boxes: Sequence[tuple[int, int, int, int]]) -> Any:
    """Give the photographs by a palette, a third of the bytes, with greys for the captions."""
    from PIL import Image

    palette = photos.quantize(256 - _GREYS)
    # Without dithering, fur and sky would show steps.
    flat = photos.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    colours = (flat.getpalette() or [])[: 3 * (256 - _GREYS)]
    colours += [0] * (3 * (256 - _GREYS) - len(colours))
    for number in range(_GREYS):
        colours += [round(255 * number / (_GREYS - 1))] * 3
    sheet = Image.new("P", photos.size, 255)  # the last colour, white
    sheet.putpalette(colours)
    for box in boxes:
        sheet.paste(flat.crop(box), box[:2])
    return sheet


def _caption(opinion: Opinion, *, gone: bool) -> Any:
    """Draw what was said of one picture, as places in the palette that `_on_paper` makes."""
    from PIL import Image, ImageDraw

    strip = Image.new("L", (CELL, 3 * _LINE), 255)
    pen = ImageDraw.Draw(strip)
    said = f"said {opinion.predicted} {100 * opinion.of_predicted:.0f} %"
    is_it = f"is {opinion.actual}" + (": right" if opinion.predicted == opinion.actual else "")
    name = ("cannot be read: " if gone else "") + opinion.file.name
    for number, (words, ink) in enumerate(((said, _INK), (is_it, _INK), (name, _FAINT))):
        font = _font(_POINT)
        line = fitted(faces.one_line(words), CELL, font.getlength)
        pen.text((0, number * _LINE), line, fill=ink, font=font)
    greys = strip.point([256 - _GREYS + value * (_GREYS - 1) // 255 for value in range(256)])
    return Image.frombytes("P", strip.size, greys.tobytes())


def fitted(words: str, width: float, length: Callable[[str], float]) -> str:
    """Leave out the middle of words that are too long.

    Parameters
    ----------
    words
        One line.
    width
        What they may take, in the unit of `length`.
    length
        Measures a line.

    Examples
    --------
    >>> fitted("said german_shorthaired 97 %", 20, len)
    'said german_…ed 97 %'
    """
    if length(words) <= width:
        return words
    for kept in range(len(words) - 1, 1, -1):
        head = (kept + 1) * 3 // 5
        shorter = f"{words[:head]}…{words[len(words) - (kept - head) :]}"
        if length(shorter) <= width:
            return shorter
    return words[:1]


@lru_cache(maxsize=4)
def _font(points: int) -> Any:
    """Give matplotlib's own font, which knows most alphabets; Pillow's where there is none."""
    from PIL import ImageFont

    try:
        import matplotlib as mpl

        return ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), points)
    except (ImportError, OSError):
        return ImageFont.load_default()
