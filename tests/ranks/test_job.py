"""A lesson as a job: run by torchrun and by accelerate, and what cannot be written is named."""

from __future__ import annotations

import ast
import json
import linecache
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastmagic.errors import BadInput, LessonError
from fastmagic.lesson import export
from fastmagic.lesson.instead import export_job
from fastmagic.lesson.order import Order
from fastmagic.ranks import member

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]
BODY = """
learn.unfreeze()
go(2)
print("text with a \\\\n in it")
"""
SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}


def environment():
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def script(small_folder, tmp_path):
    names: dict = {"rate": 1e-3}
    source = "def go(epochs):\n    learn.fit(epochs, rate)\n"
    linecache.cache["<go>"] = (len(source), None, source.splitlines(True), "<go>")
    exec(compile(source, "<go>", "exec"), names)
    return export_job(Order(small_folder, BODY, SMALL), tmp_path / "job.py", namespace=names)


def result_of(folder):
    (run,) = (folder / "fastmagic-runs").iterdir()
    return json.loads((run / "result.json").read_text())


def run(command, folder):
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_job_runs_under_torchrun_as_it_runs_alone(script, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    said = run([*launcher, "--nproc-per-node", "2", script.name], script.parent)
    assert said.count("text with a \\n in it") == 1
    found = result_of(script.parent)
    assert found["status"] == "finished"
    assert found["choices"]["processes"].startswith("2,")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(script, alone)
    run([sys.executable, script.name], alone)
    assert result_of(alone)["status"] == "finished"


@pytest.mark.skipif(shutil.which("accelerate") is None, reason="accelerate is not installed")
def test_a_job_runs_under_accelerate(script):
    command = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", script.name]
    run(command, script.parent)
    found = result_of(script.parent)
    assert found["status"] == "finished"
    assert found["choices"]["processes"].startswith("2,")


def test_what_cannot_be_written_is_named(small_folder, tmp_path):
    order = Order(small_folder, "learn.fit(1, cbs=mine)", SMALL)
    with pytest.raises(BadInput, match="`mine`"):
        export_job(order, tmp_path / "job.py", namespace={"mine": object()})
    assert not (tmp_path / "job.py").exists()


def test_only_a_script_can_be_a_job(small_folder, tmp_path):
    with pytest.raises(BadInput, match="no script"):
        export_job(Order(small_folder, "learn.fit(1)", SMALL), tmp_path / "job.ipynb")


def test_a_job_says_what_has_written_it_and_only_that_is_overwritten(tmp_path):
    file, order = tmp_path / "job.py", Order("sample", "learn.fit(1)")
    for first in ("", export.MARKS["--export"], export.MARKS["--export-job"]):
        if first:
            file.write_text(first)
        export_job(order, file)
        line = file.read_text().splitlines()[0]
        assert line.startswith("# A lesson written by fastmagic's --export-job, which")
    file.write_text("# mine")
    with pytest.raises(BadInput, match="--export-job did not write it"):
        export_job(order, file)


def test_a_job_names_what_its_data_set_would_choose_otherwise(tmp_path):
    asked = {"arch": "resnet34", "size": 224}  # the general defaults; `sample` has others
    script = export_job(Order("sample", "learn.fit(1)", asked), tmp_path / "job.py")
    text = script.read_text()
    assert "arch='resnet34'" in text and "size=224" in text


@pytest.mark.parametrize(
    "body",
    ['a = """x"""', "a = '''x'''", "a = '''x''' + \"\"\"y\\n\"\"\""],
)
def test_a_body_comes_through_whatever_its_quotes(tmp_path, body):
    script = export_job(Order("sample", body + "\nlearn.fit(1)"), tmp_path / "job.py")
    (given,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "BODY"
    ]
    assert given == f"\n{body}\nlearn.fit(1)\n"


NOTEBOOK = "from pathlib import Path\nfolder, rates = Path('x'), [1e-3]"
USES = {
    "print(folder, rates)": {"from pathlib import Path"},
    "print(Path('y'))": {"from pathlib import Path"},
    "display(rates)": {"from IPython.display import display"},
    "print(rates)": set(),
}


@pytest.mark.parametrize(("body", "imports"), USES.items())
def test_a_job_imports_what_its_body_uses_and_a_notebook_has(tmp_path, body, imports):
    names: dict = {}
    exec(NOTEBOOK, names)
    script = export_job(Order("sample", body, SMALL), tmp_path / "job.py", namespace=names)
    lines = script.read_text().splitlines()
    assert {line for line in lines if line.startswith("from ")} == {
        "from fastmagic import ranks",
        *imports,
    }
    runpy.run_path(str(script), run_name="looked at")


class SeesAnotherDisk:
    """Stands for a process on a machine that does not see the folder of rank 0."""

    rank = 1

    def from_first(self, told):
        return Path("/no/such/folder"), "", False, {}, {}


def test_a_machine_that_does_not_see_the_runs_is_told_what_a_script_can_change():
    with pytest.raises(LessonError, match="does not see the run's folder") as caught:
        member._claimed(SeesAnotherDisk(), None, None)
    assert "runs_folder=" in caught.value.next_step and "--" not in caught.value.next_step
