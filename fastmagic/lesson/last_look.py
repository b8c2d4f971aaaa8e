"""The last look at the pictures, by the final weights: it leaves all of the person's as it was.

A callback may load other weights at a fit's end than were validated last, the best ones say. So
the report needs one more validation. But fastai's `validate` begins and ends as a fit does: its
Recorder forgets all epochs, its CSVLogger begins the file anew.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fastmagic.guard.held import PLAIN

WRITERS = (
    *(f"fastai.callback.{name}" for name in ("progress", "tracker", "tensorboard")),
    *(f"fastai.callback.{name}" for name in ("wandb", "comet", "neptune", "azureml")),
    *("aim", "clearml", "comet_ml", "dvclive", "mlflow", "neptune", "swanlab", "wandb"),
)
"""The modules of callbacks that show, write or log elsewhere; no network needs them to look."""

OF_TORCH = ("_parameters", "_buffers", "_modules")
"""Attributes of a module that are left as they are: what was measured is of these weights."""


@contextlib.contextmanager
def without_a_trace(
    learner: Any, held: Callable[[], contextlib.AbstractContextManager[None]]
) -> Iterator[None]:
    """Let the block validate with a learner; however it ends, all of the person's is as before.

    The weights are not kept: a validation does not change them.

    Parameters
    ----------
    learner
        fastai's. What writes files is not called within the block.
    held
        A block in which no stop comes.
    """
    kept = Kept()
    kept.attributes(learner)
    for callback in learner.cbs:
        if not _is_of(callback, ("fastmagic",)):
            kept.attributes(callback)
    for module in learner.model.modules():
        kept.attributes(module, but=OF_TORCH)
    try:
        learner.cbs = learner.cbs.filter(lambda one: not _is_of(one, WRITERS))
        yield
    finally:
        with held():
            kept.put_back()


def _is_of(callback: Any, modules: tuple[str, ...]) -> bool:
    """Say whether a callback's class, or one that it is made of, is from one of these modules."""
    names = [f"{kind.__module__}." for kind in type(callback).__mro__]
    return any(name.startswith(f"{module}.") for name in names for module in modules)


class Kept:
    """What objects hold in their attributes, and the way back.

    An attribute is the very object again that it was. What may be changed in its place is as it was
    too: lists, dicts, sets, `L`, metrics, tensors and numpy's arrays, one within another.

    Examples
    --------
    >>> from types import SimpleNamespace as Like
    >>> one = Like(losses=[1.5], epoch=3)
    >>> kept = Kept()
    >>> kept.attributes(one)
    >>> one.losses.append(0.5)
    >>> one.epoch, one.later = 0, True
    >>> kept.put_back()
    >>> one
    namespace(losses=[1.5], epoch=3)
    """

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._back: list[Callable[[], None]] = []

    def attributes(self, one: Any, but: tuple[str, ...] = ()) -> None:
        """Keep what an object holds, but in the attributes of these names."""
        before = {name: value for name, value in vars(one).items() if name not in but}
        self._back.append(partial(_attributes_back, vars(one), before, but))
        self._values(before.values())

    def put_back(self) -> None:
        """Give all objects what they held."""
        for back in self._back:
            back()

    def _values(self, values: Any) -> None:
        for value in values:
            if type(value) not in PLAIN and id(value) not in self._known:
                self._known[id(value)] = value
                self._value(value)

    def _value(self, value: Any) -> None:
        import numpy as np
        import torch
        from fastai.learner import Metric
        from fastcore.foundation import L

        if isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray):
            self._back.append(partial(np.copyto, value, value.copy()))
        elif isinstance(value, (L, Metric)):
            self.attributes(value)
        elif isinstance(value, dict):
            self._back.append(partial(_dict_back, value, dict(value)))
            self._values(value.values())
        elif isinstance(value, (list, deque, set)):
            self._back.append(partial(_items_back, value, list(value)))
            self._values(value)
        elif isinstance(value, tuple):
            self._values(value)

    def _tensor(self, tensor: Any) -> None:
        """Keep a tensor's values in the host's memory; those that are learnt are not kept."""
        if not tensor.requires_grad and not tensor.is_inference():
            copy = tensor.detach().to("cpu", copy=True)
            self._back.append(partial(_tensor_back, tensor, tensor._version, copy))


def _attributes_back(own: dict[str, Any], before: dict[str, Any], but: tuple[str, ...]) -> None:
    for name in [name for name in own if name not in before and name not in but]:
        del own[name]
    own.update(before)


def _dict_back(value: dict[Any, Any], before: dict[Any, Any]) -> None:
    if not _are_the_same([*value, *value.values()], [*before, *before.values()]):
        value.clear()
        value.update(before)


def _items_back(value: Any, before: list[Any]) -> None:
    if not _are_the_same(list(value), before):
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(before)


def _are_the_same(present: list[Any], before: list[Any]) -> bool:
    return len(present) == len(before) and all(map(_is, present, before))


def _is(one: Any, other: Any) -> bool:
    return one is other


def _tensor_back(tensor: Any, version: int, before: Any) -> None:
    import torch

    if tensor._version != version:
        with torch.no_grad():
            tensor.copy_(before)
