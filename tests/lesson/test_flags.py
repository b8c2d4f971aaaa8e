"""The lesson's magic in a shell: --show, --export and --continue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastmagic
from fastmagic.errors import BadInput, LessonError, Stopped
from fastmagic.gpu.advice import free_own_memory

pytestmark = pytest.mark.train

SMALL = "--arch squeezenet1_1 --weights none --size 32 --bs 16"


@pytest.fixture
def cells(shell, small_folder):
    """Give what runs a cell and says whether it went well, and the folder of pictures."""
    shell.run_cell("%load_ext fastmagic")

    def run(text):
        return shell.run_cell(text.format(data=f"--data {small_folder} {SMALL}"))

    return run


def test_shown_code_is_put_into_the_next_cell_and_runs(shell, cells):
    put = []
    shell.set_next_input = lambda text, replace=False: put.append(text)
    cells("%train_lesson1 {data} --recipe modern --epochs 2 --show").raise_error()
    [text] = put
    assert text.startswith("%%train_lesson1 --data ") and "--arch squeezenet1_1" in text
    assert "epochs = 2  # --epochs" in text and "--epochs" not in text.splitlines()[0]
    assert "learn" not in shell.user_ns
    shell.run_cell(text.replace("epochs = 2", "epochs = 1")).raise_error()
    assert shell.user_ns["learn"].epoch == 0


def test_a_share_of_pictures_that_are_divided_already_is_said_to_be_left_out(cells, capsys):
    cells("%%train_lesson1 {data} --valid-pct 0.3\npass").raise_error()
    assert "--valid-pct is left out" in capsys.readouterr().out
    cells("%%train_lesson1 {data}\npass").raise_error()
    assert "--valid-pct" not in capsys.readouterr().out


def test_a_cell_with_a_body_has_nothing_to_show(cells):
    with pytest.raises(Exception, match="shows its code already"):
        cells("%%train_lesson1 {data} --show\nlearn.fit(1)").raise_error()


def test_an_exported_lesson_runs_without_fastmagic(shell, cells, tmp_path):
    shell.run_cell("rate = 1e-3\ndef go(n):\n    learn.fit(n, rate)")
    script = tmp_path / "mine.py"
    cells(f"%%train_lesson1 {{data}} --export {script}\ngo(1)").raise_error()
    text = script.read_text()
    assert "rate = 0.001" in text and "def go(n):" in text and "import fastmagic" not in text
    code = f"""
import runpy, sys, warnings
sys.modules["fastmagic"] = None
warnings.simplefilter("ignore")
runpy.run_path({str(script)!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_exported_is_named(shell, cells, tmp_path):
    shell.run_cell("import numpy as np\nnumbers = np.zeros(3)")
    with pytest.raises(Exception, match="numbers"):
        cells(
            f"%%train_lesson1 {{data}} --export {tmp_path / 'a.py'}\nlearn.fit(len(numbers))"
        ).raise_error()
    assert not (tmp_path / "a.py").exists()


def test_a_lesson_can_be_taken_in_several_cells(shell, cells):
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    first = shell.user_ns["learn"]
    shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()
    assert shell.user_ns["learn"] is first
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    assert shell.user_ns["learn"] is not first


def test_a_cell_that_goes_on_has_the_data_set_under_the_name_that_it_was_asked_for_by(shell, cells):
    small = f"--data sample {SMALL}"
    first = shell.run_cell(f"%%train_lesson1 {small}\nlearn.fit(1)").result
    second = shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").result
    assert (second.data, second.path) == ("sample", first.path)
    assert second.folder.name.startswith("sample-own")
    both = fastmagic.compare(first.folder, second.folder)
    assert "on 160 pictures, taken to be the same ones" in " ".join(str(both).split())


def test_in_python_too_what_goes_on_has_the_data_set_of_what_it_goes_on_from():
    small = {"arch": "squeezenet1_1", "weights": "none", "size": 32}
    first = fastmagic.train_lesson1("sample", "learn.fit(1)", **small)
    second = fastmagic.train_lesson1(code="learn.fit(1)", after=first)
    assert (second.data, second.path) == ("sample", first.path)


def test_there_must_be_a_cell_to_go_on_from(shell, cells):
    with pytest.raises(Exception, match="no finished lesson cell"):
        shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    with pytest.raises(Exception, match="the learner knows"):
        shell.run_cell("%%train_lesson1 --continue --data sample\nlearn.fit(1)").raise_error()
    with pytest.raises(Exception, match="do not go with --continue"):
        shell.run_cell("%%train_lesson1 --continue --show").raise_error()


def test_await_and_ipythons_own_syntax_work_in_a_body(shell, cells):
    body = "import asyncio\nawait asyncio.sleep(0)\nfiles = !echo {path}\n%pwd\nlearn.fit(1)"
    cells(
        "%%train_lesson1 {data}\n".replace("{data}", "{data}") + body.replace("{path}", "{{path}}")
    ).raise_error()
    assert shell.user_ns["files"][0] == str(shell.user_ns["path"])


STOPS = """
from fastai.callback.core import Callback
class Stop(Callback):
    def before_batch(self):
        if self.training and stop and self.epoch == 1:
            raise KeyboardInterrupt
"""


def test_a_stopped_cell_that_went_on_with_another_goes_on_when_it_is_run_again(shell, cells):
    shell.run_cell(STOPS + "stop = True")
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    again = "%%train_lesson1 --continue\nlearn.fit(2, cbs=Stop())"
    with pytest.raises(Stopped):
        shell.run_cell(again).raise_error()
    shell.run_cell("stop = False")
    done = shell.run_cell(again)
    done.raise_error()
    assert [len(stage.epochs) for stage in done.result.stages] == [2]
    assert done.result.stages[0].resumed


def test_a_mistyped_cell_leaves_the_lesson_before_it_to_go_on_from(shell, cells):
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    for wrong in ("{data} --lr 1\nlearn.fit(1)", "{data}\nlearn.fit(", "--continue\nlern.fit(1)"):
        assert not cells(f"%%train_lesson1 {wrong}").success
    shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()
    assert not cells("%%train_lesson1 {data}\nlearn.fit(1)\nlern").success
    with pytest.raises(BadInput, match="no finished lesson cell"):
        shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()


def test_a_syntax_error_is_shown_by_the_persons_line_alone(cells, capsys):
    with pytest.raises(LessonError, match="SyntaxError"):
        cells("%%train_lesson1 {data}\n\nlearn.fit(1").raise_error()
    shown = capsys.readouterr().out
    assert "-->    3 learn.fit(1" in shown and "fastmagic" not in shown


def test_a_result_is_shown_once_though_the_body_ran_a_magic(cells, capsys):
    cells("%%train_lesson1 {data}\n%time learn.fit(1)").raise_error()
    assert capsys.readouterr().out.count("Finished: accuracy") == 1


def test_a_lesson_within_a_lesson_is_refused(cells):
    with pytest.raises(BadInput, match="running already"):
        cells("%%train_lesson1 {data}\n%train_lesson1 {data} --recipe scratch").raise_error()
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()


def test_shown_code_keeps_the_runs_name_and_limit(shell, cells):
    put = []
    shell.set_next_input = lambda text, replace=False: put.append(text)
    cells("%train_lesson1 {data} --recipe scratch --name mine --time-limit 5 --show").raise_error()
    assert put[0].splitlines()[0].endswith("--name mine --time-limit 5.0")
    cells("%train_lesson1 {data} --fresh --cache-limit 2.5 --processes 2 --show").raise_error()
    assert put[1].splitlines()[0].endswith(" --fresh --cache-limit 2.5 --processes 2")
    cells("%train_lesson1 {data} --show").raise_error()
    assert "--fresh" not in put[2] and "--cache-limit" not in put[2]
    with pytest.raises(BadInput, match="one at a time"):
        cells("%train_lesson1 {data} --show --export a.py").raise_error()


NOT_OF_A_JOB = ["name mine", "fresh", "gpus 2", "processes 2"]


@pytest.mark.parametrize("flag", [*NOT_OF_A_JOB, "runs there", "time-limit 5", "cache-limit 1"])
def test_a_script_refuses_by_name_what_it_cannot_have(cells, tmp_path, flag):
    script = tmp_path / "mine.py"
    with pytest.raises(BadInput, match=f"--{flag.split()[0]} does not go with --export"):
        cells(f"%%train_lesson1 {{data}} --{flag} --export {script}\nlearn.fit(1)").raise_error()
    assert not script.exists()


@pytest.mark.parametrize("flag", NOT_OF_A_JOB)
def test_a_job_refuses_by_name_what_it_cannot_have(cells, tmp_path, flag):
    job = tmp_path / "job.py"
    with pytest.raises(BadInput, match=f"--{flag.split()[0]} does not go with --export-job"):
        cells(f"%%train_lesson1 {{data}} --{flag} --export-job {job}\nlearn.fit(1)").raise_error()
    assert not job.exists()


def test_a_job_has_the_runs_folder_and_the_limits_that_its_cell_was_given(cells, tmp_path):
    job = tmp_path / "job.py"
    flags = f"--runs {tmp_path / 'kept'} --time-limit 0.0001 --cache-limit 1 --export-job {job}"
    cells(f"%%train_lesson1 {{data}} {flags}\nlearn.fit(50)").raise_error()
    assert "cache_limit=1.0," in job.read_text()
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, job], capture_output=True, text=True, timeout=300, cwd=tmp_path, env=env
    )
    assert done.returncode == 1 and "its time was up" in done.stderr, done.stderr
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert not (tmp_path / "fastmagic-runs").exists()


HELD = """
import gc
gc.collect()
held = [one() is not None for one in earlier]
learn.fit(1)
"""
WATCHED = "earlier = [weakref.ref(learn), weakref.ref(dls), weakref.ref(learn.model)]"


@pytest.mark.parametrize("style", ["log", "quiet"])
def test_a_lesson_does_not_keep_the_one_before_it_in_memory(shell, cells, style):
    shell.run_cell(f"import weakref\n%config FastMagics.progress = '{style}'")
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    shell.run_cell(WATCHED)
    shell.run_cell("1 + 1").raise_error()
    shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()
    assert all(one() is not None for one in shell.user_ns["earlier"])
    cells("%%train_lesson1 {data}" + HELD).raise_error()
    assert shell.user_ns["held"] == [False] * 3


def test_the_advice_to_free_this_kernels_memory_frees_it(shell, cells):
    shell.run_cell("import weakref")
    cells("%%train_lesson1 {data}\nlearn.fit(1)").raise_error()
    shell.run_cell(WATCHED)
    [line] = [one.removeprefix("Or try: ") for one in free_own_memory() if "del learn" in one]
    shell.run_cell(line).raise_error()
    assert [one() for one in shell.user_ns["earlier"]] == [None] * 3
    with pytest.raises(BadInput, match="no learner any more"):
        shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()


def test_a_result_that_has_a_name_keeps_its_learner(shell, cells):
    cells("report = %train_lesson1 {data} --recipe modern --epochs 1").raise_error()
    shell.run_cell("learn = None").raise_error()
    assert shell.user_ns["report"].learn is not None
    shell.run_cell("%%train_lesson1 --continue\nlearn.fit(1)").raise_error()
    assert shell.user_ns["learn"] is shell.user_ns["report"].learn


def test_what_a_library_warns_of_at_its_import_is_not_shown(tmp_path):
    """timm brings tqdm in, which warns a kernel without ipywidgets."""
    words = "import warnings\nwarnings.warn('IProgress not found')\ndef list_models(): return []\n"
    (tmp_path / "timm.py").write_text(words)
    code = """
from fastmagic.lesson import learner
try:
    learner.find_architecture("resnet99")
except ValueError as error:
    print(error)
"""
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert "Neither torchvision nor timm has a network called 'resnet99'" in done.stdout
    assert done.stderr == ""
