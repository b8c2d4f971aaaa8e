"""One progress display for a notebook, a terminal and a log file.

A verb is handed a `View` and tells it what happens: `note` for a line that stays, `bar` for the
one thing that moves, `row` for a table that grows, `table` for one that is whole, `live` for a face
that the next one replaces, `finish` for the result's face. How that looks is the view's affair:

    NotebookView   one output, updated in place, that becomes the final face; no ipywidgets
    TerminalView   lines, and one moving line at the bottom
    LogView        lines only: no carriage returns, no escape codes, now and then a line of progress
    QuietView      nothing: what the Python twins use unless they are asked to show

The moving line's words are made in `meter`, the picture of a `curve` in the module of that name.
"""

from __future__ import annotations

import collections
import dataclasses
import html
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from fastmagic import curve, faces, meter, platforms
from fastmagic.errors import BadInput
from fastmagic.faces import Face, Part, Picture, Table, Text
from fastmagic.meter import Bar

STYLES = ("auto", "notebook", "terminal", "log", "quiet")
"""How progress can be shown: as the front end has it, in one way or the other, or not at all."""

UPDATES_PER_SECOND = 5
LOG_EVERY_SECONDS = 10
# To the first column, up, then erase from there to the end of the screen: ECMA-48, CUU and ED,
# which every terminal that IPython runs in knows.
UP_AND_CLEAR = "\r\x1b[{}A\x1b[J"


class View:
    """Says nothing, keeps what was said; the other views draw it.

    As a context manager it takes the moving line away when the block ends, also after an error.

    Examples
    --------
    >>> with View() as view:
    ...     view.note("Looking for a GPU")
    ...     view.bar("downloading", 3, 10, "MB")
    >>> view.notes
    ['Looking for a GPU']
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.notes: list[str] = []
        self.head: tuple[str, ...] = ()
        self.rows: list[tuple[str, ...]] = []
        self.table_name = ""
        self._clock = clock
        self._bar: Bar | None = None
        self._bar_since = 0.0
        self._bar_label = ""
        self._bar_from = 0.0
        self._curve: tuple[str, Sequence[float]] | None = None
        self._drawn = float("-inf")
        self._updates = collections.deque([float("-inf")] * UPDATES_PER_SECOND, UPDATES_PER_SECOND)

    def note(self, text: str) -> None:
        """Say one line that stays."""
        self.notes.append(text)
        self._note(text)

    def bar(
        self, label: str, done: float, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        """Move the one moving line; drawn at most five times a second.

        `total` is None where it is not known; the unit of both is `B` for bytes. `note` stands
        beside, in parts with commas: where there is no room for all, the last ones are left out.
        """
        if label != self._bar_label:
            self._bar_label, self._bar_since, self._drawn = label, self._clock(), float("-inf")
            self._bar_from = done  # what was there before does not count for the rate
        self._bar = Bar(faces.one_line(label), done, total, unit, faces.one_line(note))
        if self._due():
            self._draw_bar()

    def row(self, head: Sequence[str], values: Sequence[object], name: str = "") -> None:
        """Add a row to the growing table called `name`; another name starts another table."""
        if name != self.table_name or tuple(head) != self.head:
            self.head, self.rows, self.table_name = tuple(head), [], name
        self.rows.append(tuple(str(value) for value in values))
        self._row()

    def table(self, table: Table) -> None:
        """Show a whole table that stays; a log does not show one of its name again at the end."""
        self.head, self.rows, self.table_name = table.head, list(table.rows), table.name
        self._table(table)

    def live(self, face: Face) -> None:
        """Show a face that the next one replaces; drawn at most five times a second."""
        if self._due():
            self._live(face)

    def curve(self, label: str, values: Sequence[float]) -> None:
        """Show a curve in a notebook: all of its values so far; the sequence may go on growing."""
        self._curve = (label, values)

    def finish(self, face: Face) -> None:
        """End with the result: from here on nothing of the progress is left."""
        self.clear_bar()
        self._finish(face)

    def clear_bar(self) -> None:
        """Take the moving line away."""
        if self._bar is not None:
            self._bar = None
            self._bar_label = ""
            self._draw_bar()

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear_bar()

    def _bar_text(self, columns: int, *, beside: bool = True) -> str:
        """Give the moving line; the note stands beside it, or else on a line of its own."""
        if self._bar is None:
            return ""
        bar = self._bar if beside else dataclasses.replace(self._bar, note="")
        elapsed = self._clock() - self._bar_since
        line = meter.line(
            bar, columns, elapsed=elapsed, already=self._bar_from, blocks=self._has_blocks()
        )
        return line if beside or not self._bar.note else f"{line}\n    {self._bar.note}"

    def _has_blocks(self) -> bool:
        """Whether a bar can be made of blocks here."""
        return True

    def _due(self) -> bool:
        """Whether it is time to draw: not within the pause, nor a sixth time within one second."""
        now = self._clock()
        if now - self._drawn < self._pause() or now - self._updates[0] < 1:
            return False
        self._drawn = now
        self._updates.append(now)
        return True

    def _pause(self) -> float:
        return 1 / UPDATES_PER_SECOND

    def _note(self, text: str) -> None: ...
    def _draw_bar(self) -> None: ...
    def _row(self) -> None: ...
    def _table(self, table: Table) -> None: ...
    def _live(self, face: Face) -> None: ...
    def _finish(self, face: Face) -> None: ...


QuietView = View
Show = bool | str | View


class NestedView(View):
    """Passes a verb's notes, moving line and curve on to the view of the verb that it works for.

    Its tables and faces are not shown: the outer verb shows its own.
    """

    def __init__(self, outer: View) -> None:
        super().__init__()
        self._outer = outer

    def note(self, text: str) -> None:
        """Say the line in the outer view."""
        self._outer.note(text)

    def bar(
        self, label: str, done: float, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        """Move the outer view's line."""
        self._outer.bar(label, done, total, unit, note)

    def curve(self, label: str, values: Sequence[float]) -> None:
        """Show the curve in the outer view."""
        self._outer.curve(label, values)

    def clear_bar(self) -> None:
        """Take the outer view's line away."""
        self._outer.clear_bar()


class LogView(View):
    """Plain lines for a file or a pipe: whole lines, no carriage returns."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._stream = stream
        self._tables: set[str] = set()

    def _print(self, text: str = "", end: str = "\n") -> None:
        stream = self._stream or sys.stdout
        print(_writable(text, stream), end=end, file=stream, flush=True)

    def _has_blocks(self) -> bool:
        return _writable(meter.BLOCKS, self._stream or sys.stdout) == meter.BLOCKS

    def _pause(self) -> float:
        return LOG_EVERY_SECONDS

    def _note(self, text: str) -> None:
        self._print(faces.harmless(text))

    def _draw_bar(self) -> None:
        if self._bar is None or self._clock() - self._bar_since < LOG_EVERY_SECONDS:
            return  # quick work needs no line of progress in a log
        self._print(self._bar_text(faces.LINE, beside=False))

    def _row(self) -> None:
        head, row = (tuple(map(faces.one_line, cells)) for cells in (self.head, self.rows[-1]))
        widths = [max(len(title), 10) for title in head]
        if len(self.rows) == 1:
            self._tables.add(self.table_name)
            self._print(faces.table_line(head, widths))
            self._print(faces.table_line(["-" * width for width in widths], widths))
        self._print(faces.table_line(row, widths))

    def _table(self, table: Table) -> None:
        self._tables.add(table.name)
        self._print(faces.table_text(table))

    def _live(self, face: Face) -> None:
        self._print(face.text())

    def _finish(self, face: Face) -> None:
        self._print(face.text(without=self._tables - {""}))


class TerminalView(LogView):
    """Lines, and below them one line that moves."""

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = platforms.terminal_columns,
        rows: Callable[[], int] = platforms.terminal_rows,
    ) -> None:
        super().__init__(stream, clock)
        self._columns, self._height = columns, rows
        self._written = 0
        self._lines = 0  # of the live face that stands there now

    def _pause(self) -> float:
        return 1 / UPDATES_PER_SECOND

    def _print(self, text: str = "", end: str = "\n") -> None:
        self._wipe()
        super()._print(text, end)

    def _note(self, text: str) -> None:
        room = max(self._columns() - 1, 20)
        for line in faces.harmless(text).splitlines() or [""]:
            self._print(  # whole words; addresses and paths stay whole too
                textwrap.fill(line, room, break_long_words=False, break_on_hyphens=False)
                if len(line) > room
                else line
            )

    def _draw_bar(self) -> None:
        self._wipe()
        if self._bar is not None:
            line = self._bar_text(self._columns() - 1)
            super()._print(line, end="")
            self._written = len(line)

    def _live(self, face: Face) -> None:
        room, high = self._columns() - 1, max(self._height() - 1, 2)
        lines = face.text().splitlines()
        if len(lines) > high:  # what has left the screen above cannot be written over
            more = f"… {len(lines) - high + 1} lines more: make this window higher"
            lines = [*lines[: high - 1], more]
        lines = [line[:room] for line in lines]  # a line that wraps would be two to go up
        self._print("\n".join(lines))
        self._lines = len(lines)

    def _wipe(self) -> None:
        if self._lines:
            super()._print(UP_AND_CLEAR.format(self._lines), end="")
            self._lines = 0
        if self._written:
            super()._print("\r" + " " * self._written + "\r", end="")
            self._written = 0


class NotebookView(View):
    """One output in a notebook, updated in place until it is the result's face."""

    def __init__(
        self,
        title: str,
        display: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._title = title
        self._display = display
        self._handle: Any = None
        self._behind = False  # the output, by a row

    def _show(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            if self._display is None:
                from IPython.display import display

                self._display = display
            self._handle = self._display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def curve(self, label: str, values: Sequence[float]) -> None:
        """Show the curve under the table."""
        super().curve(label, values)
        if self._due():
            self._refresh()

    def clear_bar(self) -> None:
        """Take the bar away; nothing that was said is left unseen."""
        super().clear_bar()
        if self._behind:
            self._refresh()

    def _refresh(self) -> None:
        self._behind = False
        parts: list[Part] = [Text(note) for note in self.notes]
        if self.rows:
            parts.append(faces.table(self.head, self.rows, self.table_name))
        if self._curve is not None and (png := curve.draw(*self._curve)):
            parts.append(Picture(png, curve.alternative(*self._curve)))
        shown = faces.bundle(Face(self._title, tuple(parts)))
        if self._bar is not None:
            shown["text/plain"] += "\n" + self._bar_text(faces.LINE, beside=False)
            shown["text/html"] += self._bar_html()
        self._show(shown)

    def _bar_html(self) -> str:
        assert self._bar is not None
        bar = self._bar
        value = f'value="{bar.done}" max="{bar.total}"' if bar.total else ""
        words = html.escape(self._bar_text(faces.LINE, beside=False)).replace("\n", "<br>")
        return (
            f'<div><progress {value} style="width:20em" aria-label="{html.escape(bar.label)}">'
            "</progress>"
            f'<div style="font-family:monospace;font-size:.85em">{words}</div></div>'
        )

    def _note(self, text: str) -> None:  # noqa: ARG002 - all the notes are drawn
        self._refresh()

    def _draw_bar(self) -> None:
        self._refresh()

    def _row(self) -> None:
        self._behind = not self._due()  # then the bar's next step shows it, or what comes after
        if not self._behind:
            self._refresh()

    def _table(self, table: Table) -> None:  # noqa: ARG002 - the view has its rows
        self._refresh()

    def _live(self, face: Face) -> None:
        self._show(faces.bundle(face))

    def _finish(self, face: Face) -> None:
        self._show(faces.bundle(face))


def _writable(text: str, stream: TextIO | None) -> str:
    """Give a text as a stream can write it: a file on Windows often has cp1252."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def print_json(data: object, stream: TextIO | None = None) -> None:
    """Print plain data as JSON: for a program that reads it, instead of a face.

    Examples
    --------
    >>> print_json({"verdict": "ready"})
    {
      "verdict": "ready"
    }
    """
    print(faces.as_json(data), file=stream or sys.stdout, flush=True)


def open_view(show: Show, title: str, place: platforms.Platform | None = None) -> View:
    """Choose the view that a verb speaks to.

    Parameters
    ----------
    show
        False for none, True for the one that fits the front end, one of `STYLES`, or a view made
        elsewhere.
    title
        The heading that stands over a notebook's live output.
    place
        Where we are; found by itself by default.

    Examples
    --------
    >>> type(open_view(False, "GPU check")).__name__
    'View'
    >>> type(open_view("log", "GPU check")).__name__
    'LogView'
    """
    if isinstance(show, View):
        return show
    if not show or show == "quiet":
        return QuietView()
    if isinstance(show, str) and show not in STYLES:
        raise BadInput(f"There is no style {show!r} of progress.", f"Take {', '.join(STYLES)}.")
    front = (place or platforms.where()).front if show in (True, "auto") else show
    if front == "notebook":
        return NotebookView(title)
    return TerminalView() if front == "terminal" else LogView()
