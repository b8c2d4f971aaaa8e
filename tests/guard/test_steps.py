"""Steps in parts: the gradient of the whole batch, whatever the loss, wherever memory runs out."""

from __future__ import annotations

import copy
import random
from functools import partial

import pytest

pytestmark = pytest.mark.train

from fastmagic.errors import LessonError  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402


def errors():
    import torch

    return {
        "torch's own": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB"),
        "CUDA": RuntimeError("CUDA error: out of memory"),
        "cuBLAS": RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        "the host": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        "Apple's GPU": RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
        "Python": MemoryError("no more"),
    }


class Room:
    """Raises a real error of memory where more pictures come than there is room for."""

    def __init__(self):
        self.most, self.error, self.only = 10_000, None, None

    def take(self, pictures, where):
        if pictures > self.most and self.only in (None, where):
            raise copy.copy(self.error)


def layer(room):
    import torch
    from torch import nn

    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            room.take(len(x), "forward")
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            room.take(len(grad), "backward")
            return grad

    class Layer(nn.Module):
        def forward(self, x):
            return Through.apply(x)

    return Layer()


def make_learner(room, *, loss="mean", norm=False, cbs=(), n=52, bs=16, dropout=0.25):
    import torch
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    from fastai.optimizer import SGD
    from torch import nn
    from torch.utils.data import TensorDataset

    torch.manual_seed(0)
    random.seed(0)
    x = torch.randn(n + 24, 8)
    y = (x[:, 0] > 0).long()
    sets = TensorDataset(x[:n], y[:n]), TensorDataset(x[n:], y[n:])
    dls = DataLoaders.from_dsets(
        *sets, bs=bs, device=torch.device("cpu"), num_workers=0, drop_last=False
    )
    dls.train.drop_last = False
    middle = [nn.BatchNorm1d(16)] if norm else []
    body = nn.Sequential(
        nn.Linear(8, 16), layer(room), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 8)
    )
    head = nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 2))
    losses = {
        "mean": CrossEntropyLossFlat(),
        "sum": CrossEntropyLossFlat(reduction="sum"),
        "weights": CrossEntropyLossFlat(weight=torch.tensor([1.0, 7.0])),
    }
    return Learner(
        dls,
        nn.Sequential(body, head),
        loss_func=losses[loss],
        metrics=accuracy,
        cbs=list(cbs),
        opt_func=partial(SGD, mom=0.9),  # Adam makes much of gradients that are nearly nothing
    )


def train(tmp_path, room, do=lambda learn: learn.fit_one_cycle(2, 1e-2), **options):
    """Train one learner, and give it with its session and what `do` gave."""
    import fastai.callback.schedule  # noqa: F401

    from fastmagic.guard import attach, positions

    session = Session(7, View(), tmp_path)
    with positions.kept_apart(), attach.attached(session):
        learn = make_learner(room, **options)
        given = do(learn)
    return learn, session, given


def apart(one, two) -> float:
    """Give the largest difference of two learners' weights and buffers."""
    a, b = one.model.state_dict(), two.model.state_dict()
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


@pytest.fixture
def room():
    tight = Room()
    tight.error = errors()["torch's own"]
    return tight


def test_a_way_back_that_fails_half_done_and_then_fits_counts_nothing_twice(tmp_path, room):
    whole, _, _ = train(tmp_path / "whole", room)
    room.most, room.only = 8, "backward"  # the layers behind have their gradients by then
    parted, session, _ = train(tmp_path / "parted", room)
    assert apart(whole, parted) < 1e-5
    assert "8 pictures at a time" in session.incidents[0].done


def test_gradients_of_batches_before_survive_several_tries_of_a_way_back(tmp_path, room):
    from fastai.callback.core import Callback
    from fastai.callback.training import GradientAccumulation

    class Tight(Callback):
        def before_batch(self):
            if self.training and self.iter:  # by then there are gradients of the first batch
                room.most, room.only = self.fits, "backward"

        def after_fit(self):
            room.most = 10_000

    def make(fits):
        Tight.fits = fits
        return [GradientAccumulation(n_acc=48), Tight()]

    whole, _, _ = train(tmp_path / "whole", room, cbs=make(10_000))
    parted, session, _ = train(tmp_path / "parted", room, cbs=make(3))
    assert apart(whole, parted) < 1e-5
    assert [one.done.split(" ")[1] for one in session.incidents] == ["8", "4", "2"]


@pytest.mark.parametrize("kind", list(errors()))
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_every_kind_of_error_is_answered_with_parts(tmp_path, room, kind, where):
    whole, _, _ = train(tmp_path / "whole", room)
    room.most, room.error, room.only = 5, errors()[kind], where
    parted, session, _ = train(tmp_path / "parted", room)
    assert apart(whole, parted) < 1e-5
    assert "a batch of 16 did not fit in memory (training)" in session.incidents[0].what
    assert "4 pictures at a time" in " ".join(one.done for one in session.incidents)


@pytest.mark.parametrize("loss", ["mean", "sum", "weights"])
@pytest.mark.parametrize("most", [1, 3, 7])
def test_the_gradient_is_that_of_the_whole_batch_whatever_the_loss(tmp_path, room, loss, most):
    whole, before, _ = train(tmp_path / "whole", room, loss=loss)
    room.most = most
    parted, after, _ = train(tmp_path / "parted", room, loss=loss)
    assert apart(whole, parted) < 1e-5
    losses = zip(before.curve.loss, after.curve.loss, strict=True)
    assert all(abs(a - b) < 1e-4 * max(1, abs(a)) for a, b in losses)
    assert before.curve.rate == after.curve.rate


def test_mixup_clipping_and_accumulation_see_one_batch(tmp_path, room):
    from fastai.callback.core import Callback
    from fastai.callback.mixup import MixUp
    from fastai.callback.training import GradientAccumulation, GradientClip

    seen = []

    class Seen(Callback):
        def before_batch(self):
            seen.append(("before_batch", len(self.xb[0])))

        def after_pred(self):
            seen.append(("after_pred", len(self.pred)))

        def before_step(self):
            seen.append(("before_step", len(self.yb[0])))

        def after_batch(self):
            seen.append(("after_batch", len(self.pred)))

    def callbacks():
        return [MixUp(), GradientClip(0.1), GradientAccumulation(n_acc=32), Seen()]

    whole, _, _ = train(tmp_path / "whole", room, cbs=callbacks())
    events = list(seen)
    seen.clear()
    room.most = 3
    parted, _, _ = train(tmp_path / "parted", room, cbs=callbacks())
    assert apart(whole, parted) < 1e-5
    assert seen == events


def test_batch_norm_of_the_body_sees_parts_and_that_is_said(tmp_path, room):
    whole, _, _ = train(tmp_path / "whole", room, norm=True)
    room.most = 8
    parted, session, _ = train(tmp_path / "parted", room, norm=True)
    assert "batch norm sees 8 at a time" in session.incidents[0].done
    assert 1e-6 < apart(whole, parted) < 0.2


def test_buffers_and_randomness_are_as_before_a_failed_try(tmp_path, room):
    """With parts that are known beforehand nothing fails, and the result is the same to the bit."""
    room.most = 8
    found, session, _ = train(tmp_path / "found", room, norm=True)

    def known(learn):
        learn.watch.session.splits.most = dict(session.splits.most)
        learn.fit_one_cycle(2, 1e-2)

    again, later, _ = train(tmp_path / "known", room, known, norm=True)
    assert apart(found, again) == 0
    assert not later.incidents


@pytest.mark.parametrize("phase", ["lr_find", "validate", "get_preds", "tta"])
def test_every_phase_is_done_in_parts(tmp_path, room, phase):
    def do(learn):
        if phase == "lr_find":
            return learn.lr_find(show_plot=False, num_it=20).valley
        if phase == "tta":
            learn.dls.valid.dataset.set_split_idx = lambda i: __import__("contextlib").nullcontext()
            return learn.tta(n=2)[0]
        return learn.validate() if phase == "validate" else learn.get_preds()[0]

    _, _, whole = train(tmp_path / "whole", room, do)
    room.most = 5
    _, session, parted = train(tmp_path / "parted", room, do)
    assert session.incidents
    if phase == "validate":
        assert list(whole) == pytest.approx(list(parted), rel=1e-5)
    elif phase == "lr_find":
        assert whole == pytest.approx(parted, rel=1e-3)
    else:
        assert float((whole - parted).abs().max()) < 1e-6


def test_an_error_of_another_kind_is_not_swallowed(tmp_path, room):
    room.most, room.error = 5, RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tmp_path, room)


def test_where_not_even_one_picture_fits_it_is_said_with_numbers(tmp_path, room):
    room.most = 0
    with pytest.raises(LessonError, match="Not even one picture") as caught:
        train(tmp_path, room)
    assert "--arch" in caught.value.next_step


def test_memory_that_runs_out_in_the_optimizer_costs_nothing(tmp_path, room):
    from fastai.optimizer import Adam

    calls = {"n": 0}

    def sometimes(p, lr, **_):
        calls["n"] += 1
        if fail and calls["n"] % 7 == 3:
            p.data.add_(1.0)  # half done
            raise errors()["torch's own"]

    def make(params, lr, **options):
        optimizer = Adam(params, lr, **options)
        optimizer.cbs.append(sometimes)
        return optimizer

    def do(learn):
        learn.opt_func = make
        learn.fit_one_cycle(2, 1e-2)

    fail = False
    whole, _, _ = train(tmp_path / "whole", room, do)
    fail = True
    failed, session, _ = train(tmp_path / "failed", room, do)
    assert apart(whole, failed) == 0
    assert "while the weights were updated" in session.incidents[0].what


def test_a_batch_that_fits_is_the_step_that_fastai_does(tmp_path, room):
    """The cut behind the body changes no bit of the step."""
    from fastai.learner import Learner

    def weights(plain):
        learn = make_learner(room, dropout=0.0)
        if plain:
            learn.remove_cbs([one for one in learn.cbs if one.name == "progress"])
        batch = learn.dls.train.one_batch()
        learn.create_opt()
        learn.opt.set_hypers(lr=1e-2)
        learn.model.train()
        learn.training, learn.epoch = True, 0
        learn.xb, learn.yb = batch[:1], batch[1:]
        learn.iter = 0
        (Learner._do_one_batch if plain else type(learn)._do_one_batch)(learn)
        return learn

    from fastmagic.guard import attach

    plain = weights(True)
    with attach.attached(Session(7, View(), tmp_path)):
        ours = weights(False)
    assert apart(plain, ours) == 0


def test_a_loss_that_does_not_hang_on_the_body_teaches_the_rest(tmp_path, room):
    """As in plain fastai: a loss of one weight of the head's, such as a penalty alone."""

    def fit(learn):
        weight = learn.model[1][2].weight
        learn.loss_func = lambda pred, _: weight.square().mean() + 0 * pred.detach().mean()
        before = {name: one.clone() for name, one in learn.model.state_dict().items()}
        learn.fit(1, 0.5)
        now = learn.model.state_dict()
        return {name for name in before if not before[name].equal(now[name])}

    assert "1.2.weight" in train(tmp_path, room, fit)[2]
    room.most = 8  # in parts
    assert "1.2.weight" in train(tmp_path / "parts", room, fit)[2]
