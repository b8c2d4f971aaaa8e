"""What a network looks at beside its steps: in parts where it has to, and by all processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from fastmagic.errors import LessonError
from fastmagic.guard.anatomy import body_of
from fastmagic.guard.memory import Attempt
from fastmagic.guard.parts import joined, pictures_of, split
from fastmagic.guard.splits import DoesNotFit, Splits, key_of, not_even_one
from fastmagic.ranks.team import Team


@contextlib.contextmanager
def looks_in_parts(learn: Any, splits: Splits) -> Iterator[None]:
    """Let a learner's body look at a batch in parts where the whole does not fit in memory.

    For what is run beside the learner's own steps and trains nothing, such as features that are
    computed once: the body is in evaluation, so a picture gives the same in any part.

    Parameters
    ----------
    learn
        fastai's learner.
    splits
        What is known of the parts that fit.

    Raises
    ------
    LessonError
        Where not even one picture fits.
    """
    body = body_of(learn.model)
    plain = body.forward

    def forward(*inputs: Any) -> Any:
        pictures, key = pictures_of(inputs), key_of(learn, body, inputs, training=False)
        parts = splits.parts(key, pictures)
        while True:
            with Attempt() as tried:
                return joined([plain(*piece) for piece in split(inputs, parts)])
            try:
                parts = splits.halve(key, pictures, parts, tried.seconds, norms=False)
            except DoesNotFit:
                raise LessonError(*not_even_one(body, inputs, tried.trouble)) from tried.trouble

    body.forward = forward
    try:
        yield
    finally:
        del body.forward


@contextlib.contextmanager
def looks_together(learn: Any, team: Team) -> Iterator[None]:
    """Let each process of a team run a learner's body on its part of a batch, and see the whole.

    Parameters
    ----------
    learn
        fastai's learner; its loader tells the team how many pictures each has.
    team
        The processes that share each batch.
    """
    if team.alone:
        yield
        return
    body = body_of(learn.model)
    plain = body.forward
    body.forward = lambda *inputs: team.whole(plain(*inputs))
    try:
        yield
    finally:
        body.forward = plain
