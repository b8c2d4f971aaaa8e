"""One cell's run as the guard sees it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastmagic import faces
from fastmagic.errors import first_line
from fastmagic.guard import files, positions, remembered
from fastmagic.guard.copies import Copies
from fastmagic.guard.incidents import Incident, from_state, to_state
from fastmagic.guard.keeper import Keeper
from fastmagic.guard.life import Life
from fastmagic.guard.loaders import no_copies, one_by_one
from fastmagic.guard.pace import Pace, pace_of
from fastmagic.guard.positions import Position
from fastmagic.guard.pressure import Pressure
from fastmagic.guard.seen import Curve, Learners, Told
from fastmagic.guard.splits import Splits
from fastmagic.guard.stages import Stage
from fastmagic.guard.state import weights_sha256
from fastmagic.guard.stops import Stops
from fastmagic.progress import View
from fastmagic.ranks.team import OVER, Team


def as_it_lies(learn: Any, device: Any) -> None:
    """Leave a learner's network as it lies in memory."""


class TimeIsUp(KeyboardInterrupt):
    """The time that the cell was given is over; the run is stopped as the stop button stops it."""


class Session:
    """One cell's run: its stages, its incidents, what is known of accuracy, and where it is.

    Parameters
    ----------
    seed
        From which all randomness of the run follows.
    view
        Where progress is shown.
    states
        The folder in which the states of the stages are kept.
    seconds
        How long the run may take; None for as long as it takes.
    save_every
        Seconds after which the state is saved within an epoch.
    remembered_in
        The file that remembers from run to run how many pictures fit at once; None for none.
    copy
        The folder in which the states are kept a second time; None for none.
    team
        The processes of this training; by default it is alone.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        seed: int,
        view: View,
        states: Path,
        seconds: float | None = None,
        save_every: float = 60,
        remembered_in: Path | None = None,
        copy: Path | None = None,
        team: Team | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seed = seed
        self.team = team or Team()
        self.view = view
        self.states = states
        self.save_every = save_every
        self.keeper = Keeper(states)
        self.copies = Copies(states, copy, self.keeper)
        self.stops = Stops(None if self.team.alone else self._want)
        self.pressure = Pressure()
        self.life = Life(states)
        self._remembered_in = remembered_in
        self.splits = Splits(self._split, self._known_splits(), self.made_room)
        self.keep_norms = False  # the body's batch norms, also where it is unfrozen
        self.precomputes = True  # whether `learn.precomputed()` does, or leaves all as it is
        self.lay: Callable[[Any, Any], object] = as_it_lies  # a learner's network in memory
        self.pictures_for: Callable[..., Any] = no_copies  # small copies of a loader's pictures
        self.batches_for: Callable[..., Any] = one_by_one  # what makes batches of these
        self.release: Callable[[], bool] = bool  # takes pictures out of the device's memory
        self.pace_of: Callable[[Any], Pace] = pace_of  # tells waiting from working on a device
        self.saving_seconds = 0.0  # that training waited for the copies of its states
        self.stages: list[Stage] = []
        self.incidents = from_state(files.read(states, "incidents")[0])  # of earlier processes
        self.learners = Learners()
        self.validated: dict[str, float] = {}
        self.validated_tta: dict[str, float] = {}
        self.told: Told | None = None
        self.part = ""  # which part of the pictures was trained with, in words; empty for all
        self.curve = Curve()
        self.memory: Callable[[], str] = str  # words on memory for the live view; none by default
        self.doing = ""
        self.waiting_seconds = self.working_seconds = 0.0  # of the stages, see `one_batch`
        self._clock = clock
        self._ends = None if seconds is None else clock() + seconds
        self.at: Position = ("start",)
        self.tried_again_at: Position = ()  # the batch whose transforms ran out of memory last
        self._batch: int | None = None
        self._passes = self._finds = 0
        self.beside: Position = ()  # where the fit is beside which passes run now
        self._recalls = False  # what the last validation said, for what is only shown
        self._told: set[str] = set()  # what is said once

    def incident(self, what: str, done: str, cost: str = "", when: str = "") -> None:
        """Record an incident where the run is now, say it, and keep it with the run."""
        here = f"fit {self.stages[-1].number}" if self.stages else "before the first fit"
        self.incidents.append(Incident(when or here, what, done, cost))
        self.view.note(str(self.incidents[-1]))
        self.keep("incidents", to_state(self.incidents), 1)

    def was_killed(self, lost: float | None) -> None:
        """Record that the process before this one ended without a word.

        Parameters
        ----------
        lost
            Seconds between its last state and its last sign of life; None where not known.
        """
        again = "" if lost is None else f"{faces.duration(lost)} of training are done again"
        self.incident(
            "the process before ended without a word: killed, or its machine was taken away",
            "the run goes on from its last state",
            again,
            "at the restart",
        )

    def trains_with(self, some: int, of: int) -> None:
        """Say that a part of the pictures is trained with, where it is one."""
        words = f"{some:,} of the {of:,} pictures, as many of each class (`most` in the body)."
        if some < of and words != self.part:
            self.part = words
            self.view.note(f"Training with {words}")

    @contextlib.contextmanager
    def busy_with(self, doing: str) -> Iterator[None]:
        """Say what the learner is doing while it is not fitting."""
        before, self.doing = self.doing, doing
        try:
            yield
        finally:
            self.doing = before
            self.view.clear_bar()

    def enter(self, *position: object) -> Position:
        """Begin a pass over a loader at this position, and give the position."""
        self.at, self._batch = position, 0
        positions.set_position(self.seed, *position, "order")  # some loaders draw it from numpy's
        return position

    def enter_at(self, batch: int) -> None:
        """Say that the pass which was just begun goes on with this batch."""
        self._batch = batch

    def enter_pass(self, what: str) -> Position:
        """Begin a pass that belongs to no fit; the passes since the last fit are counted."""
        self._passes += 1
        return self.enter(what, len(self.stages), *self.beside, self._passes)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let passes within the block draw by where the fit is, which goes on there afterwards."""
        before = self.at, self._batch, self._passes, self.beside
        self.beside, self._passes = (*self.at, self._batch), 0
        try:
            yield
        finally:
            self.at, self._batch, self._passes, self.beside = before

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """Do not count the passes within the block: a run that goes on does not do them again."""
        before = self._passes
        try:
            yield
        finally:
            self._passes = before

    def left_pass(self) -> None:
        """End a pass: until the next one, loaders draw as the person's code has them draw."""
        self._batch = None

    def left_fit(self, stage: Stage) -> None:
        """Set the generators to where a fit leaves them, trained now or in an earlier process."""
        self._passes = self._finds = 0
        positions.set_position(self.seed, "after fit", stage.number)

    def next_find(self) -> str:
        """Name the next `lr_find` after so many fits."""
        self._finds += 1
        return f"find-{len(self.stages):03d}-{self._finds:03d}"

    def keep(self, name: str, content: Any, generations: int) -> None:
        """Have a state written beside the training, and tell once of a disk that refuses.

        Of a team rank 0 alone writes.
        """
        if self.team.rank:
            return
        self.keeper.keep(name, content, generations)
        self.look_at_the_keeper()

    def look_at_the_keeper(self) -> None:
        """Record an incident where states cannot be written; the first of several only."""
        trouble = self.keeper.trouble()
        if trouble is not None:
            self.cannot_save(trouble)
        trouble = self.copies.trouble()
        if trouble is not None:
            self._once(
                f"the state could not be copied to {self.copies.copy} ({_why(trouble)})",
                "training goes on; this machine's own state is whole",
            )

    def cannot_save(self, error: Exception) -> None:
        """Record that the state could not be saved."""
        self._once(
            f"the state could not be saved ({_why(error)})",
            "training goes on; if it is stopped now, it goes on from the state before",
        )

    def _once(self, what: str, done: str) -> None:
        """Record an incident that may come again and again, the first time."""
        if done not in self._told:
            self._told.add(done)
            self.incident(what, done)

    def before_transforms(self) -> None:
        """Set the generators for the transforms of the next batch of a pass.

        Called by the pipeline, which fastai also uses on a batch of its own to learn its types; so
        the batches are counted by `before_step`, not here.
        """
        if self._batch is not None:
            positions.set_position(self.seed, *self.at, "batch", self._batch, *self._own)

    @property
    def _own(self) -> tuple[object, ...]:
        """Of a team each rank varies its own pictures in its own way."""
        return ("rank", self.team.rank) if self.team.rank else ()

    def before_loading(self, number: int) -> None:
        """Set the generators for a batch of a loader that is not fastai's."""
        positions.set_position(self.seed, *self.at, "batch", number)

    def before_step(self, number: int) -> None:
        """Set the generators for a step of the network."""
        positions.set_position(self.seed, *self.at, "step", number)
        self._batch = number + 1

    def no_number(self) -> None:
        """Record that the loss is no number any more; once is enough."""
        self._once(
            "the loss is no number any more: the rate was too high, or a picture is damaged",
            "training goes on as it was asked to, but nothing is learned; begin anew with a lower "
            "rate, such as 1e-3",
        )

    def memory_is_short(self, share: float, workers: int | None) -> None:
        """Record that memory was given up, and how many processes load pictures from now on."""
        what = f"{share:.0%} of the memory that is allowed here was in use"
        done = "memory that was kept for later was given back"
        if workers is None:
            self._once(what, done)
        else:
            loading = f"{workers} processes load" if workers != 1 else "1 process loads"
            self.incident(what, f"{done}; {loading} pictures from now on")

    def also_in_parts(self, pictures: int, part: int) -> None:
        """Record that another process of the team could not do its share of a batch at once."""
        self.incident(
            f"{pictures} pictures did not fit in the memory of another process",
            f"all do {part} at a time, as that one has to",
        )

    def memory_in_optimizer(self) -> None:
        """Record that memory ran out while the weights were updated, and make room."""
        self.made_room()
        self._once(
            "memory ran out while the weights were updated",
            "the parameter was put back and updated again with the cache emptied",
        )

    def _known_splits(self) -> dict[str, int]:
        """Give what this run was begun with, or what is remembered of others."""
        own, _ = files.read(self.states, "splits")
        if isinstance(own, dict):
            return {str(key): int(most) for key, most in own.items()}
        known = {} if self._remembered_in is None else remembered.read(self._remembered_in)
        if known:
            self.keep("splits", known, 1)
        return known

    def _split(self, key: str, pictures: int, part: int, norms: bool, seconds: float) -> None:
        doing = "training" if key.endswith("train") else "looking at pictures"
        seen = f"; batch norm sees {part} at a time, unless --freeze-bn keeps it" if norms else ""
        exact = ", with the gradient of the whole batch" if key.endswith("train") else ""
        twice = ", and the body now runs twice" if exact else ""
        self.incident(
            f"a batch of {pictures} did not fit in memory ({doing})",
            f"done {part} pictures at a time{exact}{seen}",
            f"the try took {faces.duration(seconds)}{twice}",
        )
        self.keep("splits", dict(self.splits.most), 1)
        if self._remembered_in is not None and not self.team.rank:
            remembered.add(self._remembered_in, key, part)

    def made_room(self) -> bool:
        """Take the pictures out of the device's memory, before anything else is done for room.

        Returns
        -------
        bool
            Whether any were there.
        """
        if not self.release():
            return False
        self.incident(
            "memory ran out beside the pictures that lay in it",
            "they were taken out of it, and are loaded from now on",
        )
        return True

    @contextlib.contextmanager
    def recalling(self) -> Iterator[None]:
        """Let what is only shown within the block be what the last validation said."""
        self._recalls = True
        try:
            yield
        finally:
            self._recalls = False

    def recalled(self, learner: Any) -> tuple[Any, Any] | None:
        """Give what the last validation said, where it is what the learner would say again.

        Returns
        -------
        probabilities, targets
            Of the validation pictures; None where they have to be looked at.
        """
        told = self.told
        if not self._recalls or told is None or not told.targets:
            return None
        import torch
        from fastai.losses import CrossEntropyLossFlat

        loader = learner.dls.valid
        same = told.loader is loader and sum(map(len, told.targets)) == loader.n
        plain = type(learner.loss_func) is CrossEntropyLossFlat  # whose activation is a softmax
        if not (same and plain and told.digest == weights_sha256(learner.model.state_dict())):
            return None
        self.enter_pass("predict")  # which counts, as if it had been
        self.left_pass()
        return torch.cat(told.probabilities), torch.cat(told.targets)

    def has_predicted(self) -> None:
        """Let what is shown draw the same, whether it was recalled or looked at."""
        if self._recalls:
            positions.set_position(self.seed, "shown", len(self.stages), self._passes)

    def _want(self, number: int) -> None:
        """Ask all processes of a team to stop after the next step."""
        self.team.wants = number

    def stop_together(self) -> None:
        """Stop where one process of a team has asked for it, at the same step as all others.

        Raises
        ------
        KeyboardInterrupt
            Where one has.
        """
        agreed, self.team.agreed = self.team.agreed, 0
        if agreed == OVER:
            raise TimeIsUp
        if agreed:
            self.stops.raised(agreed)

    def look_at_the_clock(self) -> None:
        """End the run where its time is over.

        Raises
        ------
        TimeIsUp
            Where it is.
        """
        over = self._ends is not None and self._clock() > self._ends
        if over and self.team.alone:
            raise TimeIsUp
        if over:
            self.team.wants = OVER


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
