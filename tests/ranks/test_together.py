"""Several processes train what one would have trained, and all that a run survives they survive."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import fastmagic
from fastmagic.errors import BadInput, LessonError, Stopped
from fastmagic.progress import View
from fastmagic.ranks import launch

pytestmark = pytest.mark.train

MAKES = """
from fastai.vision.all import *
import os
own = ImageDataLoaders.from_folder(
    path, valid="valid", item_tfms=Resize(16), bs=6, num_workers=0
)
set_seed(1)
body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
head = nn.Sequential(
    AdaptiveAvgPool(1), Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)
)
loss = CrossEntropyLossFlat(weight=tensor([0.3, 0.7]))
# Adam would blow the rounding of gradients that are nearly nothing up to whole steps
learn = Learner(
    own, nn.Sequential(body, head), loss_func=loss, metrics=accuracy, opt_func=SGD
)
"""
TRAINS = """
learn.fit_one_cycle(2, 1e-2)
learn.tta(n=1)
learn.fit(1, 1e-3)
"""


def lesson(folder, runs, body, processes=2, **options):
    names = options.pop("names", {})
    result = fastmagic.train_lesson1(
        folder, body, runs_folder=runs, namespace=names, processes=processes, **options
    )
    return result, names


def losses(result):
    return [epoch.values for stage in result.stages for epoch in stage.epochs]


def same(one, two, tolerance=1e-4):
    for a, b in zip(losses(one), losses(two), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=tolerance, abs=1e-6)
    return True


@pytest.fixture(scope="module")
def undisturbed(small_folder, tmp_path_factory):
    """Give what one process trains, and what two do."""
    runs = tmp_path_factory.mktemp("undisturbed")
    alone, _ = lesson(small_folder, runs, MAKES + TRAINS, processes=None)
    two, _ = lesson(small_folder, runs, MAKES + TRAINS)
    return alone, two


def test_two_processes_train_what_one_does(undisturbed):
    alone, two = undisturbed
    assert same(alone, two)
    assert two.accuracy == alone.accuracy
    assert two.accuracy_tta == alone.accuracy_tta
    assert len(two.judged.targets) == len(alone.judged.targets) == 16
    assert (two.folder / "report.html").is_file()


def test_batches_that_cannot_be_shared_evenly_count_each_picture_once(
    small_folder, tmp_path, undisturbed
):
    three, _ = lesson(small_folder, tmp_path, MAKES + TRAINS, processes=3)
    assert same(undisturbed[0], three)
    assert three.accuracy == undisturbed[0].accuracy


def test_the_notebook_gets_a_plain_learner_with_the_trained_weights(small_folder, tmp_path):
    from fastai.learner import Learner

    from fastmagic.guard.state import weights_sha256

    names: dict = {}
    exec("def go(epochs):\n    learn.unfreeze()\n    learn.fit(epochs, rate)\nrate = 1e-3", names)
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}
    result, _ = lesson(small_folder, tmp_path, "go(1)\nprint('it', 'ran')", names=names, **small)
    learn = names["learn"]
    assert type(learn) is Learner and result.learn is learn
    assert weights_sha256(learn.model.state_dict()) == result.weights_sha256
    with learn.no_bar(), learn.no_logging():
        assert learn.validate()[1] == pytest.approx(result.accuracy)


class Notes(View):
    def __init__(self):
        super().__init__()
        self.notes: list = []

    def note(self, text):
        self.notes.append(text)


def test_the_time_of_a_call_is_that_of_its_processes_start_too(small_folder, tmp_path):
    began = time.perf_counter()
    result, _ = lesson(small_folder, tmp_path, MAKES + "learn.fit(1)")
    assert (time.perf_counter() - began) / 2 < result.seconds < time.perf_counter() - began


def test_a_body_shows_with_display_as_in_one_process(shell, small_folder, tmp_path):
    view = Notes()
    lesson(small_folder, tmp_path, "display(6 * 7)", show=view)
    assert "42" in view.notes


def test_nothing_is_left_in_the_temporary_folder_but_what_the_body_put_there(
    small_folder, tmp_path, monkeypatch
):
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)  # what Python remembers of it
    body = """
import tempfile
open(os.path.join(tempfile.gettempdir(), f"body-{os.environ['RANK']}"), "w").close()
learn.fit(1)
"""
    lesson(small_folder, tmp_path / "runs", MAKES + body)
    left = {one.name for one in place.iterdir() if not one.name.startswith(("torchinductor", "."))}
    assert left == {"body-0", "body-1"}


BEGINS = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from fastmagic.ranks.launch import own_folder
with own_folder() as folder:
    (folder / "job.pickle").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_notebook_is_removed_by_the_next_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def begin():
        command = [sys.executable, "-c", BEGINS, str(tmp_path)]
        pipe = subprocess.PIPE
        notebook = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        return notebook, notebook.stdout.readline().strip()

    killed, dead = begin()
    living, going = begin()
    (tmp_path / "fastmagic-else").mkdir()
    killed.kill()
    killed.communicate()
    assert {dead, going} < {str(one) for one in tmp_path.iterdir()}
    with launch.own_folder() as own:
        left = {str(one) for one in tmp_path.iterdir()}
        assert left == {going, str(own), str(tmp_path / "fastmagic-else")}
    living.communicate("")
    assert [one.name for one in tmp_path.iterdir()] == ["fastmagic-else"]


@pytest.mark.parametrize("line", ["%time learn.fit(1)", "!ls", "get_ipython().magic('time')"])
def test_a_line_of_ipythons_is_refused_by_its_number_before_anything_starts(
    shell, small_folder, tmp_path, line
):
    cell = {"transform": shell.transform_cell, "first_line": 2, "names": shell.user_ns}
    with pytest.raises(BadInput, match="in several processes: line 3 of the cell") as caught:
        lesson(small_folder, tmp_path / "runs", f"n = 1\n{line}", **cell)
    assert line in str(caught.value)
    assert not (tmp_path / "runs").exists()


KILLS = """
class Kills(Callback):
    def before_batch(self):
        there = os.path.exists(flag)
        if self.training and self.epoch == 1 and self.iter == 2 and not there:
            if os.environ.get("RANK", "1") == "1":
                open(flag, "w").close()
                os.kill(os.getpid(), 9)
learn.add_cb(Kills())
"""


def test_a_killed_process_ends_the_others_is_named_and_the_cell_goes_on(
    small_folder, tmp_path, undisturbed
):

    body = MAKES + KILLS + TRAINS
    names = {"flag": str(tmp_path / "killed")}
    began = time.monotonic()
    with pytest.raises(LessonError, match=r"Process 2 of 2 was killed by SIGKILL") as caught:
        lesson(small_folder, tmp_path / "runs", body, names=dict(names), save_every=0)
    assert "goes on" in str(caught.value)
    assert time.monotonic() - began < 90
    again, _ = lesson(small_folder, tmp_path / "runs", body, names=dict(names), save_every=0)
    assert again.weights_sha256 == undisturbed[1].weights_sha256
    assert again.stages[0].resumed


def test_a_stop_ends_all_at_the_same_step_and_the_cell_goes_on(small_folder, tmp_path, undisturbed):
    slow = """
class Slow(Callback):
    def after_batch(self):
        if not os.path.exists(flag) and self.epoch == 1:
            open(flag, "w").close()
        if self.training and self.epoch == 1:
            time.sleep(0.5)
import time
learn.add_cb(Slow())
"""
    flag = tmp_path / "begun"
    names = {"flag": str(flag)}

    def stop():
        while not flag.exists():
            time.sleep(0.1)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Stopped) as caught:
        lesson(small_folder, tmp_path / "runs", MAKES + slow + TRAINS, names=dict(names))
    assert "kept" in str(caught.value)
    again, _ = lesson(small_folder, tmp_path / "runs", MAKES + slow + TRAINS, names=dict(names))
    assert again.weights_sha256 == undisturbed[1].weights_sha256


def test_all_stop_together_when_the_time_is_up(small_folder, tmp_path, undisturbed):
    slow = """
class Slow(Callback):
    def after_batch(self):
        time.sleep(0.5)
import time
learn.add_cb(Slow())
"""
    with pytest.raises(Stopped, match="time was up"):
        lesson(small_folder, tmp_path, MAKES + slow + TRAINS, time_limit=0.05)
    again, _ = lesson(small_folder, tmp_path, MAKES + slow + TRAINS)
    assert again.weights_sha256 == undisturbed[1].weights_sha256
    assert any(stage.resumed for stage in again.stages)


PRECOMPUTES = """
learn.freeze()
with learn.precomputed(most=13, seed=1):
    learn.fit(2, 1e-3)
learn.show_confusion()
"""


def test_features_are_computed_by_all_and_are_those_of_one(small_folder, tmp_path):
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}
    alone, _ = lesson(small_folder, tmp_path, PRECOMPUTES, processes=None, **small)
    two, _ = lesson(small_folder, tmp_path, PRECOMPUTES, **small)
    assert same(alone, two, 1e-2)  # by Adam, see above
    assert two.accuracy is not None


FRESH = """
import torch
torch.multiprocessing.set_start_method("forkserver", force=True)  # as Python 3.14 does on Linux
"""


def test_features_are_computed_where_python_does_not_fork(small_folder, tmp_path):
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8, "workers": 1}
    alone, _ = lesson(small_folder, tmp_path, PRECOMPUTES, processes=None, **small)
    two, _ = lesson(small_folder, tmp_path, FRESH + PRECOMPUTES, **small)
    assert same(alone, two, 1e-2)


def test_processes_without_a_gpu_of_their_own_do_not_look_for_one(small_folder, tmp_path):
    """Apple's GPU would be taken, whose tensors nothing carries to another process."""
    asks = "from fastai.torch_core import defaults\nassert defaults.use_cuda is False\n"
    result, _ = lesson(small_folder, tmp_path, asks + MAKES + "learn.fit(1, 1e-3)")
    assert result.status == "finished"


FINDS = """
for _ in range(2):
    learn.lr_find(show_plot=False, num_it=30, end_lr=100)
    learn.fit(1, 1e-2)
"""


def test_looking_for_a_rate_leaves_no_trace_in_several_processes(small_folder, tmp_path):
    """fastai's finder keeps the weights on disk, and loads them again, in one process alone."""
    alone, _ = lesson(small_folder, tmp_path / "1", MAKES + FINDS, processes=None)
    two, _ = lesson(small_folder, tmp_path / "2", MAKES + FINDS)
    assert same(alone, two)


def test_the_recipe_of_the_lesson_runs_in_two_processes(small_folder, tmp_path):
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}
    two, _ = lesson(small_folder, tmp_path, "", recipe="classic", **small)
    assert [stage.layers for stage in two.stages] == ["head", "head", "all"]
    assert two.accuracy_tta is not None


@pytest.mark.parametrize("mixes", ["MixUp()", "CutMix()"])
def test_pictures_are_mixed_within_each_share_and_the_loss_is_of_all(small_folder, tmp_path, mixes):
    result, _ = lesson(small_folder, tmp_path, MAKES + f"learn.fit(2, 1e-2, cbs={mixes})")
    ((first, last),) = [[epoch.values for epoch in stage.epochs] for stage in result.stages]
    assert 0 < last["train_loss"] < 2 and 0 < first["train_loss"] < 2
    assert result.accuracy is not None and len(result.judged.targets) == 16


def test_going_on_with_another_number_says_that_it_is_equivalent(small_folder, tmp_path):
    body = MAKES + "learn.fit(1, 1e-3)\nlearn.fit(2, 1e-3, cbs=Stops())\n"
    body = body.replace(
        "learn.fit(1",
        "class Stops(Callback):\n"
        "    def after_epoch(self):\n"
        "        if self.epoch == 0 and int(os.environ.get('WORLD_SIZE', 1)) == 2:\n"
        "            raise KeyboardInterrupt\n"
        "learn.fit(1",
        1,
    )
    with pytest.raises(Stopped):
        lesson(small_folder, tmp_path, body)
    result, _ = lesson(small_folder, tmp_path, body, processes=None)
    assert any("equivalent, but not identical" in str(one) for one in result.incidents)
    assert any("processes 2, now 1" in str(one) for one in result.incidents)


def test_where_one_runs_out_of_memory_all_do_smaller_parts(small_folder, tmp_path, undisturbed):
    short = """
import torch
class Short(nn.Module):
    def forward(self, x):
        if torch.is_grad_enabled() and len(x) > 2 and os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return x
learn.model[0].insert(0, Short())
"""
    plain = "learn.model[0].insert(0, nn.Identity())\n"
    wanted, _ = lesson(small_folder, tmp_path / "plain", MAKES + plain + TRAINS)
    found, _ = lesson(small_folder, tmp_path / "short", MAKES + short + TRAINS)
    assert same(wanted, found)
    assert any("another process" in str(one) for one in found.incidents)


def test_what_cannot_be_sent_is_named_before_anything_starts(small_folder, tmp_path):
    names = {"lock": threading.Lock()}
    with pytest.raises(BadInput, match="`lock` cannot be sent to other processes"):
        lesson(small_folder, tmp_path, "with lock:\n    learn.fit(1)", names=names)


def test_an_error_of_the_body_is_shown_by_its_line(small_folder, tmp_path):
    view = Notes()
    with pytest.raises(LessonError) as caught:
        lesson(small_folder, tmp_path, MAKES + "print('so far')\nrate = 1 / 0\n", show=view)
    shown = "\n".join(caught.value._render_traceback_())
    assert "ZeroDivisionError" in shown and "rate = 1 / 0" in shown
    assert "so far" in view.notes


@pytest.mark.parametrize(
    ("gpus", "processes", "said"),
    [
        ("2", 2, "does not go with"),
        (None, 0, "out of range"),
        ("two", None, "no"),
        ("64", None, "this machine has"),
    ],
)
def test_what_cannot_be_is_refused(gpus, processes, said):
    with pytest.raises(BadInput, match=said):
        launch.count(gpus, processes)


NOTEBOOK = """
import sys
import fastmagic
body = open(sys.argv[3]).read()
names = {"flag": sys.argv[4]}
fastmagic.train_lesson1(sys.argv[1], body, runs_folder=sys.argv[2], processes=2, namespace=names)
"""


def test_processes_end_with_their_notebook(small_folder, tmp_path):
    import psutil

    body = """
class Begun(Callback):
    def after_batch(self):
        open(flag, "w").write(str(os.getpid()))
        time.sleep(0.2)
import time
learn.add_cb(Begun())
learn.fit(500, 1e-3)
"""
    (tmp_path / "body.py").write_text(MAKES + body)
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    flag = tmp_path / "begun"
    files = [str(one) for one in (small_folder, tmp_path / "runs", tmp_path / "body.py", flag)]
    command = [sys.executable, str(tmp_path / "notebook.py"), *files]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    notebook = subprocess.Popen(command, env=env)
    ends = time.monotonic() + 120
    while not (flag.exists() and flag.read_text()) and time.monotonic() < ends:
        time.sleep(0.2)
    notebook.kill()
    notebook.wait()
    worker = int(flag.read_text())
    ends = time.monotonic() + 30
    while psutil.pid_exists(worker) and time.monotonic() < ends:
        time.sleep(0.2)
    assert not psutil.pid_exists(worker)
