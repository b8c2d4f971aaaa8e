"""A batch that is shown with `unique=True`, for which fastai gives a loader an order of its own."""

from __future__ import annotations

import pickle
from types import MethodType

import pytest

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # of fastai's pictures
]

from fastmagic.guard import attach  # noqa: E402
from fastmagic.guard.loaders import Loaders  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from fastmagic.ranks.team import Team  # noqa: E402
from tests.guard.test_positions import lesson  # noqa: E402

SHOWS = "dls.train.show_batch(max_n=2, unique=True)\n"


@pytest.fixture(autouse=True)
def no_windows():
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    yield
    pyplot.close("all")


@pytest.fixture
def loader():
    from fastai.data.core import TfmdDL

    return TfmdDL(list(range(12)), bs=4)


def by_hand(loader):
    """Do what fastai's `show_batch` does to a loader around the batch."""
    old = loader.get_idxs
    loader.get_idxs = lambda: [0]
    loader.get_idxs = old


def bound_to(loader):
    return [name for name, value in vars(loader).items() if isinstance(value, MethodType)]


def test_a_loader_whose_batch_was_shown_trains_in_the_next_cell(small_folder):
    _, names = lesson(small_folder, f"learn.fit(1)\n{SHOWS}left = 'get_idxs' in vars(dls.train)")
    assert not names["left"]
    assert bound_to(names["dls"].train) == []
    assert len(names["dls"].train.one_batch()[0]) == 16
    with names["learn"].no_bar(), names["learn"].no_logging():
        names["learn"].fit(1)


@pytest.mark.parametrize("how", ["ctxs=5", "show=False", "ctxs=5, show=True"])
def test_so_does_one_that_could_not_be_shown_to_the_end(small_folder, how):
    body = f"""
import contextlib
learn.fit(1)
with contextlib.suppress(TypeError):
    dls.train.show_batch(max_n=2, unique=True, {how})
left = "get_idxs" in vars(dls.train)
learn.fit(1)"""
    result, names = lesson(small_folder, body)
    assert not names["left"]
    assert len(result.stages) == 2
    assert len(names["dls"].train.one_batch()[0]) == 16


def test_what_is_shown_changes_nothing_that_is_trained(small_folder):
    plain, _ = lesson(small_folder, "learn.fit(2)\nlearn.fit(1)", name="plain")
    shown, _ = lesson(small_folder, f"{SHOWS}learn.fit(2)\n{SHOWS}learn.fit(1)", name="shown")
    assert shown.weights_sha256 == plain.weights_sha256


def test_an_order_of_the_persons_own_stays(small_folder):
    body = f"order = lambda: [3, 2, 1]\ndls.train.get_idxs = order\nlearn.fit(1)\n{SHOWS}"
    _, names = lesson(small_folder, body)
    assert vars(names["dls"].train)["get_idxs"] is names["order"]


@pytest.mark.parametrize("name", ["get_idxs", "create_item", "create_batches", "sample", "kept"])
def test_a_method_that_was_put_into_a_loader_does_not_outlive_the_cell(loader, name):
    loaders = Loaders(lambda: None)
    loaders.place(loader, 1, "fit", 1, 0)
    setattr(loader, name, loader.get_idxs if name == "kept" else getattr(loader, name))
    loaders.give_back()
    assert bound_to(loader) == []
    assert [len(batch) for batch in loader] == [4, 4, 4]


def test_what_the_person_gave_a_loader_is_still_there_after_the_cell(loader):
    mine = MethodType(lambda loader, numbers: numbers[::-1], loader)
    other = [1, 2].copy
    loader.shuffle_fn, loader.other = mine, other
    loaders = Loaders(lambda: None)
    loaders.place(loader, 1, "fit", 1, 0)
    loaders.give_back()
    assert loader.shuffle_fn is mine and loader.other is other


def test_a_loader_shown_before_it_is_trained_is_shared_and_skipped(loader):
    by_hand(loader)
    loaders = Loaders(lambda: None, team=Team(size=2, rank=1))
    loaders.place(loader, 1, "fit", 1, 0)
    assert loader._team is not None
    assert "get_idxs" not in vars(loader)


def test_a_loader_is_pickled_in_the_cell_without_its_class(loader):
    loaders = Loaders(lambda: None)
    loaders.meet(loader)
    by_hand(loader)
    again = pickle.loads(pickle.dumps(loader))
    assert bound_to(again) == []
    assert [len(batch) for batch in again] == [4, 4, 4]


def test_a_loader_that_shows_nothing_asks_its_data_set(tmp_path):
    from fastai.data.load import DataLoader

    class Shows(list):
        def show_batch(self):
            return "shown"

    loader, silent = DataLoader(Shows([1, 2]), bs=1), DataLoader([1, 2], bs=1)
    with attach.attached(Session(7, View(), tmp_path)) as watching:
        for one in (loader, silent):
            watching._loaders.meet(one)
        assert loader.show_batch() == "shown"
        assert not hasattr(silent, "show_batch")
