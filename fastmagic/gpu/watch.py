"""The live view of `%gpu_check --watch`: figures and small curves until the person presses stop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastmagic import faces, platforms, progress
from fastmagic.errors import BadInput
from fastmagic.faces import Face, Part, Text
from fastmagic.gpu.host import SHM
from fastmagic.gpu.samples import Samples
from fastmagic.gpu.sensors import Sensors
from fastmagic.progress import Show

TITLE = "GPU, live"
SHORTEST = 1 / progress.UPDATES_PER_SECOND
COLUMNS = 20  # of a curve, one for each reading: a row fits a terminal of 80 columns
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Line:
    """One quantity: its newest value, its mean and peak since the beginning, and its curve.

    Attributes
    ----------
    what
        Of which GPU, and which quantity.
    unit
        Of the figures: %, MiB, °C or W.
    now, mean, peak
        None where it cannot be read.
    curve
        The last readings, a character each.
    """

    what: str
    unit: str
    now: float | None
    mean: float | None
    peak: float | None
    curve: str


@dataclass(frozen=True)
class WatchReport(faces.Shown):
    """What was seen until the person pressed stop.

    Attributes
    ----------
    seconds
        How long it was watched.
    interval
        Seconds between two readings.
    lines
        One for each quantity.
    note
        Why no GPU was watched; empty where one was.
    gpus
        What each GPU is called, by its number.
    """

    seconds: float
    interval: float
    lines: tuple[Line, ...]
    note: str = ""
    gpus: tuple[str, ...] = ()

    def face(self) -> Face:
        """Show a row for each quantity, with its curve."""
        rows = [
            (
                line.what,
                *(_amount(v, line.unit) for v in (line.now, line.mean, line.peak)),
                line.curve,
            )
            for line in self.lines
        ]
        head = ("what", "now", "mean", "peak", f"last {faces.duration(self.interval * COLUMNS)}")
        watched = f"{faces.duration(self.seconds)}, a reading every {self.interval:g} s."
        names = "; ".join(f"GPU {number}: {name}" for number, name in enumerate(self.gpus))
        parts: list[Part] = [Text(words) for words in (self.note, names) if words]
        return Face(TITLE, (*parts, faces.table(head, rows), Text(watched, quiet=True)))


def watch(
    seconds: float = 1.0,
    *,
    show: Show = True,
    sensors: Callable[[], Sensors] = Sensors,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    place: platforms.Platform | None = None,
) -> WatchReport:
    """Show utilisation, memory, temperature and power live, until Ctrl-C or the stop button.

    Parameters
    ----------
    seconds
        Between two readings; at least 0.2, for the driver's figures do not change more often.
    show
        Whether to show it, or the view that shows it.
    sensors, sleep, clock, place
        The outside world, for tests.

    Returns
    -------
    WatchReport
        What was seen; to press stop is the way to end it and no error.

    Raises
    ------
    BadInput
        For a time that is none.

    Examples
    --------
    >>> def stop(seconds): raise KeyboardInterrupt
    >>> report = watch(0.5, show=False, sleep=stop)
    >>> "memory of this machine" in [line.what for line in report.lines]
    True
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise BadInput(
            f"A live view every {seconds:g} seconds makes no sense.", "Try %gpu_check --watch 1."
        )
    interval = max(seconds, SHORTEST)
    with progress.open_view(show, TITLE, place) as view, contextlib.closing(sensors()) as opened:
        began, store = clock(), Samples(len(opened.cards))
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                store.add(clock() - began, opened.read())
                view.live(_report(opened, store, clock() - began, interval).face())
                sleep(interval)
        report = _report(opened, store, clock() - began, interval)
        view.finish(report.face())
    return report


def _report(sensors: Sensors, store: Samples, seconds: float, interval: float) -> WatchReport:
    names = tuple(card.name or "n/a" for card in sensors.cards)
    lines = tuple(_lines(sensors, store))
    return WatchReport(round(seconds, 1), interval, lines, sensors.note, names)


def _lines(sensors: Sensors, store: Samples) -> Iterator[Line]:
    for number, card in enumerate(sensors.cards):
        name = f"GPU {number}"
        of = f"gpu{number}_"
        yield _line(f"{name}, in use", "%", store, of + "utilisation", 100)
        yield _line(f"{name}, memory", "MiB", store, of + "memory_mib", card.memory_total)
        yield _line(f"{name}, temperature", "°C", store, of + "temperature_c", 100)
        yield _line(f"{name}, power", "W", store, of + "power_w", None)
    yield _line("memory of this machine", "MiB", store, "ram_mib", sensors.ram_limit)
    if sensors.shm_size is not None:
        yield _line(SHM, "MiB", store, "shm_mib", sensors.shm_size)


def _line(what: str, unit: str, store: Samples, column: str, top: float | None) -> Line:
    values = [value for _, value in store.series(column)][-COLUMNS:]
    peak = store.peak(column)
    curve = bars(values, top or peak or 1)
    return Line(what, unit, store.newest(column), store.mean(column), peak, curve)


def bars(values: list[float], top: float) -> str:
    """Draw a curve in a line of text.

    Parameters
    ----------
    values
        From the oldest to the newest, from 0 on.
    top
        The value at which a bar is full.

    Examples
    --------
    >>> bars([0, 50, 100, 120], top=100)
    '▁▅██'
    """
    steps = len(BARS) - 1
    return "".join(BARS[min(max(round(value / top * steps), 0), steps)] for value in values)


def _amount(value: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return faces.mib(value) if unit == "MiB" else f"{value:.0f} {unit}"
