"""When a download is tried again, and after how long.

A try that brought new bytes is followed at once. Only tries without progress wait, a random time
below a bound that doubles ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS
Architecture Blog, 2015), so that many notebooks that lost one server do not all come back together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be different in a moment."""


@dataclass(frozen=True)
class Patience:
    """How long a download waits, and for what.

    Attributes
    ----------
    connect, read
        Seconds to wait for a connection, and for the next bytes.
    tries
        Tries in a row that bring nothing new before an address is given up.
    longest
        The most seconds between two tries when we choose.
    longest_asked
        The most seconds between two tries when the server asks for them (Retry-After).
    slow_rate, slow_after
        A connection that gives fewer bytes a second than this for so many seconds is cut, and that
        try counts as one without progress: bytes that drip would otherwise never end.

    Examples
    --------
    >>> Patience().tries
    4
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 4
    longest: float = 30.0
    longest_asked: float = 120.0
    slow_rate: float = 1024.0
    slow_after: float = 60.0


class TryAgain(Exception):
    """This try did not bring the whole file; the next may.

    Parameters
    ----------
    what
        What happened, one sentence.
    wait
        Seconds that the server asked to wait; None where it did not say.
    progress
        False where the try counts as one without progress, whatever it brought.
    """

    def __init__(self, what: str, wait: float | None = None, *, progress: bool = True) -> None:
        super().__init__(what)
        self.wait = wait
        self.progress = progress


def back_off(failures: int, longest: float, dice: Callable[[], float]) -> float:
    """Give the seconds to wait after so many tries without progress.

    Parameters
    ----------
    failures
        Tries in a row without progress, from 1.
    longest
        The bound that the waits never pass.
    dice
        Gives a number from 0 to 1.

    Examples
    --------
    >>> [back_off(n, 30.0, lambda: 1.0) for n in (1, 2, 3, 9)]
    [2.0, 4.0, 8.0, 30.0]
    >>> back_off(3, 30.0, lambda: 0.25)
    2.0
    """
    return min(longest, 2.0**failures) * dice()


def retry_after(header: str, now: float) -> float | None:
    """Read how many seconds a server asks to wait; None where it does not say.

    Both forms of RFC 9110, 10.2.3 are read: seconds, and a date.

    Parameters
    ----------
    header
        The value of `Retry-After`.
    now
        Seconds since 1970.

    Examples
    --------
    >>> retry_after("17", 0.0)
    17.0
    >>> retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10.0)
    50.0
    >>> retry_after("soon", 0.0) is None
    True
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, when - now)
