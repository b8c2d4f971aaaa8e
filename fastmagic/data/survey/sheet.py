"""A contact sheet: a few pictures of each class side by side, small enough for a notebook."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS, ROWS = 6, 2
LIMIT = 100_000
"""Bytes; a notebook that keeps its outputs stays small."""

_SIDES = (96, 80, 64, 48, 32)
_GAP = 2


def choose(by_class: Mapping[str, Sequence[Path]]) -> list[tuple[str, Path]]:
    """Choose the pictures: as many of each class, spread over its files, class after class.

    Examples
    --------
    >>> cats, dogs = [Path(f"cat.{n}.jpg") for n in range(60)], [Path("dog.0.jpg")]
    >>> [file.name for label, file in choose({"cats": cats, "dogs": dogs})][:3]
    ['cat.0.jpg', 'cat.10.jpg', 'cat.20.jpg']
    """
    labels = sorted(by_class)[: COLUMNS * ROWS]
    chosen = []
    for number, label in enumerate(labels):
        share, more = divmod(COLUMNS * ROWS, len(labels))
        files = by_class[label]
        count = min(share + (number < more), len(files))
        chosen += [(label, files[place * len(files) // count]) for place in range(count)]
    return chosen


def rows(chosen: Sequence[tuple[str, Path]]) -> list[str]:
    """Say in words what stands in each row.

    Examples
    --------
    >>> rows([("cats", Path("a"))] * 6 + [("dogs", Path("b"))] * 6)
    ['row 1: cats', 'row 2: dogs']
    """
    words = []
    for start in range(0, len(chosen), COLUMNS):
        labels = [label for label, _ in chosen[start : start + COLUMNS]]
        each = labels[:1] if len(set(labels)) == 1 else labels
        words.append(f"row {start // COLUMNS + 1}: {', '.join(each)}")
    return words


def draw(chosen: Sequence[tuple[str, Path]]) -> bytes:
    """Draw the sheet as a PNG of at most `LIMIT` bytes; empty where there is nothing to draw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on EXIF and palettes
        tiles = [tile for _, file in chosen if (tile := _tile(file, _SIDES[0])) is not None]
    png = b""
    for side in _SIDES if tiles else ():
        png = _sheet(tiles, side)
        if len(png) <= LIMIT:
            break
    return png


def _tile(file: Path, side: int) -> Any:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return ImageOps.fit(upright, (side, side))
    except Exception:  # it was readable when it was checked; without it the sheet is still of use
        return None


def _sheet(tiles: Sequence[Any], side: int) -> bytes:
    from PIL import Image

    step = side + _GAP
    columns = min(COLUMNS, len(tiles))
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (columns * step - _GAP, lines * step - _GAP), (128, 128, 128))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        small = tile if tile.width == side else tile.resize((side, side))
        sheet.paste(small, (column * step, row * step))
    buffer = io.BytesIO()
    # A palette makes a third of the bytes; without dithering, fur and sky would show steps.
    palette = sheet.quantize(256)
    dithered = sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
