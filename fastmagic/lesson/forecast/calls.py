"""What each method of a learner has to do: fastai's own and the lesson's additions (pure).

The signatures are those of fastai 2.8 (`learner.py`, `callback/schedule.py`) and of
`lesson/additions`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastmagic.lesson.forecast.constants import UNKNOWN, Names, value_of

Layers = Literal["frozen", "kept", "whole", "precomputed"]
"""What trains: the head and the batch norms of a frozen network; the head alone, the batch norms
kept; the whole network; the head on features that are there."""

Kind = Literal["frozen", "kept", "whole", "features", "precomputed", "lr_find", "predict"]


@dataclass(frozen=True)
class Work:
    """Something that takes time.

    Attributes
    ----------
    kind
        `frozen`, `kept`, `whole` and `precomputed` are training, as of `Layers`; `features` is a
        pass of all pictures through the frozen body; `predict` is looking at the validation
        pictures.
    amount
        Epochs of training, steps of `lr_find`, or passes.
    layers
        What trains in `lr_find`; `precomputed` where a `predict` looks at kept features.
    most
        How many training pictures are used at most, where features are kept; 0 for all.
    pixels
        The share of the pixels that training sees, on average over the epochs.
    """

    kind: Kind
    amount: int
    layers: Layers | Literal[""] = ""
    most: int = 0
    pixels: float = 1.0


SMALL_FIRST = ((0.4, 1 / 2), (0.7, 3 / 4))
"""As `additions.cycles` has it, which cannot be imported without torch."""


class Unread(Exception):
    """Something that cannot be known without running it."""


GIVES_IT_BACK = frozenset(
    {
        *("load", "load_encoder", "add_cb", "add_cbs", "remove_cb", "remove_cbs"),
        *("to_fp16", "to_bf16", "to_fp32", "to_channelslast", "to_contiguous"),
        *("no_bar", "no_logging", "no_mbar", "added_cbs", "removed_cbs"),
    }
)
"""Methods that give the learner back, or hand it to a `with`; they take next to no time."""

HARMLESS = GIVES_IT_BACK | {
    *("save", "export", "create_opt", "summary", "predict", "show_results", "show_training_loop"),
    *("ordered_cbs", "keep_batch_norm", "freeze", "unfreeze", "freeze_to"),
}
"""Methods that take next to no time; what the last four do is followed in `reading`."""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "fit": ("n_epoch", "lr", "wd", "cbs", "reset_opt", "start_epoch"),
    "fit_one_cycle": (
        *("n_epoch", "lr_max", "div", "div_final", "pct_start", "wd", "moms", "cbs", "reset_opt"),
        "start_epoch",
    ),
    "fit_flat_cos": ("n_epoch",),
    "fine_tune": ("epochs", "base_lr", "freeze_epochs"),
    "fit_sgdr": ("n_cycles", "cycle_len", "lr_max", "cycle_mult"),
    "fit_cycles": (
        *("n_cycles", "lr", "cycle_len", "cycle_mult", "wd", "cbs", "reset_opt", "small_first"),
    ),
    "lr_find": ("start_lr", "end_lr", "num_it"),
    "tta": ("ds_idx", "dl", "n", "item_tfms", "batch_tfms", "beta", "use_max"),
    "validate": ("ds_idx", "dl"),
    "get_preds": ("ds_idx", "dl"),
    "show_rights_and_wrongs": ("n",),
    "show_confusion": (),
    "precomputed": ("most", "seed"),
}
"""The parameters of each method that takes time, as far as they may matter here."""


def works_of(method: str, call: ast.Call, names: Names, layers: Layers) -> list[Work]:
    """Say what a call of a learner's method has to do.

    Parameters
    ----------
    method
        Its name, such as `fit_one_cycle`.
    call
        The call.
    names
        The values of names, as far as they are known.
    layers
        What would train now.

    Raises
    ------
    Unread
        Where that cannot be known.

    Examples
    --------
    >>> call = ast.parse("learn.fine_tune(3)", mode="eval").body
    >>> works_of("fine_tune", call, {}, "frozen")  # doctest: +ELLIPSIS
    [Work(kind='frozen', amount=1, ...), Work(kind='whole', amount=3, ...)]
    """
    if method in HARMLESS:
        return []
    if method not in PARAMETERS or method == "precomputed":  # which belongs to a `with`
        raise Unread(f"what `learn.{method}` does")
    given = _arguments(call, PARAMETERS[method], names)
    if method == "fine_tune":
        if layers == "precomputed":
            raise Unread("what `fine_tune` does with precomputed features")
        before = Work("frozen", _count(given, "freeze_epochs", 1))
        return [before, Work("whole", _count(given, "epochs"))]
    if method == "lr_find":
        return [Work("lr_find", max(6, _count(given, "num_it", 100)), layers)]
    if method.startswith("fit"):
        epochs = _epochs(method, given)
        return [Work(layers, epochs, pixels=_pixels(epochs, given.get("small_first", False)))]
    return [_looks(method, given, layers)]


def features_of(call: ast.Call, names: Names, layers: Layers) -> Work:
    """Say what entering `with learn.precomputed()` has to do.

    Raises
    ------
    Unread
        Where that cannot be known, or fails.
    """
    if layers not in ("frozen", "kept"):
        raise Unread("what `precomputed` does with a network that is not frozen")
    given = _arguments(call, PARAMETERS["precomputed"], names)
    unlimited = given.get("most") is None
    return Work("features", 1, most=0 if unlimited else _count(given, "most"))


def _arguments(call: ast.Call, parameters: Sequence[str], names: Names) -> dict[str, Any]:
    """Give what is passed by name; a star hides what it passes, so everything may be unknown."""
    if any(isinstance(one, ast.Starred) for one in call.args):
        return dict.fromkeys(parameters, UNKNOWN)
    hidden = any(keyword.arg is None for keyword in call.keywords)
    given: dict[str, Any] = dict.fromkeys(parameters, UNKNOWN) if hidden else {}
    for name, node in zip(parameters, call.args, strict=False):
        given[name] = value_of(node, names)
    for keyword in call.keywords:
        if keyword.arg is not None:
            given[keyword.arg] = value_of(keyword.value, names)
    return given


def _count(given: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**6:
        raise Unread(f"how large `{name}` is")
    return value


def _epochs(method: str, given: Mapping[str, Any]) -> int:
    if method == "fit_flat_cos":
        return _count(given, "n_epoch")
    if method in ("fit", "fit_one_cycle"):
        return max(0, _count(given, "n_epoch") - _count(given, "start_epoch", 0))
    cycles = _count(given, "n_cycles")
    equal = method == "fit_cycles"
    length = _count(given, "cycle_len", 1 if equal else None)
    times = _count(given, "cycle_mult", 1 if equal else 2)
    if cycles > 30 or (times == 1 and not equal):  # fastai's own fit_sgdr divides by zero there
        raise Unread(f"how many epochs `{method}` trains")
    return sum(length * times**cycle for cycle in range(cycles))


def _pixels(epochs: int, small_first: Any) -> float:
    """Give the share of the pixels that is trained on where the first epochs see small pictures."""
    if not isinstance(small_first, bool):
        raise Unread("whether `small_first` is set")
    sides = [
        next((side for until, side in SMALL_FIRST if epoch / epochs < until), 1.0)
        for epoch in range(epochs if small_first else 0)
    ]
    return sum(side**2 for side in sides) / len(sides) if sides else 1.0


def _looks(method: str, given: Mapping[str, Any], layers: Layers) -> Work:
    """Count the passes over the validation pictures."""
    if given.get("ds_idx", 1) != 1 or given.get("dl") is not None:
        raise Unread(f"how many pictures `{method}` looks at")
    if layers == "precomputed":
        if method not in ("validate", "get_preds", "show_confusion"):
            raise Unread(f"what `{method}` does with precomputed features")
        return Work("predict", 1, "precomputed")
    return Work("predict", _count(given, "n", 4) + 1 if method == "tta" else 1)
