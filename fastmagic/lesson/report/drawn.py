"""The pictures of the report; one that cannot be drawn becomes a line that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastmagic.faces import Part, Picture, Text
from fastmagic.guard.stages import Stage
from fastmagic.lesson.report import plot, sheets
from fastmagic.lesson.report.curves import Curves
from fastmagic.lesson.report.judged import Judged, Opinion


def curves_part(stages: Sequence[Stage], curves: Curves | None) -> tuple[Part, ...]:
    """Draw loss, rate and accuracy; nothing where nothing was measured."""

    def make() -> tuple[Part, ...]:
        png = plot.draw(stages, curves)
        return (Picture(png, plot.alternative(stages, curves)),) if png else ()

    return _or_said(make, "The curves")


def wrong_part(judged: Judged) -> tuple[Part, ...]:
    """Draw the pictures that the network was most wrong about."""
    return _or_said(lambda: _sheet("Most wrong", judged.most_wrong()), "The most wrong pictures")


def uncertain_part(judged: Judged) -> tuple[Part, ...]:
    """Draw the pictures that the network was least certain of, right or wrong."""
    return _or_said(
        lambda: _sheet("Most uncertain", judged.most_uncertain()), "The most uncertain pictures"
    )


def _sheet(what: str, opinions: Sequence[Opinion]) -> tuple[Part, ...]:
    if not opinions:
        return ()
    return (Text(f"{what}:"), Picture(sheets.draw(opinions), sheets.alternative(opinions)))


def _or_said(make: Callable[[], tuple[Part, ...]], what: str) -> tuple[Part, ...]:
    try:
        return make()
    except Exception as error:  # hours of training do not end for want of a picture
        return (Text(f"{what} could not be drawn ({type(error).__name__}: {error}).", quiet=True),)
