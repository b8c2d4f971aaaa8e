"""Pictures in a device's memory: the batches that a loading process would have made."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fastmagic.speed import resident
from fastmagic.speed.pictures import Pictures
from fastmagic.speed.resident import Resident, fits

pytestmark = pytest.mark.train

SIZE = (48, 40)
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@pytest.fixture
def files(tmp_path):
    """Draw pictures that are larger, smaller, narrower and flatter than what is cut."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    draws = np.random.default_rng(1)
    found = []
    for number, (width, height) in enumerate([(90, 60), (61, 99), (48, 40), (30, 20), (200, 39)]):
        noise = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found.append(folder / f"{number}.png")
        Image.fromarray(noise).save(found[-1])
    return found


@pytest.fixture
def pictures(files, tmp_path):
    store = Pictures(tmp_path / "store", SIZE)
    store.make(files, threads=1)
    return store


def shares_of(files):
    draws = random.Random(1)
    return [(draws.random(), draws.random()) for _ in files]


def singly(pictures, files, shares, resample=BILINEAR):
    return torch.stack([pictures.cut(f, at, resample) for f, at in zip(files, shares, strict=True)])


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
def test_in_the_hosts_memory_a_batch_is_what_its_pictures_are_one_by_one(pictures, files, resample):
    shares = shares_of(files)
    found = pictures.batch(files, shares, resample)
    assert found.permute(0, 2, 3, 1).is_contiguous()
    assert torch.equal(found, singly(pictures, files, shares, resample))
    none = Pictures(None, SIZE)
    assert torch.equal(found, none.batch(files, shares, resample))


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
def test_a_batch_is_what_its_pictures_are_singly(pictures, files, resample):
    several = [*files, *reversed(files)]
    shares = shares_of(several)

    found = Resident(pictures, files, "cpu").batch(several, shares, resample)

    assert found.shape == (10, 3, 40, 48)
    assert found.permute(0, 2, 3, 1).is_contiguous()
    assert torch.equal(found, singly(pictures, several, shares, resample))


def test_what_is_brought_in_many_goes_is_the_same(pictures, files, monkeypatch):
    monkeypatch.setattr(resident, "AT_ONCE", 4000)
    shares = shares_of(files)
    found = Resident(pictures, files, "cpu").batch(files, shares, BILINEAR)
    assert torch.equal(found, singly(pictures, files, shares))


def test_a_picture_that_has_changed_or_is_not_there_is_read_again(pictures, files):
    held = Resident(pictures, files[:-1], "cpu")
    Image.new("RGB", (60, 60), "red").save(files[0])
    shares = shares_of(files)

    found = held.batch(files, shares, BILINEAR)

    assert found[0, 0].min() == 255 and found[0, 1].max() == 0
    assert torch.equal(found, singly(pictures, files, shares))


def test_released_it_takes_nothing_and_cuts_on(pictures, files):
    held = Resident(pictures, files, "cpu")
    assert held.bytes > 3 * 48 * 40
    held.release()
    assert held.bytes == 0
    shares = shares_of(files)
    assert torch.equal(held.batch(files, shares, BILINEAR), singly(pictures, files, shares))


def test_it_says_whether_it_is_right(pictures, files):
    held = Resident(pictures, files, "cpu")
    assert held.is_right(BILINEAR)
    held._pixels[5] += 1  # as a device that computes wrongly would
    assert not held.is_right(BILINEAR)


def test_only_a_gpu_with_enough_room_takes_them(monkeypatch):
    assert not fits(torch.device("cpu"), 1)
    assert not fits(SimpleNamespace(type="mps"), 1)
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 15 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 3 * 2**30)
    assert fits(gpu, 5 * 2**30) and not fits(gpu, 5 * 2**30 + 1)
    assert fits(gpu, 2 * 2**30, 3 * 2**30) and not fits(gpu, 2 * 2**30, 3 * 2**30 + 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (4 * 2**30, 15 * 2**30))
    assert fits(gpu, 2 * 2**30) and not fits(gpu, 2 * 2**30 + 1)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**30)  # the rest is free again
    assert fits(gpu, 3 * 2**30) and not fits(gpu, 3 * 2**30 + 1)


@pytest.mark.gpu
def test_the_same_on_a_gpu(pictures, files):
    held = Resident(pictures, files, "cuda")
    shares = shares_of(files)
    assert held.is_right(BILINEAR)
    found = held.batch(files, shares, BILINEAR).cpu()
    assert torch.equal(found, singly(pictures, files, shares))
