"""A DataLoader whose every draw is a function of its position, while a cell runs.

Three places of fastai's loader draw: the order (`get_idxs`, from a private generator), each item's
transforms (`do_item`, in this process or in a worker), and each batch's transforms (`after_batch`,
here). The order is set by `positions.set_order`. For the items the loader's class becomes a
subclass of its own with `do_item` overridden. For the batches `BeforeBatch` stands at the front of
the pipeline: before the loop, or between two steps, would be too early, for making the loader's
iterator itself draws from torch's generator.
"""

from __future__ import annotations

import copyreg
import itertools
import re
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import context
from numbers import Integral
from typing import Any

from fastai.torch_basics import Transform
from fastcore.foundation import L

from fastmagic.guard import positions
from fastmagic.guard.positions import Position

OURS = ("_at", "_skip")
"""Attributes that a loader has only while a cell runs."""

DEAD_WORKER = re.compile(
    r"DataLoader worker .*(is killed by signal|exited unexpectedly)", re.DOTALL
)
"""torch's words for a loading process that is gone, often for want of memory or of /dev/shm."""


class Positioned:
    """The overridden method; mixed in front of the loader's own class while a cell runs."""

    _at: tuple[int, Position] | None = None
    _skip = 0  # batches that the next pass leaves out

    def do_item(self, item: Any) -> Any:
        """Load one item as its position has it; one without a number as it comes."""
        if self._at is None or not isinstance(item, Integral):  # numpy's numbers too
            return super().do_item(item)  # type: ignore[misc]
        seed, position = self._at
        with positions.at_item(seed, *position, "item", item):
            return super().do_item(item)  # type: ignore[misc]

    def get_idxs(self) -> Any:
        """Give the order, without the batches that an earlier process has trained on."""
        numbers = super().get_idxs()  # type: ignore[misc]
        skipped, self._skip = self._skip * (self.bs or 1), 0  # type: ignore[attr-defined]
        return numbers[skipped:] if skipped else numbers

    def new(self, *args: Any, **kwargs: Any) -> Any:
        """Make a loader like this one, of the plain class: the cell may keep it."""
        return super().new(*args, **{"cls": type(self).__mro__[2], **kwargs})  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = dict(vars(self))
        plain = type(self).__mro__[2]
        if context.get_spawning_popen() is not None:  # on its way to a worker that loads pictures
            return _again, (plain, state)
        for name in OURS:
            state.pop(name, None)
        return copyreg._reconstructor, (plain, object, None), state  # type: ignore[attr-defined]


def _again(plain: type, state: dict[str, Any]) -> Any:
    """Make a positioned loader in a worker process that was started afresh."""
    loader: Any = object.__new__(_positioned(plain))
    vars(loader).update(state)
    return loader


def _positioned(plain: type) -> type:
    return type(plain.__name__, (Positioned, plain), {"__module__": plain.__module__})


def batches(loader: Any, begin: int = 0) -> Iterator[Any]:
    """Give a loader's batches from the one with this number on, as a whole pass would give them."""
    by_numbers = isinstance(loader, Positioned) and "get_idxs" not in vars(loader)
    if begin and by_numbers and getattr(loader, "indexed", False):
        loader._skip = begin
        return iter(loader)
    return itertools.islice(iter(loader), begin, None)


def fewer_workers(loader: Any, error: RuntimeError) -> int | None:
    """Let fewer processes load, where one of them has died.

    Returns
    -------
    int or None
        How many are left, 0 for none; None where the error is another one.
    """
    fake = getattr(loader, "fake_l", None)
    if fake is None or not fake.num_workers or not DEAD_WORKER.search(str(error)):
        return None
    fake.num_workers //= 2
    return int(fake.num_workers)


class BeforeBatch(Transform):
    """Stands before a batch's transforms, tells when a batch comes, and changes nothing."""

    order = -1000

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self.tell = tell

    def __call__(self, x: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - fastai hands it split_idx
        """Give the batch on as it is."""
        self.tell()
        return x

    def decode(self, x: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Give the batch back as it is."""
        return x

    def __reduce__(self) -> Any:
        return Transform, ()  # exported inside the cell: fastai's own, which does nothing


class Loaders:
    """The loaders that a cell has touched, and the way back.

    Parameters
    ----------
    before_batch
        Called whenever a loader is about to transform a batch.
    """

    def __init__(self, before_batch: Callable[[], None]) -> None:
        self._step = BeforeBatch(
            tell=before_batch
        )  # by name: fastai takes a lone argument for more
        self._loaders: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pipelines: list[Any] = []

    def place(self, loader: Any, seed: int, *position: object) -> None:
        """Let a loader draw from this position on; a loader that is not fastai's stays as it is."""
        if not hasattr(loader, "do_item"):
            return
        if not isinstance(loader, Positioned):
            loader.__class__ = _positioned(type(loader))
            self._loaders.add(loader)
        loader._at = (seed, position)
        positions.set_order(loader, seed, *position)
        positions.set_position(seed, "order", *position)  # a weighted loader draws by numpy
        pipeline = getattr(loader, "after_batch", None)
        steps = getattr(pipeline, "fs", None)
        if steps is not None and self._step not in list(steps):
            pipeline.fs = L([self._step, *steps])  # type: ignore[union-attr]
            self._pipelines.append(pipeline)

    def give_back(self) -> None:
        """Make every loader what it was."""
        for loader in list(self._loaders):
            loader.__class__ = type(loader).__mro__[2]
            for name in OURS:
                vars(loader).pop(name, None)
        for pipeline in self._pipelines:
            pipeline.fs = L([step for step in pipeline.fs if step is not self._step])
        self._loaders.clear()
        self._pipelines.clear()
        self._step.__class__ = Transform  # a loader that the cell keeps may share the pipeline
        self._step.__dict__.pop("tell", None)
