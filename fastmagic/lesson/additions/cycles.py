"""Train in cycles that each start again at the full rate ("SGDR", warm restarts).

fastai's own `fit_sgdr` cannot make cycles of equal length: its `cycle_mult=1` divides by zero.
"""

from contextlib import contextmanager
from typing import Any

import numpy as np
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler, SchedCos, combine_scheds
from fastai.torch_basics import Transform
from fastai.torch_core import TensorImage
from fastcore.foundation import L
from torch.nn.functional import interpolate

SHARES = ((0.4, 1 / 2), (0.7, 3 / 4))
"""Up to this share of the epochs, pictures have that share of their side; then all of it."""

LEAST = 64
"""Pixels that a side keeps: networks made for photographs see little in less, or fail."""


def fit_cycles(
    learn: Any,
    n_cycles: int,
    lr: Any = None,
    cycle_len: int = 1,
    cycle_mult: int = 1,
    wd: float | None = None,
    cbs: Any = None,
    reset_opt: bool = False,
    small_first: bool = False,
) -> None:
    """Train `n_cycles` cycles, in each of which the rate falls from `lr` to nothing, by a cosine.

    The first takes `cycle_len` epochs, and each next one `cycle_mult` times as many: (3, 1, 2) are
    1 + 2 + 4 epochs. `lr` is one rate, a slice or a list of rates, as elsewhere in fastai.

    With `small_first` the first epochs train on smaller pictures, which takes a quarter to a half
    of the time; the last ones, and all validation, see whole ones ("progressive resizing").
    """
    if learn.opt is None:
        learn.create_opt()
    learn.opt.set_hyper("lr", learn.lr if lr is None else lr)
    rates = np.array([hyper["lr"] for hyper in learn.opt.hypers])
    lengths = [cycle_len * cycle_mult**cycle for cycle in range(n_cycles)]
    shares = [length / sum(lengths) for length in lengths]
    shares[-1] = 1 - sum(shares[:-1])  # in floats, ten times a tenth is not quite one
    falling = combine_scheds(shares, [SchedCos(rates, 0) for _ in lengths])
    schedule = ParamScheduler({"lr": falling})
    with small_pictures(learn.dls.train, small_first) as growing:
        learn.fit(sum(lengths), cbs=schedule + growing + L(cbs), reset_opt=reset_opt, wd=wd)


@contextmanager
def small_pictures(loader: Any, wanted: bool) -> Any:
    """Let a loader reduce its pictures within the block, as far as the callback it gives says."""
    if not wanted:
        yield L()
        return
    reduce, pipeline = Reduce(), loader.after_batch
    before = L(list(pipeline.fs))
    pipeline.add([reduce])
    try:
        yield L(Grow(reduce))
    finally:
        pipeline.fs = before


class Reduce(Transform):
    """Reduces a batch of pictures, `[n, channels, height, width]`, before it is augmented."""

    order, split_idx = 11, 0  # after the bytes have become floats; in training alone
    share = 1.0

    def encodes(self, x: TensorImage) -> Any:
        """Give the pictures with that share of their sides; small ones stay as they are."""
        size = [max(round(self.share * side), min(side, LEAST)) for side in x.shape[-2:]]
        if size == list(x.shape[-2:]):
            return x
        return interpolate(x, size, mode="bilinear", antialias=True)


class Grow(Callback):
    """Says before each epoch how large its pictures are."""

    def __init__(self, reduce: Reduce) -> None:
        self.reduce = reduce

    def before_epoch(self) -> None:
        """Look up the epoch's share."""
        done = self.epoch / self.n_epoch
        self.reduce.share = next((share for until, share in SHARES if done < until), 1)
