"""The validation of the final weights, which the report needs, and nobody else knows of."""

from __future__ import annotations

import pytest

import fastmagic
from fastmagic.errors import Stopped

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}

MAKES = """
from fastai.vision.all import *
class Worse(Callback):
    order = 55
    def after_epoch(self):
        values = self.learn.recorder.values[-1]
        if len(values) > 1:
            values[1] = [2.0, 1.0, 3.0, 4.0][self.epoch]
class Mine(Callback):
    def __init__(self):
        self.looks, self.by_epoch, self.seen, self.last = [], {}, torch.zeros(1), None
    def before_fit(self):
        self.begun = getattr(self, "begun", 0) + 1
    def before_validate(self):
        self.learn.looked = self.learn.model.looked = len(self.looks)
        if fails and getattr(self, "begun", 0) > 1:
            raise fails
    def after_validate(self):
        self.looks.append(self.epoch)
        self.by_epoch.setdefault(self.epoch, []).append(len(self.looks))
        self.seen += 1
        self.last = self.looks[-1]
learn.metrics = [accuracy, AccumMetric(lambda p, y: len(y), flatten=False)]
learn.add_cbs([CSVLogger("log.csv"), Mine(), Worse(), SaveModelCallback(monitor="valid_loss")])
"""
FITS = "learn.fit_one_cycle(4, 1e-3)\n"
KEEPS = """
def state():
    rec, mine = learn.recorder, learn.mine
    accumulated = learn.metrics[1]
    return repr((
        rec.values, rec.log, rec.iters, rec.losses, rec.lrs, rec.metric_names,
        rec.smooth_loss.count, rec.smooth_loss.val, rec.loss.total, rec.loss.count,
        mine.looks, mine.by_epoch, mine.seen, mine.last, mine.begun,
        learn.looked, learn.model.looked, learn.model.training,
        len(accumulated.preds), [list(map(id, accumulated.preds))],
        learn.final_record, learn.epoch, learn.n_epoch, learn.train_iter, learn.pct_train,
        learn.training, learn.smooth_loss, learn.n_iter, learn.iter, learn.save_model.best,
        (learn.path / "log.csv").read_text(), learn.csv_logger.read_log().shape,
    ))
def own():
    ours = ("Watch", "ProgressCallback")
    return {
        type(cb).__name__: {k: id(v) for k, v in vars(cb).items() if k != "learn"}
        for cb in learn.cbs if type(cb).__name__ not in ours
    }
def order():
    return [type(cb).__name__ for cb in learn.cbs]
learn.model.train()
before, held, ordered = state(), own(), order()
files = {f: f.stat().st_mtime_ns for f in learn.path.rglob("*") if f.suffix in (".csv", ".pth")}
"""


def run(folder, runs, body=MAKES + FITS + KEEPS, fails=None, **options):
    names = {"fails": fails}
    made = fastmagic.train_lesson1(
        folder, body, runs_folder=runs, namespace=names, **{**SMALL, **options}
    )
    return made, names


@pytest.fixture
def folder(tmp_path):
    """Give pictures of one's own, beside which a body may write."""
    from fastmagic.data.drawn.sample import draw_sample

    return draw_sample(tmp_path / "few", train=32, valid=16, side=32)


def untouched(names):
    names["learn"].model.train()  # as before the look; an export leaves it as it is
    now = {file: file.stat().st_mtime_ns for file in names["files"]}
    assert names["state"]() == names["before"]
    assert names["own"]() == names["held"]
    assert now == names["files"]
    ours = ("Watch", "ProgressCallback")
    ordered = [name for name in names["ordered"] if name not in ours]
    assert [name for name in names["order"]() if name not in ours] == ordered
    assert all(cb.learn is names["learn"] for cb in names["learn"].cbs)
    return True


def test_the_recorder_and_the_log_are_as_the_fit_left_them(folder, tmp_path):
    result, names = run(folder, tmp_path / "runs")
    learn = names["learn"]
    assert len(learn.recorder.values) == len(learn.csv_logger.read_log()) == 4
    assert learn.recorder.metric_names[1] == "train_loss"
    assert len(learn.recorder.losses) == 8 and len(learn.recorder.iters) == 4
    assert len(learn.recorder.values[-1]) == 4  # with that of training
    assert untouched(names)
    assert result.status == "finished"


def test_the_accuracy_of_the_final_weights_is_found_and_told(folder, tmp_path):
    body = MAKES.replace('CSVLogger("log.csv"), Mine(), ', "") + FITS
    result, names = run(folder, tmp_path / "runs", body)
    learn = names["learn"]
    assert result.accuracy is not None
    assert len(result.judged.targets) == 16
    assert learn.save_model.best == 1.0  # the second epoch's weights are the final ones
    with learn.no_bar(), learn.no_logging():
        learn.remove_cbs([learn.save_model, learn.worse])
        assert learn.validate()[1] == pytest.approx(result.accuracy)


@pytest.mark.parametrize("fails", [KeyboardInterrupt(), ValueError("not again")])
def test_it_is_so_where_the_look_is_broken_off(folder, tmp_path, fails):
    names = {"fails": fails}
    with pytest.raises((Stopped, type(fails))):
        fastmagic.train_lesson1(
            folder, MAKES + FITS + KEEPS, runs_folder=tmp_path, namespace=names, **SMALL
        )
    assert untouched(names)


@pytest.mark.filterwarnings("ignore:.*shadowing an attribute")
def test_hooks_of_a_look_that_is_broken_off_are_gone(folder, tmp_path):
    body = f"""{MAKES}
from fastai.callback.hook import ActivationStats
learn.add_cb(ActivationStats())
{FITS}
hooks = [len(m._forward_hooks) for m in learn.model.modules()]
"""
    names = {"fails": KeyboardInterrupt()}
    with pytest.raises(Stopped):
        fastmagic.train_lesson1(folder, body, runs_folder=tmp_path, namespace=names, **SMALL)
    assert [len(m._forward_hooks) for m in names["learn"].model.modules()] == names["hooks"]


def test_only_callbacks_that_write_are_left_out_of_it(folder, tmp_path):
    body = """
from fastai.vision.all import *
class Logs(CSVLogger):
    def before_validate(self):
        called.append("logs")
class Needed(Callback):
    def before_batch(self):
        if not self.training:
            called.append("needed")
class Changes(Callback):
    def after_fit(self):
        if self.learn.opt is not None and not called.count("changed"):
            called.append("changed")
            for p in self.learn.model.parameters():
                p.data.mul_(0.99)
called = []
learn.add_cbs([Logs("log.csv"), Needed()])
learn.fit(1, cbs=Changes())
called.append("the end")
"""
    result, names = run(folder, tmp_path, body)
    called = names["called"]
    assert called[: called.index("the end")].count("logs") == 1
    assert set(called[called.index("the end") + 1 :]) == {"needed"}
    assert result.accuracy is not None


def test_a_person_who_validates_in_the_body_finds_what_fastai_leaves(folder, tmp_path):
    result, names = run(folder, tmp_path, "learn.fit(2)\nfound = learn.validate()")
    assert len(names["learn"].recorder.values) == 1
    assert result.accuracy == pytest.approx(names["found"][1])


def test_two_processes_find_it_too(folder, tmp_path):
    body = """
from fastai.vision.all import *
class Changes(Callback):
    def after_fit(self):
        if len(self.learn.recorder.values) == 2:
            for p in self.learn.model.parameters():
                p.data.mul_(0.99)
learn.fit(2, 1e-3, cbs=Changes())
"""
    result, names = run(folder, tmp_path / "runs", body, processes=2)
    learn = names["learn"]
    assert len(result.judged.targets) == 16
    with learn.no_bar(), learn.no_logging():
        assert learn.validate()[1] == pytest.approx(result.accuracy)
