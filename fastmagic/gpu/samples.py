"""The store of samples: small for ever, with figures that are exact.

The newest rows are kept as they were taken. Where a level of the store is full, its two oldest rows
become one row of the next level, which covers the time of both; so each level is half as dense as
the one before it. The last level halves itself where it is full. Peaks, means and counts are kept
apart and see every sample, so that thinning never changes a summary.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from fastmagic import whole
from fastmagic.gpu.sensors import Sample

CELLS = 110_000  # of four bytes: 440 kB, however long the run and however many GPUs
LEVELS = 10  # 1,023 times the rows of one level: 12 hours at 4 Hz, also for 16 GPUs
OF_A_GPU = ("utilisation", "memory_mib", "temperature_c", "power_w")
OF_THE_HOST = ("ram_mib", "rss_mib", "shm_mib")
MEANS = ("utilisation", "power_w")  # where rows are merged: these are averaged, of others the peak
NAN = math.nan


class Row(NamedTuple):
    """What one row of the store says.

    Attributes
    ----------
    seconds
        Its end, since the beginning of the run.
    span
        The seconds that it covers, up to its end.
    values
        One for each of `Samples.columns`; NaN where nothing was read.
    """

    seconds: float
    span: float
    values: Sequence[float]


class Samples:
    """The samples of a run, and exact figures of all of them.

    Parameters
    ----------
    gpus
        How many GPUs each sample has.
    cells
        How many numbers of four bytes are kept.

    Attributes
    ----------
    columns
        `gpu0_utilisation`, `gpu0_memory_mib`, `gpu0_temperature_c`, `gpu0_power_w`, the same for
        each further GPU, `ram_mib`, `rss_mib` and `shm_mib`.
    count
        How many samples were added.

    Examples
    --------
    >>> from fastmagic.gpu.sensors import GpuSample
    >>> samples = Samples(gpus=1)
    >>> for second, busy in enumerate([0, 90, 70]):
    ...     samples.add(second, Sample((GpuSample(busy, 100 * second),)))
    >>> samples.mean("gpu0_utilisation"), samples.peak("gpu0_memory_mib")
    (80.0, 200)
    """

    def __init__(self, gpus: int, *, cells: int = CELLS) -> None:
        self.gpus = gpus
        self.columns = (*(f"gpu{n}_{what}" for n in range(gpus) for what in OF_A_GPU), *OF_THE_HOST)
        self.count = 0
        width = len(self.columns)
        self._averaged = tuple(column.endswith(MEANS) for column in self.columns)
        self._place = {column: n for n, column in enumerate(self.columns)}
        self._width = width + 3  # before the values: end, wall clock, span
        self._rows = cells // LEVELS // self._width
        self._levels = [array("f") for _ in range(LEVELS)]
        self._before, self._offset = array("f"), 0.0  # an earlier process's rows, and their end
        self._wall = 0.0  # of the first row: 32-bit floats hold the distance to it, not the date
        self._last = 0.0
        self._peaks, self._totals = [-math.inf] * width, [0.0] * width
        self._weights, self._seen = [0.0] * width, [NAN] * width
        self._newest = [NAN] * width

    def add(self, seconds: float, sample: Sample, wall: float = 0.0) -> None:
        """Add a sample.

        Parameters
        ----------
        seconds
            When it was taken, since the beginning; never less than that of the sample before.
        sample
            What was read, of as many GPUs as the store was made for, or fewer.
        wall
            The same as a POSIX timestamp, for the file.
        """
        values = self._values(sample)
        self._count(seconds, values)
        span, self._last = (seconds - self._last if self.count else 0.0), seconds
        self.count += 1
        self._push(0, [*self._head(self._offset + seconds, wall, span), *values])

    def _values(self, sample: Sample) -> list[float]:
        found: list[float | None] = []
        for gpu in sample.gpus:
            found += (gpu.utilisation, gpu.memory, gpu.temperature, gpu.power)
        found += [None] * (len(OF_A_GPU) * (self.gpus - len(sample.gpus)))
        found += (sample.ram_used, sample.rss, sample.shm_used)
        return [NAN if value is None else value for value in found]

    def _count(self, seconds: float, values: list[float]) -> None:
        """Let the exact figures see a sample; each stands for the time since the one before."""
        peaks, totals, weights, seen = self._peaks, self._totals, self._weights, self._seen
        for n, value in enumerate(values):
            if value != value:  # NaN: not read this time
                continue
            if value > peaks[n]:
                peaks[n] = value
            weight = seconds - seen[n]
            if weight > 0:
                totals[n] += value * weight
                weights[n] += weight
            seen[n] = seconds
            self._newest[n] = value

    def _head(self, end: float, wall: float, span: float) -> tuple[float, float, float]:
        if not self._wall:
            self._wall = wall
        return end, wall - self._wall, span

    def _push(self, level: int, row: Sequence[float]) -> None:
        rows, width = self._levels[level], self._width
        rows.extend(row)
        if len(rows) <= self._rows * width:
            return
        if level == LEVELS - 1:
            self._halve(rows)
            return
        merged = self._merged(rows[:width], rows[width : 2 * width])
        del rows[: 2 * width]
        self._push(level + 1, merged)

    def _halve(self, rows: array[float]) -> None:
        width = self._width
        pairs = len(rows) // (2 * width)
        merged = array("f")
        for start in range(0, pairs * 2 * width, 2 * width):
            middle = start + width
            merged.extend(self._merged(rows[start:middle], rows[middle : middle + width]))
        rows[: pairs * 2 * width] = merged

    def _merged(self, first: array[float], second: array[float]) -> list[float]:
        """Make one row of two that follow each other."""
        span = first[2] + second[2]
        share = first[2] / span if span else 0.5
        merged = [second[0], second[1], span]
        for average, a, b in zip(self._averaged, first[3:], second[3:], strict=True):
            if a != a:
                merged.append(b)
            elif b != b:
                merged.append(a)
            else:
                merged.append(share * a + (1 - share) * b if average else max(a, b))
        return merged

    def peak(self, column: str) -> float | None:
        """Give the largest value of a column; None where nothing was read."""
        found = self._peaks[self._place[column]]
        return found if math.isfinite(found) else None

    def mean(self, column: str) -> float | None:
        """Give a column's time-weighted mean; None where nothing was read."""
        n = self._place[column]
        if self._weights[n]:
            return self._totals[n] / self._weights[n]
        return None if math.isnan(self._newest[n]) else self._newest[n]  # one sample, no time

    def newest(self, column: str) -> float | None:
        """Give what a column said last; None where nothing was read."""
        found = self._newest[self._place[column]]
        return None if math.isnan(found) else found

    def rows(self) -> Iterator[Row]:
        """Give the rows that are kept, the oldest first, without those of an earlier process."""
        for end, _, span, *values in self._each(reversed(self._levels)):
            yield Row(max(end - self._offset, 0.0), span, values)

    def series(self, column: str, seconds: float = math.inf) -> list[tuple[float, float]]:
        """Give a column's curve: the time and the value of each kept row that has one.

        Parameters
        ----------
        column
            One of `columns`.
        seconds
            How far back from the newest sample; all of it by default.
        """
        n, begin = self._place[column], self._last - seconds
        curve = [(row.seconds, row.values[n]) for row in self.rows() if row.seconds >= begin]
        return [point for point in curve if point[1] == point[1]]

    def _each(self, levels: Iterable[array[float]]) -> Iterator[array[float]]:
        for rows in levels:
            for start in range(0, len(rows), self._width):
                yield rows[start : start + self._width]

    def nbytes(self) -> int:
        """Give the memory that the rows take, in bytes."""
        return sum(rows.__sizeof__() for rows in (self._before, *self._levels))

    def write_csv(self, path: Path) -> None:
        """Write all rows whole or not at all, so that a kill leaves the old file or the new one.

        The columns are `time_s` (the end of the row, in seconds sampled since the run began),
        `wall` (the same as ISO date and time) and `columns`.

        Raises
        ------
        OSError
            Where the disk is full or cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("time_s", "wall", *self.columns))
        for end, wall, _, *values in self._each((self._before, *reversed(self._levels))):
            date = datetime.fromtimestamp(self._wall + wall).astimezone()
            cells = map(_cell, values)
            writer.writerow((f"{end:.2f}", date.isoformat(timespec="milliseconds"), *cells))
        whole.write_text(path, text.getvalue())

    def restore(self, earlier: Sequence[Mapping[str, str]]) -> None:
        """Put the rows of an earlier process before all others; its figures do not count here.

        Parameters
        ----------
        earlier
            What `read_csv` gave. Columns that this store lacks are dropped.
        """
        end = 0.0
        for cells in earlier:
            before, end = end, float(cells["time_s"])
            wall = datetime.fromisoformat(cells["wall"]).timestamp()
            values = [float(cells.get(column) or NAN) for column in self.columns]
            self._before.extend([*self._head(end, wall, end - before), *values])
        while len(self._before) > self._rows * self._width:
            self._halve(self._before)
        self._offset = end


def read_csv(path: Path) -> tuple[int, list[dict[str, str]]]:
    """Read what `Samples.write_csv` wrote.

    Returns
    -------
    gpus, rows
        How many GPUs it tells of, and its rows by column; 0 and none where there is no file.

    Raises
    ------
    ValueError
        Where the file is not one of ours.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return 0, []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    try:
        for row in rows:
            float(row["time_s"]), datetime.fromisoformat(row["wall"])
            [float(cell) for name, cell in row.items() if cell and name not in ("time_s", "wall")]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a monitor's file") from error
    names = rows[0] if rows else {}
    return sum(name.endswith(f"_{OF_A_GPU[0]}") for name in names if name), rows


def _cell(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if value == int(value) else f"{value:.1f}"
