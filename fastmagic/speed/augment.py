"""fastai's augmentation, drawn by the processor: of each picture it is a handful of numbers.

fastai draws them where the pictures are, and makes its matrices there: over 300 operations on 64
numbers each for `aug_transforms()`, which a GPU spends longer being told of than computing, and a
`solve` that it waits for. Here the same functions of fastai are given a stand-in on the processor,
and only what comes of it goes to the pictures. It also waits for two answers of the GPU, which are
known beforehand but for odd cases: those are left to it. Every number stays the same.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from functools import partial
from typing import Any

from fastai.torch_core import TensorImage
from fastai.vision import augment
from fastai.vision.augment import AffineCoordTfm, SpaceTfm

from fastmagic.speed.brought import brought

MATRICES = (augment.flip_mat, augment.dihedral_mat, augment.rotate_mat, augment.zoom_mat)
"""Fastai's, which look at a batch's shape and type alone."""

CHANGES = tuple(
    getattr(augment, name)
    for name in ("_BrightnessLogit", "_ContrastLogit", "_SaturationLogit", "_Hue")
    if hasattr(augment, name)
)
"""Fastai's changes of light and colour, each with one number a picture in `change`."""

BILINEAR = "bilinear"
"""How fastai looks pictures up, where it waits for the GPU."""

NEVER_ZERO = 0.99
"""A sum whose parts other than 1 stay below this is not zero, whatever the rounding."""

NOTHING = object()
"""What stands for an attribute that an object does not have of its own."""


def by_host(step: Any) -> Callable[[], None] | None:
    """Let a transform draw on the processor from now on.

    Parameters
    ----------
    step
        A transform of batches.

    Returns
    -------
    callable or None
        What makes it as it was; None for a transform that is left alone: another one than fastai's,
        or one whose draws the person has replaced by a function, which may look at the pictures.

    Examples
    --------
    >>> undo = by_host(augment.Rotate())
    >>> undo is None, by_host(augment.Rotate(draw=lambda x: x.mean(dim=(1, 2, 3)))) is None
    (False, True)
    """
    before = vars(step).get("before_call", NOTHING)
    own = before is NOTHING or getattr(before, "__func__", None) is type(step).before_call
    if not own or not _is_known(step):
        return None
    warps = [one for one in getattr(step, "coord_fs", ()) if type(one) is augment._WarpCoord]
    step.before_call = Drawing(step)
    samples = isinstance(step, AffineCoordTfm) and "_encode" not in vars(step)
    if samples:
        step._encode = Sampling(step)
    for one in warps:
        one.__class__ = Warped

    def undo() -> None:
        del step.before_call
        if before is not NOTHING:
            step.before_call = before
        if samples:
            del step._encode
        for one in warps:
            one.__class__ = augment._WarpCoord
            vars(one).pop("_reach", None)

    return undo


class Standing:
    """Stands for a method of a transform, which is `step`; pickled, it is that method again."""

    method = ""

    def __init__(self, step: Any) -> None:
        self._step = step

    def __reduce__(self) -> Any:
        return getattr, (self._step, self.method)  # exported in the body: fastai's own


class Drawing(Standing):
    """Stands for a transform's `before_call`, in which fastai draws."""

    method = "before_call"

    def __call__(self, b: Any, split_idx: Any = None) -> None:
        """Draw for a batch of pictures, `[batch, channels, height, width]`."""
        import torch

        while isinstance(b, tuple):
            b = b[0]
        step = self._step
        if b.ndim != 4:
            type(step).before_call(step, b, split_idx)
            return
        stand_in = torch.empty(1, dtype=b.dtype).expand(b.shape)  # of its numbers none is read
        with (
            torch._C.DisableTorchFunctionSubclass()
        ):  # whose every operation takes five times as long
            type(step).before_call(step, stand_in, split_idx)
        if isinstance(step, AffineCoordTfm):
            first = next(iter(step.coord_fs), None)
            if type(first) is Warped:
                first._reach = step.mat.abs().sum(dim=2)
            step.mat = brought(step.mat, b.device)
            return
        for one in step.fs:
            one.change = brought(one.change, b.device)


class Sampling(Standing):
    """Stands for a transform's `_encode`, which looks pictures up at other places.

    fastai asks the GPU how far the places are apart, and waits for the answer, which counts only
    for pictures that become less than half as large (2.8, `_grid_sample`).
    """

    method = "_encode"

    def __call__(self, x: Any, mode: str, reverse: bool = False) -> Any:
        """Look pictures up, `[batch, channels, height, width]`."""
        import torch
        from torch.nn import functional

        step, ends = self._step, {"align_corners": self._step.align_corners}
        asked = tuple(x.shape[-2:]) if step.size is None else step.size
        size = (asked, asked) if isinstance(asked, int) else tuple(asked)
        across = 2  # places have two numbers each, which fastai takes for their width
        smaller = min(x.shape[-2] / size[1], x.shape[-1] / across) / 2 > 1
        if type(x) is not TensorImage or mode != BILINEAR or smaller or reverse:
            return type(step)._encode(step, x, mode, reverse)
        with torch._C.DisableTorchFunctionSubclass():
            places = functional.affine_grid(step.mat, [*x.shape[:2], *size], **ends)
            for one in () if step.split_idx else step.coord_fs:
                places = one(places)
            found = functional.grid_sample(x, places, mode, padding_mode=step.pad_mode, **ends)
        found = found.as_subclass(TensorImage)
        found.set_meta(x, as_copy=True)
        return found


class Warped(augment._WarpCoord):
    """fastai's warp, whose equations are solved where its corners were drawn."""

    _reach: Any = None  # of x and of y of each picture at most, `[batch, 2]`; None where not known

    def __call__(self, x: Any, invert: bool = False) -> Any:
        """Warp coordinates, `[batch, height, width, 2]`."""
        import torch

        corners = self.orig_pts, self.targ_pts
        with torch._C.DisableTorchFunctionSubclass():
            coeffs = augment.find_coeffs(*(reversed(corners) if invert else corners))
            if self._can_be_infinite(coeffs):
                return augment.apply_perspective(x, brought(coeffs, x.device))
            return _in_perspective(x, coeffs)

    def _can_be_infinite(self, coeffs: Any) -> bool:
        """Say whether a place may lie on the horizon: fastai asks the GPU whether one does."""
        if self._reach is None:
            return True
        parts = coeffs[:, 6:, 0].abs() * self._reach
        return not bool((parts.sum(dim=1) < NEVER_ZERO).all())

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = (augment._WarpCoord, object, None)
        state = {name: value for name, value in vars(self).items() if name != "_reach"}
        return copyreg._reconstructor, plain, state  # type: ignore[attr-defined]


def _in_perspective(x: Any, coeffs: Any) -> Any:
    """Do what fastai's `apply_perspective` does where no place lies on the horizon."""
    import torch

    rows = torch.cat([coeffs, torch.ones_like(coeffs[:, :1])], dim=1).view(-1, 3, 3)
    rows = brought(rows, x.device)
    there = x.view(len(x), -1, 2) @ rows[..., :2].transpose(1, 2) + rows[..., 2].unsqueeze(1)
    return (there / there[..., 2].unsqueeze(-1))[..., :2].view(x.shape)


def _is_known(step: Any) -> bool:
    """Say whether a transform is fastai's, and all that it draws with."""
    if type(step).__module__ != augment.__name__:
        return False
    if isinstance(step, AffineCoordTfm):
        matrices = all(
            isinstance(one, partial) and one.func in MATRICES and _draws(one.keywords)
            for one in step.aff_fs
        )
        return matrices and all(
            type(one) is augment._WarpCoord and _draws(vars(one)) for one in step.coord_fs
        )
    if isinstance(step, SpaceTfm):
        return all(type(one) in CHANGES and _draws(vars(one)) for one in step.fs)
    return False


def _draws(given: dict[str, Any]) -> bool:
    """Say whether draws are fastai's own, or numbers."""
    return not any(callable(given.get(name)) for name in ("draw", "draw_x", "draw_y"))
