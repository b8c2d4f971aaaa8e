"""From cell to cell: `--continue`, learners of earlier cells, a limit of time."""

from __future__ import annotations

import os

import pytest

import fastmagic
from fastmagic.errors import BadInput, Stopped
from fastmagic.progress import View
from tests.lesson.stopping import SMALL, STOP
from tests.views import Notes

pytestmark = pytest.mark.train


def test_a_lesson_in_two_cells_goes_on_with_the_same_learner(small_folder, tmp_path):
    first = fastmagic.train_lesson1(small_folder, "learn.fit(1)", runs_folder=tmp_path, **SMALL)
    names: dict = {}
    view = View()
    second = fastmagic.train_lesson1(
        small_folder, "learn.fit(1)", after=first, runs_folder=tmp_path, namespace=names, show=view
    )
    assert names["learn"] is first.learn is second.learn
    assert second.weights_sha256 != first.weights_sha256
    assert f"Going on with the learner that {first.folder.name} left." in view.notes
    assert second.arguments["arch"] == "squeezenet1_1"
    third = fastmagic.train_lesson1(
        small_folder, "learn.fit(1)", after=second, runs_folder=tmp_path
    )
    assert len({first.identity, second.identity, third.identity}) == 3


def test_a_stopped_cell_that_went_on_begins_with_what_the_cell_before_left(small_folder, tmp_path):
    def cells(folder, stops):
        namespace = {"stop": False}
        exec(STOP, namespace)
        first = fastmagic.train_lesson1(
            small_folder, "learn.fit(1)", runs_folder=folder, namespace=namespace, **SMALL
        )
        for stop in (*stops, False):
            namespace["stop"] = stop
            try:
                last = fastmagic.train_lesson1(
                    small_folder,
                    "learn.fit(2, cbs=Stop())",
                    after=first,
                    runs_folder=folder,
                    namespace=namespace,
                )
            except Stopped:
                assert stop
        return last

    whole, stopped = cells(tmp_path / "whole", []), cells(tmp_path / "stopped", [True])
    assert any(stage.resumed for stage in stopped.stages)
    assert whole.weights_sha256 == stopped.weights_sha256


def test_what_the_first_cell_made_cannot_be_chosen_again(small_folder, tmp_path):
    first = fastmagic.train_lesson1(small_folder, "learn.fit(1)", runs_folder=tmp_path, **SMALL)
    with pytest.raises(BadInput, match="--size does not go with --continue"):
        fastmagic.train_lesson1(small_folder, "learn.fit(1)", after=first, size=64)


def test_a_learner_of_an_earlier_cell_is_watched_and_given_back_plain(small_folder, tmp_path):
    from fastai.learner import Learner

    first = fastmagic.train_lesson1(small_folder, "learn.fit(1)", runs_folder=tmp_path, **SMALL)
    names = {"mine": first.learn}
    code = "mine.fit(1)\nmine.fit(1)"
    result = fastmagic.train_lesson1(
        small_folder, code, runs_folder=tmp_path, namespace=names, **SMALL
    )
    assert [len(stage.epochs) for stage in result.stages] == [1, 1]
    assert result.learn is first.learn and "learn" not in names
    assert type(first.learn) is Learner and hasattr(first.learn, "progress")
    assert not any("fastmagic" in type(cb).__module__ for cb in first.learn.cbs)


def test_a_body_that_makes_its_own_learner_needs_no_weights(small_folder, tmp_path):
    code = """
from fastai.vision.all import vision_learner, accuracy
from torchvision.models import squeezenet1_1
learn = vision_learner(dls, squeezenet1_1, pretrained=False, metrics=accuracy)
learn.fit(1)
"""
    result = fastmagic.train_lesson1(
        small_folder, code, runs_folder=tmp_path, size=32, bs=16, arch="resnet34"
    )
    assert result.accuracy is not None  # resnet34's ImageNet weights could not be had here


def test_a_run_whose_time_is_up_stops_and_goes_on_later(small_folder, tmp_path):
    code = "import time\nlearn.fit(2)\ntime.sleep(pause)\nlearn.fit(2)"
    names = {"pause": 4}

    def run(minutes):
        return fastmagic.train_lesson1(
            small_folder,
            code,
            runs_folder=tmp_path,
            time_limit=minutes,
            namespace=names,
            **SMALL,
        )

    with pytest.raises(Stopped, match="its time was up"):
        run(4 / 60)
    assert hasattr(names["learn"], "model")
    [folder] = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert '"stopped"' in (folder / "result.json").read_text()
    names["pause"] = 0
    result = run(None)
    assert result.folder == folder
    assert [len(stage.epochs) for stage in result.stages] == [2, 2]
    assert result.stages[0].resumed


@pytest.mark.parametrize("minutes", [0, -3, float("nan")])
def test_a_limit_that_is_no_time_is_refused(small_folder, minutes):
    with pytest.raises(BadInput, match="--time-limit"):
        fastmagic.train_lesson1(small_folder, "learn.fit(1)", time_limit=minutes)


def test_a_network_of_the_persons_own_is_an_architecture(small_folder, tmp_path):
    def tiny(pretrained=False):
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
        )

    result = fastmagic.train_lesson1(
        small_folder,
        "learn.fit(1)",
        runs_folder=tmp_path,
        namespace={"tiny": tiny},
        **{**SMALL, "arch": "tiny"},
    )
    assert result.model is not None or result.incidents
    assert [len(stage.epochs) for stage in result.stages] == [1]


def test_the_class_is_the_class_folder_where_it_has_folders_of_its_own(small_folder, tmp_path):
    import shutil

    root = tmp_path / "pictures"
    for number, file in enumerate(sorted((small_folder / "train").rglob("*.png"))):
        target = root / file.parent.name / f"day{number % 2}" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    names: dict = {}
    result = fastmagic.train_lesson1(
        root, "learn.fit(1)", runs_folder=tmp_path / "runs", namespace=names, **SMALL
    )
    assert list(names["dls"].vocab) == ["cats", "dogs"]
    assert result.accuracy is not None


@pytest.mark.parametrize(
    "callback",
    [
        "SaveModelCallback(monitor='accuracy', comp=np.less)",
        "EarlyStoppingCallback(monitor='accuracy', comp=np.less, min_delta=1)",
    ],
    ids=["the best weights", "an early end"],
)
def test_a_finished_fit_goes_on_with_what_its_callbacks_made_of_it(
    small_folder, tmp_path, callback
):
    code = (
        "import numpy as np\nfrom fastai.callback.tracker import *\n"
        f"learn.fit(4, 5e-3, cbs={callback})\nlearn.fit(2, cbs=Stop())"
    )

    def run(folder, stop):
        namespace = {"stop": stop}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(
            small_folder, code, runs_folder=folder, namespace=namespace, **SMALL
        )

    whole = run(tmp_path / "whole", False)
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", True)
    again = run(tmp_path / "stopped", False)
    assert [len(s.epochs) for s in again.stages] == [len(s.epochs) for s in whole.stages]
    assert again.weights_sha256 == whole.weights_sha256
    assert again.accuracy == whole.accuracy


@pytest.mark.parametrize(
    "callback",
    [
        "ShortEpochCallback(pct=0.1)",  # ends each pass in the middle
        "After(CancelFitException)",
        "After(CancelEpochException)",
    ],
)
def test_a_fit_whose_passes_a_callback_ends_is_saved_and_goes_on(small_folder, tmp_path, callback):
    code = f"""
from fastai.callback.training import ShortEpochCallback
from fastai.learner import CancelEpochException, CancelFitException
class After(Callback):
    def __init__(self, how):
        self.how = how
    def after_batch(self):
        if self.training and self.epoch == 1:
            raise self.how
learn.fit(3, 5e-3, cbs={callback})
learn.fit(2, cbs=Stop())
"""

    def run(folder, stop):
        namespace, view = {"stop": stop}, Notes()
        exec(STOP, namespace)
        result = fastmagic.train_lesson1(
            small_folder,
            code,
            runs_folder=folder,
            namespace=namespace,
            show=view,
            **{**SMALL, "bs": 4},
        )
        return result.weights_sha256, view.notes

    whole, _ = run(tmp_path / "whole", False)
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", True)
    again, notes = run(tmp_path / "stopped", False)
    assert again == whole
    assert "fit 1: already trained, not trained again" in notes


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
def test_a_stop_in_a_step_with_which_a_callback_ends_the_fit_comes_at_once(small_folder, tmp_path):
    code = """
import signal
from fastai.callback.core import Callback
from fastai.learner import CancelFitException
class Both(Callback):
    def after_batch(self):
        signal.raise_signal(signal.SIGINT)
        raise CancelFitException
learn.fit(1, cbs=Both())
"""
    with pytest.raises(Stopped):
        fastmagic.train_lesson1(small_folder, code, runs_folder=tmp_path, **SMALL)


def test_a_fit_with_another_number_of_epochs_begins_anew_with_all_after_it(small_folder, tmp_path):
    def run(folder, epochs, stop):
        namespace = {"stop": stop, "n": epochs}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(
            small_folder,
            "learn.fit(n, 5e-3)\nlearn.fit(2, cbs=Stop())",
            runs_folder=folder,
            namespace=namespace,
            **SMALL,
        )

    with pytest.raises(Stopped):
        run(tmp_path / "changed", 1, True)
    found = run(tmp_path / "changed", 3, False)
    assert found.weights_sha256 == run(tmp_path / "whole", 3, False).weights_sha256
    assert "this fit has 3 epochs now, not 1" in found.incidents[-1].what


SUBCLASS = """
class Stop(Callback):
    def before_batch(self):
        if halt and self.training and self.learn.watch.stage.number == 2 and self.iter == 1:
            raise KeyboardInterrupt
"""


def test_a_network_that_another_cell_has_changed_begins_anew_and_says_so(small_folder, tmp_path):
    body = """
from fastai.vision.all import *
net = make()
mine = Learner(dls, net, metrics=accuracy, loss_func=CrossEntropyLossFlat())
found = mine.lr_find(show_plot=False, num_it=6)
mine.fit(1, 1e-3)
mine.fit(1, 1e-3, cbs=Stop())
"""
    make = """
from fastai.vision.all import *
def make():
    looks = nn.Conv2d(3, width, 3)
    return nn.Sequential(looks, nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(width, 2))
"""

    def run(folder, width, stop):
        namespace = {"width": width, "halt": stop}
        exec(make + SUBCLASS, namespace)
        return fastmagic.train_lesson1(
            small_folder, body, runs_folder=folder, namespace=namespace, **SMALL
        )

    with pytest.raises(Stopped):
        run(tmp_path / "a", 4, True)
    changed = run(tmp_path / "a", 6, False)
    assert any("of another network" in one.what for one in changed.incidents)
    assert changed.weights_sha256 == run(tmp_path / "b", 6, False).weights_sha256


def test_a_run_that_goes_on_keeps_the_incidents_of_the_process_before(small_folder, tmp_path):
    def run(stop):
        namespace = {"stop": stop}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(
            small_folder,
            "learn.fit(3, cbs=Stop())",
            runs_folder=tmp_path,
            namespace=namespace,
            **SMALL,
        )

    with pytest.raises(Stopped):
        run(True)
    [folder] = tmp_path.iterdir()
    told = folder / "run.json"
    told.write_text(told.read_text().replace('"stopped"', '"running"'))  # as after a kill
    result = run(False)
    epochs = [epoch for stage in result.stages for epoch in stage.epochs]
    assert [set(epoch.values) for epoch in epochs] == 3 * [{"train_loss", "valid_loss", "accuracy"}]
    said = [str(one) for one in result.incidents]
    assert "stopped by hand" in said[0]
    assert said[1].startswith("at the restart: the process before ended without a word")
    assert said[1].endswith("of training are done again)")


KEPT = """
import numpy as np
from fastai.callback.tracker import *
early = EarlyStoppingCallback(monitor="valid_loss", min_delta=1000, patience=3)
best = SaveModelCallback(monitor="valid_loss")
slower = ReduceLROnPlateau(monitor="valid_loss", min_delta=1000, patience=1)
learn.fit(6, 5e-3, cbs=[early, best, slower, Stop()])
"""


def test_callbacks_that_count_epochs_go_on_counting_where_they_were(small_folder, tmp_path):
    stops = STOP.replace("self.epoch == 1", "self.epoch == at and self.iter == 1")

    def run(folder, at):
        namespace = {"stop": at is not None, "at": at}
        exec(stops, namespace)
        return fastmagic.train_lesson1(
            small_folder, KEPT, runs_folder=folder, namespace=namespace, **SMALL
        )

    whole = run(tmp_path / "whole", None)
    for at in (1, 2):
        with pytest.raises(Stopped):
            run(tmp_path / "stopped", at)
    again = run(tmp_path / "stopped", None)
    assert [len(s.epochs) for s in whole.stages] == [len(s.epochs) for s in again.stages]
    assert len(whole.stages[0].epochs) == 4
    assert again.weights_sha256 == whole.weights_sha256
