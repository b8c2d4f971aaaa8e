"""The result of a run of the lesson, and its face."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmagic import faces
from fastmagic.faces import Code, Face, Heading, Part, Picture, Shown, Text
from fastmagic.gpu import chart
from fastmagic.gpu.monitor import MonitorSummary
from fastmagic.guard.incidents import Incident
from fastmagic.guard.stages import Stage, to_plain
from fastmagic.lesson.loading import Loading
from fastmagic.lesson.report import drawn, interval
from fastmagic.lesson.report.curves import Curves
from fastmagic.lesson.report.judged import Judged
from fastmagic.lesson.report.plain import without_nan
from fastmagic.lesson.report.tables import WHOLE, confusion_table, epochs_table, stages_table

if TYPE_CHECKING:
    from fastmagic.lesson.forecast.words import Forecast

EXAMPLE = "learn.dls.valid_ds.items[0]"
"""A picture that is there for certain, for a first question."""


@dataclass(frozen=True)
class TrainResult(Shown):
    """A finished, stopped or failed run of the lesson.

    Attributes
    ----------
    status
        `finished`, `stopped` or `failed`.
    data, path
        The data set as it was asked for, and its folder.
    recipe
        The recipe's name; `own` for the person's own body.
    arguments
        Every setting of the run.
    device
        Where it was trained: `cpu`, `cuda` or `mps`.
    versions
        Of the packages that matter.
    stages
        One for each call of `fit`, with its epochs.
    accuracy
        The last validation of the final weights, 0 to 1, without test-time augmentation.
    accuracy_tta
        The same with it; None where the body did none on the final weights.
    seconds
        Wall-clock seconds of this call, imports included.
    incidents
        What went wrong and what was done about it.
    weights_sha256
        Digest of the final weights, in the form that `guard.state.weights_sha256` documents.
    folder
        The run's folder.
    model
        The exported model; None where it could not be exported.
    monitor
        What GPUs and host did meanwhile; its samples are in the folder's `monitor.csv`.
    loading
        How much of the fits' time went into waiting for pictures; None where nothing was fitted.
    judged
        What the final weights said of each validation picture; None where that is not known.
        `to_dict()` has the confusion matrix and the pictures that the report shows.
    curves
        Loss and rate in every training step; in the folder's `curves.csv`, not in `to_dict()`.
    reference
        The lowest and the highest accuracy, 0 to 1, that the lesson's own published runs reached on
        this data set with test-time augmentation; None where there are none.
    validation_pictures
        How many pictures the accuracies were counted on; None where that is not known.
    identity
        The digest of what was asked for: of body, settings, pictures, and what was gone on from.
    forecast
        What was said before the start; None where nothing was. `to_dict()` has its sentences too.
    choices
        What was chosen for the person, and why: `precision`, say.
    chart
        A PNG of the monitor's samples; None where there were too few. Not part of `to_dict()`.
    learn, dls
        fastai's own objects; not part of `to_dict()`.
    """

    status: str
    data: str
    path: Path
    recipe: str
    arguments: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    stages: tuple[Stage, ...]
    accuracy: float | None
    accuracy_tta: float | None
    seconds: float
    incidents: tuple[Incident, ...]
    weights_sha256: str | None
    folder: Path
    model: Path | None
    monitor: MonitorSummary | None = None
    loading: Loading | None = None
    judged: Judged | None = field(default=None, repr=False, compare=False)
    curves: Curves | None = field(default=None, repr=False, compare=False)
    reference: tuple[float, float] | None = None
    validation_pictures: int | None = None
    identity: str = ""
    forecast: Forecast | None = field(default=None, compare=False)
    choices: Mapping[str, str] = field(default_factory=dict)
    chart: bytes | None = field(default=None, repr=False, compare=False)
    learn: Any = field(default=None, repr=False, compare=False)
    dls: Any = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain data: what `result.json` holds."""
        plain = super().to_dict()
        plain["stages"] = [to_plain(stage) for stage in self.stages]
        plain["judged"] = None if self.judged is None else self.judged.to_dict()
        if self.forecast is not None:
            sentences = list(self.forecast.sentences())
            plain["forecast"] = {"sentences": sentences, **plain["forecast"]}
        return dict(without_nan(plain))

    @property
    def pictures(self) -> int | None:
        """How many pictures the accuracies were counted on; None where that is not known."""
        return self.validation_pictures if self.judged is None else len(self.judged.files)

    def face(self) -> Face:
        """Build the report that a person sees."""
        parts: list[Part] = [Text(self._verdict(), strong=True)]
        parts += [*self._accuracies(), *self._training(), *self._mistakes(), *self._usage()]
        if self.incidents:
            parts.append(Heading("Incidents"))
            parts += [Text(f"{incident}.") for incident in self.incidents]
        parts += self._what_is_left()
        return Face(f"Lesson 1: {last_name(self.data)}, {self.recipe}", tuple(parts))

    def _accuracies(self) -> list[Part]:
        """Set each stage's accuracy, how far it can be trusted, and what the lesson reached."""
        if not self.stages:
            return []
        table = stages_table(
            self.stages,
            pictures=self.pictures,
            accuracy_tta=self.accuracy_tta,
            reference=self.reference,
        )
        parts: list[Part] = [table]
        share = self.accuracy if self.accuracy_tta is None else self.accuracy_tta
        lines = [interval.grain(self.pictures)] if self.pictures else []
        if self.reference is not None:
            lines.append(
                "The lesson's own published runs reached "
                f"{interval.band(self.reference)} with test-time augmentation (TTA)."
            )
            if share is not None and self.pictures:
                lines.append(interval.against(share, self.pictures, self.reference))
        return [*parts, Text(" ".join(lines), quiet=True)] if lines else parts

    def _training(self) -> list[Part]:
        if not self.stages:
            return []
        parts: list[Part] = [Heading("Training"), epochs_table(self.stages), *self._curves]
        kept = ("arch", "weights", "size", "bs", "precision", "seed")
        told = [f"{name} {self.arguments[name]}" for name in kept if self.arguments.get(name)]
        lines = [f"Data: {self.path}"] if last_name(self.data) != self.data else []
        lines += [f"Settings: {', '.join(told)}."] if told else []
        lines += [f"{name.capitalize()}: {why}" for name, why in self.choices.items()]
        return [*parts, *(Text(line, quiet=True) for line in lines)]

    @functools.cached_property
    def _curves(self) -> tuple[Part, ...]:
        return drawn.curves_part(self.stages, self.curves)

    @functools.cached_property
    def _sheets(self) -> tuple[Part, ...]:
        if self.judged is None:
            return ()
        return (*drawn.wrong_part(self.judged), *drawn.uncertain_part(self.judged))

    def _mistakes(self) -> list[Part]:
        """Show which classes are taken for which, and the pictures to look at."""
        if self.judged is None or not self.judged.files:
            return []
        wrong = int((~self.judged.right).sum())
        said = f"Wrong on {wrong:,} of {len(self.judged.files):,} validation pictures."
        parts: list[Part] = [Heading("What it gets wrong"), Text(said)]
        if wrong or len(self.judged.classes) <= WHOLE:
            parts.append(confusion_table(self.judged))
        return [*parts, *self._sheets]

    def _usage(self) -> list[Part]:
        """Say what the machine did meanwhile, and show it."""
        lines = (
            []
            if self.forecast is None
            else [f"Before the start: {words}" for words in self.forecast.sentences()]
        )
        lines += [] if self.loading is None else self.loading.sentences()
        if self.monitor is not None:
            lines += self.monitor.sentences()
        parts: list[Part] = [Text(line, quiet=True) for line in lines]
        if self.chart is not None and self.monitor is not None:
            parts.append(Picture(self.chart, chart.alternative(self.monitor)))
        return [Heading("The machine"), *parts] if parts else []

    def _what_is_left(self) -> list[Part]:
        """Say where everything is, and how to use the model."""
        where = Text(f"Everything is in {self.folder}", quiet=True)
        if self.model is None:
            return [where]
        if self._reads_files():
            asked = "Ask it about a photo, of the validation pictures or of yours:"
            here, there = f"photo = {EXAMPLE}\nlearn.predict(photo)", '"my_photo.jpg"'
        else:  # a body may train on a table, or on texts
            asked = "Ask it about one more of what it was trained with:"
            here, there = "learn.predict(item)", "item"
        load = f"load_learner({str(self.model)!r}).predict({there})"
        return [
            Heading("The model"),
            Text(asked),
            Code(here),
            Text("and anywhere else, with plain fastai and without fastmagic:"),
            Code(f"from fastai.vision.all import *\n{load}"),
            where,
        ]

    def _reads_files(self) -> bool:
        """Say whether the model was trained with files; where that is not known, it was."""
        items = getattr(getattr(self.dls, "valid", None), "items", None)
        try:
            return items is None or isinstance(items[0], Path)
        except (LookupError, TypeError):  # a table's rows are not numbered so
            return False

    def _verdict(self) -> str:
        reached = "no accuracy measured"
        if self.accuracy is not None:
            reached = f"accuracy {faces.percent(self.accuracy)} on the validation pictures"
        if self.accuracy_tta is not None:
            reached += f", {faces.percent(self.accuracy_tta)} with test-time augmentation"
        took = faces.duration(self.seconds)
        done = {"finished": "Finished", "stopped": "Stopped", "failed": "Failed"}[self.status]
        return f"{done}: {reached}, in {took} on {self.device.upper()}."


def last_name(data: str) -> str:
    """Give the last name of a path or an address, which is all that a title has room for.

    Examples
    --------
    >>> last_name("/home/me/my_photos"), last_name("sample")
    ('my_photos', 'sample')
    """
    return re.split(r"[/\\]", data.rstrip("/\\"))[-1] or data
