"""A few real steps, and a learner that is afterwards what it was, bit for bit."""

from __future__ import annotations

import random
import weakref

import pytest

pytestmark = pytest.mark.train

from fastmagic.lesson.forecast.trial import measure  # noqa: E402


def make_network():
    """Make a body and a head with all that a step may change: batch norm, a loose buffer."""
    import torch
    from torch import nn

    class Body(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
            self.register_buffer("seen", torch.zeros(1), persistent=False)
            self.batches = []  # how many pictures came at once

        def forward(self, x):
            self.seen += 1
            self.batches.append(len(x))
            return super().forward(x)

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 2))
    return nn.Sequential(Body(), head)


def make_learner(folder, network=None, **options):
    from fastai.vision.all import ImageDataLoaders, Learner, Resize, aug_transforms, params

    loaders = ImageDataLoaders.from_folder(
        folder, valid="valid", item_tfms=Resize(32), batch_tfms=aug_transforms(), bs=16,
        num_workers=0, device="cpu",
    )  # fmt: skip
    network = network or make_network()
    splitter = {"splitter": lambda model: [params(model[0]), params(model[1])]}
    return Learner(loaders, network, **{**splitter, "default_cbs": True, **options})


def everything(learn):
    """Give all that a trial may touch, as plain values that can be compared."""
    from fastmagic.guard.state import weights_sha256

    optimizer = learn.opt.state_dict() if learn.opt else {"state": [], "hypers": []}
    moments = [
        weights_sha256({k: v for k, v in one.items() if hasattr(v, "detach")})
        for one in optimizer["state"]
    ]
    drawn = [
        {k: repr(v) for k, v in vars(step).items()}
        for loader in learn.dls.loaders
        for step in (*loader.after_item.fs, *loader.after_batch.fs)
    ]
    return {
        "weights": weights_sha256(learn.model.state_dict()),
        "loose": learn.model[0].seen.item(),
        "optimizer": (id(learn.opt), moments, repr(optimizer["hypers"])),
        "gradients": [p.grad is None or p.grad.tolist() for p in learn.model.parameters()],
        "trained": [p.requires_grad for p in learn.model.parameters()],
        "modes": [module.training for module in learn.model.modules()],
        "order": [(id(dl.rng), dl.rng.getstate()) for dl in learn.dls.loaders],
        "splits": [dl.after_batch.split_idx for dl in learn.dls.loaders],
        "drawn": drawn,
        "callbacks": [id(cb) for cb in learn.cbs],
    }  # fmt: skip


def draws():
    import numpy
    import torch

    return random.random(), numpy.random.rand(), torch.rand(1).item()


def seed():
    import numpy
    import torch

    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)


@pytest.fixture
def learn(small_folder):
    """Give a learner in the middle of its life: trained, frozen, with a gradient."""
    learn = make_learner(small_folder)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    learn.freeze()
    learn.model[1][-1].bias.grad.fill_(3)
    learn.model.eval()
    return learn


def test_nothing_of_the_learner_its_loaders_or_the_random_generators_is_changed(learn):
    before = everything(learn)
    seed()
    wanted = draws()
    seed()
    trial, trouble = measure(learn)
    assert trial, trouble
    assert draws() == wanted
    assert everything(learn) == before
    assert learn.model[0].batches, "no step was taken"


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_nothing_is_changed_either_where_a_step_fails_or_is_stopped(learn, kind):
    def failing(predicted, targets):
        learn.model[0][0].weight.data.fill_(9)
        raise kind("no such loss")

    learn.loss_func = failing
    before = everything(learn)
    seed()
    wanted = draws()
    seed()
    if kind is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            measure(learn)
    else:
        assert measure(learn) == (None, "no step could be tried beforehand (no such loss)")
    assert draws() == wanted
    assert everything(learn) == before


def test_a_fit_after_a_trial_gives_the_weights_of_a_fit_without_one(small_folder):
    from fastmagic.guard.state import weights_sha256

    digests = []
    for tried in (False, True):
        seed()
        learn = make_learner(small_folder)
        if tried:
            assert measure(learn)[0]
            assert learn.opt is None
        with learn.no_bar(), learn.no_logging():
            learn.fit(2)
        digests.append(weights_sha256(learn.model.state_dict()))
    assert digests[0] == digests[1]


def test_every_kind_of_step_is_timed_by_the_picture(learn):
    trial, _ = measure(learn)
    assert trial.device == "cpu"
    assert trial.where == "this CPU"
    assert (trial.batch, trial.workers) == (16, 0)
    steps = (trial.whole, trial.frozen, trial.kept, trial.forward, trial.head)
    for seconds in (*steps, trial.loading):
        assert 0 < seconds < 1
    assert trial.memory is None


def test_a_cheap_network_is_timed_at_the_lessons_own_batch(learn):
    measure(learn)
    assert max(learn.model[0].batches) == 16


def test_a_dear_network_sees_two_pictures_and_what_is_left_is_guessed(learn):
    from itertools import count

    seconds = count()
    learn.model[0].batches.clear()
    trial, _ = measure(learn, clock=lambda: float(next(seconds)), budget_s=3)
    assert set(learn.model[0].batches) == {2}
    assert trial.whole == pytest.approx(3 * trial.forward)
    assert trial.frozen == pytest.approx(2 * trial.forward)
    assert trial.kept == pytest.approx(1.1 * trial.forward)


def test_a_network_of_one_group_has_no_frozen_step(small_folder):
    from fastai.vision.all import params

    trial, _ = measure(make_learner(small_folder, splitter=params))
    assert (trial.frozen, trial.kept, trial.head) == (None, None, None)
    assert trial.whole > 0


def test_no_callback_hears_of_the_trial(small_folder):
    from fastai.callback.core import Callback

    class Loud(Callback):
        def __call__(self, event):
            if event != "after_create":
                raise AssertionError(event)

    learn = make_learner(small_folder, cbs=[Loud()])
    trial, trouble = measure(learn)
    assert trial, trouble


def test_the_guard_sees_no_stage_in_a_trial(small_folder, tmp_path):
    from fastmagic.guard import attach
    from fastmagic.progress import View

    session = attach.Session(7, View(), tmp_path)
    with attach.attached(session):
        learn = make_learner(small_folder)
        trial, trouble = measure(learn)
        assert trial, trouble
    assert session.stages == []


def test_a_loader_that_is_not_fastais_is_trouble_and_no_error(small_folder):
    from torch.utils.data import DataLoader

    learn = make_learner(small_folder)
    learn.dls.loaders = [DataLoader([1, 2, 3]), DataLoader([1, 2, 3])]
    trial, trouble = measure(learn)
    assert trial is None
    assert trouble.startswith("no step could be tried beforehand")


class FakeGauge:
    """A GPU of 1000 bytes on which each picture takes 40 and the rest is small."""

    def __init__(self, network):
        self.network = network
        self.released = 0

    def begin(self):
        self.network.batches.clear()

    def room(self):
        return 1000

    def peak(self):
        return 40 * max(self.network.batches)

    def release(self):
        self.released += 1


def narrow(most, held):
    """Make a body that runs out of memory where more than `most` pictures come at once."""
    network = make_network()
    forward = type(network[0]).forward

    def out_of_memory(self, x):
        if len(x) > most:
            kept = x * 2
            held.append(weakref.ref(kept))
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, x)

    type(network[0]).forward = out_of_memory
    return network


def test_a_step_that_fits_is_said_with_its_peak(learn):
    trial, _ = measure(learn, gauge=FakeGauge(learn.model[0]))
    memory = trial.memory
    assert (memory.fits, memory.needs, memory.room, memory.batch) == (True, 640, 1000, 16)


def test_where_a_processor_runs_out_of_memory_fewer_pictures_tell(small_folder):
    learn = make_learner(small_folder, narrow(5, []))
    before = everything(learn)
    trial, trouble = measure(learn)
    assert trial is not None and not trouble
    assert everything(learn) == before
    nothing, trouble = measure(make_learner(small_folder, narrow(1, [])))
    assert nothing is None and "out of memory" in trouble


def test_running_out_of_memory_is_a_finding_and_its_memory_is_let_go_of(small_folder):
    held = []
    network = narrow(5, held)
    learn = make_learner(small_folder, network)
    before = everything(learn)
    gauge = FakeGauge(network[0])
    trial, trouble = measure(learn, gauge=gauge)
    assert trial, trouble
    assert not trial.memory.fits
    assert trial.memory.batch == 4
    assert trial.memory.needs >= trial.memory.room
    assert trial.whole > 0
    assert gauge.released >= 3
    assert held
    assert [one() for one in held] == [None] * len(held)
    assert everything(learn) == before


def test_where_not_even_one_picture_fits_that_is_said_and_nothing_is_timed(small_folder):
    network = narrow(0, [])
    trial, trouble = measure(make_learner(small_folder, network), gauge=FakeGauge(network[0]))
    assert trial, trouble
    assert (trial.memory.fits, trial.memory.needs, trial.memory.batch) == (False, None, 0)
    assert trial.whole is None


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_real_gpu_a_step_fits_or_not_and_its_memory_comes_back(small_folder, precision):
    import torch
    from fastai.vision.all import ImageDataLoaders, Resize, vision_learner
    from torchvision.models import resnet18

    from fastmagic.guard.state import weights_sha256
    from fastmagic.lesson.precision import apply

    loaders = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(224), bs=16, num_workers=0, device="cuda"
    )
    learn = vision_learner(loaders, resnet18, pretrained=False)
    apply(learn, precision)
    before = weights_sha256(learn.model.state_dict()), torch.cuda.get_rng_state()
    trial, trouble = measure(learn)
    assert trial, trouble
    taken = torch.cuda.memory_allocated()  # with the workspace of cuBLAS, which is taken once
    measure(learn)
    assert torch.cuda.memory_allocated() <= taken + 2**20
    assert trial.memory.fits
    assert 100 * 2**20 < trial.memory.needs < trial.memory.room
    share = 1.3 * trial.memory.needs / torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(0.5 * share)
    try:
        narrow_trial, trouble = measure(learn)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert narrow_trial, trouble
    assert not narrow_trial.memory.fits
    assert 0 < narrow_trial.memory.batch < 16
    assert torch.cuda.memory_allocated() <= taken + 2**20
    assert weights_sha256(learn.model.state_dict()) == before[0]
    assert torch.equal(torch.cuda.get_rng_state(), before[1])


def test_what_a_small_copy_takes_is_timed_where_there_will_be_some(small_folder):
    from fastai.vision.all import ImageDataLoaders, Resize, squeezenet1_1, vision_learner

    dls = ImageDataLoaders.from_folder(
        small_folder, valid="valid", item_tfms=Resize(24), bs=8, num_workers=0
    )
    learn = vision_learner(dls, squeezenet1_1, pretrained=False)
    trial, _ = measure(learn, copies=True)
    assert 0 < trial.again < 0.1
    assert measure(learn)[0].again is None
