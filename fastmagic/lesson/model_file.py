"""Writes a run's `export.pkl`: the whole learner, for fastai's `load_learner` on any machine."""

from __future__ import annotations

import contextlib
import io
import pathlib
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from fastmagic.errors import first_line

NAME = "export.pkl"

LITTLE = 1_000_000
"""Bytes: a disk that has no more is full."""

PATHS = (pathlib.PosixPath, pathlib.WindowsPath)

CLASSES = (pathlib.Path, *PATHS)


def write(learn: Any, folder: pathlib.Path, session: Any) -> pathlib.Path | None:
    """Write a learner as it is; where that fails it is an incident, and the training is kept.

    Parameters
    ----------
    learn
        fastai's learner; as it was, afterwards.
    folder
        The run's.
    session
        Is told of what went wrong.

    Returns
    -------
    pathlib.Path or None
        The file; None where there is none.
    """
    target = folder / NAME
    try:
        with _fit_for_a_file(learn):
            learn.export(target, pickle_module=portable())
    except Exception as error:  # pickle raises what the person's own objects raise
        why = first_line(error)
        with contextlib.suppress(OSError):
            if shutil.disk_usage(folder).free < LITTLE:  # torch does not say so
                why = "No space left on device"
            target.unlink(missing_ok=True)  # half a model
        session.incident(
            f"the model could not be exported ({why})",
            "training is not affected; `learn.export(FILE)` tries it again",
        )
        return None
    return target


def portable() -> Any:
    """Give cloudpickle, with paths written so that any system and Python's versions read them.

    A learner holds paths: pickle writes one as a `PosixPath`, which Windows refuses to make
    ("cannot instantiate 'PosixPath' on your system"), and Python 3.13 as one of a module that
    others do not have. Here a path is read as `pathlib.Path` of its text.

    Returns
    -------
    object
        With what torch.save asks of a pickle module: `Pickler`, and a name.

    Examples
    --------
    >>> import io, pickle
    >>> file = io.BytesIO()
    >>> portable().Pickler(file, protocol=2).dump(pathlib.Path("data") / "cats")
    >>> pickle.loads(file.getvalue()).parts
    ('data', 'cats')
    >>> b"PosixPath" in file.getvalue() or b"WindowsPath" in file.getvalue()
    False
    """
    import cloudpickle

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, one: Any) -> Any:
            if type(one) in PATHS:
                return pathlib.Path, (one.as_posix(),)
            if isinstance(one, type) and one in CLASSES:  # Python 3.13's module is in no other one
                return getattr, (pathlib, one.__name__)
            return super().reducer_override(one)

    return SimpleNamespace(Pickler=Pickler, __name__=cloudpickle.__name__)


@contextlib.contextmanager
def _fit_for_a_file(learn: Any) -> Iterator[None]:
    """Leave out callbacks that hold a file, as CSVLogger does, for no file can be pickled.

    Afterwards the learner is as it was, also where fastai's export fails half way: without its
    pictures and its optimizer.
    """
    before = dict(vars(learn))
    held = [one for one in learn.cbs if _holds_a_file(one)]
    by_name = {name: value for name, value in before.items() if _is_among(value, held)}
    for name in by_name:
        del vars(learn)[name]
    learn.cbs = learn.cbs.filter(lambda one: not _is_among(one, held))
    try:
        yield
    except BaseException:
        learn.dls, learn.opt = before["dls"], before["opt"]
        raise
    finally:
        vars(learn).update(by_name, cbs=before["cbs"])


def _holds_a_file(callback: Any) -> bool:
    return any(isinstance(value, io.IOBase) for value in vars(callback).values())


def _is_among(one: Any, others: list[Any]) -> bool:
    return any(one is other for other in others)
