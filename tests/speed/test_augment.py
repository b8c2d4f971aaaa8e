"""The draws of fastai's augmentation on the processor: the same numbers, and the way back."""

import pickle
import random

import pytest
import torch
from fastai.torch_core import TensorImage, TensorMask
from fastai.vision.augment import (
    Brightness,
    Contrast,
    Dihedral,
    Flip,
    Hue,
    Rotate,
    Saturation,
    Warp,
    Zoom,
    aug_transforms,
    setup_aug_tfms,
)

from fastmagic.speed import augment

KINDS = {
    "the lesson's": lambda: setup_aug_tfms(aug_transforms()),
    "satellites": lambda: setup_aug_tfms(aug_transforms(flip_vert=True, max_rotate=180.0)),
    "one for a batch": lambda: setup_aug_tfms(aug_transforms(batch=True)),
    "mirrored alone": lambda: [Flip()],
    "warped alone": lambda: [Warp(p=1.0)],
    "turned by eighths": lambda: [Dihedral(p=1.0)],
    "to another size": lambda: [Zoom(size=20)],
    "numbers given": lambda: [Rotate(draw=[10.0] * 5, p=1.0)],
    "light and colour": lambda: [Brightness(), Contrast(), Saturation(), Hue()],
    "to a much smaller size": lambda: [Zoom(size=8)],
    "looked up otherwise": lambda: [Rotate(mode="nearest", p=1.0)],
    "to the horizon": lambda: [Warp(magnitude=3.0, p=1.0)],
    "turned and warped": lambda: setup_aug_tfms([Rotate(p=1.0), Warp(p=1.0), Warp(p=1.0)]),
}


def batch():
    return TensorImage(torch.rand(5, 3, 32, 40, generator=torch.Generator().manual_seed(1)))


def applied(steps, *rest, split_idx=0):
    torch.manual_seed(3)
    random.seed(3)
    out = (batch(), *rest)
    for step in steps:
        out = step(out, split_idx=split_idx)
    return out, torch.rand(1), random.random()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_idx", [0, 1])
def test_every_number_and_every_later_draw_is_fastais(kind, split_idx):
    mask = TensorMask(torch.ones(5, 32, 40))
    expected, later, python = applied(KINDS[kind](), mask, split_idx=split_idx)

    steps = KINDS[kind]()
    undos = [augment.by_host(step) for step in steps]
    found, later_too, python_too = applied(steps, mask, split_idx=split_idx)

    assert all(undos)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [type(one) for one in found] == [type(one) for one in expected]
    assert (later_too, python_too) == (later, python)


def test_afterwards_each_transform_is_as_it_was():
    steps = KINDS["the lesson's"]()
    warps = [one for step in steps for one in getattr(step, "coord_fs", [])]
    before, kinds = [set(vars(step)) for step in steps], [type(one) for one in warps]
    before_warps = [set(vars(one)) for one in warps]

    undos = [augment.by_host(step) for step in steps]
    applied(steps)
    for undo in undos:
        undo()

    drawn = {"do", "mat", "change", "split_idx", "idx"}  # fastai's own
    assert [set(vars(step)) - drawn for step in steps] == [one - drawn for one in before]
    assert [type(one) for one in warps] == kinds
    drawn = {"orig_pts", "targ_pts", "coeffs"}
    assert [set(vars(one)) - drawn for one in warps] == [one - drawn for one in before_warps]


def test_what_is_pickled_meanwhile_is_fastais_own():
    steps = KINDS["the lesson's"]()
    for step in steps:
        augment.by_host(step)
    expected = applied(steps)[0][0]

    again = pickle.loads(pickle.dumps(steps))

    assert b"fastmagic" not in pickle.dumps(steps)
    assert torch.equal(applied(again)[0][0], expected)


class Looks(Rotate):
    """A person's own."""


@pytest.mark.parametrize(
    "step",
    [
        Rotate(draw=lambda x: x.mean(dim=(1, 2, 3))),
        Warp(draw_x=lambda x: x.mean(dim=(1, 2, 3))),
        Brightness(draw=lambda x: x.mean(dim=(1, 2, 3))),
        Looks(),
    ],
)
def test_what_may_look_at_the_pictures_is_left_alone(step):
    before = dict(vars(step))

    assert augment.by_host(step) is None
    assert dict(vars(step)) == before


def test_a_transform_is_taken_over_once():
    step = Rotate()

    assert augment.by_host(step) is not None
    assert augment.by_host(step) is None


@pytest.mark.parametrize(("coeffs", "asked"), [((0.4, 0.5), False), ((0.5, -0.6), True)])
def test_a_gpu_is_asked_for_the_horizon_only_where_a_picture_may_reach_it(coeffs, asked):
    step = Warp(p=1.0)
    augment.by_host(step)
    (warp,) = step.coord_fs
    applied([step])  # the places of a picture reach from -1 to 1
    found = torch.tensor([0.0] * 6 + list(coeffs)).view(1, 8, 1).expand(5, 8, 1)
    assert warp._can_be_infinite(found) == asked
