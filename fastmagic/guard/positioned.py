"""A loader's class while a cell runs: what it draws is a function of its position.

The order is set by `positions.set_order`; each item's transforms draw in `do_item`, in this process
or in one that loads. Of several processes of one training each loads its own part of a batch.
"""

from __future__ import annotations

import copyreg
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import context
from numbers import Integral
from types import MethodType
from typing import Any

from fastai.torch_core import TensorImage, to_device
from fastai.vision.augment import Resize
from fastcore.basics import chunked
from fastcore.foundation import L

from fastmagic.guard import positions
from fastmagic.guard.positions import Position
from fastmagic.guard.workers import made_here
from fastmagic.ranks.team import Team

OURS = (
    "_at",
    "_skip",
    "_on_host",
    "_pictures",
    "_lends",
    "_team",
    "_loading",
    "_looks",
    "_batches",
)
"""Attributes that a loader has only while a cell runs."""

END = object()
"""What stands for the end of a pass."""


class Again(int):
    """The number of a picture that came before in the same pass, as where some are drawn oftener.

    Examples
    --------
    >>> told_apart([3, 5, 3])[2].time
    1
    """

    time = 0

    def __new__(cls, number: int, time: int) -> Again:
        made = super().__new__(cls, number)
        made.time = time
        return made

    def __reduce__(self) -> Any:
        return Again, (int(self), self.time)


def told_apart(numbers: Any) -> Any:
    """Give a pass's numbers, with those told apart that come again: each is drawn for anew."""
    if not isinstance(numbers, (list, L)) or len(set(numbers)) == len(numbers):
        return numbers
    times: Counter[int] = Counter()
    found = []
    for number in numbers:
        if isinstance(number, Integral) and times[int(number)]:
            found.append(Again(int(number), times[int(number)]))
        else:
            found.append(number)
        times[number] += 1
    return found


def _place(item: Any) -> tuple[object, ...]:
    """Give an item's own position within a pass."""
    return ("item", item, item.time) if isinstance(item, Again) else ("item", item)


class Positioned:
    """The overridden method; mixed in front of the loader's own class while a cell runs."""

    _at: tuple[int, Position] | None = None
    _skip = 0  # batches that the next pass leaves out
    _on_host = False  # its batches are transformed in the host's memory
    _pictures: Any = None  # the small copies that its pictures are read from
    _batches: Any = None  # makes its batches
    _team: Team | None = None  # the processes that share each batch
    _looks = 0  # pictures that all processes look at together, each at its part of a batch
    _loading = False  # a batch: the generators are put back when it is whole
    _lends: Callable[[Any], None] | None = None  # gives the small copies to what is made of it

    def do_item(self, item: Any) -> Any:
        """Load one item as its position has it; one without a number as it comes."""
        if self._at is None or not isinstance(item, Integral):  # numpy's numbers too
            return super().do_item(item)  # type: ignore[misc]
        seed, position = self._at
        if self._loading:
            positions.set_item(seed, *position, *_place(item))
            return self._loaded(item)
        with positions.at_item(seed, *position, *_place(item)):
            return self._loaded(item)

    def create_batches(self, samps: Any) -> Iterator[Any]:
        """Load batches; each leaves the generators as they were."""
        makes = super().create_batches if self._batches is None else self._whole_batches  # type: ignore[misc]
        coming = iter(makes(samps))
        while True:
            with positions.undisturbed():
                self._loading = True
                try:
                    batch = next(coming, END)
                finally:
                    self._loading = False
            if batch is END:
                return
            yield batch

    def _whole_batches(self, numbers: Any) -> Iterator[Any]:
        """Make batches in one go, each picture cut as its position has it."""
        assert self._at is not None
        seed, position = self._at
        resize = self._resize
        for some in self.chunkify(numbers):
            shares = []
            for number in some:
                positions.set_python(seed, *position, *_place(number))
                shares.append(self._shares(resize))
            yield self._batches.make(list(some), shares, resize.mode)

    @property
    def _resize(self) -> Any:
        return next(one for one in self.after_item.fs if isinstance(one, Resize))  # type: ignore[attr-defined]

    def _shares(self, resize: Any) -> tuple[float, float]:
        """Draw where to cut a picture, as fastai's `Resize` does."""
        resize.before_call(None, self.after_item.split_idx)  # type: ignore[attr-defined]
        return resize.pcts

    def _loaded(self, item: Any) -> Any:
        return super().do_item(item) if self._pictures is None else self._cut(item)  # type: ignore[misc]

    def _cut(self, item: Any) -> Any:
        """Give one item, its picture cut from the small copy."""
        dataset = self.dataset  # type: ignore[attr-defined]
        resize = self._resize
        pixels = self._pictures.cut(dataset.items[item], self._shares(resize), resize.mode)
        return (TensorImage(pixels), *(one[item] for one in dataset.tls[1:]))

    def create_item(self, item: Any) -> Any:
        """Give one item as the data set has it, its picture from the small copies where it can."""
        if self._pictures is None or not isinstance(item, Integral):
            return super().create_item(item)  # type: ignore[misc]
        dataset = self.dataset  # type: ignore[attr-defined]
        rest = (one[item] for one in dataset.tls[1:])
        return (self._pictures.load(dataset.items[item]), *rest)

    def get_idxs(self) -> Any:
        """Give the order, without the batches that an earlier process has trained on."""
        numbers = told_apart(super().get_idxs())  # type: ignore[misc]
        batch = self.bs or 1  # type: ignore[attr-defined]
        skipped, self._skip = self._skip * batch, 0
        rest = numbers[skipped:] if skipped else numbers
        if self._team is None:
            return rest
        whole = len(rest) - (len(rest) % batch if self.drop_last else 0)  # type: ignore[attr-defined]
        return self._team.numbers(rest[:whole], batch)

    def __iter__(self) -> Iterator[Any]:
        """Give batches; where all look together, this process's pictures with all targets."""
        coming = self._without_processes() if made_here(self) else super().__iter__()  # type: ignore[misc]
        if not self._looks or self._team is None:
            yield from coming
            return
        left = self._looks
        for x, *targets in coming:
            whole = min(left, self.bs)  # type: ignore[attr-defined]
            begin, end = self._team.share(whole)
            self._team.meet(end - begin, 1)
            left -= whole
            yield (x, *self._team.whole(tuple(targets)))

    def _without_processes(self) -> Iterator[Any]:
        """Give batches as fastai's `__iter__` does (2.8, `data/load.py`), made here."""
        loader: Any = self
        draw_as_torch_does()
        loader.randomize()
        loader.before_iter()
        loader._DataLoader__idxs = self.get_idxs()
        for batch in self.create_batches(self.sample()):
            yield loader.after_batch(to_device(batch, loader.device))
        loader.after_iter()

    def chunkify(self, items: Any) -> Any:
        """Put items into batches; of a batch that is shared, this process's part."""
        if self._team is None:
            return super().chunkify(items)  # type: ignore[misc]
        return chunked(items, self._part)

    def sample(self) -> Any:
        """Give the numbers that a loading process loads: every so many batches, as fastai does."""
        if self._team is None:
            return super().sample()  # type: ignore[misc]
        loading: Any = self
        numbers = enumerate(loading._DataLoader__idxs)
        turns, own = loading.num_workers, loading.offs
        return (one for i, one in numbers if i // self._part % turns == own)

    @property
    def _part(self) -> int:
        """Pictures of a whole batch that this process loads."""
        assert self._team is not None
        begin, end = self._team.share(self.bs)  # type: ignore[attr-defined]
        return max(1, end - begin)

    def new(self, *args: Any, **kwargs: Any) -> Any:
        """Make a loader like this one, of the plain class: the cell may keep it."""
        made = super().new(*args, **{"cls": type(self).__mro__[2], **kwargs})  # type: ignore[misc]
        if self._lends is not None:
            self._lends(made)
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        own = own_methods(self)
        state = {name: value for name, value in vars(self).items() if name not in own}
        plain = type(self).__mro__[2]
        if context.get_spawning_popen() is not None:  # on its way to a worker that loads pictures
            return _again, (plain, state)
        for name in OURS:
            state.pop(name, None)
        return copyreg._reconstructor, (plain, object, None), state  # type: ignore[attr-defined]


def _again(plain: type, state: dict[str, Any]) -> Any:
    """Make a positioned loader in a worker process that was started afresh."""
    loader: Any = object.__new__(positioned(plain))
    vars(loader).update(state)
    return loader


def positioned(plain: type) -> type:
    """Make a loader's class one of ours; `plain` is its own."""
    members: dict[str, Any] = {"__module__": plain.__module__}
    if hasattr(plain, "show_batch"):  # a loader without it asks its data set
        members["show_batch"] = _show_batch
    return type(plain.__name__, (Positioned, plain), members)


def _show_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Show a batch as fastai does, and leave the order with the loader's class.

    For `unique=True` fastai gives the loader a `get_idxs` of its own meanwhile. What it puts back
    is the bound method of our class; after an error it puts nothing back.
    """
    before = {name: value for name, value in vars(self).items() if name == "get_idxs"}
    try:
        return super(Positioned, self).show_batch(*args, **kwargs)
    finally:
        vars(self).pop("get_idxs", None)
        vars(self).update(before)


def own_methods(loader: Any) -> list[str]:
    """Name the attributes of a loader that are no more than its class's method of that name."""
    return [name for name, value in vars(loader).items() if _is_own(loader, name, value)]


def _is_own(loader: Any, name: str, value: Any) -> bool:
    bound = isinstance(value, MethodType) and value.__self__ is loader
    return bound and getattr(type(loader), name, None) is value.__func__


def take_over(loader: Any) -> None:
    """Make a loader's class one of ours, which decides what the loader does."""
    for name in own_methods(loader):  # from an earlier `show_batch`
        vars(loader).pop(name)
    loader.__class__ = positioned(type(loader))


def give_back(loader: Any) -> None:
    """Give a loader its own class back, and take from it whatever would lead to ours."""
    loader.__class__ = type(loader).__mro__[2]
    for name, value in list(vars(loader).items()):
        if name in OURS or _leads_to_ours(loader, value):
            vars(loader).pop(name)


def _leads_to_ours(loader: Any, value: Any) -> bool:
    """Say whether a value is this loader's method as it is here, under whatever name."""
    bound = isinstance(value, MethodType) and value.__self__ is loader
    return bound and getattr(value.__func__, "__module__", None) == __name__


def draw_as_torch_does() -> None:
    """Draw once from torch's generator, as its loader does for its processes, wanted or not."""
    import torch

    torch.empty((), dtype=torch.int64).random_()
