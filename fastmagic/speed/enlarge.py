"""Pillow's bilinear enlarging, number for number, of many rectangles at once on any device.

What Pillow does (13, `src/libImaging/Resample.c`: `precompute_coeffs`, `normalize_coeffs_8bpc`,
`ImagingResampleHorizontal_8bpc`, `ImagingResampleVertical_8bpc`): each pixel of a row is a weighted
sum of two neighbours, in whole numbers with 22 bits behind the point, rounded to a byte; then the
same for each column of that. Whole numbers add up to the same on every device.
"""

from __future__ import annotations

import functools
from typing import Any

from fastmagic.speed.brought import brought

BITS = 32 - 8 - 2
"""Behind the point of a weight: Pillow's `PRECISION_BITS`."""

TAPS = 3
"""Pixels that a weighted sum may reach; of an enlarged row, two of them have a weight."""


def enlarged(pixels: Any, rectangles: Any, size: tuple[int, int]) -> Any:
    """Cut rectangles out of pictures and enlarge each to one size, as Pillow does with BILINEAR.

    Parameters
    ----------
    pixels
        Bytes, `[pixels, 3]`: pictures one after another, row by row.
    rectangles
        For each: the number of its first pixel, the width of the picture that it lies in, and its
        own width and height, which are no larger than `size`.
    size
        Width and height of what is wanted.

    Returns
    -------
    torch.Tensor
        Bytes, `[rectangles, height, width, 3]`, on the device of the pixels.

    Examples
    --------
    >>> import torch
    >>> pixels = torch.tensor([[0, 0, 0], [100, 100, 100]], dtype=torch.uint8)
    >>> enlarged(pixels, [(0, 2, 2, 1)], (4, 1))[0, 0, :, 0].tolist()
    [0, 25, 75, 100]
    """
    import torch

    device = pixels.device
    width, height = size
    starts, strides, acrosses, downs = zip(*rectangles, strict=True)
    columns, column_weights = _stacked([_taps(inside, width) for inside in acrosses], device)
    rows, row_weights = _stacked([_taps(inside, height) for inside in downs], device)
    first = brought(torch.tensor([starts, strides, downs]), device)[:, :, None]
    most = torch.arange(max(downs), device=device)
    lines = first[0] + torch.minimum(most, first[2] - 1) * first[1]  # [rectangles, rows]
    sources = pixels[lines[:, :, None, None] + columns[:, None]].int()
    wide = _rounded((sources * column_weights[:, None, :, :, None]).sum(dim=3, dtype=torch.int32))
    which = torch.arange(len(starts), device=device)[:, None, None]
    sources = wide[which, rows]  # [rectangles, height, taps, width, 3]
    whole = _rounded((sources * row_weights[:, :, :, None, None]).sum(dim=2, dtype=torch.int32))
    return whole.to(torch.uint8)


def _rounded(sums: Any) -> Any:
    """Round weighted sums to whole numbers, and keep them bytes."""
    return ((sums + (1 << (BITS - 1))) >> BITS).clamp(0, 255)


def _stacked(taps: list[tuple[Any, Any]], device: Any) -> tuple[Any, Any]:
    import torch

    where, weights = (brought(torch.stack(ones), device) for ones in zip(*taps, strict=True))
    return where, weights


@functools.lru_cache(maxsize=4096)
def _taps(inside: int, outside: int) -> tuple[Any, Any]:
    """Give which pixels make each pixel of an enlarged row, and their weights, `[outside, TAPS]`.

    Beyond the row a pixel counts nothing, and stands for the last one.
    """
    import torch

    scale = inside / outside
    where, weights = [], []
    for pixel in range(outside):
        center = (pixel + 0.5) * scale
        begin, end = max(0, int(center - 0.5)), min(inside, int(center + 1.5))
        shares = [max(0.0, 1 - abs(one - center + 0.5)) for one in range(begin, end)]
        whole = sum(shares)
        own = [int(0.5 + share / whole * (1 << BITS)) for share in shares]
        where.append([min(begin + tap, inside - 1) for tap in range(TAPS)])
        weights.append([*own, *[0] * (TAPS - len(own))])
    return torch.tensor(where), torch.tensor(weights, dtype=torch.int32)
