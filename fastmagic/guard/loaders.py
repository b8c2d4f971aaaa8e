"""A DataLoader whose every draw is a function of its position, while a cell runs.

Three places of fastai's loader draw: the order (`get_idxs`, from a private generator), each item's
transforms (`do_item`, in this process or in a worker), and each batch's transforms (`after_batch`,
here). The order is set by `positions.set_order`. For the items the loader's class becomes a
subclass of its own (`guard.positioned`). For the batches `BeforeBatch` stands at the front of the
pipeline: before the loop, or between two steps, would be too early, for making the loader's
iterator itself draws from torch's generator.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from fastai.torch_basics import Transform
from fastai.torch_core import TensorImage, to_device
from fastcore.foundation import L

from fastmagic.guard import positions
from fastmagic.guard.positioned import END, Positioned, give_back, take_over
from fastmagic.ranks.team import Team
from fastmagic.speed import augment


def batches(loader: Any, begin: int = 0, before: Callable[[int], object] = bool) -> Iterator[Any]:
    """Give a loader's batches from the one with this number on, as a whole pass would give them.

    Parameters
    ----------
    loader
        fastai's, torch's, or anything that gives batches.
    begin
        The number of the first.
    before
        Called with a batch's number before it is loaded, where the loader is not fastai's: its data
        set may draw.
    """
    if not hasattr(loader, "do_item"):
        return itertools.islice(_each_told(loader, before), begin, None)
    by_numbers = isinstance(loader, Positioned) and "get_idxs" not in vars(loader)
    skips = begin and by_numbers and getattr(loader, "indexed", False)
    if skips:
        loader._skip = begin
    coming = _by_the_host(loader) if getattr(loader, "_on_host", False) else iter(loader)
    return coming if skips else itertools.islice(coming, begin, None)


def _each_told(loader: Any, before: Callable[[int], object]) -> Iterator[Any]:
    """Give a loader's batches; tell of each before it is loaded."""
    coming = iter(loader)
    for number in itertools.count():
        before(number)
        batch = next(coming, END)
        if batch is END:
            return
        yield batch


def _by_the_host(loader: Any) -> Iterator[Any]:
    """Give a loader's batches, transformed in the host's memory, on the device."""
    import torch

    device = loader.device
    with _moved(loader.after_batch, torch.device("cpu")):
        loader.device = torch.device("cpu")
        try:
            for batch in loader:
                yield to_device(batch, device)
        finally:
            loader.device = device


@contextlib.contextmanager
def _moved(pipeline: Any, device: Any) -> Iterator[None]:
    """Keep what transforms hold, such as the mean by which they normalize, on another device."""
    import torch

    held = [
        (one, name, value)
        for one in getattr(pipeline, "fs", ())
        for name, value in vars(one).items()
        if isinstance(value, torch.Tensor)
    ]
    for one, name, value in held:
        setattr(one, name, value.to(device))
    try:
        yield
    finally:
        for one, name, value in held:
            setattr(one, name, value)


def transform_on_host(loader: Any) -> bool:
    """Have batches transformed in the host's memory from now on; False where they are already."""
    known = isinstance(loader, Positioned) and getattr(loader, "device", None) is not None
    if not known or loader._on_host:
        return False
    loader._on_host = True
    return True


def no_copies(loader: Any, numbers: Any = None) -> None:
    """Let a loader read its own files."""


def one_by_one(loader: Any, pictures: Any, plain: type) -> None:
    """Let a loader put its batches together out of single pictures."""


class BeforeBatch(Transform):
    """Stands before a batch's transforms, and tells when a batch comes.

    It changes no value. Pictures whose bytes have the channels last, as in their small copies, are
    turned round: a GPU does that in no time, a process that loads would spend long on it.
    """

    order = -1000

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self.tell = tell

    def __call__(self, x: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - fastai hands it split_idx
        """Give the batch on."""
        self.tell()
        if isinstance(x, tuple) and isinstance(x[0], TensorImage):
            return type(x)((x[0].contiguous(), *x[1:]))
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
    pictures_for
        Gives the small copies that a loader, or these numbers of its pictures, is read from; None
        for none.
    team
        The processes that share each batch; none by default.
    batches_for
        Gives what makes a loader's batches of its small copies; None for one that puts them
        together itself.
    """

    def __init__(
        self,
        before_batch: Callable[[], None],
        pictures_for: Callable[..., Any] = no_copies,
        team: Team | None = None,
        batches_for: Callable[..., Any] = one_by_one,
    ) -> None:
        self._pictures_for = pictures_for
        self._batches_for = batches_for
        self._team = team or Team()
        self._step = BeforeBatch(
            tell=before_batch
        )  # by name: fastai takes a lone argument for more
        self._loaders: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pipelines: list[Any] = []
        self._undo: list[Callable[[], None]] = []  # of what the transforms draw with

    def place(self, loader: Any, seed: int, *position: object) -> None:
        """Let a loader draw from this position on; a loader that is not fastai's stays as it is."""
        if not hasattr(loader, "do_item"):
            return
        self._take_over(loader)
        loader._at = (seed, position)
        self._read_from(loader, self._pictures_for(loader))
        self._share(loader)
        positions.set_order(loader, seed, *position)
        positions.set_position(seed, "order", *position)  # a weighted loader draws by numpy
        self._tells_of_batches(loader)

    def meet(self, loader: Any) -> None:
        """Let a loader vary its pictures as one that was placed does, where a fit is skipped."""
        if hasattr(loader, "do_item"):
            self._take_over(loader)
            self._tells_of_batches(loader)

    def _read_from(self, loader: Any, pictures: Any) -> None:
        loader._pictures = pictures
        plain = type(loader).__mro__[2]
        loader._batches = None if pictures is None else self._batches_for(loader, pictures, plain)

    def _tells_of_batches(self, loader: Any) -> None:
        pipeline = getattr(loader, "after_batch", None)
        steps = getattr(pipeline, "fs", None)
        if steps is not None and self._step not in list(steps):
            pipeline.fs = L([self._step, *steps])  # type: ignore[union-attr]
            self._pipelines.append(pipeline)
        self._undo += filter(None, map(augment.by_host, steps or ()))  # later ones too

    def _take_over(self, loader: Any) -> None:
        if not isinstance(loader, Positioned):
            take_over(loader)
            self._loaders.add(loader)

    def _share(self, loader: Any) -> None:
        """Let a loader give this rank's part of each batch."""
        by_numbers = loader.indexed and loader.bs and "get_idxs" not in vars(loader)
        loader._team = None if self._team.alone or not by_numbers else self._team

    @contextlib.contextmanager
    def lending(self, loaders: Any) -> Iterator[None]:
        """Let a loader that is made of these within the block (`new`) read from small copies too.

        Parameters
        ----------
        loaders
            fastai's `DataLoaders`.
        """
        lenders = [one for one in loaders.loaders if hasattr(one, "do_item")]
        for one in lenders:
            self._take_over(one)
            one._lends = self._lend
        try:
            yield
        finally:
            for one in lenders:
                one._lends = None

    def _lend(self, made: Any) -> None:
        """Give small copies to a loader that looks at pictures and draws nothing.

        The processes of a team share the looking.
        """
        numbers = list(made.get_idxs())
        pictures = self._pictures_for(made, numbers)
        if pictures is None and self._team.alone:
            return
        self._take_over(made)
        self._tells_of_batches(made)
        if pictures is not None:
            made._at = (0, ("looks",))
            self._read_from(made, pictures)
        if not self._team.alone:
            made._team, made._looks = self._team, len(numbers)
            # no lambda: where Python forks no processes, those that load get it by pickle
            made.get_idxs = functools.partial(self._team.numbers, numbers, made.bs)

    def give_back(self) -> None:
        """Make every loader what it was."""
        for loader in list(self._loaders):
            give_back(loader)
        for pipeline in self._pipelines:
            pipeline.fs = L([step for step in pipeline.fs if step is not self._step])
        for undo in self._undo:
            undo()
        self._undo.clear()
        self._loaders.clear()
        self._pipelines.clear()
        self._step.__class__ = Transform  # a loader that the cell keeps may share the pipeline
        self._step.__dict__.pop("tell", None)
