"""What is done where a loader fails in the middle of a pass, so that the pass can go on."""

from __future__ import annotations

from typing import Any

from fastmagic.errors import LessonError
from fastmagic.guard import loaders, memory, workers
from fastmagic.guard.session import Session


def mended(session: Session, loader: Any, step: int, error: BaseException) -> None:
    """Mend what made a loader fail before this step.

    A loading process that is gone, or found /dev/shm full, is done without. Where the transforms
    of a batch do not fit in the device's memory, they are tried again with all let go of, and then
    done in the host's.

    Raises
    ------
    BaseException
        The error itself, where it is another one or cannot be mended.
    LessonError
        Where one batch of pictures alone does not fit on the device.
    """
    lost = _lost(error)
    if lost:
        left = workers.fewer_workers(loader)
        if left is None:
            raise error
        session.incident(
            lost,
            f"{left} of them go on" if left else "the training process loads them itself",
            "what they had loaded is loaded again",
        )
        return
    if not memory.is_out_of_memory(error):
        raise error
    memory.let_go(error)
    if session.made_room():
        return
    where = (*session.at, step)
    if session.tried_again_at != where:
        session.tried_again_at = where
        return
    if not loaders.transform_on_host(loader):
        raise LessonError(
            f"The pictures of one batch alone do not fit in memory ({error}).",
            "Ask for fewer or smaller ones: --bs, --size.",
        ) from None
    session.incident(
        "the transforms of a batch did not fit in the device's memory",
        "they are done in the host's from now on",
        "loading is slower",
    )


def _lost(error: BaseException) -> str:
    """Say what became of a loading process; empty where the error is another one."""
    if workers.shared_is_full(error):
        return "a process that loads pictures found no room in /dev/shm"
    if workers.is_dead_worker(error):
        return "a process that loads pictures was killed, often for want of memory or /dev/shm"
    return ""


def eased(session: Session, loader: Any) -> bool:
    """Give memory up where it runs short; True where the pass is to be entered again."""
    share = session.pressure.eased()
    if share is None:
        return False
    left = workers.fewer_workers(loader)
    session.memory_is_short(share, left)
    return left is not None
