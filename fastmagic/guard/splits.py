"""How many pictures of a batch fit in memory at once, of each kind of step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastmagic.errors import first_line
from fastmagic.guard.parts import tensors_of


@dataclass
class Splits:
    """How many pictures fit at once, of what was tried so far.

    Attributes
    ----------
    most
        Of each kind of step, by a key; kinds that fit whole are not in it.
    tell
        Called when a kind of step has to be done in smaller parts, with the key, the pictures of
        the batch, the pictures of a part, whether batch norm will see the parts, and the seconds
        that the try took which failed.
    room
        Makes room before that, where something can be given up; says whether it did.
    """

    tell: Callable[[str, int, int, bool, float], None]
    most: dict[str, int] = field(default_factory=dict)
    room: Callable[[], bool] = bool

    def parts(self, key: str, pictures: int) -> int:
        """Say in how many parts a batch is to be done."""
        most = self.most.get(key, pictures)
        return -(-pictures // most) if most else 1

    def halve(self, key: str, pictures: int, parts: int, seconds: float, *, norms: bool) -> int:
        """Take twice as many parts from now on, unless there is room to make; give how many.

        Raises
        ------
        LessonError
            Where each part was one picture already.
        """
        if self.room():
            return parts
        if parts >= pictures:
            raise DoesNotFit(pictures)
        more = min(2 * parts, pictures)
        self.most[key] = -(-pictures // more)
        self.tell(key, pictures, self.most[key], norms, seconds)
        return self.parts(key, pictures)


class DoesNotFit(Exception):
    """Not even one picture fits."""


def key_of(
    learn: Any, model: Any, inputs: Any, training: bool, parameters: list[Any] | None = None
) -> str:
    """Name a kind of step: card, network, size of the pictures, precision, training or not."""
    import torch

    parameters = list(model.parameters()) if parameters is None else parameters
    device = parameters[0].device if parameters else torch.device("cpu")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    trained = sum(p.numel() for p in parameters if p.requires_grad) if training else 0
    network = f"{type(model).__name__}/{sum(p.numel() for p in parameters)}/{trained}"
    sizes = "+".join("x".join(map(str, one.shape[1:])) for one in tensors_of(inputs))
    mode = getattr(getattr(learn, "mixed_precision", None), "amp_mode", None)
    precision = getattr(mode, "value", "fp32")
    return f"{card} {network} {sizes} {precision} {'train' if training else 'look'}"


def not_even_one(model: Any, inputs: Any, trouble: Exception | None) -> tuple[str, str]:
    """Say that one picture is too much, and what would fit, with numbers."""
    from fastmagic import faces

    tensor = next(iter(tensors_of(inputs)), None)
    side = int(tensor.shape[-1]) if tensor is not None and tensor.ndim == 4 else 0
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    why, of = first_line(trouble), f" of {side} pixels" if side else ""
    what = (
        f"Not even one picture{of} fits in memory ({why}); the network's weights are "
        f"{faces.size(weights)}, and training takes about four times that beside the pictures."
    )
    smaller = f"--size {side // 2} takes about a quarter of the pictures' part, " if side else ""
    return what, (
        f"{smaller}--arch resnet18 has 47 MB of weights, and on a GPU with tensor cores "
        "--precision fp16 halves what is kept. %gpu_check says who else holds memory."
    )
