"""The verb `compare`: two runs of the lesson side by side, and whether chance tells them apart."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import faces, platforms
from fastmagic.errors import BadInput, LessonError, did_you_mean
from fastmagic.faces import Face, Heading, Part, Shown, Text
from fastmagic.guard.incidents import Incident
from fastmagic.guard.stages import Stage, from_plain, to_plain
from fastmagic.lesson.report import TrainResult, interval
from fastmagic.lesson.report.tables import LAYERS

RESULT = "result.json"
NAMED = 3  # runs that an error offers

Pair = tuple[Any, Any]  # what A has and what B has; None where one has nothing of the name


@dataclass(frozen=True)
class Side:
    """One of the two runs, as its `result.json` tells it.

    Attributes
    ----------
    name, folder
        What the run is called, and where it is kept.
    status, data, path, recipe, device, seconds
        As in `TrainResult`; the path is empty where it is not known.
    arguments, versions
        Settings and versions by their names.
    stages
        The calls of `fit`.
    accuracy, accuracy_tta
        Of the final weights, 0 to 1; None where it was not measured.
    pictures
        How many pictures they were counted on; None where that is not known.
    incidents
        One sentence each.
    weights_sha256
        Digest of the final weights; None where there are none.
    identity
        Digest of what was asked for, the cell's code among it; empty where that is not known.
    """

    name: str
    folder: Path
    status: str
    data: str
    path: str
    recipe: str
    device: str
    seconds: float
    arguments: Mapping[str, Any]
    versions: Mapping[str, str]
    stages: tuple[Stage, ...]
    accuracy: float | None
    accuracy_tta: float | None
    pictures: int | None
    incidents: tuple[str, ...]
    weights_sha256: str | None
    identity: str


@dataclass(frozen=True)
class Difference:
    """How far the accuracies of two runs lie apart.

    Attributes
    ----------
    with_tta
        Whether both were measured with test-time augmentation.
    a, b
        The two accuracies, 0 to 1.
    interval
        The 95 % interval of b - a; None where the number of pictures is not known.
    """

    with_tta: bool
    a: float
    b: float
    interval: interval.Band | None

    @property
    def beyond_chance(self) -> bool | None:
        """Whether it is larger than chance gives; None where that cannot be said."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Comparison(Shown):
    """Two runs of the lesson side by side.

    Attributes
    ----------
    a, b
        The two runs.
    same_pictures
        Whether both were validated on the very same pictures; None where that is not known.
    """

    a: Side
    b: Side
    same_pictures: bool | None = None

    @property
    def difference(self) -> Difference | None:
        """The difference of their accuracies, with TTA where both have it; None without any."""
        with_tta = self.a.accuracy_tta is not None and self.b.accuracy_tta is not None
        shares = (self.a.accuracy_tta, self.b.accuracy_tta)
        a, b = shares if with_tta else (self.a.accuracy, self.b.accuracy)
        if a is None or b is None:
            return None
        ends = None
        if self.a.pictures and self.b.pictures:
            ends = interval.difference(a, self.a.pictures, b, self.b.pictures)
        return Difference(with_tta, a, b, ends)

    @property
    def same_weights(self) -> bool | None:
        """Whether the final weights are equal, bit for bit; None where one has none."""
        digests = self.a.weights_sha256, self.b.weights_sha256
        return None if None in digests else digests[0] == digests[1]

    @property
    def settings(self) -> dict[str, Pair]:
        """The settings that differ."""
        return _differing(self.a.arguments, self.b.arguments)

    @property
    def versions(self) -> dict[str, Pair]:
        """The versions that differ."""
        return _differing(self.a.versions, self.b.versions)

    def to_dict(self) -> dict[str, Any]:
        """Give the comparison as plain data."""
        sides = {
            key: {**faces.plain(side), "stages": [to_plain(stage) for stage in side.stages]}
            for key, side in (("a", self.a), ("b", self.b))
        }
        told = self.difference
        return {
            **sides,
            "same_pictures": self.same_pictures,
            "same_weights": self.same_weights,
            "settings": faces.plain(self.settings),
            "versions": faces.plain(self.versions),
            "difference": told and {**faces.plain(told), "beyond_chance": told.beyond_chance},
        }

    def face(self) -> Face:
        """Set the two runs side by side."""
        parts: list[Part] = [
            Text(self._verdict(), strong=True),
            *(Text(line) for line in self._remarks()),
            Text(f"A: {self.a.name}, in {self.a.folder}\nB: {self.b.name}, in {self.b.folder}"),
            self._runs_table(),
            self._stages_table(),
        ]
        for title, pairs in (("settings", self.settings), ("versions", self.versions)):
            if pairs:
                rows = [(name, *pair) for name, pair in pairs.items()]
                head = Heading(f"{title.capitalize()} that differ")
                parts += [head, faces.table((title[:-1], "A", "B"), rows)]
            else:
                parts.append(Text(f"The {title} are the same."))
        asked = self.a.identity, self.b.identity
        if not self.settings and all(asked) and asked[0] != asked[1]:
            parts.append(Text("The code of the cells differs, or the pictures do."))
        for letter, side in (("A", self.a), ("B", self.b)):
            parts += [Text(f"Incident in {letter}: {words}.") for words in side.incidents]
        return Face("Two runs side by side", tuple(parts))

    def _verdict(self) -> str:
        told = self.difference
        if told is None:
            return "There is no accuracy of both to compare."
        measured = (self.a.accuracy_tta, self.b.accuracy_tta)
        how = " with test-time augmentation" if told.with_tta else ""
        if not told.with_tta and measured != (None, None):
            how = ", both without test-time augmentation"
        both = f"{faces.percent(told.a)} (A) and {faces.percent(told.b)} (B){how}"
        if told.a == told.b:
            return f"The accuracies are equal: {both}."
        better = "B" if told.b > told.a else "A"
        return f"{better} is better by {100 * abs(told.b - told.a):.2f} points: {both}."

    def _remarks(self) -> list[str]:
        """Say what the difference is worth, and whether the weights are the same."""
        lines = []
        told = self.difference
        if told is not None:
            lines += [_worth(told), self._on_which_pictures()]
        if self.same_weights:
            lines.append("The final weights are the same, bit for bit.")
        elif self.same_weights is False:
            lines.append("The final weights differ.")
        return [line for line in lines if line]

    def _on_which_pictures(self) -> str:
        a, b = self.a, self.b
        same_folder = a.data == b.data or (a.path and a.path == b.path)
        if not (self.same_pictures or same_folder):
            return (
                f"The data sets differ ({a.data}, {b.data}): accuracies on different pictures say "
                "little about which run is better."
            )
        if not a.pictures or not b.pictures:
            return ""
        if a.pictures != b.pictures or self.same_pictures is False:
            return (
                f"A was validated on {a.pictures:,} pictures and B on {b.pictures:,} others: part "
                "of the difference may be theirs."
            )
        known = f"{a.pictures:,} pictures"
        known = f"the same {known}" if self.same_pictures else f"{known}, taken to be the same ones"
        if not self.same_pictures and a.arguments.get("seed") != b.arguments.get("seed"):
            known += " (with another seed they are not, where the data set has no split of its own)"
        return (
            f"Both were validated on {known}. The interval is that of two independent sets, so it "
            "is cautious: two runs find the same pictures hard."
        )

    def _runs_table(self) -> faces.Table:
        def row(name: str, of: Any) -> tuple[object, ...]:
            return (name, of(self.a), of(self.b))

        rows = [
            row("data", lambda side: side.data),
            row("recipe", lambda side: side.recipe),
            row("ended", lambda side: side.status),
            row("accuracy", lambda side: interval.words(side.accuracy, side.pictures)),
            row("with TTA", lambda side: interval.words(side.accuracy_tta, side.pictures)),
            row("time", lambda side: f"{faces.duration(side.seconds)} on {side.device.upper()}"),
            row("incidents", lambda side: len(side.incidents)),
            row("weights", lambda side: (side.weights_sha256 or "n/a")[:12]),
        ]
        return faces.table(("", "A (95 % interval)", "B (95 % interval)"), rows)

    def _stages_table(self) -> faces.Table:
        """Set the fits one after another, those of A and of B with one number together."""
        rows = [
            (
                stage.number,
                letter,
                LAYERS.get(stage.layers, stage.layers),
                len(stage.epochs),
                interval.words(stage.accuracy, side.pictures),
                faces.duration(stage.seconds),
            )
            for letter, side in (("A", self.a), ("B", self.b))
            for stage in side.stages
        ]
        rows.sort(key=lambda row: row[:2])
        return faces.table(("fit", "run", "trained", "epochs", "accuracy", "time"), rows)


def compare(
    run_a: TrainResult | str | Path,
    run_b: TrainResult | str | Path,
    *,
    runs_folder: str | Path | None = None,
) -> Comparison:
    """Lay two runs of the lesson side by side.

    Parameters
    ----------
    run_a, run_b
        What `train_lesson1` returned, a run's folder (or the `result.json` in it), or its name.
    runs_folder
        The folder in which a name is looked up; where runs are kept by default.

    Returns
    -------
    Comparison
        Shown as text in a terminal and as tables in a notebook.

    Raises
    ------
    BadInput
        For a run that does not exist or has no result yet; it says the nearest names.
    LessonError
        For a `result.json` that cannot be read.

    Examples
    --------
    >>> import fastmagic
    >>> fastmagic.compare("dogscats-classic", "dogscats-modern")  # doctest: +SKIP
    """
    root, _ = platforms.run_folders(platforms.where())
    root = root if runs_folder is None else platforms.expanded(runs_folder)
    a, b = _side_of(run_a, root), _side_of(run_b, root)
    return Comparison(a, b, _same_pictures(run_a, run_b))


def _same_pictures(run_a: object, run_b: object) -> bool | None:
    judged = [run.judged if isinstance(run, TrainResult) else None for run in (run_a, run_b)]
    if judged[0] is None or judged[1] is None:
        return None
    return set(judged[0].files) == set(judged[1].files)


def _side_of(run: TrainResult | str | Path, root: Path) -> Side:
    if isinstance(run, TrainResult):
        return _side(run.to_dict(), run.folder)
    if not isinstance(run, (str, Path)):
        raise BadInput(
            f"A {type(run).__name__} cannot be compared.",
            "Give what train_lesson1 returned, a run's folder, or a run's name.",
        )
    file = _find(run, root)
    try:
        return _side(json.loads(file.read_text(encoding="utf-8")), file.absolute().parent)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LessonError(
            f"{file} cannot be read as a result ({type(error).__name__}: {error}).",
            "It is damaged, or of another version: run its cell again, or compare another run.",
        ) from error


def _find(run: str | Path, root: Path) -> Path:
    """Find the `result.json` that is meant."""
    path = platforms.expanded(run)
    folders = [path, root / path]
    if path.is_file():
        return path
    for folder in folders:
        if (folder / RESULT).is_file():
            return folder / RESULT
    for folder in folders:
        if folder.is_dir() and str(run):
            raise BadInput(
                f"The folder {folder} has no {RESULT}: no run has come to an end in it.",
                "Run its cell again, which goes on where it was, or compare another run.",
            )
    raise _unknown(str(run), root)


def _unknown(name: str, root: Path) -> BadInput:
    files = sorted(root.glob(f"*/{RESULT}"), key=lambda file: file.stat().st_mtime, reverse=True)
    names = [file.parent.name for file in files]
    near = did_you_mean(name, names)
    newest = f" The newest: {', '.join(names[:NAMED])}." if names else " There is none there yet."
    return BadInput(
        f"There is no run called {name!r} in {root}. {near}".rstrip(),
        f"Give a run's name, its folder, or what train_lesson1 returned.{newest}",
    )


def _side(plain: Mapping[str, Any], folder: Path) -> Side:
    judged = plain.get("judged") or {}
    return Side(
        name=folder.name,
        folder=folder,
        status=str(plain["status"]),
        data=str(plain["data"]),
        path=str(plain.get("path") or ""),
        recipe=str(plain["recipe"]),
        device=str(plain["device"]),
        seconds=_number(plain["seconds"], math.inf),
        arguments=dict(plain["arguments"]),
        versions=dict(plain["versions"]),
        stages=tuple(_stage(stage) for stage in plain["stages"]),
        accuracy=_share(plain["accuracy"]),
        accuracy_tta=_share(plain["accuracy_tta"]),
        pictures=_count(judged.get("pictures") or plain.get("validation_pictures")),
        incidents=tuple(_incident(one) for one in plain["incidents"]),
        weights_sha256=plain["weights_sha256"] and str(plain["weights_sha256"]),
        identity=str(plain.get("identity") or ""),
    )


def _share(value: Any) -> float | None:
    return None if value is None else _number(value, 1)


def _number(value: Any, most: float) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= most):
        raise ValueError(f"{number:g} is out of range")
    return number


def _count(value: Any) -> int | None:
    return int(_number(value, math.inf)) if value else None


def _stage(plain: Mapping[str, Any]) -> Stage:
    stage = from_plain(plain)
    for epoch in stage.epochs:
        _share(epoch.accuracy)
    return stage


def _incident(one: Mapping[str, str]) -> str:
    return str(Incident(one["when"], one["what"], one["done"], one.get("cost", "")))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    names = dict.fromkeys((*a, *b))
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _worth(told: Difference) -> str:
    if told.interval is None:
        return "Whether that is more than chance cannot be said: the pictures were not counted."
    better, ends = "B", told.interval
    if told.a > told.b:
        better, ends = "A", (-ends[1], -ends[0])
    low, high = (f"{100 * end:+.1f}" for end in ends)
    span = f"{better}'s lead lies between {low} and {high} points (95 % interval)"
    if told.a == told.b:
        return f"As far as so many pictures can tell, {span}."
    if told.beyond_chance:
        return f"That is more than chance gives: {span}."
    return f"That is no more than chance gives: {span}, and 0 is among them."
