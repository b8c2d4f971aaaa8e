"""The words of a moving line: how much is done, how long it will take, and what stands beside."""

from __future__ import annotations

from dataclasses import dataclass

from fastmagic import faces

SHORT = "{desc} {percentage:.0f}% {remaining} left"
BAR_AT_LEAST = 4  # characters
BLOCKS = "▏▎▍▌▋▊▉█"  # of which tqdm makes a bar


@dataclass(frozen=True)
class Bar:
    """What the moving line is about.

    Attributes
    ----------
    label
        What is being done.
    done, total
        How much of it is done, and of how much; None where that is not known.
    unit
        Of both; `B` for bytes.
    note
        What stands beside it, in parts with a comma and a space between them.
    """

    label: str
    done: float
    total: float | None = None
    unit: str = ""
    note: str = ""


def line(
    bar: Bar, columns: int, *, elapsed: float = 0.0, already: float = 0.0, blocks: bool = True
) -> str:
    """Write the line within a width, by tqdm's formatter.

    Where there is no room for all of it, the bar itself goes first, with the speed; then the last
    parts of the note. The share that is done and the time that is left stay.

    Parameters
    ----------
    bar
        What it says.
    columns
        The width, in characters.
    elapsed
        Seconds since it began.
    already
        What was done before that; it does not count for the speed.
    blocks
        Whether the bar is made of blocks; of `#` otherwise.

    Examples
    --------
    >>> bar = Bar("fit 1", 20, 80, " batches", "loss 0.1234, GPU 5.1 of 15.0 GiB")
    >>> print(line(bar, 60, elapsed=10))
    fit 1 25% 00:30 left, loss 0.1234, GPU 5.1 of 15.0 GiB
    >>> print(line(bar, 45, elapsed=10))
    fit 1 25% 00:30 left, loss 0.1234
    """
    parts = bar.note.split(", ") if bar.note else []
    if bar.total is None:
        amount = faces.size(bar.done) if bar.unit == "B" else f"{bar.done:g}{bar.unit}"
        return _fitted(f"{bar.label} … {amount}", parts, columns)
    short = _meter(bar, None, elapsed, already, SHORT)
    longest = len(_meter(bar, None, elapsed, already, "{l_bar}{r_bar}")) + BAR_AT_LEAST
    beside = f" {bar.note}" if parts else ""
    if longest + len(beside) <= columns:
        return _meter(bar, columns - len(beside), elapsed, already, None, blocks) + beside
    return _fitted(short, parts, columns)


def _fitted(words: str, parts: list[str], columns: int) -> str:
    """Put as many parts of a note behind some words as there is room for."""
    for count in range(len(parts), 0, -1):
        beside = f"{words}, {', '.join(parts[:count])}"
        if len(beside) <= columns:
            return beside
    return words[:columns]


def _meter(
    bar: Bar,
    columns: int | None,
    elapsed: float,
    already: float,
    form: str | None,
    blocks: bool = True,
) -> str:
    from tqdm import tqdm

    return str(
        tqdm.format_meter(
            bar.done,
            bar.total,
            max(elapsed, 1e-6),
            ncols=columns,
            prefix=bar.label,
            unit=bar.unit,
            unit_scale=bar.unit == "B",
            ascii=not blocks,
            initial=already,
            bar_format=form,
        )
    )
