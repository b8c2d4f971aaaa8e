"""The optimizer's step and its gradients' zeroing, for many parameters at once.

fastai updates one parameter after another: a network like resnet34 has over a hundred, each with a
dozen small operations, which keeps a GPU waiting longer than the network itself does. Here those of
one kind are updated together (torch's `_foreach_` operations, which its own optimizers use), with
the same arithmetic in the same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

AT_ONCE = 2**25
"""Bytes of parameters that are updated together: as many are needed beside them for a moment."""

ON_DEVICE = 8
"""Times as many are updated together on a GPU, where each operation takes long to be told of."""

States = list[dict[str, Any]]


@dataclass(frozen=True)
class Alike:
    """Parameters with gradients that an optimizer treats alike.

    Attributes
    ----------
    hyper
        Their rates, as the optimizer keeps them.
    params, states
        The parameters, and what the optimizer knows of each.
    parts
        What updates them together, with what each was given; None where each is updated alone.
    """

    hyper: Mapping[str, Any]
    params: list[Any]
    states: States
    parts: list[tuple[Callable[..., None], dict[str, Any]]] | None

    def room(self, like: Callable[[Any], Any]) -> list[Any]:
        """Give the memory that an update needs beside the parameters; `like` makes a tensor's."""
        adam = any(part is _by_adam for part, _ in self.parts or ())
        return [like(p.data) for p in self.params] if adam else []

    def update(self, spare: list[Any]) -> None:
        """Update them together; what needs memory is in `spare`, so that nothing can fail."""
        grads = [p.grad.data for p in self.params]
        for part, given in self.parts or ():
            part(self.params, grads, self.states, {**self.hyper, **given}, spare)


def alike(optimizer: Any) -> Iterator[Alike]:
    """Give the parameters of fastai's optimizer that have gradients, in pieces.

    Those are updated alone that have no state yet, and all where the optimizer has a callback that
    is not fastai's.

    Examples
    --------
    >>> import torch
    >>> from fastai.optimizer import SGD
    >>> weights = [torch.nn.Parameter(torch.ones(2)) for _ in "ab"]
    >>> for one in weights:
    ...     one.grad = torch.ones(2)
    >>> for piece in alike(SGD(weights, lr=0.25)):
    ...     piece.update(piece.room(torch.empty_like))
    >>> weights[1].tolist()
    [0.75, 0.75]
    """
    import torch

    parts = _parts(optimizer.cbs)
    kinds: dict[Any, Alike] = {}
    for p, _, state, hyper in optimizer.all_params(with_grad=True):
        dense = p.grad.layout == torch.strided and p.grad.dtype == p.dtype and not p.is_complex()
        can = parts is not None and dense and all(name in state for name in _needed(parts))
        values = (state.get("step"), state.get("do_wd")) if can else ()
        key = (can, id(hyper), p.dtype, p.device, *values)
        kind = kinds.setdefault(key, Alike(hyper, [], [], parts if can else None))
        kind.params.append(p)
        kind.states.append(state)
    for kind in kinds.values():
        for begin, end in _pieces(kind.params):
            yield Alike(kind.hyper, kind.params[begin:end], kind.states[begin:end], kind.parts)


def zeroed(optimizer: Any) -> Zeroed:
    """Set all gradients to zero as fastai's optimizer does; give what remembers that they are."""
    import torch
    from fastai.optimizer import Optimizer

    if getattr(type(optimizer), "zero_grad", None) is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return Zeroed()
    grads = [p.grad for p, *_ in optimizer.all_params(with_grad=True)]
    for grad in grads:
        grad.detach_()
    for ones in by_kind(grads):
        torch._foreach_zero_(ones)
    return Zeroed(grads)


class Zeroed:
    """Gradients that were set to zero, and whether they still are: torch counts their changes."""

    def __init__(self, grads: Any = ()) -> None:
        self._versions = {id(grad): (grad, grad._version) for grad in grads}

    def holds(self, grad: Any) -> bool:
        """Say whether nothing was added to a gradient since."""
        known = self._versions.get(id(grad))
        return known is not None and known[0] is grad and known[1] == grad._version

    @contextlib.contextmanager
    def left_out(self, parameters: list[Any]) -> Iterator[None]:
        """Let a way back within the block write gradients instead of adding them to zeros.

        Parameters
        ----------
        parameters
            Those that it does not come to have zeros again afterwards.
        """
        import torch

        zeros = [p for p in parameters if p.grad is not None and self.holds(p.grad)]
        for p in zeros:
            p.grad = None
        self._versions.clear()  # it would hold their memory
        try:
            yield
        finally:
            for p in zeros:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)


def by_kind(tensors: list[Any]) -> list[list[Any]]:
    """Part tensors into those of one type on one device, which one operation can take."""
    kinds: dict[Any, list[Any]] = {}
    for one in tensors:
        kinds.setdefault((one.dtype, one.device), []).append(one)
    return list(kinds.values())


def _pieces(params: list[Any]) -> Iterator[tuple[int, int]]:
    """Give where pieces of `AT_ONCE` bytes begin and end; a parameter is never parted."""
    begin = size = 0
    most = AT_ONCE * (1 if params[0].device.type == "cpu" else ON_DEVICE)
    for end, p in enumerate(params):
        own = p.numel() * p.element_size()
        if size and size + own > most:
            yield begin, end
            begin, size = end, 0
        size += own
    yield begin, len(params)


# Of each of fastai's callbacks (2.8, `optimizer.py`): the same, for several parameters at once.
# `h` holds the rates and what the callback was given; `spare` is memory like the parameters'.


def _decayed(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    if states[0].get("do_wd", h.get("do_wd", True)) and h["wd"] != 0:
        torch._foreach_mul_([p.data for p in params], 1 - h["lr"] * h["wd"])


def _regularized(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    if states[0].get("do_wd", h.get("do_wd", True)) and h["wd"] != 0:
        torch._foreach_add_(grads, [p.data for p in params], alpha=h["wd"])


def _averaged(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    averages = [state["grad_avg"] for state in states]
    torch._foreach_mul_(averages, h["mom"])
    torch._foreach_add_(averages, grads, alpha=1 - h["mom"] if h.get("dampening") else 1.0)


def _squares(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    averages = [state["sqr_avg"] for state in states]
    torch._foreach_mul_(averages, h["sqr_mom"])
    damp = 1 - h["sqr_mom"] if h.get("dampening", True) else 1.0
    torch._foreach_addcmul_(averages, grads, grads, value=damp)


def _counted(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    for state in states:
        state["step"] += 1


def _by_adam(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch
    from fastai.optimizer import debias

    step = states[0]["step"]
    torch._foreach_copy_(spare, [state["sqr_avg"] for state in states])
    torch._foreach_div_(spare, debias(h["sqr_mom"], 1 - h["sqr_mom"], step))
    torch._foreach_sqrt_(spare)
    torch._foreach_add_(spare, h["eps"])
    averages = [state["grad_avg"] for state in states]
    rate = -h["lr"] / debias(h["mom"], 1 - h["mom"], step)
    torch._foreach_addcdiv_([p.data for p in params], averages, spare, value=rate)


def _by_sgd(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    torch._foreach_add_([p.data for p in params], grads, alpha=-h["lr"])


def _by_momentum(params: Any, grads: Any, states: States, h: Any, spare: Any) -> None:  # noqa: ARG001
    import torch

    averages = [state["grad_avg"] for state in states]
    torch._foreach_add_([p.data for p in params], averages, alpha=-h["lr"])


NEEDS = {_averaged: "grad_avg", _squares: "sqr_avg", _counted: "step"}
"""What an earlier step has left in a parameter's state."""


def _needed(parts: Any) -> list[str]:
    return [NEEDS[part] for part, _ in parts if part in NEEDS]


def _parts(callbacks: Any) -> list[tuple[Callable[..., None], dict[str, Any]]] | None:
    """Give ours for each of an optimizer's callbacks, with what it was given; None for others."""
    from fastai import optimizer as fastais

    ours = {
        fastais.weight_decay: _decayed,
        fastais.l2_reg: _regularized,
        fastais.average_grad: _averaged,
        fastais.average_sqr_grad: _squares,
        fastais.step_stat: _counted,
        fastais.adam_step: _by_adam,
        fastais.sgd_step: _by_sgd,
        fastais.momentum_step: _by_momentum,
    }
    found = []
    for callback in callbacks:
        plain = not (isinstance(callback, partial) and callback.args)
        function = callback.func if isinstance(callback, partial) else callback
        given = callback.keywords if isinstance(callback, partial) else {}
        if not plain or function not in ours or not set(given) <= {"dampening"}:
            return None
        found.append((ours[function], dict(given)))
    return found
