"""A learner as it is now, to be put back whatever happens: for what tries and must not change.

fastai's `lr_find` trains the real network and loads the old weights when it ends; when it does not
end well (out of memory, the stop button) they are lost. A snapshot puts back everything that a try
may touch: weights and buffers, the optimizer with its rates, gradients, what is frozen, every
random generator; and lets go of the memory that the try held.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

from fastmagic.guard import positions


@contextlib.contextmanager
def undone(learner: Any) -> Iterator[None]:
    """Let the block do what it likes to a learner, and put everything back when it ends.

    Parameters
    ----------
    learner
        fastai's learner; the copies are kept in host memory meanwhile.

    Raises
    ------
    Exception
        What the block raised; the frames it came through are let go of, with their tensors.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace as Like
    >>> net = torch.nn.Linear(1, 1)
    >>> with undone(Like(model=net, opt=None, _end_cleanup=lambda: None)):
    ...     _ = net.weight.data.fill_(7.0)
    >>> net.weight.item() == 7.0
    False
    """
    import torch

    model, optimizer = learner.model, learner.opt
    weights = {name: _aside(tensor) for name, tensor in _tensors(model)}
    steps = _copied(optimizer.state_dict()) if optimizer is not None else None
    grads = [(p, p.requires_grad, _aside(p.grad)) for p in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with positions.kept_apart():
            yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        with torch.no_grad():
            for name, tensor in _tensors(model):
                tensor.copy_(weights[name])
        for parameter, trained, grad in grads:
            parameter.requires_grad_(trained)
            parameter.grad = None if grad is None else grad.to(parameter.device)
        for module, training in modes:
            module.training = training
        learner.opt = optimizer
        if optimizer is not None:
            _put_back(optimizer, steps)
        learner._end_cleanup()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _tensors(model: Any) -> list[tuple[str, Any]]:
    """List weights and buffers; a module may add state of its own that is no tensor."""
    return [(name, one) for name, one in model.state_dict().items() if hasattr(one, "detach")]


def _put_back(optimizer: Any, steps: Any) -> None:
    device = next((p.device for p, *_ in optimizer.all_params(with_grad=False)), None)
    optimizer.load_state_dict(_copied(steps, device))


def _aside(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach().to("cpu", copy=True)


def _copied(value: Any, device: Any = "cpu") -> Any:
    """Copy an optimizer's state, its tensors to a device; every other thing is of plain values."""
    import torch
    from fastcore.foundation import L

    if isinstance(value, torch.Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, dict):
        return {key: _copied(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple, L)):
        return type(value)([_copied(item, device) for item in value])
    return value
