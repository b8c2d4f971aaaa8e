"""SIGKILL at random moments, and the lesson ends as if nothing had happened (short form).

`tests/benchmarks/kills.py` is the long form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
from tests.guard import killing
from tests.guard.killing import process, until_it_ends
folder, work = Path(sys.argv[1]), Path(sys.argv[2])
(work / "whole").mkdir(); (work / "killed").mkdir()
whole = process(folder, work / "whole" / "runs", kill_after=None)
seconds = whole.told[-1][0] - whole.told[0][0]
runs = work / "killed" / "runs"
ends = until_it_ends(folder, runs, random.Random(4), seconds / 2, 6, save_every=0)
print(json.dumps([whole.answer, ends[-1].answer, sum(end.killed for end in ends)]))
"""


GAPS = """
runs = work / "gaps" / "runs"
runs.parent.mkdir()
ends = [process(folder, runs, kill_after=None, gap=gap) for gap in (*killing.GAPS, 0)]
print(json.dumps([whole.answer, ends[-1].answer, sum(end.killed for end in ends)]))
"""


def test_a_lesson_that_is_killed_again_and_again_ends_with_the_very_same(small_folder, tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE + GAPS, str(small_folder), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    at_random, in_gaps = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert at_random[2] >= 3
    assert in_gaps[2] == 9
    for whole, killed, kills in (at_random, in_gaps):
        told = killed.pop("incidents")
        assert len([one for one in told if "ended without a word" in one]) == kills
        assert not whole.pop("incidents")
        assert killed == whole
