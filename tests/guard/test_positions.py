"""Every draw is a function of its position: the same whatever ran before, and with any workers."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

BODY = """
import random
learn.fit_one_cycle(2, 1e-2)
aug, targets = learn.tta(n=2)
drawn = random.random()
learn.fit(1, 1e-3)
"""


def lesson(folder, code=BODY, **options):
    import fastmagic

    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}
    namespace: dict = {}
    result = fastmagic.train_lesson1(folder, code, namespace=namespace, **{**small, **options})
    return result, namespace


def test_the_weights_are_the_same_to_the_bit_whatever_the_workers(small_folder):
    one, names_one = lesson(small_folder, workers=0, name="none")
    two, names_two = lesson(small_folder, workers=2, name="two")
    assert one.arguments["workers"] != two.arguments["workers"]
    assert one.weights_sha256 == two.weights_sha256
    assert bool((names_one["aug"] == names_two["aug"]).all())
    assert names_one["drawn"] == names_two["drawn"]
    assert one.accuracy_tta == two.accuracy_tta


def test_each_epoch_and_each_batch_is_augmented_in_its_own_way(small_folder):
    body = """
from fastai.callback.core import Callback
class Keep(Callback):
    def before_batch(self):
        if self.training:
            seen.append(self.xb[0].clone())
seen = []
dls.train.shuffle = False
learn.fit(2, cbs=Keep())
"""
    _, names = lesson(small_folder, body)
    first, second = names["seen"][:2], names["seen"][2:]
    assert len(first) == len(second) == 2
    assert not bool((first[0] == second[0]).all())  # the same pictures, in another epoch
    assert not bool((first[0] == first[1]).all())


def test_loading_a_picture_leaves_the_generators_as_they_were():
    import random

    import numpy
    import torch

    from fastmagic.guard.positions import at_item

    random.seed(3), numpy.random.seed(3), torch.manual_seed(3)
    wanted = random.random(), numpy.random.rand(), torch.rand(1).item()
    random.seed(3), numpy.random.seed(3), torch.manual_seed(3)
    with at_item(1, "fit", 1, 0, "item", 7):
        inside = random.random(), numpy.random.rand(), torch.rand(1).item()
    assert (random.random(), numpy.random.rand(), torch.rand(1).item()) == wanted
    assert len({*inside, *wanted}) == 6


def test_a_loader_that_the_cell_keeps_is_plain_and_draws_freely(small_folder):
    body = """
learn.fit(1)
mine = learn.dls.test_dl(list(learn.dls.valid.items))
learn.get_preds(dl=mine)
"""
    _, names = lesson(small_folder, body)
    for loader in (names["mine"], *names["dls"].loaders):
        assert type(loader).__module__ == "fastai.data.core"
        assert not [key for key in vars(loader) if key.startswith("_at")]
        assert not [s for s in loader.after_batch.fs if "fastmagic" in type(s).__module__]
    batches = [x for x, _ in names["dls"].train]
    again = [x for x, _ in names["dls"].train]
    assert not bool((batches[0] == again[0]).all())


def test_a_position_seeds_torch_as_its_own_call_does():
    import torch

    from fastmagic.guard import positions

    positions.set_position(3, "fit", 1)
    ours = torch.rand(4)
    torch.manual_seed(positions.position_seed(3, "fit", 1))
    assert torch.equal(ours, torch.rand(4))
