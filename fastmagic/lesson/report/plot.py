"""A picture of the training: loss, rate and accuracy over the epochs of all fits.

Drawn as the monitor's chart is (`gpu.chart`): by matplotlib's objects alone, every colour given,
so that the person's own plots and styles neither change it nor are changed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastmagic import faces
from fastmagic.guard.stages import Stage
from fastmagic.lesson.report.curves import Curves

WIDTH, PANEL, DPI = 640, 130, 100  # pixels; a panel's height
FAR = 1.5  # times the largest training loss: validation losses above are out of the scale
POINTS = 1000  # of a curve, at most: more than the pixels that it is drawn on
INK, FAINT, PAPER = "#222222", "#d9d9d9", "#ffffff"
# Okabe and Ito's colours, which the colour-blind tell apart: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

Line = list[tuple[float, float]]  # (epochs done by then, value)


@dataclass
class Drawing:
    """What is drawn: lines of points over the epochs done, and where each fit begins."""

    training: Line = field(default_factory=list)
    validation: Line = field(default_factory=list)
    rate: Line = field(default_factory=list)
    accuracy: Line = field(default_factory=list)
    begins: list[tuple[float, int]] = field(default_factory=list)
    end: float = 0.0


def lay_out(stages: Sequence[Stage], curves: Curves | None) -> Drawing:
    """Put everything on one axis of epochs, the fits one after another.

    Examples
    --------
    >>> from fastmagic.guard.stages import Epoch
    >>> first = Stage(1, 1, "head", [Epoch(0, {"valid_loss": 0.3}, 0.9, 1.0)])
    >>> then = Stage(2, 1, "all", [Epoch(0, {"valid_loss": 0.2}, 0.95, 1.0)])
    >>> drawing = lay_out([first, then], Curves((1, 1, 2), (0.7, 0.5, 0.4), (0.1, 0.01, 0.001)))
    >>> drawing.training
    [(0.5, 0.7), (1.0, 0.5), (2.0, 0.4)]
    >>> drawing.validation, drawing.begins
    ([(1.0, 0.3), (2.0, 0.2)], [(0.0, 1), (1.0, 2)])
    """
    drawing, begin = Drawing(), 0.0
    for stage in stages:
        steps = _steps(stage, curves)
        if not stage.epochs and not steps:
            continue
        drawing.begins.append((begin, stage.number))
        for number, epoch in enumerate(stage.epochs, 1):
            told = epoch.values.get("valid_loss"), epoch.accuracy
            for line, value in zip((drawing.validation, drawing.accuracy), told, strict=True):
                _add(line, begin + number, value)
            if not steps:
                _add(drawing.training, begin + number, epoch.values.get("train_loss"))
        for done, loss, rate in steps:
            _add(drawing.training, begin + done, loss)
            _add(drawing.rate, begin + done, rate)
        begin += max(len(stage.epochs), math.ceil(steps[-1][0] - 1e-6) if steps else 0)
    drawing.end = begin
    return drawing


def draw(stages: Sequence[Stage], curves: Curves | None = None) -> bytes | None:
    """Draw loss, rate and accuracy over the epochs.

    Parameters
    ----------
    stages
        The fits, with what was measured after each epoch.
    curves
        Loss and rate in each step; None where only the epochs are known.

    Returns
    -------
    bytes or None
        A PNG on white, 640 pixels wide; None where there is nothing to draw, or no matplotlib.

    Examples
    --------
    >>> draw([]) is None
    True
    """
    drawing = lay_out(stages, curves)
    panels = [
        (title, lines)
        for title, lines in (
            ("loss", [drawing.training, drawing.validation]),
            ("rate", [drawing.rate]),
            ("accuracy, %", [[(x, 100 * share) for x, share in drawing.accuracy]]),
        )
        if any(lines)
    ]
    if not panels:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    height = PANEL * len(panels) + 40
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    for number, (title, lines) in enumerate(panels, 1):
        axes = figure.add_subplot(len(panels), 1, number)
        _dress(axes, title, drawing.end)
        _plot(axes, title, lines)
        _mark_fits(axes, drawing, named=number == 1)
        axes.tick_params(labelbottom=number == len(panels))
    axes.set_xlabel("epochs", color=INK, fontsize=8)
    figure.subplots_adjust(left=0.11, right=0.97, top=1 - 18 / height, bottom=38 / height)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, facecolor=PAPER)
    return png.getvalue()


def alternative(stages: Sequence[Stage], curves: Curves | None = None) -> str:
    """Give the words that stand for the picture where it cannot be seen.

    Examples
    --------
    >>> from fastmagic.guard.stages import Epoch
    >>> stage = Stage(1, 2, "all", [Epoch(0, {"valid_loss": 0.3}, 0.9, 1.0)])
    >>> print(alternative([stage], Curves((1, 1), (0.7, 0.5), (1e-3, 1e-4))))
    Curves over 1 epoch: training loss from 0.7000 to 0.5000; validation loss 0.3000; rate at most \
0.001; accuracy 90.00 %.
    """
    drawing = lay_out(stages, curves)
    told = []
    for name, line in (("training", drawing.training), ("validation", drawing.validation)):
        if line:
            told.append(f"{name} loss {_from_to([f'{value:.4f}' for _, value in line])}")
    if drawing.rate:
        told.append(f"rate at most {max(value for _, value in drawing.rate):.3g}")
    if drawing.accuracy:
        shares = [faces.percent(value) for _, value in drawing.accuracy]
        told.append(f"accuracy {_from_to(shares)}")
    epochs = f"{drawing.end:g} epoch{'' if drawing.end == 1 else 's'}"
    return f"Curves over {epochs}: {'; '.join(told)}."


def _from_to(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"from {values[0]} to {values[-1]}"


def _add(line: Line, at: float, value: float | None) -> None:
    if value is not None and math.isfinite(value):
        line.append((at, value))


def _steps(stage: Stage, curves: Curves | None) -> list[tuple[float, float, float]]:
    """Give one stage's steps as (epochs done, loss, rate), thinned to what can be seen."""
    if curves is None:
        return []
    places = [n for n, number in enumerate(curves.stage) if number == stage.number]
    each = max(len(stage.epochs), 1) / max(len(places), 1)
    done = [curves.epoch[n] if curves.epoch else (k + 1) * each for k, n in enumerate(places)]
    stride = max(-(-len(curves) // POINTS), 1)
    kept = sorted({*range(0, len(places), stride), *([len(places) - 1] if places else [])})
    return [(done[k], curves.loss[places[k]], curves.rate[places[k]]) for k in kept]


def _plot(axes: Any, title: str, lines: list[Line]) -> None:
    styles = {
        "loss": ((BLUE, "", "training, smoothed"), (ORANGE, "o", "validation")),
        "rate": ((GREEN, "", ""),),
        "accuracy, %": ((ORANGE, "o", ""),),
    }[title]
    for line, (colour, marker, label) in zip(lines, styles, strict=True):
        if line:
            xs, ys = zip(*line, strict=True)
            style = {"linestyle": "-", "linewidth": 1.3, "marker": marker, "markersize": 4}
            axes.plot(xs, ys, color=colour, label=label or None, **style)
    if title == "loss":
        _keep_in_view(axes, *lines)
        legend = axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
        for text in legend.get_texts():
            text.set_color(INK)


def _keep_in_view(axes: Any, training: Line, validation: Line) -> None:
    """Leave validation losses far above the training's out of the scale, and say what they were.

    A network from scratch may have one of 20 after its first epoch, beside which all else is flat.
    """
    if not training or not validation:
        return
    lowest = min(value for _, value in training + validation)
    top = FAR * max(max(value for _, value in training), min(value for _, value in validation))
    for at, value in validation:
        if value > top:
            axes.set_ylim(lowest - 0.05 * (top - lowest), top)
            place = {"ha": "right", "va": "top", "xytext": (-5, -2), "textcoords": "offset points"}
            axes.annotate(f"↑ {value:.3g}", (at, top), **place, color=INK, fontsize=8)


def _dress(axes: Any, title: str, end: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor(PAPER)
    axes.set_ylabel(title, color=INK, fontsize=8)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(0, end * 1.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)


def _mark_fits(axes: Any, drawing: Drawing, *, named: bool) -> None:
    """Part the fits by lines, and name them above the first panel."""
    for begin, number in drawing.begins:
        if begin > 0:
            axes.axvline(begin, color=INK, linewidth=0.8, linestyle=":")
        if named and len(drawing.begins) > 1:
            at = {"xytext": (2, 3), "textcoords": "offset points"}
            place = {"xy": (begin, 1), "xycoords": axes.get_xaxis_transform()}
            axes.annotate(f"fit {number}", **place, **at, color=INK, fontsize=8)
