"""A learner's class while a cell runs: its own, with a few methods overridden.

`fit` counts the stages, skips those that are done and enters one in the middle; `lr_find`, which
calls `fit`, is no stage and leaves no trace; `tta` remembers its accuracy; the position of a batch
sets what is drawn, and waiting is told from working. What is pickled meanwhile (`learn.export()`
inside the body) is pickled as plain fastai. What a learner's class may have of its own, such as a
way back from the loss, is in `guard.behind`.
"""

from __future__ import annotations

import contextlib
import copyreg
from collections.abc import Callable
from typing import Any

from fastai.learner import (
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelTrainException,
    CancelValidException,
)
from fastcore.foundation import L

from fastmagic.guard import finds, going_on, snapshot, state
from fastmagic.guard.behind import Behind
from fastmagic.guard.seen import is_one_class_each
from fastmagic.guard.stages import Stage
from fastmagic.guard.watch import Watch

FINDING = "finding a learning rate"
"""What the live view says while `lr_find` runs."""

FIT = ("lr", "wd", "cbs", "reset_opt", "start_epoch")
"""What fastai's `fit` takes after the number of epochs, in its order (2.8, `learner.py`)."""


CANCELS = (
    CancelBatchException,
    CancelTrainException,
    CancelValidException,
    CancelEpochException,
    CancelFitException,
)
"""What fastai's callbacks end a pass, an epoch or a fit with: nothing is wrong."""


class Protected:
    """The overridden methods; mixed in front of the learner's own class while a cell runs."""

    watch: Watch
    dl: Any
    loss_func: Any
    lock: Any
    _plain: type

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Pickled inside the cell, it comes back as its plain class. Not by `copyreg.__newobj__`,
        # for which pickle insists on the object's present class.
        state_of_it = super().__reduce_ex__(protocol)[2]
        return copyreg._reconstructor, (self._plain, object, None), state_of_it  # type: ignore[attr-defined]

    def fit(self, n_epoch: int, *args: Any, **kwargs: Any) -> None:
        """Fit as fastai does; skip what an earlier process has done of it."""
        kwargs = dict(**dict(zip(FIT, args, strict=False)), **kwargs)
        args = args[len(FIT) :]
        session, loss = self.watch.session, self.loss_func
        if session.doing:  # lr_find, which is no stage
            try:
                super().fit(n_epoch, *args, **kwargs)  # type: ignore[misc]
            finally:
                self.loss_func = loss
                _sweep(kwargs.get("cbs"))
            return
        stage = Stage(len(session.stages) + 1, int(n_epoch), _layers(self))
        session.stages.append(stage)
        saved = going_on.put_back(self, stage, session, kwargs)
        self.watch.guests = L(kwargs.get("cbs"))  # if it goes on, they begin it as they are
        if saved and stage.ended:
            state.put_callbacks_back(self, saved)
            self.watch.guests = L()
            self.watch.passed()
        else:
            self.watch.begin(stage, saved)
            kwargs["reset_opt"] = going_on.renews(saved, kwargs)
            if not session.team.alone:
                session.team.alike(self.model)  # type: ignore[attr-defined]
            try:
                super().fit(n_epoch, *args, **kwargs)  # type: ignore[misc]
                self.watch.ended(stage)
            except BaseException:
                self.loss_func = loss  # MixUp has its own meanwhile
                self.watch.save()  # where it stands, if that is between two steps
                raise
            finally:
                self.watch.end()
                self.watch.guests = L()
        session.left_fit(stage)

    def __call__(self, event_name: Any) -> None:
        """Call an event as fastai does; the state after an epoch is what all callbacks left.

        The loss of a step is here when the step is over, where a GPU would have to be waited for.
        """
        if event_name == "after_backward":
            self._finish_backward()
        if event_name == "after_batch":
            loss = getattr(self, "loss", None)
            here = self.watch.pace.told(loss)
            if here is not loss:
                self.loss = here
        if event_name != "after_epoch":
            super().__call__(event_name)  # type: ignore[misc]
            return
        with self.watch.session.stops.held():
            ended = _ended_by(super().__call__, event_name)  # type: ignore[misc]
            if ended is None:
                self.watch.save()
        if ended is not None:
            raise ended

    def _do_fit(self) -> None:
        stage, saved = self.watch.stage, self.watch.saved
        if stage is None or saved is None:
            super()._do_fit()  # type: ignore[misc]
            return
        state.put_curves_back(self, saved)  # fit's start has emptied them
        for epoch in range(len(stage.epochs), self.n_epoch):  # type: ignore[attr-defined]
            self.epoch = epoch
            self.train_iter = epoch * len(self.dls.train)  # type: ignore[attr-defined]
            self._with_events(self._do_epoch, "epoch", CancelEpochException)  # type: ignore[attr-defined]

    def one_batch(self, i: int, b: Any) -> None:
        """Run one batch as fastai does, and tell waiting for the loader from working.

        `all_batches` asks the loader for the next batch only when `one_batch` has returned. So the
        time between a batch's end and the next one's beginning is the loader's: reading pictures,
        starting and stopping its worker processes, the copy to the device, and the batch
        transforms as far as they are queued before the batch. On a GPU, which may still have work
        then, its own clock tells. What the person's own callbacks do counts as work.
        """
        watch = self.watch
        watch.pace.begins()
        with watch.session.stops.held():
            watch.torn = True
            ended = _ended_by(super().one_batch, i, b)  # type: ignore[misc]
            watch.stepped(i)
        if ended is not None:
            raise ended
        watch.pace.ends()
        if not watch.session.beside:  # else after the fit's own step
            watch.session.look_at_the_clock()
            watch.session.stop_together()

    def all_batches(self) -> None:
        """Run a loader's batches, in the learner's own way where it has one."""
        with self.watch.passing() as pace:
            pace.asks()
            super().all_batches()  # type: ignore[misc]
            pace.begins()

    def _backward(self) -> None:
        """Go back from the loss, and through the body where the learner's own way stops before."""
        with self._summed():
            super()._backward()  # type: ignore[misc]
            if self.watch.step is not None:
                self.watch.step.finish()

    def _finish_backward(self) -> None:
        """Go back through the body where a callback went back from the loss by itself."""
        step = self.watch.step
        if step is not None and step.is_half_way:
            with self._summed():
                step.finish()

    def _summed(self) -> Any:
        """Sum the gradients of all processes when the block ends."""
        step = self.watch.step
        alone = step is None or step.team.alone
        return contextlib.nullcontext() if alone else step.team.summed(self.model, step.apart)  # type: ignore[attr-defined]

    def _split(self, b: Any) -> None:
        super()._split(b)  # type: ignore[misc]
        self.watch.session.before_step(self.iter)  # type: ignore[attr-defined]

    def lr_find(self, *args: Any, **kwargs: Any) -> Any:
        """Find a rate as fastai does; it is no stage, and the learner stays as it was.

        What was found is kept with the run, and given again when the run goes on.
        """
        session = self.watch.session
        name = session.next_find()
        found = finds.read(session.states, name, self)
        session.team.wait()  # rank 0 writes it only when all have looked
        if found is None:
            with session.busy_with(FINDING), session.uncounted(), snapshot.undone(self):
                suggested = super().lr_find(*args, **kwargs)  # type: ignore[misc]
            session.keep(name, finds.take(self, suggested), 1)
            return suggested
        return finds.give_again(self.recorder, found, *args, **kwargs)  # type: ignore[attr-defined]

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights as fastai does; of several processes, not those that `lr_find` has kept.

        Rank 0 alone writes them, so it alone would load them, and wait for the others in vain;
        `snapshot.undone` puts all back.
        """
        session = self.watch.session
        if session.doing == FINDING and not session.team.alone:
            return self
        return super().load(*args, **kwargs)  # type: ignore[misc]

    def validate(self, *args: Any, **kwargs: Any) -> Any:
        """Validate as fastai does; a callback's validation within a fit is no epoch of it."""
        with self.watch.aside():
            return super().validate(*args, **kwargs)  # type: ignore[misc]

    def get_preds(self, *args: Any, **kwargs: Any) -> Any:
        """Predict as fastai does, within a fit beside it."""
        with self.watch.aside():
            return super().get_preds(*args, **kwargs)  # type: ignore[misc]

    def tta(self, ds_idx: int = 1, dl: Any = None, **kwargs: Any) -> Any:
        """Predict with test-time augmentation, and remember the accuracy that it reached."""
        session = self.watch.session
        with session.busy_with("test-time augmentation"), self.watch.aside():
            preds, targets = super().tta(ds_idx, dl, **kwargs)  # type: ignore[misc]
        if ds_idx == 1 and dl is None and is_one_class_each(preds, targets):
            right = float((preds.argmax(dim=1) == targets).float().mean())
            session.validated_tta[state.weights_sha256(self.model.state_dict())] = right  # type: ignore[attr-defined]
        return preds, targets


def _ended_by(part: Callable[..., object], *given: Any) -> Exception | None:
    """Do a part of a fit; give that with which a callback has ended it, for a stop comes first."""
    try:
        part(*given)
    except CANCELS as ended:
        return ended
    return None


def protected(plain: type, additions: type | None) -> type:
    """Make a learner's class one of ours.

    Parameters
    ----------
    plain
        Its own.
    additions
        A class whose methods it has beside; None for none.
    """
    added = () if additions is None else (additions,)
    own = () if issubclass(Behind, plain) else (plain,)
    bases = (Protected, *added, *own, Behind)
    return type(plain.__name__, bases, {"__module__": plain.__module__, "_plain": plain})


def _sweep(callbacks: Any) -> None:
    """Remove the copy of the weights that `lr_find` leaves on disk when it does not end well."""
    for callback in L(callbacks):
        copy = getattr(callback, "tmp_d", None)
        if copy is not None:
            copy.cleanup()


def _layers(learner: Any) -> str:
    optimizer = learner.opt
    frozen = optimizer.frozen_idx if optimizer is not None else 0
    groups = len(optimizer.param_lists) if optimizer is not None else 1
    return "all" if frozen == 0 else "head" if frozen == groups - 1 else "some"
