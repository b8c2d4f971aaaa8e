"""What callbacks collect and recurrent networks remember is there again when a cell goes on."""

from __future__ import annotations

import contextlib
from functools import partial
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.train

from fastmagic.guard import files  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_attach import digest, make_learner  # noqa: E402
from tests.guard.test_own_ways import run, same  # noqa: E402


def collects():
    from fastai.callback.core import Callback

    class Collect(Callback):
        def before_fit(self):
            self.losses = []

        def after_batch(self):
            if self.training:
                self.losses.append(self.loss.item())

    return Collect()


def averages():
    """Give a callback that trains towards the average of the weights so far."""
    import torch
    from fastai.callback.core import Callback

    class Average(Callback):
        def before_fit(self):
            self.shadow = {n: p.detach().clone() for n, p in self.model.named_parameters()}

        def after_step(self):
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    self.shadow[name].lerp_(parameter, 0.1)
                    parameter.lerp_(self.shadow[name], 0.3)

    return Average()


@pytest.mark.parametrize("stop", [(1, 1, 2), (2, 0, 2)])
def test_what_a_callback_collected_in_a_finished_fit_can_be_read(tmp_path, stop):
    seen = []

    def do(learn):
        learn.add_cb(collects())
        learn.fit(2, 1e-2)
        first = learn.collect.losses
        learn.fit(1)
        seen.append((first, learn.collect.losses))

    same(tmp_path, do, stop)
    whole, again = seen[0], seen[-1]
    assert whole == again
    assert [len(losses) for losses in again] == [8, 4]


@pytest.mark.filterwarnings("ignore:.*You are shadowing an attribute")  # fastai's own
def test_the_statistics_of_activations_can_be_plotted_when_the_fit_was_done_before(tmp_path):
    from fastai.callback.hook import ActivationStats
    from fastcore.foundation import L

    shown = []

    def do(learn):
        learn.add_cb(ActivationStats(with_hist=True))
        learn.fit(1, 1e-2)
        stats = learn.activation_stats
        shown.append((type(stats.stats), stats.layer_stats(0), stats.hist(0)))
        learn.fit(1)

    same(tmp_path, do, (2, 0, 2))
    (kind, whole, hist), _, (kind_again, again, hist_again) = shown
    assert kind_again is kind is L
    assert again == whole
    assert hist_again.equal(hist)


@pytest.mark.parametrize("stop", [(1, 1, 2), (2, 0, 3)])
def test_an_average_in_a_dict_goes_on(tmp_path, stop):
    def do(learn):
        learn.add_cb(averages())
        learn.fit(2, 1e-2)
        learn.fit(1, 1e-2)

    same(tmp_path, do, stop)


def test_a_list_that_the_person_holds_too_is_the_callbacks_own(tmp_path):
    from fastai.callback.core import Callback

    class Notes(Callback):
        def __init__(self, seen):
            self.seen = seen

        def after_batch(self):
            self.seen.append(self.loss.item())

    held = []

    def do(learn):
        seen = []
        held.append(seen)
        learn.add_cb(Notes(seen))
        learn.fit(1, 1e-2)
        learn.fit(1, 1e-2)

    same(tmp_path, do, (2, 0, 3))
    whole, _, again = held
    assert len(whole) == 12
    assert again == whole


@pytest.mark.parametrize("stop", [(1, 1, 2), (2, 0, 2)])
def test_what_a_fits_own_callback_collected_can_be_read(tmp_path, stop):
    seen = []

    def do(learn):
        mine = collects()
        learn.fit(2, 1e-2, cbs=[averages(), mine])
        seen.append(mine.losses)
        learn.fit(1, cbs=collects())

    same(tmp_path, do, stop)
    assert seen[-1] == seen[0]
    assert len(seen[0]) == 8


def test_a_fits_own_callbacks_and_rates_go_on_after_a_stop_between_two_epochs(tmp_path):
    import fastai.callback.schedule  # noqa: F401 - gives learners fit_one_cycle
    from fastai.callback.core import Callback

    from fastmagic.guard import attach, positions

    def train(states, at=None):
        class Stop(Callback):
            def before_epoch(self):
                if self.epoch == at:
                    raise KeyboardInterrupt

        session = Session(7, View(), states, save_every=60)
        with positions.kept_apart(), attach.attached(session):
            learn, mine = make_learner(), collects()
            with contextlib.suppress(KeyboardInterrupt):
                learn.fit_one_cycle(3, 1e-2, cbs=[averages(), mine, Stop()])
        return digest(learn), mine.losses, getattr(learn.recorder, "hps", None)

    whole = train(tmp_path / "whole")
    train(tmp_path / "stopped", 1)
    train(tmp_path / "stopped", 2)
    assert train(tmp_path / "stopped") == whole


def test_the_networks_own_tensors_are_not_copied_into_a_callback(tmp_path):
    from fastai.callback.core import Callback

    class Clamps(Callback):
        def before_fit(self):
            self.first, self.all = self.model[0].weight, list(self.model.parameters())

        def after_step(self):
            self.first.data.clamp_(-0.05, 0.05)
            for one in self.all:
                one.data.mul_(0.9)

    def do(learn):
        learn.add_cb(Clamps())
        learn.fit(2, 1e-2)

    same(tmp_path, do, (1, 1, 2))


def test_each_kind_comes_back_as_it_was(tmp_path):
    import numpy as np
    import torch
    from fastcore.foundation import L

    from fastmagic.guard import held

    shared = [1, 2]
    one = SimpleNamespace(
        nothing=None,
        nested=L({"a": (1, [2.5, None, "x"])}, (torch.ones(2), np.float32(0.5))),
        shared=shared,
        again=[shared],
        empty=[L(), (), {}],
        keys={1: True, "k": float("nan")},
    )
    files.write(tmp_path, "x", held.of_callback(one, torch.nn.Linear(1, 1)))
    content, damaged = files.read(tmp_path, "x")
    assert not damaged
    back = SimpleNamespace(shared=[7], own=3)
    for _ in range(2):  # what was put back is changed, and put back once more
        held.put_back(back, content)
        assert back.own == 3 and back.nothing is None
        assert type(back.nested) is L and type(back.nested[0]["a"]) is tuple
        assert back.nested[0] == {"a": (1, [2.5, None, "x"])}
        assert back.nested[1][0].tolist() == [1, 1] and back.nested[1][1] == 0.5
        assert [type(kept) for kept in back.empty] == [L, tuple, dict]
        assert back.again[0] is back.shared and back.shared == [1, 2]
        assert back.keys[1] is True and back.keys["k"] != back.keys["k"]
        back.nested[1][0].zero_()
        back.shared.append(3)
        back.empty[2]["new"] = 1


def test_too_much_is_left_out_and_the_rest_kept():
    import torch

    from fastmagic.guard import held

    deep, round_ = [], []
    for _ in range(held.DEPTH + 1):
        deep = [deep]
    round_.append(round_)
    one = SimpleNamespace(
        many=list(range(held.ITEMS + 1)),
        large=[torch.zeros(held.BYTES // 4 + 100)],
        words=["x" * (held.BYTES + 100)],
        several=[torch.zeros(1)] * 3 + [torch.zeros(1) for _ in range(held.ITEMS // 20)],
        deep=deep,
        round=round_,
        other=[object()],
        network={"net": torch.nn.Linear(1, 1)},
        keys={(1, 2): 3},
        best=1.5,
        few=[1, 2],
    )
    assert set(held.of_callback(one, torch.nn.Linear(1, 1))) == {"best", "few"}


def test_what_lies_on_the_host_stays_there():
    import torch

    from fastmagic.guard import held

    with torch.device("meta"):
        net = torch.nn.Linear(1, 1)
    kept = held.of_callback(SimpleNamespace(hist=[torch.ones(2)]), net)
    assert kept["hist"][1][0][0] == "host"
    back = SimpleNamespace()
    held.put_back(back, kept)
    assert back.hist[0].tolist() == [1, 1]


def texts():
    """Make loaders of texts, each batch of which goes on where the one before it ended."""
    import torch
    from fastai.data.core import DataLoaders

    words = torch.randint(0, 6, (480, 9), generator=torch.Generator().manual_seed(0))
    items = [(row[:-1], row[1:]) for row in words]
    return DataLoaders.from_dsets(
        items[:400],
        items[400:480],
        bs=16,
        shuffle=False,
        drop_last=True,
        device=torch.device("cpu"),
    )


def remembers(kind=list):
    """Make a learner whose network remembers its state from batch to batch."""
    import torch
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.torch_core import Module
    from torch import nn

    class Remembers(Module):
        def __init__(self):
            self.e, self.o = nn.Embedding(6, 16), nn.Linear(16, 6)
            self.r = nn.LSTM(16, 16, 2, batch_first=True)
            self.h = kind(torch.zeros(2, 16, 16) for _ in range(2))

        def forward(self, x):
            y, h = self.r(self.e(x), self.h)
            self.h = kind(one.detach() for one in h)
            return self.o(y)

        def reset(self):
            for one in self.h:
                one.zero_()

    torch.manual_seed(0)
    return Learner(texts(), Remembers(), loss_func=CrossEntropyLossFlat())


def reads():
    """Make a learner with fastai's own language model."""
    import torch
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.text.models.awdlstm import AWD_LSTM
    from fastai.text.models.core import LinearDecoder, SequentialRNN

    torch.manual_seed(0)
    encoder = AWD_LSTM(6, 12, 16, 2)
    net = SequentialRNN(encoder, LinearDecoder(6, 12, 0.1, tie_encoder=encoder.encoder))
    return Learner(texts(), net, loss_func=CrossEntropyLossFlat())


def train(states, make, stop=None, resets=True):
    from fastai.callback.core import Callback
    from fastai.callback.rnn import ModelResetter, RNNCallback

    from fastmagic.guard import attach, positions

    class Stop(Callback):
        order = 100

        def before_batch(self):
            if self.training and (self.epoch, self.iter) == stop:
                raise KeyboardInterrupt

    session = Session(7, View(), states, save_every=0)
    with positions.kept_apart(), attach.attached(session):
        learn = make()
        learn.add_cbs([ModelResetter()] * resets + [RNNCallback()] * (make is reads) + [Stop()])
        with contextlib.suppress(KeyboardInterrupt):
            learn.fit(2, 1e-2)
    return learn, session


@pytest.mark.parametrize(
    ("make", "stops", "resets"),
    [
        (remembers, [(0, 5)], True),
        (remembers, [(0, 20)], True),
        (remembers, [(0, 5), (1, 0), (1, 7)], False),
        (partial(remembers, tuple), [(0, 5), (0, 20)], True),
        (reads, [(0, 5), (1, 7)], True),
    ],
)
def test_a_network_that_remembers_goes_on_in_the_middle_of_an_epoch(tmp_path, make, stops, resets):
    whole, _ = train(tmp_path / "whole", make, resets=resets)
    for stop in stops:
        train(tmp_path / "stopped", make, stop, resets)
    again, session = train(tmp_path / "stopped", make, resets=resets)
    assert session.stages[0].resumed and not session.incidents
    assert digest(again) == digest(whole)


def test_of_modules_only_tensors_are_kept_that_are_no_weights_and_no_features():
    import torch
    from torch import nn

    from fastmagic.guard import held

    net = nn.Sequential(nn.LSTM(4, 4), nn.BatchNorm1d(4))
    assert held.of_modules(net) == {}
    net[0].texts, net[0].rate, net[0].h = 3, 0.5, [(torch.ones(2), torch.ones(2))]
    net[1].features = torch.zeros(held.BYTES // 4 + 1000)
    net[1].way_back = [torch.ones(2, requires_grad=True) * 2]
    net[1].own = net[1].weight.data
    kept = held.of_modules(net)
    assert set(kept) == {"0"}
    assert kept["0"].keys() >= {"texts", "h"}
    assert "rate" not in kept["0"]
    net[0].h[0][0].zero_()
    held.put_into_modules(net, kept)
    assert type(net[0].h[0]) is tuple and net[0].h[0][0].tolist() == [1, 1]


def test_a_state_of_before_goes_on(tmp_path):
    """One that keeps a callback's numbers, and nothing of the modules."""
    from fastmagic.guard import state

    def do(learn):
        learn.add_cb(collects())
        learn.fit(2, 1e-2)

    whole, _ = run(tmp_path / "whole", do)
    run(tmp_path / "stopped", do, (1, 1, 2))
    content, _ = files.read(tmp_path / "stopped", "fit-001")
    del content["modules"]
    content["callbacks"] = {name: {} for name in content["callbacks"]}
    files.write(tmp_path / "stopped", "fit-001", content)
    assert state.read(tmp_path / "stopped", "fit-001", "cpu")[0]
    again, _ = run(tmp_path / "stopped", do)
    assert digest(again) == digest(whole)
