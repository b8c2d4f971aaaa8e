"""Single steps of a learner's own network on its own pictures, as fastai's `fit` would take them.

Nothing here calls `fit`, and no callback is told. `untouched` puts back whatever the steps change.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from fastmagic.guard.snapshot import undone

Kind = Literal["forward", "head", "kept", "frozen", "whole"]
MOST_ITEMS = 16
"""Pictures that are really loaded; a larger batch repeats them, which takes the network as long."""

PIPELINES = ("after_item", "before_batch", "after_batch")


class Steps:
    """Takes steps with a learner's network, loss, transforms and optimizer.

    Parameters
    ----------
    learn
        fastai's learner, within `untouched`.
    device
        Where it trains.
    clock
        Gives seconds.

    Attributes
    ----------
    loading
        Seconds that each picture took to load in this process; the first does not count.
    """

    def __init__(
        self, learn: Any, device: Any, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._learn, self._device, self._clock = learn, device, clock
        self._model, self._dls = learn.model, learn.dls
        self._items: list[Any] = []
        self._seconds: list[float] = []
        for loader in (self._dls.train, self._dls.valid):
            loader.before_iter()  # tells the transforms whether they are to vary the pictures
        self.renew()

    def renew(self) -> None:
        """Make the optimizer anew, on a copy of the learner, and drop every gradient."""
        self._drop_gradients()
        self._twin = copy.copy(self._learn)
        self._twin.opt = None
        self._twin.create_opt()
        self._twin.opt.set_hypers(lr=0.0)  # the weights stay, so that each step is like the first

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What this network can be asked for, the cheapest first."""
        groups = len(self._twin.opt.param_lists)
        frozen: tuple[Kind, ...] = ("frozen",) if groups > 1 else ()
        if not (frozen and self._has_a_head()):
            return ("forward", *frozen, "whole")
        kept: tuple[Kind, ...] = ("kept",) if self._norms() else ()
        return ("forward", "head", *kept, *frozen, "whole")

    @property
    def loading(self) -> float:
        return sum(self._seconds) / len(self._seconds) if self._seconds else 0.0

    def fixed_bytes(self) -> int:
        """Give the bytes of weights, buffers, gradients, and Adam's two averages of them."""
        weights = sum(p.numel() * p.element_size() for p in self._model.parameters())
        buffers = sum(b.numel() * b.element_size() for b in self._model.buffers())
        return 4 * weights + buffers

    def time(self, kind: Kind, pictures: int) -> tuple[float, float]:
        """Take one step.

        Parameters
        ----------
        kind
            A look without training, a step of the head on features that are there, one with the
            body and its batch norms frozen, one with the body frozen, or one of the whole network.
        pictures
            In the batch.

        Returns
        -------
        computing, updating
            Seconds, for the pictures, and for the optimizer, which do not depend on them.
        """
        import torch

        batch = self._batch(pictures)
        training = kind != "forward"
        self._model.train(training)
        self._drop_gradients()
        if training:
            self._twin.opt.freeze_to(0 if kind == "whole" else -1)
        if kind == "kept":
            self._keep_batch_norm()
        with torch.set_grad_enabled(training):
            network, batch = self._network(kind, batch)
            began = self._now()
            loss = self._loss(network, batch, kind)
            if training:
                loss.backward()
            computed = self._now()
            if not training:
                return computed - began, 0.0
            self._twin.opt.step()
        return computed - began, self._now() - computed

    def _network(self, kind: Kind, batch: Any) -> tuple[Any, Any]:
        """Give what is timed and what goes into it: the features, for the head alone."""
        import torch

        if kind != "head":
            return self._model, batch
        pictures, targets = self._ready(batch, self._dls.valid)
        with torch.no_grad(), self._autocast():
            features = tuple(self._model[0](x) for x in pictures)
        return self._model[1], (*features, *targets)

    def _loss(self, network: Any, batch: Any, kind: Kind) -> Any:
        inputs = len(batch) - 1
        if kind == "head":
            given, targets = batch[:inputs], batch[inputs:]
        else:
            loader = self._dls.valid if kind == "forward" else self._dls.train
            given, targets = self._ready(batch, loader)
        with self._autocast():
            predicted = network(*given)
            predicted = predicted.float() if predicted.is_floating_point() else predicted
            return self._learn.loss_func(predicted, *targets)

    def _ready(self, batch: Any, loader: Any) -> tuple[Any, Any]:
        """Transform a batch as the loader does, and part it into inputs and targets."""
        ready = loader.after_batch(batch)
        inputs = getattr(self._dls, "n_inp", max(1, len(ready) - 1))
        return ready[:inputs], ready[inputs:]

    def _batch(self, pictures: int) -> Any:
        from fastai.torch_core import to_device

        self._load(min(pictures, MOST_ITEMS))
        times = -(-pictures // len(self._items))
        batch = self._dls.train.do_batch((self._items * times)[:pictures])
        return to_device(batch, self._device)

    def _load(self, pictures: int) -> None:
        """Load pictures evenly from the training set, as many as are not there yet."""
        loader = self._dls.train
        stride = max(1, loader.n // MOST_ITEMS)
        while len(self._items) < pictures:
            began = self._clock()
            item = loader.do_item(len(self._items) * stride % loader.n)
            if self._items:  # the first one opens what all of them use
                self._seconds.append(self._clock() - began)
            self._items.append(item)

    def _norms(self) -> list[Any]:
        """Give the weights of the body's batch norms and the like."""
        from fastai.torch_core import norm_bias_params

        return list(norm_bias_params(self._model[0], with_bias=False))

    def _keep_batch_norm(self) -> None:
        """Freeze the body's batch norms too, as `lesson.additions.batch_norm` does."""
        for parameter in self._norms():
            parameter.requires_grad_(False)
        self._model[0].eval()

    def _has_a_head(self) -> bool:
        from torch import nn

        return isinstance(self._model, nn.Sequential) and len(self._model) == 2

    def _autocast(self) -> Any:
        import torch

        from fastmagic.lesson.additions.precomputed import half_precision_of

        half = half_precision_of(self._learn)
        kind = self._device.type
        on = half is not None and (kind == "cuda" or (kind, half) == ("cpu", torch.bfloat16))
        return torch.autocast(kind, half) if on else contextlib.nullcontext()

    def _drop_gradients(self) -> None:
        for parameter in self._model.parameters():
            parameter.grad = None

    def _now(self) -> float:
        """Give the time when all that was queued on the device is done."""
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return self._clock()


@contextlib.contextmanager
def untouched(learn: Any, device: Any) -> Iterator[None]:
    """Let steps be taken on a device, and leave the learner and its loaders as they were.

    Weights, buffers, gradients, what is frozen, modes, optimizer and random generators are put back
    by `guard.snapshot.undone`; here it is where the network lies, buffers that are not saved, and
    the loaders' generators and transforms.

    Parameters
    ----------
    learn
        fastai's learner.
    device
        Where it will train; `fit` would move it there too.
    """
    with undone(learn), _loaders_kept(learn.dls), _moved(learn, device):
        buffers = [(buffer, buffer.clone()) for buffer in learn.model.buffers()]
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)


@contextlib.contextmanager
def _moved(learn: Any, device: Any) -> Iterator[None]:
    import torch

    before = next((p.device for p in learn.model.parameters()), device)
    movable = [one for one in (learn.model, learn.loss_func) if hasattr(one, "to")]
    state = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        for one in movable:
            one.to(device)
        yield
    finally:
        for one in movable:
            one.to(before)
        if state is not None:
            torch.mps.set_rng_state(state)


@contextlib.contextmanager
def _loaders_kept(loaders: Any) -> Iterator[None]:
    """Put back the loaders' generators, and what their transforms drew last."""
    each = list(loaders.loaders)
    generators = [(loader.rng, loader.rng.getstate()) for loader in each]
    pipelines = [getattr(loader, name, None) for loader in each for name in PIPELINES]
    steps = [step for pipeline in pipelines for step in getattr(pipeline, "fs", ())]
    kept = [
        (vars(one), dict(vars(one))) for one in (*pipelines, *steps) if hasattr(one, "__dict__")
    ]
    try:
        yield
    finally:
        for loader, (generator, state) in zip(each, generators, strict=True):
            generator.setstate(state)
            loader.rng = generator
        for now, before in kept:
            now.clear()
            now.update(before)
