"""What a person sees: one small document, written once, shown as text and as HTML.

Every result builds a `Face` from its own data (`result.face()`). `Shown` gives the result its text
(`str`, a terminal, a log) and its HTML (a notebook) from that one document, so the two never
disagree. Whatever comes from file names or the network is escaped here and only here. The HTML
carries its own styles, for Colab and VS Code put every output into a frame of its own, and it uses
no colour that would vanish on a dark page; nothing is said by colour alone.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

LINE = 78
"""Columns at which the text face wraps: narrow enough for an 80-column terminal."""

NARROWEST = 20
"""Columns that the last cell of a table gets at least; below it, the line stays long."""


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What is never shown as it is: all control characters but the tab and the newline, which a
terminal may take for a command, and the surrogates that stand for bytes of a file's name that are
no UTF-8, which no stream can write."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `strong` ones carry the verdict, `quiet` ones the small print."""

    text: str
    strong: bool = False
    quiet: bool = False


@dataclasses.dataclass(frozen=True)
class Heading:
    """What stands over a section of a long face."""

    text: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Something to type or to copy."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under headers; `name` lets a live display say that it has already shown them."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG with the words that stand for it where pictures cannot be shown."""

    png: bytes
    alt: str


Part = Text | Heading | Code | Table | Picture


@dataclasses.dataclass(frozen=True)
class Face:
    """A title and its parts, from top to bottom.

    Examples
    --------
    >>> face = Face("GPU check", (Text("No GPU here.", strong=True), table(["GPU"], [["none"]])))
    >>> print(face.text())
    GPU check
    No GPU here.
      GPU
      ----
      none
    >>> "<b>No GPU here.</b>" in face.html()
    True
    """

    title: str
    parts: tuple[Part, ...] = ()

    def text(self, without: Iterable[str] = ()) -> str:
        """Give the face in plain text, leaving out the tables with these names."""
        skip = set(without)
        parts = [p for p in self.parts if not (isinstance(p, Table) and p.name in skip)]
        return "\n".join([harmless(self.title), *(_text(part) for part in parts)])

    def html(self) -> str:
        """Give the face as one self-contained piece of HTML."""
        title = (
            '<div role="heading" aria-level="1" style="font-weight:600;font-size:1.1em">'
            f"{_escaped(self.title)}</div>"
        )
        return f'<div style="line-height:1.45;max-width:60em">{title}{_body(self)}</div>'


def page(face: Face) -> str:
    """Give a face as a whole HTML page: one file that needs no network and runs no script.

    It follows the reader's light or dark setting, and what is too wide for a small screen scrolls.

    Examples
    --------
    >>> print(page(Face("Lesson 1: pets", (Text("Finished."),)))[:32])
    <!doctype html>
    <html lang="en">
    """
    title = _escaped(face.title)
    return PAGE.format(title=title, body=_body(face))


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 60em; margin: 1.5em auto; \
padding: 0 1em; overflow-wrap: break-word }}
h1 {{ font-size: 1.4em; margin: 0 0 .4em }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def harmless(text: str) -> str:
    """Replace what would drive a terminal or cannot be written; tabs and ends of lines stay.

    Examples
    --------
    >>> harmless("a class called \\x1b[31mred")
    'a class called \ufffd[31mred'
    """
    return CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def as_json(data: object, indent: int | None = 2) -> str:
    r"""Give plain data as JSON that any file and terminal takes: nothing in it is lost.

    Parameters
    ----------
    data, indent
        As `json.dumps` takes them.

    Raises
    ------
    ValueError
        For a number that JSON has no word for.

    Examples
    --------
    >>> as_json(["für", "a byte \udce4 that is no UTF-8"], None)
    '["für", "a byte \\udce4 that is no UTF-8"]'
    """
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Give a text that stands within one line: harmless, and without tabs and ends of lines.

    Examples
    --------
    >>> one_line("a cat\\nand a dog")
    'a cat and a dog'
    """
    return re.sub(r"[\t\n\u2028\u2029]", " ", harmless(text))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], name: str = "") -> Table:
    """Make a `Table` of anything that has a `str`; None is shown as n/a."""
    cells = tuple(tuple("n/a" if cell is None else str(cell) for cell in row) for row in rows)
    return Table(tuple(head), cells, name)


def _text(part: Part) -> str:
    if isinstance(part, Text):
        return _wrapped(part.text)
    if isinstance(part, Heading):
        return "\n" + harmless(part.text)
    if isinstance(part, Code):
        return textwrap.indent(harmless(part.text), "    ")
    if isinstance(part, Picture):
        return _wrapped(f"[{part.alt}]")
    return table_text(part)


def _wrapped(text: str) -> str:
    lines = harmless(text).splitlines()
    return "\n".join(
        "\n".join(textwrap.wrap(line, LINE, break_long_words=False, break_on_hyphens=False))
        for line in lines
    )


def table_text(part: Table) -> str:
    """Set a table in plain text; what is too wide for a line is wrapped in its last column.

    Examples
    --------
    >>> print(table_text(table(("package", "why"), [("torch", "as asked")])))
      package  why
      -------  --------
      torch    as asked
    """
    head, *rows = (tuple(map(one_line, row)) for row in (part.head, *part.rows))
    part = Table(head, tuple(rows), part.name)
    widths = column_widths(part)
    room = LINE - sum(width + 2 for width in widths[:-1]) - 2
    if widths[-1] > room >= NARROWEST:
        widths[-1] = room
    rule = ["-" * width for width in widths]
    lines = [table_line(part.head, widths), table_line(rule, widths)]
    for cells in part.rows:
        first, *more = textwrap.wrap(cells[-1], widths[-1], break_long_words=False) or [""]
        lines.append(table_line((*cells[:-1], first), widths))
        lines += [table_line((*[""] * (len(cells) - 1), words), widths) for words in more]
    return "\n".join(lines)


def column_widths(part: Table) -> list[int]:
    """Give the widest cell of each column, in characters."""
    return [max(len(cell) for cell in column) for column in zip(part.head, *part.rows, strict=True)]


def table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Set one row of a text table.

    Examples
    --------
    >>> table_line(["epoch", "0.93"], [5, 8])
    '  epoch  0.93'
    """
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return ("  " + "  ".join(padded)).rstrip()


def _body(face: Face) -> str:
    return "".join(_html(part) for part in face.parts)


def _html(part: Part) -> str:
    if isinstance(part, Text):
        words = _escaped(part.text).replace("\n", "<br>")
        style = "margin:.3em 0;opacity:.75;font-size:.9em" if part.quiet else "margin:.3em 0"
        return f'<div style="{style}">{f"<b>{words}</b>" if part.strong else words}</div>'
    if isinstance(part, Heading):
        style = "font-weight:600;margin:1em 0 .2em"
        return f'<div role="heading" aria-level="2" style="{style}">{_escaped(part.text)}</div>'
    if isinstance(part, Code):
        style = (
            "margin:.3em 0;padding:.4em .6em;border:1px solid rgba(128,128,128,.35);"
            "white-space:pre-wrap;overflow-wrap:anywhere"
        )
        return f'<pre style="{style}">{_escaped(part.text)}</pre>'
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode("ascii")
        alt = _escaped(part.alt)
        source = f"data:image/png;base64,{data}"
        return f'<img style="max-width:100%;margin:.3em 0" alt="{alt}" src="{source}">'
    return _html_table(part)


def _escaped(text: str) -> str:
    return html.escape(harmless(text))


def _html_table(part: Table) -> str:
    cell = "padding:.15em .7em;text-align:left;border-bottom:1px solid rgba(128,128,128,.3)"
    head = "".join(f'<th scope="col" style="{cell}">{_escaped(h)}</th>' for h in part.head)
    rows = "".join(
        "<tr>" + "".join(f'<td style="{cell}">{_escaped(c)}</td>' for c in row) + "</tr>"
        for row in part.rows
    )
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:.4em 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


class Shown:
    """Gives a frozen dataclass that has a `face()` its text, its HTML and its `to_dict()`."""

    def face(self) -> Face:
        """Build what a person sees from this result's own data."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data that `json.dumps` takes."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.repr}  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.face().text()

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        return bundle(self.face(), include, exclude)


def bundle(
    face: Face, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
) -> dict[str, str]:
    """Give both faces by MIME type, honouring what the front end asks for."""
    makers = {"text/plain": face.text, "text/html": face.html}
    wanted = set(makers) if include is None else set(include)
    wanted -= set(exclude or ())
    return {mime: make() for mime, make in makers.items() if mime in wanted}


def plain(value: object) -> Any:
    """Turn a result's value into data for JSON: dataclasses to dicts, paths to text."""
    if isinstance(value, Shown):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def duration(seconds: float) -> str:
    """Say a time as a person would.

    Examples
    --------
    >>> duration(0.42), duration(8.4), duration(75), duration(7260), duration(7200)
    ('0.4 s', '8 s', '1 min 15 s', '2 h 1 min', '2 h')
    """
    if seconds < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole % 3600 // 60
    return f"{whole // 3600} h {minutes} min" if minutes else f"{whole // 3600} h"


def size(count: float) -> str:
    """Say a number of bytes as a person would, in powers of ten.

    Examples
    --------
    >>> size(512), size(39_321_600), size(857_214_334)
    ('512 B', '39.3 MB', '857 MB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            amount = count / scale
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    return f"{count:.0f} B"


def mib(mib: float | None) -> str:
    """Say a number of MiB as a person would, or n/a: in GiB from the first one on.

    Examples
    --------
    >>> mib(240), mib(5222), mib(None)
    ('240 MiB', '5.1 GiB', 'n/a')
    """
    if mib is None:
        return "n/a"
    return f"{mib:.0f} MiB" if round(mib) < 1024 else f"{mib / 1024:.1f} GiB"


def mib_of(part: float | None, whole: float | None, between: str = " of ") -> str:
    """Say a part of some MiB and the whole, both in the unit of the whole.

    Examples
    --------
    >>> mib_of(5222, 15360), mib_of(240, 15360, " / "), mib_of(20, 64)
    ('5.1 of 15.0 GiB', '0.2 / 15.0 GiB', '20 of 64 MiB')
    >>> mib_of(5222, None), mib_of(None, 15360)
    ('5.1 GiB', 'n/a of 15.0 GiB')
    """
    if whole is None:
        return mib(part)
    if part is None:
        return f"n/a{between}{mib(whole)}"
    amount = f"{part:.0f}" if round(whole) < 1024 else f"{part / 1024:.1f}"
    return f"{amount}{between}{mib(whole)}"


def percent(share: float | None) -> str:
    """Say a share as a percentage, or n/a.

    Examples
    --------
    >>> percent(0.9875), percent(None)
    ('98.75 %', 'n/a')
    """
    return "n/a" if share is None else f"{100 * share:.2f} %"
