"""Hashes made while the bytes arrive."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from fastmagic.data.web.verify import AHEAD, LARGE, Digest

from .downloads import DATA


@pytest.mark.parametrize("seed", range(5))
def test_small_and_large_chunks_are_hashed_in_their_order(seed: int) -> None:
    dice, digest, place = random.Random(seed), Digest("md5"), 0
    while place < len(DATA):
        size = dice.choice([1, 1000, LARGE - 1, LARGE, 2 * LARGE])
        digest.update(DATA[place : place + size])
        place += size
        assert digest.position == min(place, len(DATA))
    assert digest.hex() == hashlib.sha256(DATA).hexdigest()
    assert digest.all_hex()["md5"] == hashlib.md5(DATA).hexdigest()


def test_begun_again_nothing_of_before_is_in_it() -> None:
    digest = Digest()
    for _ in range(3 * AHEAD):
        digest.update(DATA)
    digest.restart()
    digest.update(DATA[:LARGE])
    assert digest.position == LARGE
    assert digest.hex() == hashlib.sha256(DATA[:LARGE]).hexdigest()


def test_what_is_left_alone_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    digest = Digest()
    digest.update(DATA)
    [thread] = set(threading.enumerate()) - before
    assert thread.name.startswith("fastmagic-hash")
    del digest
    thread.join(5)
    assert not thread.is_alive()
