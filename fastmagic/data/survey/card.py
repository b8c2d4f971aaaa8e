"""The card of a data set: what is in a folder, for a person to look at before training on it."""

from __future__ import annotations

import base64
import statistics
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastmagic import faces
from fastmagic.data.survey import cautions, sheet, split, tree
from fastmagic.data.survey.duplicates import Duplicates
from fastmagic.data.survey.labels import Kind
from fastmagic.data.survey.pictures import Survey, default_memory, existing_folder, survey
from fastmagic.data.survey.readable import CLIPPED, ODD, PASSING, Size
from fastmagic.data.survey.recall import Recall
from fastmagic.data.survey.rejected import WHY, Rejected
from fastmagic.errors import FastMagicError, Stopped
from fastmagic.faces import Face, Part, Shown, Text
from fastmagic.progress import View

ROWS_SHOWN = 40
NAMES_SHOWN = 5

UNEVEN = 1.5
"""From this ratio of the largest class to the smallest on, the card speaks of uneven classes."""


NO_COPIES = Duplicates()


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
    faults
        What is wrong with those, and how many times.
    odd
        What is odd about pictures that are used, how many times, and an example.
    duplicates
        Exact copies within and across training and validation.
    rejected
        Where unusable pictures were moved, out of a folder that we unpacked ourselves.
    notes
        What else is worth knowing.
    closed
        Folders that may not be read; they are left out.
    """

    path: Path
    kind: Kind
    classes: tuple[ClassCount, ...]
    smallest: Size
    largest: Size
    typical: Size
    imbalance: float
    unreadable: tuple[Path, ...] = ()
    faults: tuple[tuple[str, int], ...] = ()
    odd: tuple[tuple[str, int, Path], ...] = ()
    duplicates: Duplicates = NO_COPIES
    rejected: Rejected | None = None
    notes: tuple[str, ...] = ()
    closed: tuple[Path, ...] = ()
    rows: tuple[str, ...] = field(default=(), repr=False)
    png: bytes = field(default=b"", repr=False)

    @property
    def train(self) -> int:
        """How many pictures are for training."""
        return sum(one.train for one in self.classes)

    @property
    def valid(self) -> int:
        """How many pictures are for validation."""
        return sum(one.valid for one in self.classes)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What makes a result say less than it seems to, a line each; a lesson says it too."""
        unvalidated = [one.name for one in self.classes if not one.valid]
        lines = [cautions.unvalidated(unvalidated, self.kind)] if unvalidated else []
        for kind, count, file in self.odd:
            if kind == CLIPPED:
                lines.append(cautions.clipped(count, _below(self.path, file)))
        if self.closed:
            lines.append(cautions.closed(self.closed))
        return tuple(lines)

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
        lines += self.cautions
        lines += [
            line
            for line in (
                self._unreadable_line(),
                self._rejected_line(),
                self._odd_line(),
                *self._duplicate_lines(),
            )
            if line
        ]
        return [*lines, *self.notes]

    def _unreadable_line(self) -> str:
        count = len(self.unreadable)
        if not count:
            return ""
        names = [_below(self.path, file) for file in self.unreadable[:NAMES_SHOWN]]
        more = f", and {count - NAMES_SHOWN} more" if count > NAMES_SHOWN else ""
        what = "picture cannot be read and is" if count == 1 else "pictures cannot be read and are"
        return f"{count} {what} left out: {', '.join(names)}{more} ({_counted(self.faults)})."

    def _rejected_line(self) -> str:
        if self.rejected is None:
            return ""
        kinds = Counter(why for _, why in self.rejected.files).most_common()
        count = len(self.rejected.files)
        what = "file that cannot be read was" if count == 1 else "files that cannot be read were"
        return (
            f"{count} {what} moved out of the way ({_counted(kinds)}), to {self.rejected.folder}; "
            f"{WHY} there says more."
        )

    def _odd_line(self) -> str:
        each = [
            f"{count:,} {kind} ({_below(self.path, file)})"
            for kind, count, file in self.odd
            if kind != CLIPPED
        ]
        return f"Used, but worth a look: {', '.join(each)}." if each else ""

    def _duplicate_lines(self) -> list[str]:
        found, lines = self.duplicates, []
        groups = (" = ".join(_below(self.path, file) for file in one) for one in found.examples)
        if found.leaked:
            lines.append(
                f"{_so_many(found.leaked, 'validation ')} also among the training pictures, so "
                "the accuracy will look better than it is."
            )
        if found.train or found.valid:
            parts = f"{found.train:,} for training, {found.valid:,} for validation"
            lines.append(
                f"{_so_many(found.train + found.valid)} an exact copy of another ({parts})."
            )
        if found.mixed:
            group = "group of copies lies" if found.mixed == 1 else "groups of copies lie"
            lines.append(f"{found.mixed:,} {group} in more than one class: a label is wrong.")
        return [*lines, f"Copies, for example: {'; '.join(groups)}."] if lines else []

    def _pictures(self) -> list[Part]:
        if not self.png:
            return []
        words = "; ".join(self.rows)
        return [
            faces.Picture(self.png, f"contact sheet, {words}"),
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
        return look(path, label_pattern=label_pattern)
    except KeyboardInterrupt as stop:
        if isinstance(stop, FastMagicError):
            raise
        raise Stopped("Stopped.", "Run the same line again.") from None


def look(
    path: str | Path,
    *,
    label_pattern: str = "",
    view: View | None = None,
    memory: Path | None = None,
    unpacked: Path | None = None,
) -> DataCard:
    """Give the card of a folder: the one that was made before, if not one picture has changed.

    Parameters
    ----------
    path, label_pattern
        As for `data_card`.
    view
        Shows how far the check of the pictures is.
    memory
        The folder in which cards and checks are remembered; beside fastai's archives by default.
    unpacked
        The data set's folder, around or equal to `path`, if we unpacked it ourselves: what cannot
        be read is then moved to `NAME-rejected` beside it.
    """
    memory = memory or default_memory()
    folder = existing_folder(path)
    recall = Recall(memory, folder, label_pattern, str(unpacked or ""))
    closed: list[Path] = []
    before = tree.snapshot(folder, closed)
    fingerprint = tree.fingerprint(before)
    with suppress(LookupError, TypeError, ValueError, AttributeError):  # damaged: it is made again
        if known := recall.find(fingerprint):
            return replace(_restored(known), closed=tuple(closed))
    found = survey(path, label_pattern=label_pattern, view=view, memory=memory, unpacked=unpacked)
    card = replace(make_card(found), closed=tuple(closed))
    left = [one for one in before if folder.joinpath(*one[0]) not in found.moved]
    passing = any(kind in PASSING for kind, _ in card.faults)  # tells nothing of the next look
    if not passing and tree.snapshot(folder) == left:  # nobody else changed it meanwhile
        recall.keep(tree.fingerprint(left), _stored(card))
    return card


def make_card(found: Survey, notes: tuple[str, ...] = ()) -> DataCard:
    """Make the card from a survey of the folder."""
    layout, named = found.layout, found.named
    train: dict[str, list[Path]] = {name: [] for name in layout.classes}
    for file in layout.train:
        train[named[file]].append(file)
    valid = Counter(named[file] for file in layout.valid)
    sizes = [found.looks[file].size for file in (*layout.train, *layout.valid)]
    counts = [len(files) for files in train.values()]
    chosen = sheet.choose(train)
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
        faults=_faults(found),
        odd=_odd(found),
        duplicates=found.duplicates,
        rejected=found.rejected,
        notes=notes,
        rows=tuple(sheet.rows(chosen)),
        png=sheet.draw(chosen),
    )


def _stored(card: DataCard) -> dict[str, Any]:
    return {**card.to_dict(), "rows": card.rows, "png": base64.b64encode(card.png).decode()}


def _restored(data: dict[str, Any]) -> DataCard:
    copies, moved = data["duplicates"], data["rejected"]
    groups = tuple(tuple(map(Path, group)) for group in copies["examples"])
    width_and_height = {
        name: (data[name][0], data[name][1]) for name in ("smallest", "largest", "typical")
    }
    return DataCard(
        **width_and_height,
        path=Path(data["path"]),
        kind=data["kind"],
        classes=tuple(ClassCount(**one) for one in data["classes"]),
        imbalance=data["imbalance"],
        unreadable=tuple(map(Path, data["unreadable"])),
        faults=tuple((kind, count) for kind, count in data["faults"]),
        odd=tuple((kind, count, Path(file)) for kind, count, file in data["odd"]),
        duplicates=Duplicates(**{**copies, "examples": groups}),
        rejected=moved
        and Rejected(Path(moved["folder"]), tuple((name, why) for name, why in moved["files"])),
        notes=tuple(data["notes"]),
        rows=tuple(data["rows"]),
        png=base64.b64decode(data["png"]),
    )


def _faults(found: Survey) -> tuple[tuple[str, int], ...]:
    kinds = Counter(kind for file in found.layout.unreadable for kind in found.looks[file].kinds)
    return tuple(kinds.most_common())


def _odd(found: Survey) -> tuple[tuple[str, int, Path], ...]:
    files: dict[str, list[Path]] = {}
    for file, one in found.looks.items():
        if one.kinds and one.usable:
            for kind in one.kinds:
                files.setdefault(kind, []).append(file)
    return tuple((kind, len(files[kind]), min(files[kind])) for kind in ODD if kind in files)


def _counted(kinds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds)


def _so_many(count: int, what: str = "") -> str:
    return f"{count:,} {what}{'picture is' if count == 1 else 'pictures are'}"


def _area(size: Size) -> tuple[int, Size]:
    return size[0] * size[1], size


def _below(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _title(path: Path) -> str:
    """Name a folder; `images` alone says nothing."""
    plain = path.name.lower() in ("images", "data", *split.TRAIN_NAMES)
    return f"{path.parent.name}/{path.name}" if plain and path.parent.name else path.name or "/"
