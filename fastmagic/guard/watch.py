"""The callback that sees a learner train: shows it, keeps its epochs, saves its state."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastai.callback.core import Callback as FastaiCallback
from fastai.callback.progress import ShowGraphCallback
from fastcore.basics import noop

from fastmagic.guard import state
from fastmagic.guard.anatomy import Anatomy, device_of
from fastmagic.guard.files import GENERATIONS
from fastmagic.guard.pace import Pace
from fastmagic.guard.seen import REMEMBERED, Told, is_one_class_each
from fastmagic.guard.session import Session
from fastmagic.guard.stages import Epoch, Stage, figure
from fastmagic.speed.together import Zeroed


class Watch(FastaiCallback):
    """Shows a learner's progress, keeps its epochs and saves its state after each of them."""

    order = 60  # after fastai's Recorder (50), whose figures it reads
    session: Session
    place: Callable[..., None]  # lets a loader draw from a position on
    meet: Callable[[Any], None]  # lets one vary its pictures as if it had been placed
    lending: Callable[[Any], Any]  # a block in which what is made of loaders reads small copies
    protect: Callable[[Any], None]  # makes a learner's class one of ours
    stage: Stage | None = None  # the one being fitted; None in lr_find, validate and predictions
    saved: Mapping[str, Any] | None = None  # the state with which it goes on
    torn = False  # in the middle of a step
    step: Any = None  # the batch that is on its way
    anatomy: Anatomy | None = None  # of the network, while a pass runs
    zeroed = Zeroed()  # the gradients that are known to be zero
    pace = Pace()  # of the pass
    steps = 0  # of this pass that are whole
    skips = False  # it can begin at any of them: the learner has no loop of its own
    _told = Told("", None)  # by the last validation

    def __reduce__(self) -> tuple[Any, ...]:
        return (FastaiCallback, (), {"learn": self.learn})  # exported in the body: plain fastai

    def after_create(self) -> None:
        type(self).protect(self.learn)

    @contextlib.contextmanager
    def passing(self) -> Iterator[Pace]:
        """Look at the network once for all batches of a pass, and at how the time goes by."""
        before = self.anatomy, self.zeroed, self.pace
        if self.training:
            self.skips = False
        self.anatomy = Anatomy(self.learn.model)
        self.pace = pace = self.session.pace_of(self.anatomy.device)
        try:
            yield pace
        finally:
            self.session.left_pass()
            self.anatomy, self.zeroed, self.pace = before
            if self.stage is not None:
                self.session.waiting_seconds += pace.waiting
                self.session.working_seconds += pace.working

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let what a callback looks at within a fit stand beside it, and leave no trace in it."""
        if self.stage is None:
            yield
            return
        before = dict(self.__dict__)
        self.stage = self.saved = None
        try:
            with self.session.aside():
                yield
        finally:
            self.__dict__.clear()
            self.__dict__.update(before)

    def anatomy_of(self, model: Any) -> Anatomy:
        """Give what a network is made of, as it was looked at when the pass began."""
        known = self.anatomy
        return known if known is not None and known.is_of(model) else Anatomy(model)

    def begin(self, stage: Stage, saved: Mapping[str, Any] | None) -> None:
        """Begin to watch a fit."""
        self.stage, self.saved, self.torn, self._trained = stage, saved, False, 0
        self._saved_at = time.monotonic()

    def passed(self) -> None:
        """A fit is skipped: an earlier process has done it."""
        for loader in self.dls.loaders:
            type(self).meet(loader)

    def end(self) -> None:
        """The fit is over, or has ended in an error."""
        self.stage = self.saved = None

    def first_step(self) -> int:
        """Give the step with which a pass over the training pictures begins; it is given once.

        A loop of the learner's own does not ask, and begins with the first.
        """
        if self.stage is None or not self.training:
            return 0
        self.skips = True
        if self.saved is None:
            return 0
        progress = self.saved["progress"]
        step = int(progress["step"])
        if step:
            state.put_meters_back(self.learn, self.saved)
            self.learn.pct_train = progress["pct_train"]
            self.learn.train_iter = progress["train_iter"]
            self._since -= progress["seconds"]
            self._trained = step
        self.saved = None
        return step

    def stepped(self, number: int) -> None:
        """A step is whole, of training or of looking at pictures."""
        self.torn, self.steps = False, number + 1
        if self.stage is not None and self.training:
            self._trained = self.steps
            if not self.session.team.rank:
                self.session.life.sign()
            if time.monotonic() - self._saved_at >= self.session.save_every:
                self.save()

    def save(self) -> None:
        """Have the state as it is now written beside the training."""
        stage = self.stage
        if stage is None or self.torn or self.learn.opt is None or self.session.team.rank:
            return
        if self._trained and not self.skips:  # it could not go on from here
            return
        began = time.perf_counter()
        self._saved_at = time.monotonic()
        spent = time.perf_counter() - self._since if self._trained else 0.0
        try:
            content = state.take(self.learn, stage, self._trained, spent, self._told.digest)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            self.session.cannot_save(error)
            return
        self.session.keep(stage.name, content, 1 if stage.ended else GENERATIONS)
        self.session.saving_seconds += time.perf_counter() - began

    def before_fit(self) -> None:
        for callback in self.learn.cbs:
            if isinstance(callback, ShowGraphCallback):  # it draws into the bar that is not here,
                callback.run = False  # and the live view shows the curve; fastai sets it again
        self._logger, self.learn.logger = self.learn.logger, noop  # Recorder would print
        self.session.lay(self.learn, device_of(self.learn))

    def before_epoch(self) -> None:
        self._since = time.perf_counter()
        self._accuracy: float | None = None

    def before_train(self) -> None:
        stage, session = self.stage, self.session
        if stage is not None:
            at = session.enter("fit", stage.number, self.epoch)
        else:
            at = session.enter_pass("lr_find")
        self._place(self.dls.train, at)

    def before_validate(self) -> None:
        stage, session = self.stage, self.session
        if stage is not None:
            at = session.enter("valid", stage.number, self.epoch)
        else:
            at = session.enter_pass("predict")
        self._place(self.dl, at)
        self._right = self._seen = 0
        self._countable = True
        self._told = Told("", self.dl)

    def after_batch(self) -> None:
        if not self.training:
            self._count()
        note = self._note()
        if self.stage is None and self.training:  # lr_find: its epochs are no one's concern
            self.session.view.bar(self._doing(), self.train_iter, None, " batches", note)
        else:
            self.session.view.bar(self._doing(), self.iter + 1, self.n_iter, " batches", note)
            if self.stage is not None and self.training and self._recorder is not None:
                self.session.curve.step(self.stage.number, self._recorder)
                self.session.view.curve("training loss", self.session.curve.loss)

    def after_validate(self) -> None:
        whole = self.dl is self.dls.valid
        self._accuracy = self._right / self._seen if self._countable and self._seen else None
        if self._accuracy is not None and whole:
            digest = state.weights_sha256(self.learn.model.state_dict())
            self.session.validated[digest] = self._accuracy
            if self.session.team.alone or getattr(self.dl, "shuffle", False):
                self._told.put_in_order(getattr(self.dl, "_DataLoader__idxs", ()))
            self._told.digest = digest
            self.session.told = self._told

    def after_epoch(self) -> None:
        stage = self.stage
        if stage is None:
            return
        recorder = self._recorder
        values = [figure(v) for v in getattr(recorder, "final_record", None) or []]
        names = [str(n) for n in getattr(recorder, "metric_names", ())[1:] if n != "time"]
        seconds = time.perf_counter() - self._since
        epoch = Epoch(self.epoch, dict(zip(names, values, strict=False)), self._accuracy, seconds)
        stage.epochs.append(epoch)
        self._trained = 0
        if any(value is not None and not math.isfinite(value) for value in values[:2]):
            self.session.no_number()  # of training or of validation
        if not values:  # skipped, by `start_epoch` or a callback of the person's
            return
        self.session.view.row(
            ("fit", "epoch", *names, "seconds"),
            (stage.number, epoch.epoch, *(_short(v) for v in values), f"{seconds:.1f}"),
            "epochs",
        )

    def after_fit(self) -> None:
        self.learn.logger = self._logger
        self.session.view.clear_bar()

    def ended(self, stage: Stage) -> None:
        """Keep how a fit has ended, which may not be how its last epoch left it.

        A callback may end it early (EarlyStoppingCallback), or load the best weights at its end
        (SaveModelCallback).
        """
        stage.ended = True
        self.save()

    def _place(self, loader: Any, at: tuple[object, ...]) -> None:
        type(self).place(loader, self.session.seed, *at)

    def place_again(self, loader: Any) -> None:
        """Let a pass that has to be entered anew draw what it drew."""
        at = self.session.at
        self.session.enter(*at)
        self._place(loader, at)
        self.session.enter_at(self.steps)

    @property
    def _recorder(self) -> Any:
        return state.recorder_of(self.learn)

    def _doing(self) -> str:
        stage = self.stage
        if stage is None:
            return self.session.doing or "predicting"
        part = "training" if self.training else "validating"
        return f"fit {stage.number}, epoch {self.epoch + 1} of {self.n_epoch}, {part}"

    def _note(self) -> str:
        smooth = getattr(self._recorder, "smooth_loss", None) if self.training else None
        value = getattr(smooth, "value", None)
        loss = "" if value is None else f"loss {float(value):.4f}"
        return ", ".join(words for words in (loss, self.session.memory()) if words)

    def _count(self) -> None:
        pred, targets = self.pred, self.yb
        if len(targets) != 1 or not is_one_class_each(pred, targets[0]):
            self._countable = False
            return
        self._right += int((pred.argmax(dim=1) == targets[0]).sum())
        self._seen += len(targets[0])
        if self._seen * pred.shape[1] <= REMEMBERED:
            likely = pred.detach().float().softmax(dim=1)
            self._told.probabilities.append(likely.cpu())
            self._told.targets.append(targets[0].detach().cpu())


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
