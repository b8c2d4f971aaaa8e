"""The card of a data set: what is in a folder, for a person to look at before training on it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

from fastmagic import faces
from fastmagic.data import sheet
from fastmagic.data.pictures import Kind, Survey, survey
from fastmagic.data.readable import Size
from fastmagic.errors import FastMagicError, Stopped
from fastmagic.faces import Face, Part, Shown, Text

ROWS_SHOWN = 40
NAMES_SHOWN = 5

UNEVEN = 1.5
"""From this ratio of the largest class to the smallest on, the card speaks of uneven classes."""


@dataclass(frozen=True)
class ClassCount:
    """How many pictures of one class are for training and for validation."""

    name: str
    train: int
    valid: int


@dataclass(frozen=True)
class DataCard(Shown):
    """What is in a folder of pictures.

    Attributes
    ----------
    path
        The folder that holds the train and valid folders, the class folders or the flat files.
    kind
        Which of these three it is.
    classes
        Every class with its counts.
    smallest, largest, typical
        Width and height in pixels: of the pictures with the smallest and the largest area, and the
        medians of the widths and of the heights.
    imbalance
        Training pictures of the largest class for each of the smallest.
    unreadable
        Files that call themselves pictures and cannot be decoded; the lesson leaves them out.
    notes
        What else is worth knowing.
    """

    path: Path
    kind: Kind
    classes: tuple[ClassCount, ...]
    smallest: Size
    largest: Size
    typical: Size
    imbalance: float
    unreadable: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    shown: tuple[tuple[str, Path], ...] = field(default=(), repr=False)

    @property
    def train(self) -> int:
        """How many pictures are for training."""
        return sum(one.train for one in self.classes)

    @property
    def valid(self) -> int:
        """How many pictures are for validation."""
        return sum(one.valid for one in self.classes)

    def face(self) -> Face:
        """Show the counts, the sizes, what is odd, and a few pictures of each class."""
        parts: list[Part] = [
            Text(
                f"{self.train + self.valid:,} pictures of {len(self.classes)} classes "
                f"({self.kind}): {self.train:,} for training, {self.valid:,} for validation.",
                strong=True,
            ),
            self._table(),
            *(Text(line) for line in self._lines()),
            *self._pictures(),
            Text(f"Folder: {self.path}", quiet=True),
        ]
        return Face(f"Data: {_title(self.path)}", tuple(parts))

    def _table(self) -> faces.Table:
        rows: list[tuple[object, ...]] = [
            (one.name, one.train, one.valid) for one in self.classes[:ROWS_SHOWN]
        ]
        rest = self.classes[ROWS_SHOWN:]
        if rest:
            name = f"and {len(rest)} more"
            rows.append((name, sum(one.train for one in rest), sum(one.valid for one in rest)))
        return faces.table(["class", "train", "valid"], rows)

    def _lines(self) -> list[str]:
        low, high, mid = (f"{w} x {h}" for w, h in (self.smallest, self.largest, self.typical))
        same = self.smallest == self.largest
        lines = [
            f"Every picture is {low} pixels."
            if same
            else f"Picture sizes: {low} to {high} pixels, typically {mid}."
        ]
        if self.imbalance >= UNEVEN:
            most = max(self.classes, key=lambda one: one.train)
            least = min(self.classes, key=lambda one: one.train)
            lines.append(
                f"The classes are uneven: {most.name!r} has {self.imbalance:.1f} times as many "
                f"training pictures as {least.name!r}."
            )
        if self.unreadable:
            lines.append(self._unreadable_line())
        return [*lines, *self.notes]

    def _unreadable_line(self) -> str:
        count = len(self.unreadable)
        names = [_below(self.path, file) for file in self.unreadable[:NAMES_SHOWN]]
        more = f", and {count - NAMES_SHOWN} more" if count > NAMES_SHOWN else ""
        what = "picture cannot be read and is" if count == 1 else "pictures cannot be read and are"
        return f"{count} {what} left out: {', '.join(names)}{more}."

    def _pictures(self) -> list[Part]:
        png = sheet.draw(self.shown)
        if not png:
            return []
        words = "; ".join(sheet.rows(self.shown))
        return [
            faces.Picture(png, f"contact sheet, {words}"),
            Text(f"Training pictures, {words}.", quiet=True),
        ]


def data_card(path: str | Path, *, label_pattern: str = "") -> DataCard:
    """Look at a folder of pictures: classes, counts, sizes, what cannot be read.

    Whatever goes wrong with a data set is cheaper to see here than after an hour of training.

    Parameters
    ----------
    path
        The folder; `get_data` returns one.
    label_pattern
        A regular expression whose first group, found in a file's name, is the class; only for flat
        files, and not needed for the catalogue's own.

    Returns
    -------
    DataCard
        Shown as a table and a contact sheet in a notebook, as a table in a terminal.

    Raises
    ------
    PicturesError
        When the folder cannot be learnt from.
    Stopped
        On Ctrl-C; pictures that were checked are not checked again.
    """
    try:
        return make_card(survey(path, label_pattern=label_pattern))
    except KeyboardInterrupt as stop:
        if isinstance(stop, FastMagicError):
            raise
        raise Stopped("Stopped.", "Run the same line again.") from None


def make_card(found: Survey, notes: tuple[str, ...] = ()) -> DataCard:
    """Make the card from a survey of the folder."""
    layout = found.layout
    train: dict[str, list[Path]] = {name: [] for name in layout.classes}
    valid = dict.fromkeys(layout.classes, 0)
    for file in layout.train:
        train[layout.label(file)].append(file)
    for file in layout.valid:
        valid[layout.label(file)] += 1
    sizes = [found.sizes[file] for file in (*layout.train, *layout.valid)]
    counts = [len(files) for files in train.values()]
    return DataCard(
        path=layout.path,
        kind=layout.kind,
        classes=tuple(ClassCount(name, len(train[name]), valid[name]) for name in layout.classes),
        smallest=min(sizes, key=_area),
        largest=max(sizes, key=_area),
        typical=(
            round(statistics.median(width for width, _ in sizes)),
            round(statistics.median(height for _, height in sizes)),
        ),
        imbalance=max(counts) / min(counts),
        unreadable=layout.unreadable,
        notes=notes,
        shown=tuple(sheet.choose(train)),
    )


def _area(size: Size) -> tuple[int, Size]:
    return size[0] * size[1], size


def _below(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _title(path: Path) -> str:
    """Name a folder; `images` alone says nothing."""
    plain = path.name in ("images", "train", "data")
    return f"{path.parent.name}/{path.name}" if plain and path.parent.name else path.name or "/"
