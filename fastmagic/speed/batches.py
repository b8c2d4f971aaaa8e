"""Whole batches of photographs from their small copies, with what they are from a table.

fastai looks every target up again in every epoch, and puts a batch together out of single pictures,
each a dozen of Python's calls. Here a target is looked up once, where looking it up draws nothing,
and the pictures of a batch are cut in one go: in the host's memory, in whatever process loads them,
or where the network is. What a batch is made of stays the same, bit for bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastai.data import transforms
from fastai.torch_basics import Transform
from fastcore.basics import using_attr

from fastmagic.speed.brought import brought
from fastmagic.speed.pictures import Pictures
from fastmagic.speed.resident import Resident, Share

METHODS = ("create_batches", "create_batch", "create_item", "do_item", "do_batch", "retain")
"""Of fastai's loader: what makes a batch. A loader that has one of its own makes its own."""

USING_ATTR = using_attr(str, "").func
"""What `using_attr` makes a `partial` of."""

LARGEST = 256
"""Numbers in a target; larger ones, such as masks, are read when they are needed."""


class Batches:
    """Makes a loader's batches.

    Parameters
    ----------
    pictures
        The small copies.
    dataset
        fastai's `Datasets`, whose first items are the pictures' files.
    targets
        What the pictures are, each `[pictures, ...]`.
    resident
        The same copies in a GPU's memory; None where they are not there.
    """

    def __init__(
        self,
        pictures: Pictures,
        dataset: Any,
        targets: Sequence[Any],
        resident: Resident | None = None,
    ) -> None:
        self._pictures, self._targets = pictures, targets
        self._items = _items(dataset)
        self.resident = resident

    @property
    def files(self) -> list[Path]:
        """The file of each number."""
        return self._items[0]

    def are_of(self, dataset: Any) -> bool:
        """Say whether they are a data set's as it is now: a person may take items out."""
        return self._items == _items(dataset)

    def make(
        self, numbers: Sequence[int], shares: Sequence[Share], resample: Any
    ) -> tuple[Any, ...]:
        """Make a batch.

        Parameters
        ----------
        numbers
            Which pictures.
        shares, resample
            How to cut them, as `Pictures.batch`.

        Returns
        -------
        tuple
            A `TensorImage` of bytes, `[pictures, 3, height, width]`, and what they are.
        """
        import torch
        from fastai.torch_core import TensorImage

        source = self._pictures if self.resident is None else self.resident
        pictures = source.batch([self.files[one] for one in numbers], shares, resample)
        which = torch.tensor(numbers)
        targets = [ones[which] for ones in self._targets]
        if self.resident is not None:
            targets = [brought(ones, self.resident.device) for ones in targets]
        return (TensorImage(pictures), *targets)

    def release(self) -> bool:
        """Take the pictures out of the GPU's memory; say whether they were there."""
        if self.resident is None:
            return False
        self.resident.release()
        self.resident = None
        return True


def _items(dataset: Any) -> list[list[Any]]:
    return [list(one.items) for one in dataset.tls]


def made_plainly(loader: Any, plain: type) -> bool:
    """Say whether a loader makes its batches as fastai's own does.

    Parameters
    ----------
    loader
        fastai's.
    plain
        Its class, without what is mixed in while a cell runs.
    """
    from fastai.data.core import TfmdDL

    if not issubclass(plain, TfmdDL) or not loader.bs or not loader.indexed:
        return False
    own = any(getattr(plain, one) is not getattr(TfmdDL, one) for one in (*METHODS, "__iter__"))
    given = any(one in vars(loader) for one in METHODS)
    return not own and not given and not len(getattr(loader.before_batch, "fs", (0,)))


def targets_of(dataset: Any) -> list[Any] | None:
    """Look up what all pictures of a data set are, where fastai's own functions alone say it.

    A person's own function may say something else tomorrow.

    Parameters
    ----------
    dataset
        fastai's `Datasets`.

    Returns
    -------
    list of torch.Tensor or None
        A tensor of each kind of target, `[pictures, ...]`, in fastai's own class; None where
        another function has a word in it, targets are large or differ in shape, or cannot be had.
    """
    found = []
    for targets in dataset.tls[1:]:
        if not all(map(_is_fastais, targets.tfms.fs)):
            return None
        try:
            table = _table([targets[number] for number in range(len(dataset.items))])
        except Exception:  # it is told where it is trained on
            return None
        if table is None:
            return None
        found.append(table)
    return found


def _is_fastais(step: Any) -> bool:
    """Say whether a step that makes a label out of a file's path is fastai's own, and plain."""
    if type(step) is not Transform:
        return type(step).__module__ == transforms.__name__
    functions = [one.implementation for one in step.encodes.methods]
    return all(_is_plain(_inner(one)) for one in functions)


def _is_plain(function: Any) -> bool:
    if isinstance(function, partial):  # `using_attr`
        own = function.func is USING_ATTR and not function.keywords
        inner, *rest = function.args or (None,)
        return own and _is_plain(inner) and all(isinstance(one, str) for one in rest)
    return function is transforms.parent_label or type(function) is transforms.RegexLabeller


def _inner(function: Any) -> Any:
    """Give what fasttransform has wrapped into a function, for it to have a name."""
    if not getattr(function, "__qualname__", "").startswith(f"{Transform.__name__}.__init__."):
        return function
    return inspect.getclosurevars(function).nonlocals.get("f")


def _table(values: list[Any]) -> Any:
    import torch

    kinds = {(type(one), getattr(one, "shape", None)) for one in values}
    first = values[0] if values else None
    if len(kinds) != 1 or not isinstance(first, torch.Tensor) or first.numel() > LARGEST:
        return None
    if any(vars(one) for one in values):  # fastai keeps more with it
        return None
    whole = torch.stack([one.as_subclass(torch.Tensor) for one in values])
    return whole.as_subclass(type(first))
