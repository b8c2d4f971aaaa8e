"""What callbacks and modules hold in plain attributes, as values that are read back without code.

A callback collects lists and averages, a recurrent network remembers what it saw last: neither is
in a state dict. What is kept is numbers, words, None and tensors, and lists, tuples, dicts and
fastcore's `L` of them. It is copied at once. Left out is what is too much, or nested too deep, and
what holds anything else: a module, a parameter, a learner. Two attributes that are one list are one
list again.

A container is written as a list of its kind and what is in it, a tensor that lies on the host while
the network does not as `["host", tensor]`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = (bool, int, float, str, type(None))

ITEMS = 1_000_000
"""Values that are kept of one callback, or of all modules."""

A_TENSOR = 20
"""As how many values a tensor counts: so much longer it takes to be written."""

BYTES = 64 << 20
"""Bytes of tensors and words that are kept of it, beside as many as the network itself has."""

DEPTH = 8
"""How deep lists may be nested."""


class LeftOut(Exception):
    """It is not kept."""


class Room:
    """What may still be kept of one callback, or of all modules, and what was kept of it.

    Parameters
    ----------
    model
        The network; its own tensors are not kept a second time, for they would be others then.
    """

    def __init__(self, model: Any) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        self._own = {place for one in tensors if (place := _place(one))}
        self._on_host = not tensors or tensors[0].device.type == "cpu"
        self._items = ITEMS
        self._bytes = BYTES + sum(_size(one) for one in tensors)
        self._known: dict[int, Any] = {}
        self._fresh: dict[int, Any] = {}

    def kept(self, value: Any) -> Any:
        """Give a copy of an attribute.

        Raises
        ------
        LeftOut
            Where it cannot be kept; it takes no room then.
        """
        before, self._fresh = (self._items, self._bytes), {}
        try:
            found = self._copy(value, DEPTH)
        except LeftOut:
            self._items, self._bytes = before
            raise
        self._known |= self._fresh
        return found

    def tensor(self, value: Any) -> Any:
        """Give a copy of a tensor, however large; the network's own are left out."""
        if _place(value) in self._own:
            raise LeftOut
        if id(value) not in self._known:
            self._known[id(value)] = self._copy_of(value)
        return self._known[id(value)]

    def _copy(self, value: Any, depth: int) -> Any:
        import torch

        if type(value) in PLAIN or _is_number(value):
            return self._plain([value])[0]
        for known in (self._known, self._fresh):
            if id(value) in known:
                return known[id(value)]
        if isinstance(value, torch.Tensor):
            if _place(value) in self._own:
                raise LeftOut
            self._spend(A_TENSOR, _size(value))
            found = self._copy_of(value)
        else:
            found = self._container(value, depth)
        self._fresh[id(value)] = found
        return found

    def _copy_of(self, tensor: Any) -> Any:
        import torch

        copy = tensor.detach().as_subclass(torch.Tensor).to("cpu", copy=True)
        return copy if self._on_host or tensor.device.type != "cpu" else ["host", copy]

    def _container(self, value: Any, depth: int) -> Any:
        kind = kind_of(value)
        if not kind or not depth:
            raise LeftOut
        self._spend(1, 0)
        if kind != "dict":
            return [kind, self._several(list(value), depth)]
        if not all(type(key) in PLAIN for key in value):
            raise LeftOut
        inside = self._several(list(value.values()), depth)
        return [kind, dict(zip(self._plain(list(value)), inside, strict=True))]

    def _several(self, values: list[Any], depth: int) -> list[Any]:
        if _all_plain(values):
            return self._plain(values)
        return [self._copy(one, depth - 1) for one in values]

    def _plain(self, values: list[Any]) -> list[Any]:
        self._spend(len(values), sum(len(one) for one in values if type(one) is str))
        return [one if type(one) in PLAIN else one.item() for one in values]

    def _spend(self, items: int, size: int) -> None:
        self._items -= items
        self._bytes -= size
        if min(self._items, self._bytes) < 0:
            raise LeftOut


def of_callback(one: Any, model: Any) -> dict[str, Any]:
    """Keep what a callback holds."""
    import torch

    room, found = Room(model), {}
    for name, value in list(vars(one).items()):
        if name == "learn":  # None outside of its fit
            continue
        with contextlib.suppress(LeftOut):
            if type(value) in PLAIN:
                found[name] = value
            elif isinstance(value, torch.Tensor):
                found[name] = room.tensor(value)
            else:
                found[name] = room.kept(value)
    return found


def of_modules(root: Any) -> dict[str, dict[str, Any]]:
    """Keep what modules hold in plain attributes: tensors, and numbers that they may change.

    A recurrent network's hidden state is such a tensor; a person's own module may count its steps.
    """
    room, found = Room(root), {}
    for name, module in root.named_modules():
        kept = {}
        for key, value in list(vars(module).items()):
            if _is_of_tensors(value):
                with contextlib.suppress(LeftOut):
                    kept[key] = room.kept(value)
        kept = _numbers_of(module, beside=bool(kept)) | kept
        if kept:
            found[name] = kept
    return found


def _numbers_of(module: Any, *, beside: bool) -> dict[str, Any]:
    """Give a module's numbers; of torch's own those beside a tensor that a person put there."""
    import torch

    if type(module).__module__.startswith("torch."):
        return {key: value for key, value in vars(module).items() if type(value) is int and beside}
    of_each = vars(torch.nn.Module())  # such as `training`, which is the fit's to set
    return {
        key: value
        for key, value in vars(module).items()
        if type(value) in (bool, int, float) and key not in of_each
    }


def put_into_modules(model: Any, kept: Mapping[str, Mapping[str, Any]]) -> None:
    """Give modules what `of_modules` kept of them."""
    modules, known = dict(model.named_modules()), dict[int, Any]()
    for name, values in kept.items():
        if name in modules:
            modules[name].__dict__.update({key: again(v, known) for key, v in values.items()})


def put_back(one: Any, kept: Mapping[str, Any]) -> None:
    """Give an object what `of_callback` kept of it.

    A list that has only grown since grows in its place: the person may hold it too.
    """
    own, known = vars(one), dict[int, Any]()
    grown: list[tuple[Any, Any]] = []
    for name, value in kept.items():
        present = own.get(name)
        if _leads(present, value) and not any(present is other for other, _ in grown):
            known[id(value)] = present
            grown.append((present, value[1]))
    own.update({name: again(value, known) for name, value in kept.items()})
    for present, inside in grown:
        _fill(present, inside, known)


def kind_of(value: Any) -> str:
    """Name the kind of a container that can be kept; empty for what is none."""
    from fastcore.foundation import L

    if type(value) is L:
        return "L" if type(value.items) is list else ""
    return type(value).__name__ if type(value) in (list, tuple, dict) else ""


def again(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Make what was kept anew: it may be changed in its place, and put back once more.

    Parameters
    ----------
    value
        What a `Room` has kept of one attribute.
    known
        What was made anew of other attributes, where they may hold the same.
    """
    known = {} if known is None else known
    if type(value) in PLAIN:
        return value
    if id(value) not in known:
        known[id(value)] = _made(value, known)
    return known[id(value)]


def _made(value: Any, known: dict[int, Any]) -> Any:
    from fastcore.foundation import L

    if type(value) is not list:
        return value.clone()
    kind, inside = value
    if kind == "host":
        return inside.to("cpu", copy=True)
    if kind == "dict":
        return {key: again(one, known) for key, one in inside.items()}
    items = list(inside) if _all_plain(inside) else [again(one, known) for one in inside]
    return {"list": list, "tuple": tuple, "L": L}[kind](items)


def _fill(present: Any, inside: Any, known: dict[int, Any]) -> None:
    if isinstance(inside, dict):
        present.update({key: again(one, known) for key, one in inside.items()})
        return
    items = present if isinstance(present, list) else present.items
    items[:] = [again(one, known) for one in inside]


def _leads(present: Any, value: Any) -> bool:
    """Say whether a list, an `L` or a dict is as what was kept of it begins."""
    if type(value) is not list or kind_of(present) != value[0] or value[0] == "tuple":
        return False
    return len(present) <= len(value[1]) and _is_beginning(present, value[1])


def _same(present: Any, value: Any) -> bool:
    """Say whether a value is still what was kept of it."""
    import torch

    if type(value) is list and value[0] == "host":
        value = value[1]
    if isinstance(present, torch.Tensor):
        alike = isinstance(value, torch.Tensor) and present.dtype == value.dtype
        dense = alike and present.layout == value.layout == torch.strided
        return dense and torch.equal(present.detach().cpu(), value.cpu())
    if type(value) is list:
        same_kind = kind_of(present) == value[0] and len(present) == len(value[1])
        return same_kind and _is_beginning(present, value[1])
    if type(value) not in PLAIN or not (type(present) in PLAIN or _is_number(present)):
        return False
    return bool(present == value) or (value != value and bool(present != present))


def _is_beginning(present: Any, inside: Any) -> bool:
    """Say whether what a container holds is what was kept of it, as far as it goes."""
    if isinstance(present, dict):
        return all(key in inside and _same(one, inside[key]) for key, one in present.items())
    return all(map(_same, present, inside))


def _all_plain(values: list[Any]) -> bool:
    return set(map(type, values)) <= set(PLAIN)


def _is_number(value: Any) -> bool:
    """Say whether it is one of numpy's numbers that Python has too."""
    if type(value).__module__ != "numpy" or getattr(value, "ndim", None) != 0:
        return False
    return type(value.item()) in PLAIN


def _is_of_tensors(value: Any) -> bool:
    """Say whether it is a tensor that has no way back, or lists and tuples of such alone."""
    import torch

    leaves = _leaves(value, DEPTH)
    return next(leaves, None) is not None and all(
        isinstance(one, torch.Tensor) and not one.requires_grad for one in _leaves(value, DEPTH)
    )


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    if type(value) not in (list, tuple) or not depth:
        yield value
        return
    for one in value:
        yield from _leaves(one, depth - 1)


def _place(tensor: Any) -> int:
    """Give where a tensor's values lie; 0 where that cannot be said, as of a sparse one's."""
    with contextlib.suppress(RuntimeError):
        return int(tensor.untyped_storage().data_ptr())
    return 0


def _size(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())
