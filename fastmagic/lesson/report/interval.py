"""How far an accuracy can be trusted that was counted on so many pictures.

An accuracy is a count, and another set of validation pictures of the same kind would have given
another. The interval is Wilson's score interval, which stays within 0 and 1 and holds its promise
for shares near 1 and small counts too: E. B. Wilson, Journal of the American Statistical
Association 22 (1927), 209-212; recommended by Brown, Cai and DasGupta, Statistical Science 16
(2001), 101-133. Of two accuracies, the interval of their difference is made from both of Wilson's:
R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.
"""

from __future__ import annotations

import math

from fastmagic import faces

Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

Band = tuple[float, float]
"""The lowest and the highest share, 0 to 1."""


def wilson(share: float, pictures: int) -> Band:
    """Give the 95 % interval of a share that was counted on so many pictures.

    Parameters
    ----------
    share
        0 to 1.
    pictures
        How many were counted, at least one.

    Raises
    ------
    ValueError
        For a share or a number out of its range.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(0.9825, 400)]
    [0.964, 0.991]
    >>> [round(end, 3) for end in wilson(1.0, 10)]
    [0.722, 1.0]
    """
    if not 0 <= share <= 1 or pictures < 1:
        raise ValueError(f"no interval for a share of {share} of {pictures} pictures")
    spread = Z * Z / pictures
    middle = share + spread / 2
    reach = Z * math.sqrt(share * (1 - share) / pictures + spread / (4 * pictures))
    low, high = (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # both but for rounding


def difference(a: float, pictures_a: int, b: float, pictures_b: int) -> Band:
    """Give the 95 % interval of b - a, two shares that were counted independently.

    Where 0 lies within it, chance alone gives a difference as large as this one. For two runs that
    were validated on the same pictures it is wider than it had to be, for both found the same
    pictures hard.

    Examples
    --------
    >>> [round(end, 3) for end in difference(0.975, 400, 0.9825, 400)]
    [-0.014, 0.03]
    """
    (low_a, high_a), (low_b, high_b) = wilson(a, pictures_a), wilson(b, pictures_b)
    down = math.hypot(b - low_b, high_a - a)
    up = math.hypot(high_b - b, a - low_a)
    return b - a - down, b - a + up


def words(share: float | None, pictures: int | None) -> str:
    """Say an accuracy with its 95 % interval, where the number of pictures is known.

    Examples
    --------
    >>> words(0.9825, 400), words(0.9825, None), words(None, 400)
    ('98.25 % (96.4 to 99.1 %)', '98.25 %', 'n/a')
    >>> words(0.991, 50000)
    '99.10 % (99.01 to 99.18 %)'
    """
    said = faces.percent(share)
    if share is None or not pictures or not 0 <= share <= 1:
        return said
    low, high = wilson(share, pictures)
    digits = 1 if high - low > 0.004 else 2
    return f"{said} ({100 * low:.{digits}f} to {100 * high:.{digits}f} %)"


def band(ends: Band) -> str:
    """Say a band of shares.

    Examples
    --------
    >>> band((0.991, 0.9965))
    '99.10 to 99.65 %'
    """
    return f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f} %"


def grain(pictures: int) -> str:
    """Say what one picture is worth, so that nobody reads more into the digits.

    Examples
    --------
    >>> grain(400)
    'On 400 pictures one picture is 0.25 points.'
    >>> grain(50_000)
    'On 50,000 pictures one picture is 0.002 points.'
    >>> grain(1)
    'On 1 picture one picture is 100 points.'
    """
    points = float(f"{100 / pictures:.2g}")
    return f"On {pictures:,} picture{'s' * (pictures != 1)} one picture is {points:g} points."


def against(share: float, pictures: int, reference: Band) -> str:
    """Say how an accuracy stands to a band, as far as so many pictures can tell.

    Examples
    --------
    >>> against(0.9825, 400, (0.991, 0.9965))
    'As far as 400 pictures can tell, this run may be as good.'
    >>> against(0.96, 2000, (0.991, 0.9965))
    'This run is below it, by more than chance gives on 2,000 pictures.'
    """
    low, high = wilson(share, pictures)
    if high < reference[0]:
        return f"This run is below it, by more than chance gives on {pictures:,} pictures."
    if low > reference[1]:
        return f"This run is above it, by more than chance gives on {pictures:,} pictures."
    return f"As far as {pictures:,} pictures can tell, this run may be as good."
