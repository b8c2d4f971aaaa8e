"""The verb, end to end, on a few pictures and the smallest network."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import fastmagic
from fastmagic.errors import BadInput, DataError, LessonError, PicturesError
from fastmagic.progress import View

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}


def train(folder, code="learn.fit(1)", **options):
    return fastmagic.train_lesson1(folder, code, **{**SMALL, **options})


@pytest.fixture(scope="module")
def result(small_folder, tmp_path_factory):
    """Run one lesson that several tests look at."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTAI_HOME", str(tmp_path_factory.mktemp("fastai")))
        return train(small_folder, "learn.fit(2)\nlearn.fit(1)\nlearn.tta()", runs_folder=root)


def test_the_result_and_its_folder_say_the_same(result):
    kept = json.loads((result.folder / "result.json").read_text())
    assert kept == json.loads(json.dumps(result.to_dict()))
    assert kept["status"] == "finished"
    for key in (
        *("data", "recipe", "arguments", "versions", "stages", "accuracy", "accuracy_tta"),
        *("seconds", "incidents", "weights_sha256"),
    ):
        assert key in kept


def test_the_accuracy_is_that_of_the_final_weights_and_tta_stands_beside_it(result):
    learn = result.learn
    with learn.no_bar():
        preds, targets = learn.get_preds()
    right = (preds.argmax(dim=1) == targets).float().mean().item()
    assert result.accuracy == pytest.approx(right)
    assert 0 <= result.accuracy_tta <= 1


def test_every_fit_is_a_stage_with_its_epochs_in_the_history(result):
    assert [len(stage.epochs) for stage in result.stages] == [2, 1]
    with (result.folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"]) for row in rows] == [("1", "0"), ("1", "1"), ("2", "0")]
    assert float(rows[-1]["accuracy"]) == pytest.approx(result.accuracy)


def test_the_monitor_ran_beside_it_and_its_samples_are_kept(result):
    kept = json.loads((result.folder / "result.json").read_text())
    assert kept["monitor"]["samples"] == result.monitor.samples > 1
    assert result.monitor.rss_peak > 100
    assert 0 < result.monitor.ram_peak <= result.monitor.ram_limit
    with (result.folder / "monitor.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.monitor.samples
    assert max(int(row["rss_mib"] or 0) for row in rows) == result.monitor.rss_peak


def test_waiting_for_pictures_is_told_from_working(result):
    epochs = sum(epoch.seconds for stage in result.stages for epoch in stage.epochs)
    spent = result.loading.waiting_seconds + result.loading.working_seconds
    assert 0 < result.loading.waiting_seconds < spent <= epochs
    assert "Loading pictures took" in str(result)
    assert "Memory: at most" in str(result)


def test_a_gpu_that_is_lost_while_it_trains_is_an_incident(small_folder, plug_in):
    from tests.gpu.fake_nvml import T4, FakeLibrary

    library = FakeLibrary([T4])
    plug_in(library)
    body = "import time\nlearn.fit(1)\nlibrary.lose(0)\ntime.sleep(2)\nlearn.fit(1)"
    result = train(small_folder, body, namespace={"library": library})
    assert result.status == "finished"
    [incident] = result.incidents
    assert incident.what.startswith("GPU 0 (Tesla T4) was lost after")
    assert result.monitor.gpus[0].lost_after_s > 0
    picture = result._repr_mimebundle_()["text/html"]
    assert 'alt="Chart over' in picture
    assert "[Chart over" in str(result)


def test_the_digest_is_that_of_the_final_weights(result):
    from fastmagic.guard.state import weights_sha256

    assert result.weights_sha256 == weights_sha256(result.learn.model.state_dict())


def test_the_exported_model_predicts_where_fastmagic_is_not_installed(result, small_folder):
    photo = next(small_folder.rglob("dog*.png"))
    code = f"""
import sys, warnings
sys.modules["fastmagic"] = None
warnings.simplefilter("ignore")
from fastai.vision.all import load_learner
learn = load_learner({str(result.model)!r})
with learn.no_bar():
    print(learn.predict({str(photo)!r})[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() in ("cats", "dogs"), done.stderr


def test_learn_and_dls_are_plain_fastai(result, small_folder):
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    assert type(result.learn) is Learner
    assert isinstance(result.dls, DataLoaders)
    with result.learn.no_bar():
        assert result.learn.predict(next(small_folder.rglob("*.png")))[0] in ("cats", "dogs")


def test_the_face_is_readable_as_text_and_as_html(result):
    text = str(result)
    assert "Finished: accuracy" in text
    assert str(result.folder) in text
    assert "<table" in result._repr_mimebundle_()["text/html"]


def test_the_twin_prints_nothing_unless_asked(small_folder, capfd):
    train(small_folder)
    assert capfd.readouterr().out == ""


def test_names_stay_in_the_namespace_and_a_body_of_ones_own_is_protected_too(small_folder):
    namespace: dict = {"mine": 1}
    body = (
        "from fastai.vision.all import *\n"
        "from torchvision.models import squeezenet1_1\n"
        "dls = ImageDataLoaders.from_folder(path, valid='valid', item_tfms=Resize(32), bs=16,"
        " num_workers=0)\n"
        "learn = vision_learner(dls, squeezenet1_1, pretrained=False, metrics=error_rate)\n"
        "learn.fit(mine)\n"
    )
    result = train(small_folder, body, namespace=namespace)
    assert namespace["learn"] is result.learn
    assert len(result.stages) == 1
    last = result.stages[-1].epochs[-1]
    assert result.accuracy == pytest.approx(1 - last.values["error_rate"])


def test_learn_is_not_made_where_the_body_does_not_name_it(small_folder):
    namespace: dict = {}
    result = train(small_folder, "n = len(path.ls()) if 0 else 3", namespace=namespace)
    assert "learn" not in namespace
    assert result.accuracy is None
    assert result.model is None


def test_weights_changed_after_the_last_validation_are_validated_again(small_folder):
    body = (
        "import torch\nlearn.fit(1)\nwith torch.no_grad():\n    learn.model[1][-1].weight.zero_()"
    )
    result = train(small_folder, body)
    assert result.accuracy == pytest.approx(0.5)
    assert result.accuracy_tta is None


def test_a_learner_of_the_persons_own_is_not_replaced_without_a_word(small_folder):
    view = View()
    train(small_folder, namespace={"learn": object()}, show=view)
    assert "is replaced" in " ".join(view.notes)
    quiet = View()
    namespace: dict = {}
    train(small_folder, namespace=namespace, show=quiet)
    train(small_folder, "learn.fit(1) ", namespace=namespace, show=quiet)
    assert "is replaced" not in " ".join(quiet.notes)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(small_folder):
    first, second = train(small_folder), train(small_folder)
    assert first.weights_sha256 == second.weights_sha256
    assert first.folder != second.folder
    assert train(small_folder, seed=7).weights_sha256 != first.weights_sha256


@pytest.fixture(params=["class folders", "flat files", "flat files by a pattern", "zip"])
def own_pictures(request, small_folder, tmp_path):
    """Lay the same pictures out as people have them; gives what to ask for and what is expected."""
    photos = tmp_path / "my photos"
    files = sorted(small_folder.rglob("*.png"))
    for file in files:
        kind, number = file.name.split(".")[:2]
        by_pattern = f"{number}_of_{kind}.png"
        name = {
            "class folders": f"{kind}s/{number}.png",
            "flat files": file.name,
            "flat files by a pattern": by_pattern,
            "zip": str(file.relative_to(small_folder)),
        }[request.param]
        target = photos / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    options = {}
    if "pattern" in request.param:
        options["label_pattern"] = r"_of_(\w+)\."
    if request.param == "zip":
        return shutil.make_archive(str(tmp_path / "photos"), "zip", photos), options, len(files)
    return photos, options, len(files)


def test_own_pictures_train_in_every_layout_they_come_in(own_pictures):
    photos, options, count = own_pictures
    result = train(photos, **options)
    assert len(result.dls.train_ds) + len(result.dls.valid_ds) == count
    assert len(result.dls.vocab) == 2
    assert result.accuracy is not None


@pytest.mark.parametrize("fault", ["missing", "empty", "one class", "no pictures", "unreadable"])
def test_a_folder_that_cannot_be_learned_from_is_a_short_error_before_any_run(tmp_path, fault):
    photos = tmp_path / "photos"
    if fault != "missing":
        photos.mkdir()
    if fault == "no pictures":
        (photos / "notes.txt").write_text("no pictures here")
    if fault in ("one class", "unreadable"):
        for kind in ["cats"] if fault == "one class" else ["cats", "dogs"]:
            (photos / kind).mkdir()
            for n in range(4):
                (photos / kind / f"{n}.png").write_bytes(b"not a picture")
    if fault == "one class":
        from PIL import Image

        for n in range(4):
            Image.new("RGB", (32, 32)).save(photos / "cats" / f"{n}.png")
    with pytest.raises(DataError) as caught:
        train(photos, runs_folder=tmp_path / "runs")
    assert caught.value.next_step
    assert str(photos) in str(caught.value) or "cats" in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"arch": "resnet35"}, BadInput, "resnet34"),
        ({"recipe": "classik", "code": None}, BadInput, "classic"),
        ({"weights": "nowhere.pth"}, BadInput, "nowhere.pth"),
        ({"label_pattern": "("}, PicturesError, "pattern"),
    ],
)
def test_bad_input_is_a_short_error_and_leaves_no_finished_run(small_folder, options, kind, words):
    with pytest.raises(kind, match=words):
        train(small_folder, **options)


def test_a_network_that_nobody_knows_is_refused_before_the_pictures_are_fetched(tmp_path):
    with pytest.raises(BadInput, match="resnet34"):
        train("sample", arch="resnet35", dest=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_an_error_in_the_body_is_the_persons_and_its_run_is_kept(small_folder, tmp_path):
    with pytest.raises(NameError) as caught:
        train(small_folder, "learn.fit(1)\nlern.fit(1)", runs_folder=tmp_path)
    assert "-->    2 lern.fit(1)" in caught.value._render_traceback_()
    kept = json.loads(next(tmp_path.glob("*/result.json")).read_text())
    assert kept["status"] == "failed"
    assert len(kept["stages"][0]["epochs"]) == 1


def test_weights_from_a_file_are_loaded_exactly_or_refused(small_folder, tmp_path):
    import torch
    from torchvision.models import squeezenet1_1

    torch.manual_seed(3)
    network = squeezenet1_1(weights=None)
    torch.save(network.state_dict(), tmp_path / "good.pth")
    result = train(small_folder, "learn.freeze()\nlearn.fit(1)", weights=str(tmp_path / "good.pth"))
    first = result.learn.model[0][0].state_dict()
    for name, value in network.features.state_dict().items():
        assert torch.equal(
            first.get(name, result.learn.model[0].state_dict().get(name, value)), value
        )
    assert result.stages[0].layers == "head"

    broken = network.state_dict()
    broken["extra"] = broken.pop("classifier.1.bias")
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(LessonError, match=r"missing: classifier\.1\.bias; unexpected: extra"):
        train(small_folder, weights=str(tmp_path / "broken.pth"))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(LessonError, match="not a state dict"):
        train(small_folder, weights=str(tmp_path / "text.pth"))


def test_weights_that_cannot_be_had_name_the_three_ways_out(small_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # an empty cache, and no network here
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(LessonError, match=r"cannot be had") as caught:
        train(small_folder, weights="imagenet")
    assert "--weights FILE" in caught.value.next_step


KILLED = """
import os, signal, sys
from fastai.callback.core import Callback
import fastmagic

class Kill(Callback):
    def before_batch(self):
        if self.learn.watch.stage and self.learn.watch.stage.number == 2 and self.epoch == 1:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))

# The body's text is the same with and without the kill: what is added comes from the namespace.
body = "learn.add_cbs(extra)\\nlearn.fit_one_cycle(2, 1e-3)\\nlearn.fit_one_cycle(2, 1e-4)"
extra = [Kill()] if sys.argv[2] else []
result = fastmagic.train_lesson1(
    sys.argv[1], body, arch="squeezenet1_1", weights="none", size=32, bs=16,
    runs_folder=sys.argv[3], namespace={"extra": extra},
)
print(result.weights_sha256, [stage.resumed for stage in result.stages])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("kill", ["SIGKILL", "SIGINT"])
def test_a_killed_or_stopped_lesson_goes_on_to_the_very_same_weights(small_folder, tmp_path, kill):
    def run(signal_name, runs):
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(small_folder), signal_name, str(tmp_path / runs)],
            capture_output=True,
            text=True,
            timeout=300,
        )

    whole = run("", "whole")
    killed = run(kill, "killed")
    assert killed.returncode != 0
    if kill == "SIGINT":
        assert "Run the same cell again" in killed.stderr
    again = run("", "killed")
    assert again.stdout.split()[0] == whole.stdout.split()[0], again.stderr
    resumed = again.stdout.split(maxsplit=1)[1].strip()
    assert resumed.startswith("[True, ")  # the second fit's first state may not be written yet
    if kill == "SIGINT":
        assert resumed == "[True, True]"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
def test_ctrl_c_ends_a_lesson_within_the_batch_and_is_said_plainly(small_folder, tmp_path):
    code = (
        "import sys, fastmagic\n"
        "fastmagic.train_lesson1(sys.argv[1], 'print(1, flush=True)\\nlearn.fit(1000)',"
        " arch='squeezenet1_1', weights='none', size=32, bs=16, runs_folder=sys.argv[2])\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(small_folder), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdout.readline()
    time.sleep(3)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert "Stopped" in said
    kept = json.loads(next(tmp_path.glob("*/result.json")).read_text())
    assert kept["status"] == "stopped"
    assert kept["incidents"]
