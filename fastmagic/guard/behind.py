"""What stands behind a learner's own class while a cell runs, in place of fastai's own methods.

A class of the person's may have its own way to run batches, to go back from the loss or to step. It
comes first, and what it calls by `super()` comes here: a pass begins where an earlier process has
stopped, and a batch is done in parts where it has to be. Where the person has put a function of
theirs in place of fastai's (fastcore's `@patch`), it is called instead of what is here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from fastai.learner import CancelBackwardException, CancelStepException, Learner

from fastmagic.guard import loaders, mending
from fastmagic.guard.positioned import END
from fastmagic.guard.steps import Step
from fastmagic.guard.updating import careful_step
from fastmagic.guard.watch import Watch
from fastmagic.speed import together


def is_fastais(kind: type, name: str) -> bool:
    """Say whether a learner's class has fastai's own method of this name.

    Examples
    --------
    >>> class Mine(Learner):
    ...     def _step(self): ...
    >>> is_fastais(Learner, "_step"), is_fastais(Mine, "_step")
    (True, False)
    """
    return str(getattr(kind, name).__module__) == Learner.__module__


def unless_patched(ours: Callable[..., None]) -> Callable[..., None]:
    """Give a method that is the person's where they have patched fastai's."""
    name = ours.__name__

    @functools.wraps(ours)
    def method(learner: Behind) -> None:
        if is_fastais(Learner, name):
            ours(learner)
        else:
            getattr(Learner, name)(learner)

    return method


class Behind(Learner):
    """fastai's learner, with what runs a pass and a batch."""

    watch: Watch
    _plain: type

    @unless_patched
    def all_batches(self) -> None:
        """Run a loader's batches as fastai does, from where an earlier process has stopped.

        Where the loader fails for want of a process or of memory, or memory runs short, the pass is
        entered again at the same batch, with what mends that.
        """
        watch, session, loader = self.watch, self.watch.session, self.dl
        self.n_iter = len(loader)
        step = watch.steps = watch.first_step()
        session.enter_at(step)
        coming = loaders.batches(loader, step, session.before_loading)
        while True:
            try:
                batch = next(coming, END)
                if batch is END:
                    break
                self.one_batch(step, batch)
                step += 1
                if not mending.eased(session, loader):
                    continue
            except (RuntimeError, MemoryError, OSError, EOFError) as error:
                if watch.torn:
                    raise
                mending.mended(session, loader, watch.steps, error)
            step = watch.steps
            watch.place_again(loader)
            with session.stops.letting_go():
                coming = loaders.batches(loader, step, session.before_loading)

    @unless_patched
    def _do_one_batch(self) -> None:
        """Do one batch as fastai does, in parts where the whole does not fit in memory."""
        watch, session = self.watch, self.watch.session
        loader = getattr(self, "dl", None)  # none where a body takes a step by hand
        team = getattr(loader, "_team", None)  # None where a batch is not shared
        anatomy = watch.anatomy_of(self.model)
        cuts = is_fastais(self._plain, "_do_grad_opt")
        watch.step = step = Step(
            self, anatomy, session.splits, watch.zeroed, team, session.also_in_parts, cuts
        )
        try:
            self.pred = step.forward()
            self.yb = step.targets()
            self("after_pred")
            if len(self.yb):
                self.loss_grad = self.loss_func(self.pred, *self.yb)
                self.loss = self.loss_grad.clone()
            self("after_loss")
            watch.pace.send(getattr(self, "loss", None))
            if self.training and len(self.yb):
                self._do_grad_opt()
        finally:
            self.watch.step = None  # it holds the batch's graph

    @unless_patched
    def _do_grad_opt(self) -> None:
        """Go back and update as fastai does, and know that the gradients are zero afterwards."""
        self._with_events(self._backward, "backward", CancelBackwardException)
        self._with_events(self._step, "step", CancelStepException)
        self.watch.zeroed = together.zeroed(self.opt)

    @unless_patched
    def _backward(self) -> None:
        """Go back from the loss, in parts where the batch was done in parts."""
        if self.watch.step is None:  # the batch was done in the learner's own way
            Learner._backward(self)
        else:
            self.watch.step.backward(self.loss_grad)

    @unless_patched
    def _step(self) -> None:
        """Update the weights."""
        careful_step(self.opt, self.watch.session.memory_in_optimizer)
