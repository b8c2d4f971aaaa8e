"""The one place that touches fastai's Learner from outside.

fastai reads `defaults.callbacks` when a Learner is made. For the duration of a cell our `Watch`
stands there in place of fastai's `ProgressCallback` (which prints raw HTML in a terminal), so
every learner that the body makes is watched, whoever makes it. In `after_create` the learner's
class becomes one of ours (`guard.protected`). The loaders that it trains and validates with are
placed by `guard.loaders`. When the cell ends, however it ends, everything is put back.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner, defaults
from fastcore.basics import noop

from fastmagic.guard import state
from fastmagic.guard.anatomy import device_of
from fastmagic.guard.loaders import Loaders
from fastmagic.guard.protected import Protected, protected
from fastmagic.guard.session import Session
from fastmagic.guard.stops import put_off
from fastmagic.guard.watch import Watch
from fastmagic.speed import half, layout


class Attached:
    """The learners and loaders that a cell has touched, and the way back.

    Parameters
    ----------
    session
        The run that they belong to.
    additions
        A class whose methods every learner has while the cell runs; None for none.
    """

    def __init__(self, session: Session, additions: type | None = None) -> None:
        self.session = session
        self._additions = additions
        self._loaders = Loaders(
            session.before_transforms, session.pictures_for, session.team, session.batches_for
        )
        self._before = list(defaults.callbacks)
        members = {
            "session": session,
            "place": self._loaders.place,
            "meet": self._loaders.meet,
            "lending": self._loaders.lending,
            "protect": self._protect,
        }
        self._watch = type("Watch", (Watch,), members)
        self._without_progress: set[int] = set()

    def adopt(self, learner: Learner, kept: str) -> str:
        """Watch and protect a learner that was made before.

        Parameters
        ----------
        learner
            It may have been trained already.
        kept
            The name of its state at the beginning of this run: a run that goes on begins with that
            state again, not with what the stopped one left.

        Returns
        -------
        str
            What the person should know; empty where all is well.
        """
        if isinstance(learner, Protected):
            return ""
        try:
            if not state.put_start_back(self.session.states, kept, learner):
                state.save_start(self.session.states, kept, learner)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            return f"is trained, but a stopped run cannot go on with it ({error})"
        self._watch_over(learner)
        return ""

    def _watch_over(self, learner: Learner) -> None:
        if not hasattr(learner, "progress"):
            self._without_progress.add(id(learner))
        learner.remove_cbs(ProgressCallback)
        learner.add_cb(self._watch())
        self._protect(learner)

    def _protect(self, learner: Learner) -> None:
        learner.__class__ = protected(type(learner), self._additions)
        learner.lock = threading.RLock()  # for a callback that validates when a validation ends
        self.session.lay(learner, device_of(learner))
        self.session.learners.append(learner)

    def begin(self) -> None:
        """From now on every learner that is made is watched."""
        others = [callback for callback in self._before if callback is not ProgressCallback]
        defaults.callbacks = [*others, self._watch]

    def end(self) -> None:
        """Leave nothing of ours behind."""
        defaults.callbacks = self._before
        for learner in self.session.learners:
            detach(learner, progress=id(learner) not in self._without_progress)
            layout.contiguous(learner.model)
        self._loaders.give_back()


@contextlib.contextmanager
def attached(session: Session, additions: type | None = None) -> Iterator[Attached]:
    """Watch and protect every learner that is made inside the block.

    Parameters
    ----------
    session
        The run that they belong to.
    additions
        A class whose methods every learner has inside the block; None for none.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastmagic.progress import View
    >>> before = list(defaults.callbacks)
    >>> with attached(Session(42, View(), Path("states"))) as watching:
    ...     pass  # learners that are made here are watched
    >>> list(defaults.callbacks) == before
    True
    """
    watching = Attached(session, additions)
    watching.begin()
    try:
        yield watching
    finally:
        with session.stops.held():
            with put_off():
                watching.end()
            session.keeper.close()
            session.look_at_the_keeper()


def detach(learner: Learner, *, progress: bool = True) -> None:
    """Make a learner plain fastai again, with the progress bar that fastai gives it."""
    if isinstance(learner, Protected):
        learner.__class__ = learner._plain
        learner.lock = threading.Lock()
    learner._end_cleanup()  # after an error fastai still holds the last batch, and its memory
    learner.remove_cbs(Watch)
    learner.remove_cbs(half.MixedPrecision)
    if learner.logger is noop:  # a fit that ended in an error
        learner.logger = print
    wanted = progress and ProgressCallback in defaults.callbacks
    if wanted and not hasattr(learner, "progress"):
        learner.add_cb(ProgressCallback())
