"""How many operations a GPU is told of in a training step, and how often it is waited for.

    python tests/benchmarks/operations.py [--arch resnet34] [--batch 64]

No GPU is needed, and none is measured: torch's device `meta` computes nothing, but it is told of
all that a GPU would be. Python takes 5 to 15 microseconds to tell of each, which is what a fast GPU
waits for in a small network. Plain fastai beside fastmagic, with pictures that processes load and
with pictures in the GPU's memory; drawn pictures, of which one in eight has to be enlarged. What
only looks at the same memory in another way (`view`) is not counted, nor is asking for memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from fastai.callback.core import Callback
from fastcore.basics import noop
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PARTS = ("the batch", "forward", "backward", "optimizer")
WAYS = ("plain fastai", "fastmagic, pictures loaded", "fastmagic, pictures in the GPU")
STEPS = 8

aten = torch.ops.aten
MIXED = (aten._to_copy, aten.copy_, aten.index, aten.index_put_)
"""They take tensors of two devices; others refuse that on a GPU, but not all do on `meta`."""


class Told(TorchDispatchMode):
    """Counts what the device is told of, and answers for it where its numbers are asked for.

    Attributes
    ----------
    operations
        How many the device was told of.
    answers
        How often the processor waited: for its numbers, or until a copy had arrived there.

    Raises
    ------
    AssertionError
        Where an operation is given tensors of two devices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.answers = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, given: Any = (), named: Any = None
    ) -> Any:
        """Count an operation, and do it."""
        named = named or {}
        if operation is aten.equal.default:
            return True  # the pictures are compared with what processes load: they are the same
        tensors = [one for one in tree_leaves((given, named)) if isinstance(one, torch.Tensor)]
        there = any(_is_there(one) for one in tensors)
        if there and operation.overloadpacket not in MIXED:
            strangers = [one for one in tensors if one.ndim and not _is_there(one)]
            assert not strangers, f"{operation}: one tensor is on the device, another is not"
        if there and operation is aten._local_scalar_dense.default:
            self.answers += 1
            return given[0].dtype.is_floating_point and 0.5
        if there and operation is aten._to_copy.default and _to_host(named):
            self.answers += 1
            return torch.zeros(given[0].shape, dtype=named.get("dtype") or given[0].dtype)
        out = operation(*given, **named)
        arrives = not there and any(_is_there(one) for one in tree_leaves(out))
        self.answers += _waited_for(operation, given, named, arrives=arrives)
        there = there or arrives
        if there and not operation.is_view and "empty" not in operation.name():
            self.operations += 1
        return out


def _is_there(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.device.type == "meta"


def _waited_for(operation: Any, given: Any, named: dict[str, Any], *, arrives: bool) -> int:
    """Give how many copies to the device an operation makes that the processor waits for."""
    packet = operation.overloadpacket
    if packet is aten._to_copy:
        return int(arrives and not named.get("non_blocking"))
    if packet is aten.copy_:
        from_host = _is_there(given[0]) and not _is_there(given[1])
        return int(from_host and not (named.get("non_blocking") or (*given, False)[2]))
    if packet in (aten.index, aten.index_put_) and _is_there(given[0]):
        return sum(isinstance(one, torch.Tensor) and not _is_there(one) for one in given[1])
    return 0


def _to_host(named: dict[str, Any]) -> bool:
    return named.get("device") is not None and torch.device(named["device"]).type == "cpu"


class Counted(Callback):
    """Notes what each part of each step was told."""

    order = 10_000

    def __init__(self, told: Told) -> None:
        self.told, self.before = told, 0
        self.steps: list[Counter[str]] = [Counter()]

    def _note(self, part: str) -> None:
        self.steps[-1][part] += self.told.operations - self.before
        self.before = self.told.operations

    def before_batch(self) -> None:
        """Note the batch."""
        self._note(PARTS[0])

    def after_loss(self) -> None:
        """Note the forward pass."""
        self._note(PARTS[1])

    def before_step(self) -> None:
        """Note the way back."""
        self._note(PARTS[2])

    def after_batch(self) -> None:
        """Note the rest, and how often the step waited."""
        self._note(PARTS[3])
        self.steps[-1]["answers"] = self.told.answers
        self.told.answers = 0
        self.steps.append(Counter())


def draw(folder: Path, count: int) -> list[Path]:
    """Draw so many pictures of noise, of two kinds."""
    import numpy as np
    from PIL import Image

    files = []
    for number in range(count):
        side = 64 if number % 8 else 24
        noise = np.random.default_rng(number).integers(0, 255, (side, side + 8, 3), np.uint8)
        files.append(folder / "ab"[number % 2] / f"{number}.png")
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(files[-1])
    return files


def fit(way: str, arch: str, batch: int, folder: Path) -> list[Counter[str]]:
    """Train an epoch on a device that computes nothing; give what it was told in each step."""
    import torchvision
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import IndexSplitter, parent_label
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.data import ImageBlock
    from fastai.vision.learner import vision_learner

    folder.mkdir()
    files = draw(folder, batch * (STEPS + 1))
    told = Told()
    with told, nullcontext() if way == WAYS[0] else guard(folder, on_device=way == WAYS[2]):
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock),
            get_items=lambda _: files,
            get_y=parent_label,
            splitter=IndexSplitter(range(batch)),
            item_tfms=Resize(32),
            batch_tfms=aug_transforms(),
        )
        device = torch.device("meta")
        dls = block.dataloaders(folder, bs=batch, num_workers=0, device=device)
        network = getattr(torchvision.models, arch)
        counted = Counted(told)
        learn = vision_learner(dls, network, pretrained=False, path=folder, cbs=counted)
        learn.model.to(device)
        learn.unfreeze()
        learn.logger = noop
        learn.remove_cbs(learn.cbs.filter(lambda one: type(one).__name__ == "ProgressCallback"))
        learn.fit(1, 1e-3)
    return counted.steps[1:STEPS]  # the first makes the optimizer's state


def guard(folder: Path, *, on_device: bool) -> Any:
    """Give what a cell of the lesson runs in."""
    from fastmagic.guard import attach
    from fastmagic.guard.session import Session
    from fastmagic.progress import View
    from fastmagic.speed.resident import never
    from fastmagic.speed.shelf import Shelf

    session = Session(7, View(), folder / "states")
    fits = (lambda *_: True) if on_device else never
    shelf = Shelf(folder / "copies", 1e9, 1, fits=fits, note=sys.exit)  # they would be loaded
    session.pictures_for = shelf.pictures_for
    session.batches_for, session.release = shelf.batches_for, shelf.release
    return attach.attached(session)


def main() -> None:
    """Count for each way, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="resnet34")
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    columns = (*PARTS, "together", "waited for")
    print(f"| {asked.arch} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    with tempfile.TemporaryDirectory() as folder:
        for number, way in enumerate(WAYS):
            steps = fit(way, asked.arch, asked.batch, Path(folder) / str(number))
            parts = [round(statistics.median(step[part] for step in steps)) for part in PARTS]
            waits = round(statistics.median(step["answers"] for step in steps))
            print(f"| {way} | {' | '.join(map(str, [*parts, sum(parts), waits]))} |")


if __name__ == "__main__":
    main()
