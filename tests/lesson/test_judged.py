from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmagic.lesson.report import Judged, without_nan

FILES = tuple(Path(f"{n}.jpg") for n in range(5))
SAID = [
    [0.90, 0.05, 0.05],  # right
    [0.10, 0.80, 0.10],  # right
    [0.10, 0.88, 0.02],  # is c: the most wrong
    [0.50, 0.30, 0.20],  # is b
    [0.34, 0.33, 0.33],  # right, the most uncertain
]
ONE = Judged(FILES, ("a", "b", "c"), SAID, [0, 1, 2, 1, 0])


def test_the_confusion_matrix_counts_every_picture_once_actual_by_predicted():
    assert ONE.confusion().tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert ONE.confusion().sum() == len(FILES)
    assert ONE.right.tolist() == [True, True, False, False, True]


def test_the_most_wrong_come_worst_first_and_none_that_is_right():
    worst = ONE.most_wrong(5)
    assert [one.file.name for one in worst] == ["2.jpg", "3.jpg"]
    assert (worst[0].actual, worst[0].predicted) == ("c", "b")
    assert worst[0].of_actual == pytest.approx(0.02)
    assert worst[0].of_predicted == pytest.approx(0.88)
    assert len(ONE.most_wrong(1)) == 1


def test_the_most_uncertain_are_those_that_were_given_the_least_right_or_wrong():
    assert [one.file.name for one in ONE.most_uncertain(2)] == ["4.jpg", "3.jpg"]


def test_plain_data_is_the_counts_and_the_listed_pictures_and_json_takes_it():
    plain = json.loads(json.dumps(without_nan(ONE.to_dict())))
    assert plain["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert plain["most_wrong"][0]["file"] == "2.jpg"
    assert "probabilities" not in plain


def test_it_keeps_its_numbers_in_four_and_eight_bytes():
    assert ONE.probabilities.dtype == np.float32
    assert ONE.targets.dtype == np.int64


@pytest.mark.parametrize(
    ("said", "targets"),
    [(SAID[:4], [0, 1, 2, 1, 0]), (SAID, [0, 1, 2, 1]), (SAID, [0, 1, 2, 1, 3])],
)
def test_what_does_not_fit_together_is_refused(said, targets):
    with pytest.raises(ValueError, match=r"shape|none of"):
        Judged(FILES, ("a", "b", "c"), said, targets)


def test_no_pictures_at_all_are_no_trouble():
    none = Judged((), ("a", "b"), np.zeros((0, 2)), np.zeros(0))
    assert none.most_wrong() == none.most_uncertain() == ()
    assert none.confusion().tolist() == [[0, 0], [0, 0]]


def test_a_network_that_diverged_can_still_be_judged():
    broken = Judged(FILES[:2], ("a", "b"), [[np.nan, np.nan], [0.2, 0.8]], [1, 1])
    assert broken.most_wrong()[0].words() == "said a nan %, is b"
    assert without_nan(broken.to_dict())["most_wrong"][0]["of_actual"] is None


def test_the_report_needs_no_torch():
    code = "import sys; import fastmagic.lesson.report, fastmagic.lesson.compare; "
    code += "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr
