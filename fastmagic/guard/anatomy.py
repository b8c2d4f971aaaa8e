"""What a network is made of, looked at once a pass: a walk through its modules takes a while."""

from __future__ import annotations

from typing import Any

from fastmagic.speed.together import by_kind


class Anatomy:
    """A network's parts.

    Parameters
    ----------
    model
        A torch module.

    Attributes
    ----------
    body
        Its first half, which holds nearly all the memory; the whole for a network that is not a
        body and a head.
    parameters, buffers
        Of the whole.
    of_body
        The body's parameters.
    device
        Where the first of them lies.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> anatomy = Anatomy(net)
    >>> len(anatomy.parameters), len(anatomy.of_body), anatomy.is_of(net)
    (4, 2, True)
    """

    def __init__(self, model: Any) -> None:
        import torch

        self.model = model
        self.body = body_of(model)
        self.parameters = list(model.parameters())
        self.of_body = list(self.body.parameters())
        self.buffers = list(model.buffers())
        self.device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self._children = list(model.children())

    def is_of(self, model: Any) -> bool:
        """Say whether this is a network's, and it has its parts still."""
        children = list(model.children())
        same = len(children) == len(self._children)
        moved = self.parameters and self.parameters[0].device != self.device
        parts = zip(children, self._children, strict=False)
        return model is self.model and same and not moved and all(a is b for a, b in parts)


def device_of(learn: Any) -> Any:
    """Give where a learner trains: its loaders' device, or fastai's own choice."""
    from fastai.torch_core import default_device

    return getattr(learn.dls, "device", None) or default_device()


def body_of(model: Any) -> Any:
    """Give a network's body, or the whole for one that is not a body and a head."""
    from torch import nn

    return model[0] if isinstance(model, nn.Sequential) and len(model) == 2 else model


class Kept:
    """Copies of tensors, made by as few operations as there are kinds of them.

    Examples
    --------
    >>> import torch
    >>> counts = torch.tensor([1, 2])
    >>> kept = Kept([counts])
    >>> _ = counts.add_(5)
    >>> kept.put_back()
    >>> counts
    tensor([1, 2])
    """

    def __init__(self, tensors: list[Any]) -> None:
        import torch

        kinds = by_kind([one.detach() for one in tensors])
        self._kept = [(kind, torch.cat([one.reshape(-1) for one in kind])) for kind in kinds]

    def put_back(self) -> None:
        """Put the values back."""
        for tensors, flat in self._kept:
            pieces = flat.split([one.numel() for one in tensors])
            for one, piece in zip(tensors, pieces, strict=True):
                one.copy_(piece.view(one.shape))
