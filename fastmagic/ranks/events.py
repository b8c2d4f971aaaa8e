"""What rank 0 shows, told to the notebook's process through a file, one line of JSON an event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastmagic.faces import Face, Table
from fastmagic.progress import View


class Teller(View):
    """A view in a child process: it writes what happens to a file.

    Parameters
    ----------
    file
        Only this process writes to it, and only at its end.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file.open("a", encoding="utf-8")
        self._curves = 0

    def _tell(self, what: str, *values: Any) -> None:
        self._file.write(json.dumps([what, *values]) + "\n")
        self._file.flush()

    def _note(self, text: str) -> None:
        self._tell("note", text)

    def _draw_bar(self) -> None:
        bar = self._bar
        values = [] if bar is None else [bar.label, bar.done, bar.total, bar.unit, bar.note]
        self._tell("bar", *values)

    def _row(self) -> None:
        self._tell("row", self.head, self.rows[-1], self.table_name)

    def _table(self, table: Table) -> None:
        for row in table.rows:
            self._tell("row", table.head, row, table.name)

    def _live(self, face: Face) -> None:
        self._tell("note", face.text())

    def curve(self, label: str, values: Sequence[float]) -> None:
        """Tell the curve's new values."""
        if self._due():
            new = [float(value) for value in values[self._curves :]]
            self._curves = len(values)
            self._tell("curve", label, new)


class Replay:
    """Shows in a view what a `Teller` has written so far.

    Parameters
    ----------
    file
        It may not be there yet.
    view
        The notebook's.

    Examples
    --------
    >>> Replay(Path("nowhere"), View()).go_on()
    """

    def __init__(self, file: Path, view: View) -> None:
        self._path, self._view = file, view
        self._at = 0
        self._curve: list[float] = []

    def go_on(self) -> None:
        """Show what is new, whole lines only."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                text = file.read()
        except FileNotFoundError:
            return
        lines = text[: text.rfind(b"\n") + 1]
        self._at += len(lines)
        for line in lines.decode().splitlines():
            self._show(*json.loads(line))

    def _show(self, what: str, *values: Any) -> None:
        view = self._view
        if what == "note":
            view.note(values[0])
        elif what == "row":
            view.row(*values)
        elif what == "curve":
            self._curve += values[1]
            view.curve(values[0], self._curve)
        elif values:
            view.bar(*values)
        else:
            view.clear_bar()
