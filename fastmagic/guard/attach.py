"""The one place that touches fastai's Learner from outside.

fastai reads `defaults.callbacks` when a Learner is made. For the duration of a cell our `Watch`
stands there in place of fastai's `ProgressCallback` (which prints raw HTML in a terminal), so
every learner that the body makes is watched, whoever makes it. In `after_create` the learner's
class becomes a subclass of its own class with a few methods overridden: `fit` (counts the stages,
skips those that are done and enters one in the middle), `lr_find` (which calls `fit` and is no
stage), `tta`, and `one_batch` (which tells waiting from working). When the cell ends, however it
ends, everything is put back, and what was pickled in between (`learn.export()` inside the body) was
pickled as plain fastai.
"""

from __future__ import annotations

import contextlib
import copyreg
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner, defaults
from fastai.torch_core import default_device
from fastcore.basics import noop

from fastmagic.guard import positions, state
from fastmagic.guard.incidents import Incident
from fastmagic.guard.stages import Epoch, Stage
from fastmagic.progress import View


class Session:
    """One cell's run as the guard sees it: its stages, its incidents, what is known of accuracy.

    Parameters
    ----------
    seed
        From which all randomness of the run follows.
    view
        Where progress is shown.
    states
        The folder in which the states of the stages are kept.
    """

    def __init__(self, seed: int, view: View, states: Path) -> None:
        self.seed = seed
        self.view = view
        self.states = states
        self.stages: list[Stage] = []
        self.incidents: list[Incident] = []
        self.learners: list[Learner] = []
        self.validated: dict[str, float] = {}
        self.validated_tta: dict[str, float] = {}
        self.doing = ""
        self.waiting_seconds = self.working_seconds = (
            0.0  # of the stages, see `Protected.one_batch`
        )

    def incident(self, what: str, done: str, cost: str = "") -> None:
        """Record an incident where the run is now, and say it."""
        when = f"fit {self.stages[-1].number}" if self.stages else "before the first fit"
        self.incidents.append(Incident(when, what, done, cost))
        self.view.note(str(self.incidents[-1]))

    @contextlib.contextmanager
    def busy_with(self, doing: str) -> Iterator[None]:
        """Say what the learner is doing while it is not fitting."""
        before, self.doing = self.doing, doing
        try:
            yield
        finally:
            self.doing = before
            self.view.clear_bar()


class Watch(Callback):
    """Shows a learner's progress, keeps its epochs and saves its state after each of them."""

    order = 60  # after fastai's Recorder (50), whose figures it reads
    session: Session
    stage: Stage | None = None  # the one being fitted; None in lr_find, validate and predictions
    curves: Mapping[str, Any]  # of the epochs before a restart

    def __reduce__(self) -> tuple[Any, ...]:
        return (Callback, (), {"learn": self.learn})  # exported in the body: plain fastai

    def after_create(self) -> None:
        self.learn.__class__ = _protected(type(self.learn))
        self.session.learners.append(self.learn)

    def waits(self) -> None:
        """From now on the network waits for the loader."""
        self._waits_since = time.perf_counter()

    def waited(self) -> None:
        """The loader has given what it had to give."""
        now = time.perf_counter()
        if self.stage is not None:
            self.session.waiting_seconds += now - self._waits_since
        self._works_since = now

    def worked(self) -> None:
        """The network is done with a batch."""
        if self.stage is not None:
            self.session.working_seconds += time.perf_counter() - self._works_since
        self.waits()

    def before_fit(self) -> None:
        self._logger, self.learn.logger = self.learn.logger, noop  # Recorder would print

    def before_epoch(self) -> None:
        self._since = time.perf_counter()
        self._accuracy: float | None = None

    def before_train(self) -> None:
        stage = self.stage
        if stage is not None:
            positions.set_position(self.session.seed, "epoch", stage.number, self.epoch)
            loader = self.dls.train
            positions.set_loader_position(loader, self.session.seed, stage.number, self.epoch)

    def before_validate(self) -> None:
        self._right = self._seen = 0
        self._countable = True

    def after_batch(self) -> None:
        if not self.training:
            self._count()
        if self.stage is None and self.training:  # lr_find: its epochs are no one's concern
            self.session.view.bar(self._doing(), self.train_iter, None, " batches")
        else:
            self.session.view.bar(self._doing(), self.iter + 1, self.n_iter, " batches")

    def after_validate(self) -> None:
        self._accuracy = self._right / self._seen if self._countable and self._seen else None
        if self._accuracy is not None and self.dl is self.dls.valid:
            digest = state.weights_sha256(self.learn.model.state_dict())
            self.session.validated[digest] = self._accuracy

    def after_epoch(self) -> None:
        stage = self.stage
        if stage is None:
            return
        values = [None if v is None else float(v) for v in self.recorder.final_record or []]
        names = [str(n) for n in self.recorder.metric_names[1:] if n != "time"]
        seconds = time.perf_counter() - self._since
        epoch = Epoch(self.epoch, dict(zip(names, values, strict=False)), self._accuracy, seconds)
        stage.epochs.append(epoch)
        self.session.view.row(
            ("fit", "epoch", *names, "seconds"),
            (stage.number, epoch.epoch, *(_short(v) for v in values), f"{seconds:.1f}"),
            "epochs",
        )
        self._save(stage)

    def after_fit(self) -> None:
        self.learn.logger = self._logger
        self.session.view.clear_bar()

    def _doing(self) -> str:
        stage = self.stage
        if stage is None:
            return self.session.doing or "predicting"
        part = "training" if self.training else "validating"
        return f"fit {stage.number}, epoch {self.epoch + 1} of {self.n_epoch}, {part}"

    def _count(self) -> None:
        pred, targets = self.pred, self.yb
        one_class_each = (
            len(targets) == 1
            and getattr(pred, "ndim", 0) == 2
            and getattr(targets[0], "ndim", 0) == 1
            and not targets[0].is_floating_point()
        )
        if not one_class_each:
            self._countable = False
            return
        self._right += int((pred.argmax(dim=1) == targets[0]).sum())
        self._seen += len(targets[0])

    def _save(self, stage: Stage) -> None:
        try:
            state.save_stage(self.session.states, self.learn, stage)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            self.session.incident(
                f"the state after epoch {self.epoch} could not be saved ({error})",
                "training goes on; if it is stopped now, it goes on from the state before",
            )


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


class Protected:
    """The overridden methods; mixed in front of the learner's own class while a cell runs."""

    watch: Watch

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Pickled inside the cell, it comes back as its plain class. Not by `copyreg.__newobj__`,
        # for which pickle insists on the object's present class.
        state_of_it = super().__reduce_ex__(protocol)[2]
        return copyreg._reconstructor, (type(self).__mro__[2], object, None), state_of_it  # type: ignore[attr-defined]

    def fit(self, n_epoch: int, *args: Any, **kwargs: Any) -> None:
        """Fit as fastai does; skip what an earlier process has done of it."""
        session = self.watch.session
        if session.doing:  # lr_find, which is no stage
            super().fit(n_epoch, *args, **kwargs)  # type: ignore[misc]
            return
        stage = Stage(len(session.stages) + 1, n_epoch, _layers(self))
        session.stages.append(stage)
        saved = _saved(self, stage, session)
        if saved is not None:
            _go_on(self, stage, saved, session, kwargs)
        if not stage.done:
            self.watch.stage = stage
            try:
                super().fit(n_epoch, *args, **{**kwargs, "reset_opt": _reset(stage, kwargs)})  # type: ignore[misc]
            finally:
                self.watch.stage = None
        positions.set_position(session.seed, "after fit", stage.number)

    def _do_fit(self) -> None:
        stage = self.watch.stage
        begin = len(stage.epochs) if stage is not None else 0
        if begin == 0:
            super()._do_fit()  # type: ignore[misc]
            return
        from fastai.learner import CancelEpochException

        state.put_curves_back(self, self.watch.curves)  # fit's start has emptied them
        for epoch in range(begin, self.n_epoch):  # type: ignore[attr-defined]
            self.epoch = epoch
            self.train_iter = epoch * len(self.dls.train)  # type: ignore[attr-defined]
            self._with_events(self._do_epoch, "epoch", CancelEpochException)  # type: ignore[attr-defined]

    def all_batches(self) -> None:
        """Run a loader's batches as fastai does; its start and its end are waiting time."""
        self.watch.waits()
        super().all_batches()  # type: ignore[misc]
        self.watch.waited()

    def one_batch(self, i: int, b: Any) -> None:
        """Run one batch as fastai does, and tell waiting for the loader from working.

        Between two batches the training device has nothing to do. fastai's Recorder moves the loss
        of every batch to the CPU in `after_batch` (`AvgSmoothLoss.accumulate` and
        `AvgLoss.accumulate`, `to_detach`), which waits for all that was queued on the GPU, the
        optimizer's step included; and `all_batches` asks the loader for the next batch only when
        `one_batch` has returned (read in fastai 2.8.8 and 2.8.12, `learner.py`). So the time
        between a batch's end and the next one's beginning is the loader's: reading pictures,
        starting and stopping its worker processes, the copy to the device, and the batch
        transforms as far as they are queued before the batch. What the person's own callbacks do
        counts as work.
        """
        self.watch.waited()
        super().one_batch(i, b)  # type: ignore[misc]
        self.watch.worked()

    def lr_find(self, *args: Any, **kwargs: Any) -> Any:
        """Find a rate as fastai does; it is not a stage of the training."""
        session = self.watch.session
        positions.set_position(session.seed, "lr_find", len(session.stages))
        positions.set_loader_position(self.dls.train, session.seed, "lr_find", len(session.stages))  # type: ignore[attr-defined]
        with session.busy_with("finding a learning rate"):
            return super().lr_find(*args, **kwargs)  # type: ignore[misc]

    def tta(self, ds_idx: int = 1, dl: Any = None, **kwargs: Any) -> Any:
        """Predict with test-time augmentation, and remember the accuracy that it reached."""
        session = self.watch.session
        with session.busy_with("test-time augmentation"):
            preds, targets = super().tta(ds_idx, dl, **kwargs)  # type: ignore[misc]
        if ds_idx == 1 and dl is None and getattr(preds, "ndim", 0) == 2:
            right = float((preds.argmax(dim=1) == targets).float().mean())
            session.validated_tta[state.weights_sha256(self.model.state_dict())] = right  # type: ignore[attr-defined]
        return preds, targets


def _protected(plain: type) -> type:
    return type(plain.__name__, (Protected, plain), {"__module__": plain.__module__})


def _device(learner: Any) -> Any:
    return getattr(learner.dls, "device", None) or default_device()


def _layers(learner: Any) -> str:
    optimizer = learner.opt
    frozen = optimizer.frozen_idx if optimizer is not None else 0
    groups = len(optimizer.param_lists) if optimizer is not None else 1
    return "all" if frozen == 0 else "head" if frozen == groups - 1 else "some"


def _reset(stage: Stage, kwargs: dict[str, Any]) -> bool:
    """Whether fit shall make a new optimizer: not when the saved one has just been put back."""
    return bool(kwargs.get("reset_opt", False)) and not stage.epochs


def _saved(learner: Any, stage: Stage, session: Session) -> dict[str, Any] | None:
    """Read what an earlier process left of this stage; None where that is nothing."""
    try:
        saved = state.load_stage(session.states, stage.number, _device(learner))
    except ValueError as error:
        session.incident(str(error), "this fit starts again from its beginning")
        return None
    fits = saved is not None and saved["stage"].epochs_planned == stage.epochs_planned
    return saved if fits else None


def _go_on(
    learner: Any, stage: Stage, saved: dict[str, Any], session: Session, kwargs: dict[str, Any]
) -> None:
    if kwargs.get("reset_opt") or not learner.opt:
        learner.create_opt()
    learner.model.to(_device(learner))
    try:
        state.put_back(learner, saved)
    except (RuntimeError, AssertionError, KeyError):
        session.incident(
            "the saved state is of another network", "this fit starts again from its beginning"
        )
        return
    stage.epochs, stage.resumed = list(saved["stage"].epochs), True
    learner.watch.curves = saved["curves"]
    done, planned = len(stage.epochs), stage.epochs_planned
    session.view.note(
        f"fit {stage.number}: already trained, not trained again"
        if stage.done
        else f"fit {stage.number}: goes on after epoch {done} of {planned}"
    )
    if stage.accuracy is not None:
        digest = state.weights_sha256(learner.model.state_dict())
        session.validated[digest] = stage.accuracy


@contextlib.contextmanager
def attached(session: Session) -> Iterator[Session]:
    """Watch and protect every learner that is made inside the block.

    Examples
    --------
    >>> from pathlib import Path
    >>> before = list(defaults.callbacks)
    >>> with attached(Session(42, View(), Path("states"))) as session:
    ...     pass  # learners that are made here are watched
    >>> list(defaults.callbacks) == before
    True
    """
    before = list(defaults.callbacks)
    watch = type("Watch", (Watch,), {"session": session})
    others = [callback for callback in before if callback is not ProgressCallback]
    defaults.callbacks = [*others, watch]
    try:
        yield session
    finally:
        defaults.callbacks = before
        for learner in session.learners:
            detach(learner)


def detach(learner: Learner) -> None:
    """Make a learner plain fastai again, with the progress bar that fastai gives it."""
    if isinstance(learner, Protected):
        learner.__class__ = type(learner).__mro__[2]
    learner._end_cleanup()  # after an error fastai still holds the last batch, and its memory
    learner.remove_cbs(Watch)
    if learner.logger is noop:  # a fit that ended in an error
        learner.logger = print
    if not hasattr(learner, "progress") and ProgressCallback in defaults.callbacks:
        learner.add_cb(ProgressCallback())
