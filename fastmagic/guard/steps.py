"""One step of a learner, in parts where the whole batch does not fit in memory.

The network is cut in two: its body, which holds nearly all the memory, and the rest with the loss.
For a network that is not a body and a head the cut lies behind its last layer. What comes out at
the cut (the features) is taken as a leaf of its own, so the backward pass has two halves: the loss
back to the features, then the features back through the body. Where a half runs out of memory it
is done again in parts, and only what that half has changed is put back. No event of the step is
repeated, so callbacks see one batch, and the loss is computed once, of the whole batch. That makes
it right for every loss: mean, sum, class weights, MixUp, or one that compares pictures.

In parts, the body runs without gradients first, part by part, which gives the features; then, with
the gradient of the loss at the features, part by part again with gradients ("checkpointing").
Dropout is drawn for the whole batch, so it is the same in both runs, and as in a whole step. Batch
norms in the body see one part at a time, which is all that differs from the whole step; their
averages move as once, by the mean over the parts. Those in the head see the whole batch.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from fastmagic.errors import LessonError
from fastmagic.guard.anatomy import Anatomy, Kept
from fastmagic.guard.memory import Attempt
from fastmagic.guard.parts import (
    Averaged,
    WholeDropout,
    go_back,
    joined,
    pictures_of,
    replaced,
    split,
    stands_for,
    tensors_of,
)
from fastmagic.guard.splits import DoesNotFit, Splits, key_of, not_even_one
from fastmagic.ranks.team import Team
from fastmagic.speed.together import Zeroed


class Step:
    """One batch on its way through a learner.

    Parameters
    ----------
    learn
        fastai's learner, with `xb` and `yb` set.
    anatomy
        What its network is made of.
    splits
        What is known of the parts that fit.
    zeroed
        The gradients that are known to be zero.
    team
        The processes that share each batch.
    also
        Called where another process needs parts, with the pictures here and those of a part.
    cuts
        Whether the way back may have two halves; where a learner goes back in its own way, the
        network stays in one piece, and a batch that does not fit is an error as without us.
    """

    def __init__(
        self,
        learn: Any,
        anatomy: Anatomy,
        splits: Splits,
        zeroed: Zeroed | None = None,
        team: Team | None = None,
        also: Callable[[int, int], None] = lambda pictures, part: None,  # noqa: ARG005
        cuts: bool = True,
    ) -> None:
        self.learn = learn
        self.cuts = cuts
        self.splits = splits
        self.team = team or Team()
        self.also = also
        self.met = False  # with the others of the team, on this batch
        self.apart = learn.model  # what saw the pictures of this process alone
        self.anatomy = anatomy
        self.zeroed = zeroed or Zeroed()
        self.body = anatomy.body
        self.pictures = pictures_of(learn.xb)
        self.key = key_of(learn, learn.model, learn.xb, learn.training, anatomy.parameters)
        self.leaves: list[Any] = []
        self.given: list[Any] = []  # to the head, for the leaves
        self.out: Any = None  # of the whole body, with its graph
        self.went_back = False  # through the body too
        self.began: Any = None  # the generators before the forward pass
        self.generators: list[Any] = []  # before each of its parts
        self.autocast = _autocast(anatomy.device.type)

    @functools.cached_property
    def dropped(self) -> WholeDropout:
        """What draws the body's dropout for the whole batch where it runs in parts."""
        return WholeDropout(self.body, self.pictures)

    def forward(self) -> Any:
        """Give the network's predictions for the whole batch.

        Raises
        ------
        LessonError
            Where not even one picture fits.
        """
        if not self.cuts:
            return self._gathered(self.learn.model(*self.learn.xb))
        parts = self.splits.parts(self.key, self.pictures)
        before = _Before(self.learn, self.anatomy)
        self.began = before.generators
        while True:
            with Attempt() as tried:
                return self._gathered(self._whole() if parts == 1 else self._in_parts(parts))
            if self.met and tried.trouble is not None:  # the others are further by now
                raise tried.trouble
            self.out, self.leaves, self.given = None, [], []
            before.put_back()
            parts = self._more(parts, tried)

    def _gathered(self, pred: Any) -> Any:
        """Give what the network says of the whole batch, where the head did not see it already."""
        if self.team.alone or self.met:
            return pred
        self._meet()
        return self.team.whole(pred)

    def targets(self) -> Any:
        """Give what the pictures of the whole batch are; call it after `forward`."""
        yb = self.learn.yb
        if self.team.alone or not len(yb):
            return yb
        self._mixed()
        return self.team.whole(yb)

    def _mixed(self) -> None:
        """Let MixUp and CutMix know what every process has mixed, and by which share."""
        import torch
        from fastai.callback.mixup import MixHandler

        for one in self.learn.cbs:
            if isinstance(one, MixHandler) and self.learn.training:
                share = torch.as_tensor(one.lam, dtype=torch.float32, device=self.learn.x.device)
                one.yb1 = self.team.whole(one.yb1)
                one.lam = self.team.whole(share.expand(self.pictures))

    def _meet(self) -> None:
        """Tell the others of the team what this one needed, and do as the neediest from now on."""
        here = self.splits.parts(self.key, self.pictures)
        parts = self.team.meet(self._share(), here)
        self.met = True
        if parts > here:
            self.splits.most[self.key] = most = -(-self.pictures // parts)
            self.also(self.pictures, most)

    def _share(self) -> int:
        """Give how many of the pictures here count: none where the batch has too few for all."""
        loader, team = self.learn.dl, self.team
        left = loader.n - self.learn.iter * loader.bs
        begin, end = team.share(min(left, loader.bs))
        return min(self.pictures, end - begin)

    def _joined(self, features: Any) -> Any:
        """Give the head the whole batch's features, of which this one's alone have a graph."""
        if self.team.alone or self.body is self.learn.model:
            return features
        self._meet()
        self.apart = self.body
        return self.team.whole(features)

    def backward(self, loss: Any) -> None:
        """Compute the gradient of the whole batch: from the loss to the features, and on."""
        with self.zeroed.left_out(self.anatomy.parameters):
            self._back(loss)

    def _back(self, loss: Any) -> None:
        if not self.leaves:
            loss.backward()
            return
        self._to_features(loss)
        self._through_the_body()

    @property
    def is_half_way(self) -> bool:
        """Whether a callback has gone back from the loss by itself, and so to the cut alone."""
        return not self.went_back and any(leaf.grad is not None for leaf in self.leaves)

    def finish(self) -> None:
        """Go back through the body from there."""
        if not self.is_half_way:
            return
        with self.zeroed.left_out(self.anatomy.of_body):
            self._through_the_body()

    def _through_the_body(self) -> None:
        self.went_back = True
        grads = [leaf.grad for leaf in self.leaves]
        kept = _Grads(self.anatomy.of_body)
        if self.out is not None:
            outs, self.out = self.out, None
            with Attempt() as tried:
                go_back(outs, grads)
                return
            del outs
            kept.put_back()  # some layers had theirs already
            parts = self._more(1, tried)
        else:
            parts = self.splits.parts(self.key, self.pictures)
        self._back_in_parts(grads, kept, parts)

    def _to_features(self, loss: Any) -> None:
        kept = _Grads(self.anatomy.parameters)
        with Attempt() as tried:
            loss.backward(retain_graph=True)
            self._let_go()
            return
        if self.out is None and tried.trouble is not None:
            raise tried.trouble
        kept.put_back()
        for leaf in self.leaves:
            leaf.grad = None
        self.out = None  # makes room: the body will be run again in parts
        self._more(1, tried)
        loss.backward()

    def _let_go(self) -> None:
        """Free the memory of the way back that is done: fastai holds its end to the next batch."""
        learn = self.learn
        for name in ("pred", "loss_grad", "loss"):
            one: Any = getattr(learn, name, None)
            if not hasattr(one, "detach_"):
                continue  # several predictions, say
            try:
                one.detach_()  # it stays the same object
            except RuntimeError:  # a view of another tensor
                setattr(learn, name, one.detach())

    def _back_in_parts(self, grads: list[Any], kept: _Grads, parts: int) -> None:
        before = _Before(self.learn, self.anatomy)
        while True:
            with Attempt() as tried, _same_buffers(self.body):
                self._run_back(grads, parts)
                return
            kept.put_back()
            before.put_back()
            self.generators = []
            parts = self._more(parts, tried)

    def _run_back(self, grads: list[Any], parts: int) -> None:
        import torch

        begin = 0
        after = _generators(self.anatomy.device)
        _set_generators(self.began)
        for number, inputs in enumerate(split(self.learn.xb, parts)):
            if number < len(self.generators):
                _set_generators(self.generators[number])
            self.dropped.begin(pictures_of(inputs), begin)
            with torch.enable_grad(), self.autocast(), self.dropped:
                outs = tensors_of(self.body(*inputs))
            end = begin + pictures_of(inputs)
            go_back(outs, [None if grad is None else grad[begin:end] for grad in grads])
            begin = end
        _set_generators(after)

    def _whole(self) -> Any:
        """Run the network as it is, and cut behind its body where a gradient will be needed."""
        import torch

        if not torch.is_grad_enabled():
            return self.learn.model(*self.learn.xb)
        handle = self.body.register_forward_hook(self._cut)
        try:
            pred = self.learn.model(*self.learn.xb)
        finally:
            handle.remove()
        for out, given in zip(self.out or (), self.given, strict=False):
            if given._version:  # changed in its place: torch shall know, if the body still needs it
                torch.autograd.graph.increment_version(out)
        return pred

    def _cut(self, module: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG002 - torch's form
        tensors = tensors_of(output)
        if not tensors or not any(one.requires_grad for one in tensors):
            # frozen, or of a form that we do not know: the graph stays in one piece
            return self._joined(output) if tensors else output
        self.out = [one for one in tensors if one.requires_grad]
        return self._joined(replaced(output, self._leaf))

    def _leaf(self, tensor: Any) -> Any:
        if not tensor.requires_grad:
            return tensor
        leaf = tensor.detach().requires_grad_()
        self.leaves.append(leaf)
        self.given.append(_same()(leaf))
        return self.given[-1]

    def _in_parts(self, parts: int) -> Any:
        """Run the body in parts without gradients, and the rest on the whole batch."""
        import torch

        outs = []
        self.generators = []
        self.dropped = WholeDropout(self.body, self.pictures)
        with torch.no_grad(), self.dropped, Averaged(self.body, self.pictures) as averaged:
            for inputs in split(self.learn.xb, parts):
                self.generators.append(_generators(self.anatomy.device))
                self.dropped.begin(pictures_of(inputs))
                with averaged.of(pictures_of(inputs)):
                    outs.append(self.body(*inputs))
        features = joined(outs)
        trains = torch.is_grad_enabled() and any(p.requires_grad for p in self.body.parameters())
        if trains:
            features = replaced(features, lambda one: self._leaf(one.requires_grad_()))
        if self.body is self.learn.model:
            return features
        features = self._joined(features)
        with stands_for(self.body, features):
            return self.learn.model(*self.learn.xb)

    def _more(self, parts: int, tried: Attempt) -> int:
        norms = self.learn.training and _has_norms(self.body)
        try:
            return self.splits.halve(self.key, self.pictures, parts, tried.seconds, norms=norms)
        except DoesNotFit:
            said = not_even_one(self.learn.model, self.learn.xb, tried.trouble)
            raise LessonError(*said) from tried.trouble


@functools.cache
def _same() -> Callable[[Any], Any]:
    """Give what stands for a leaf: the same numbers, which a head may change in their place."""
    import torch

    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, leaf: Any) -> Any:  # noqa: ARG004 - torch's form
            return leaf.data

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:  # noqa: ARG004
            return grad

    return Same.apply


class _Before:
    """What a forward pass changes: buffers, and the random generators."""

    def __init__(self, learn: Any, anatomy: Anatomy) -> None:
        self._buffers = Kept(anatomy.buffers if learn.training else [])
        self.generators = _generators(anatomy.device)

    def put_back(self) -> None:
        self._buffers.put_back()
        _set_generators(self.generators)


class _Grads:
    """The gradients of parameters before a backward pass."""

    def __init__(self, parameters: list[Any]) -> None:
        self._grads = [
            (p, None if p.grad is None else p.grad.clone()) for p in parameters if p.requires_grad
        ]

    def put_back(self) -> None:
        for parameter, grad in self._grads:
            if grad is None:
                parameter.grad = None
            else:
                parameter.grad.copy_(grad)  # what is kept may be needed again


@contextlib.contextmanager
def _same_buffers(module: Any) -> Iterator[None]:
    """Leave a module's buffers as the forward pass left them: they were averaged there."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _generators(device: Any) -> tuple[Any, Any]:
    import torch

    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), (device, on_gpu)


def _set_generators(states: tuple[Any, Any]) -> None:
    import torch

    torch.set_rng_state(states[0])
    device, on_gpu = states[1]
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu, device)


def _autocast(device: str) -> Callable[[], Any]:
    """Give what enters the autocast that is on now: the second run needs it when it is off."""
    import torch

    try:
        on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    except (TypeError, RuntimeError):  # before torch 2.4, or a device that has none
        return contextlib.nullcontext
    return lambda: torch.autocast(device, dtype=dtype, enabled=on)


def _has_norms(module: Any) -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(one, _BatchNorm) and one.training for one in module.modules())
