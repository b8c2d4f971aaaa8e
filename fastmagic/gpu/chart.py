"""A small picture of what the monitor saw.

Drawn with matplotlib's objects alone: no pyplot, no backend chosen, no setting changed, so that
the person's own plots are left in peace. Every colour is given, for the person's style may be a
dark one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastmagic import faces
from fastmagic.gpu.monitor import GpuSummary, MonitorSummary
from fastmagic.gpu.samples import Samples

WIDTH, HEIGHT, DPI = 640, 260, 100  # pixels
TOO_FEW = 3  # samples
POINTS = 120  # of a curve: the store is denser towards the end, a curve must not be
SEVERAL = 4  # GPUs with a curve each; of more, the mean and the range are drawn
INK, FAINT, PAPER = "#222222", "#d9d9d9", "#ffffff"
# Okabe and Ito's colours, which the colour-blind tell apart: https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
GIB = 1024  # MiB

Curve = list[float]  # one value for each of the POINTS equal parts of the time; NaN for none


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows: curves by their labels, the scale's top, perhaps a range."""

    title: str
    curves: dict[str, Curve]
    top: float | None = None
    between: tuple[Curve, Curve] | None = None


def draw(samples: Samples) -> bytes | None:
    """Draw utilisation and memory over time: of each GPU, or of the host where there is none.

    Parameters
    ----------
    samples
        What the monitor kept.

    Returns
    -------
    bytes or None
        A PNG of 640 x 260 pixels on white; None where there are too few samples for a curve, or
        where matplotlib is missing.

    Examples
    --------
    >>> draw(Samples(gpus=0)) is None
    True
    """
    seconds = max((row.seconds for row in samples.rows()), default=0.0)
    if samples.count < TOO_FEW or not seconds:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    panels = _panels(samples, seconds)
    scale, unit = _time_unit(seconds)
    times = [seconds / scale * (n + 0.5) / POINTS for n in range(POINTS)]
    for number, panel in enumerate(panels, 1):
        axes = figure.add_subplot(len(panels), 1, number)
        _dress(axes, panel.title)
        _plot(axes, panel, times)
        axes.set_xlim(0, seconds / scale)
        axes.tick_params(labelbottom=number == len(panels))
    axes.set_xlabel(unit, color=INK, fontsize=8)
    _add_legend(figure, axes, panels[-1])
    figure.subplots_adjust(left=0.09, right=0.97, top=0.96, bottom=0.17, hspace=0.18)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, facecolor=PAPER)
    return png.getvalue()


def alternative(summary: MonitorSummary) -> str:
    """Give the words that stand for the picture where it cannot be seen.

    Examples
    --------
    >>> t4 = GpuSummary("Tesla T4", None, 15360, 5222, 38.2, 71, 58.4)
    >>> print(alternative(MonitorSummary(90, 360, (t4,))))
    Chart over 1 min 30 s: GPU 38 % busy on average, at most 5.1 GiB of its memory in use.
    >>> print(alternative(MonitorSummary(90, 90, (), 9830, 13005)))
    Chart over 1 min 30 s: memory, at most 9.6 GiB in use.
    >>> print(alternative(MonitorSummary(5, 5)))
    Chart over 5 s.
    """
    curves = [
        words for n, gpu in enumerate(summary.gpus) if (words := _gpu_curves(n, gpu, summary))
    ]
    if not curves and summary.ram_peak is not None:
        curves = [f"memory, at most {faces.mib(summary.ram_peak)} in use"]
    told = f": {'; '.join(curves)}" if curves else ""
    return f"Chart over {faces.duration(summary.seconds)}{told}."


def _gpu_curves(number: int, gpu: GpuSummary, summary: MonitorSummary) -> str:
    words = []
    if gpu.utilisation_mean is not None:
        words.append(f"{gpu.utilisation_mean:.0f} % busy on average")
    if gpu.memory_peak is not None:
        words.append(f"at most {faces.mib(gpu.memory_peak)} of its memory in use")
    name = f"GPU {number}" if len(summary.gpus) > 1 else "GPU"
    return f"{name} {', '.join(words)}" if words else ""


def even(points: Sequence[tuple[float, float]], seconds: float, *, peak: bool) -> Curve:
    """Give a curve in equal steps of time: the mean or the peak of each of the `POINTS` parts.

    Parameters
    ----------
    points
        Seconds and values, in order; dense or sparse.
    seconds
        The whole time.
    peak
        True for the largest value of each part, False for the mean.

    Returns
    -------
    list of float
        A part without a reading takes the value of the next reading, which stands for the time
        up to it; NaN after the last reading.
    """
    parts: list[list[float]] = [[] for _ in range(POINTS)]
    for moment, value in points:
        parts[min(int(moment / seconds * POINTS), POINTS - 1)].append(value)
    curve, following = [math.nan] * POINTS, math.nan
    for n in range(POINTS - 1, -1, -1):
        if parts[n]:
            following = max(parts[n]) if peak else sum(parts[n]) / len(parts[n])
        curve[n] = following
    return curve


def _panels(samples: Samples, seconds: float) -> list[Panel]:
    def memory(column: str) -> Curve:
        return [mib / GIB for mib in even(samples.series(column), seconds, peak=True)]

    def busy(n: int) -> Curve:
        return even(samples.series(f"gpu{n}_utilisation"), seconds, peak=False)

    names = [f"GPU {n}" if samples.gpus > 1 else "" for n in range(samples.gpus)]
    utilised = {name: busy(n) for n, name in enumerate(names)}
    held = {name: memory(f"gpu{n}_memory_mib") for n, name in enumerate(names)}
    panels = [Panel("GPU busy, %", utilised, 104), Panel("memory, GiB", held)]
    told = [panel for panel in panels if any(v == v for c in panel.curves.values() for v in c)]
    if not told:  # no GPU, or none that tells anything
        host = {"in use by all": memory("ram_mib"), "by this process": memory("rss_mib")}
        return [Panel("memory, GiB", host)]
    return told if samples.gpus <= SEVERAL else [_summed_up(panel) for panel in told]


def _summed_up(panel: Panel) -> Panel:
    """Draw many GPUs as their mean and their range."""
    columns = [[v for v in values if v == v] for values in zip(*panel.curves.values(), strict=True)]
    mean = [sum(values) / len(values) if values else math.nan for values in columns]
    low = [min(values, default=math.nan) for values in columns]
    high = [max(values, default=math.nan) for values in columns]
    label = f"mean and range of {len(panel.curves)} GPUs"
    return Panel(panel.title, {label: mean}, panel.top, (low, high))


def _plot(axes: Any, panel: Panel, times: list[float]) -> None:
    if panel.between is not None:
        axes.fill_between(times, *panel.between, color=COLOURS[0], alpha=0.2, linewidth=0)
    for colour, curve in zip(COLOURS, panel.curves.values(), strict=False):
        axes.plot(times, curve, color=colour, linestyle="-", linewidth=1.3, marker="")
    axes.set_ylim(0, panel.top)


def _time_unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1, "seconds"
    return (60, "minutes") if seconds < 3 * 3600 else (3600, "hours")


def _dress(axes: Any, title: str) -> None:
    axes.set_facecolor(PAPER)
    axes.set_ylabel(title, color=INK, fontsize=8)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)


def _add_legend(figure: Any, axes: Any, panel: Panel) -> None:
    """Name the curves below the axes, where they hide nothing."""
    if not all(panel.curves):
        return
    place = {"loc": "lower right", "bbox_to_anchor": (0.975, -0.01), "ncols": SEVERAL}
    legend = figure.legend(axes.lines, panel.curves, fontsize=8, frameon=False, **place)
    for text in legend.get_texts():
        text.set_color(INK)
