"""The additions to the learner as the guard has to see them while a cell runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from fastmagic.lesson.additions import mixin


def additions() -> type:
    """Give the class whose methods every learner of the cell has beside fastai's own."""
    from fastmagic.guard.looking import looks_in_parts, looks_together
    from fastmagic.guard.state import weights_sha256

    class Additions(mixin()):  # type: ignore[misc]
        """What is changed of them, and of fastai's `freeze_to`, beside their own text.

        `precomputed` trains the head alone; what that reaches holds for the whole network. With
        `--no-precompute` it does nothing, and all pictures go through the whole frozen network.
        """

        def freeze_to(self, n: int) -> None:
            """Freeze as fastai does, and keep the batch norms where `--freeze-bn` says so."""
            super().freeze_to(n)
            if self.watch.session.keep_norms:
                self.keep_batch_norm()

        @contextlib.contextmanager
        def precomputed(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            session = self.watch.session
            if not session.precomputes:
                yield self
                return
            all_of_them = getattr(self.dls.train, "n", 0)
            with session.busy_with("precomputing"), contextlib.ExitStack() as block:
                with (
                    looks_in_parts(self, session.splits),
                    looks_together(self, session.team),
                    self.watch.lending(self.dls),
                ):
                    block.enter_context(super().precomputed(*args, **kwargs))
                session.doing = ""  # what is fitted inside is a stage
                session.trains_with(self.dls.train.n, all_of_them)
                yield self
                head = weights_sha256(self.model.state_dict())
            if head in session.validated:
                whole = weights_sha256(self.model.state_dict())
                session.validated[whole] = session.validated[head]
                if session.told is not None and session.told.digest == head:
                    session.told.digest, session.told.loader = whole, self.dls.valid

        def show_rights_and_wrongs(self, *args: Any, **kwargs: Any) -> None:
            with self.watch.session.recalling():
                super().show_rights_and_wrongs(*args, **kwargs)

        def show_confusion(self, *args: Any, **kwargs: Any) -> None:
            with self.watch.session.recalling():
                super().show_confusion(*args, **kwargs)

        def get_preds(self, *args: Any, **kwargs: Any) -> Any:
            """Predict as fastai does; what the last validation said is shown as it is."""
            session = self.watch.session
            known = None if args or kwargs else session.recalled(self)
            found = super().get_preds(*args, **kwargs) if known is None else known
            session.has_predicted()
            return found

    return Additions
