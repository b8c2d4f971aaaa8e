"""Enlarging on a device is Pillow's, byte for byte."""

import numpy as np
import pytest
import torch
from PIL import Image

from fastmagic.speed.enlarge import enlarged

pytestmark = pytest.mark.train

SHAPES = [(1, 1), (1, 64), (2, 3), (31, 47), (33, 34), (63, 64), (64, 63), (64, 64), (50, 20)]


def pictures(shapes, seed=0):
    draws = np.random.default_rng(seed)
    return [draws.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in shapes]


def by_pillow(picture, box, size):
    left, top, across, down = box
    square = np.ascontiguousarray(picture[top : top + down, left : left + across])
    return np.array(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (224, 224)])
def test_whole_pictures_of_many_shapes_in_one_go(size):
    several = pictures(SHAPES)
    pixels = torch.from_numpy(np.concatenate([one.reshape(-1, 3) for one in several]))
    starts = np.cumsum([0, *[one.shape[0] * one.shape[1] for one in several]])
    rectangles = [
        (int(start), one.shape[1], one.shape[1], one.shape[0])
        for start, one in zip(starts, several, strict=False)
    ]

    found = enlarged(pixels, rectangles, size).numpy()

    for one, expected in zip(found, several, strict=True):
        height, width = expected.shape[:2]
        assert np.array_equal(one, by_pillow(expected, (0, 0, width, height), size))


def test_rectangles_within_a_picture():
    [picture] = pictures([(90, 60)])
    pixels = torch.from_numpy(picture.reshape(-1, 3))
    boxes = [(0, 0, 40, 40), (50, 20, 40, 40), (7, 3, 33, 57), (89, 59, 1, 1)]
    rectangles = [(top * 90 + left, 90, across, down) for left, top, across, down in boxes]

    found = enlarged(pixels, rectangles, (64, 60)).numpy()

    for one, box in zip(found, boxes, strict=True):
        assert np.array_equal(one, by_pillow(picture, box, (64, 60)))


def test_black_and_white_stay_so():
    pixels = torch.tensor([[0, 255, 0], [255, 0, 255]], dtype=torch.uint8)
    found = enlarged(pixels, [(0, 2, 2, 1)], (9, 5))
    assert found.min() == 0 and found.max() == 255


@pytest.mark.gpu
def test_the_same_on_a_gpu():
    [picture] = pictures([(90, 60)])
    pixels = torch.from_numpy(picture.reshape(-1, 3))
    asked = [(0, 90, 40, 40), (50, 90, 33, 57)], (64, 64)
    assert torch.equal(enlarged(pixels.cuda(), *asked).cpu(), enlarged(pixels, *asked))
