"""Train in cycles that each start again at the full rate ("SGDR", warm restarts).

fastai's own `fit_sgdr` cannot make cycles of equal length: its `cycle_mult=1` divides by zero.
"""

from typing import Any

import numpy as np
from fastai.callback.schedule import ParamScheduler, SchedCos, combine_scheds
from fastcore.foundation import L


def fit_cycles(
    learn: Any,
    n_cycles: int,
    lr: Any = None,
    cycle_len: int = 1,
    cycle_mult: int = 1,
    wd: float | None = None,
    cbs: Any = None,
    reset_opt: bool = False,
) -> None:
    """Train `n_cycles` cycles, in each of which the rate falls from `lr` to nothing, by a cosine.

    The first takes `cycle_len` epochs, and each next one `cycle_mult` times as many: (3, 1, 2) are
    1 + 2 + 4 epochs. `lr` is one rate, a slice or a list of rates, as elsewhere in fastai.
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
    learn.fit(sum(lengths), cbs=schedule + L(cbs), reset_opt=reset_opt, wd=wd)
