"""SIGKILL at random moments, and the lesson ends as if nothing had happened (short form).

`tests/benchmarks/kills.py` is the long form.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here"),
]

CODE = """
import json, random, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import fastai.vision.all
from tests.guard.killing import process, until_it_ends
folder, work = Path(sys.argv[1]), Path(sys.argv[2])
(work / "whole").mkdir(); (work / "killed").mkdir()
whole = process(folder, work / "whole" / "runs", kill_after=None)
seconds = whole.told[-1][0] - whole.told[0][0]
runs = work / "killed" / "runs"
ends = until_it_ends(folder, runs, random.Random(4), seconds / 2, 6, save_every=0)
print(json.dumps([whole.answer, ends[-1].answer, sum(end.killed for end in ends)]))
"""


def test_a_lesson_that_is_killed_again_and_again_ends_with_the_very_same(small_folder, tmp_path):
    import json
    from pathlib import Path

    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(small_folder), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, killed, kills = json.loads(done.stdout.splitlines()[-1])
    assert kills >= 3
    assert {**killed, "incidents": []} == {**whole, "incidents": []}
