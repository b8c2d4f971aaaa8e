from __future__ import annotations

import json

import pytest

import fastmagic
from fastmagic.errors import BadInput, LessonError
from fastmagic.guard.incidents import Incident
from fastmagic.lesson import report
from tests.lesson import reports


@pytest.fixture
def two(tmp_path):
    """Give two runs in one folder: the second with another network, worse by 2 points."""
    one = reports.result(
        tmp_path / "dogs-classic",
        incidents=(Incident("fit 1, epoch 2", "out of memory", "the batch was halved"),),
    )
    other = reports.result(
        tmp_path / "dogs-modern",
        arguments={"arch": "resnet18", "seed": 42},
        versions={"torch": "2.11.0"},
        accuracy=0.93,
        weights_sha256="cd" * 32,
    )
    for result in (one, other):
        report.write(result)
    return one, other


def test_results_folders_files_and_names_give_the_same_comparison(two, tmp_path):
    one, other = two
    by_result = fastmagic.compare(one, other)
    by_folder = fastmagic.compare(one.folder, str(other.folder))
    by_file = fastmagic.compare(one.folder / "result.json", other.folder)
    by_name = fastmagic.compare("dogs-classic", "dogs-modern", runs_folder=tmp_path)
    assert by_result.to_dict() == by_folder.to_dict() == by_file.to_dict() == by_name.to_dict()
    assert by_name.a.stages == one.stages


def test_a_name_is_looked_up_where_runs_are_kept(two, tmp_path, monkeypatch):
    (tmp_path / "fastmagic-runs").mkdir()
    two[0].folder.rename(tmp_path / "fastmagic-runs" / "mine")
    monkeypatch.chdir(tmp_path)
    assert fastmagic.compare("mine", two[1]).a.accuracy == 0.95


def test_what_differs_is_shown_and_what_does_not_is_not(two):
    compared = fastmagic.compare(*two)
    assert compared.settings == {"arch": ("resnet34", "resnet18")}
    assert compared.versions == {"torch": ("2.15.0", "2.11.0")}
    assert compared.same_weights is False
    text = str(compared)
    assert "seed" not in text
    assert "the batch was halved" in text
    without_paths = [line for line in text.splitlines() if str(two[0].folder.parent) not in line]
    assert max(len(line) for line in without_paths) <= 80
    same = fastmagic.compare(two[0], two[0])
    assert "The settings are the same." in str(same)
    assert "the same, bit for bit" in str(same)


def test_cells_with_other_code_and_equal_settings_are_told_apart(two):
    one, other = (
        reports.result(run.folder, identity=word) for run, word in zip(two, "xy", strict=True)
    )
    assert "code of the cells differs" in str(fastmagic.compare(one, other))
    assert "code of the cells" not in str(fastmagic.compare(one, one))


def test_a_small_difference_is_called_chance_and_a_large_one_is_not(two):
    one, _ = two
    near = fastmagic.compare(*two)
    assert near.difference is not None
    assert near.difference.beyond_chance is False
    assert "A is better by 2.00 points" in str(near)
    assert "no more than chance gives: A's lead lies between -1.3" in str(near)
    far = fastmagic.compare(reports.result(one.folder, accuracy=0.80), one)
    assert far.difference is not None
    assert far.difference.beyond_chance is True
    assert "B is better by 15.00 points" in str(far)
    assert "more than chance" in str(far)


def test_with_tta_is_compared_where_both_have_it_and_said_where_not(two):
    one, other = two
    with_tta = reports.result(one.folder, accuracy_tta=0.97)
    assert "(B) with test-time" in " ".join(
        str(fastmagic.compare(with_tta, reports.result(other.folder, accuracy_tta=0.96))).split()
    )
    mixed = fastmagic.compare(with_tta, other)
    assert mixed.difference is not None
    assert mixed.difference.a == 0.95
    assert "both without test-time augmentation" in " ".join(str(mixed).split())


def test_it_says_on_which_pictures_they_were_measured(two, tmp_path):
    one, other = two
    judged = reports.judged(tmp_path / "data")
    there = [reports.result(run.folder, judged=judged) for run in two]
    assert fastmagic.compare(*there).same_pictures is True
    assert "taken to be the same" in str(fastmagic.compare(one, other))
    elsewhere = reports.result(other.folder, data="dogscats")
    assert "data sets differ" in str(fastmagic.compare(one, elsewhere))
    asked_by_its_path = [
        reports.result(run.folder, data=data, path=tmp_path)
        for run, data in zip(two, ("pets", str(tmp_path)), strict=True)
    ]
    assert "taken to be the same" in str(fastmagic.compare(*asked_by_its_path))
    moved = reports.result(other.folder, data="copied", judged=judged)
    assert "on the same 40 pictures" in " ".join(str(fastmagic.compare(there[0], moved)).split())
    more = reports.result(other.folder, validation_pictures=2000)
    assert "2,000 others" in " ".join(str(fastmagic.compare(one, more)).split())
    uncounted = reports.result(other.folder, validation_pictures=None)
    assert "cannot be said" in str(fastmagic.compare(one, uncounted))


def test_a_run_without_accuracy_is_compared_all_the_same(two):
    empty = reports.result(two[0].folder, stages=(), accuracy=None, weights_sha256=None)
    compared = fastmagic.compare(empty, two[1])
    assert compared.difference is None
    assert compared.same_weights is None
    assert "no accuracy" in str(compared)


def test_an_unknown_name_says_what_was_perhaps_meant(two, tmp_path):
    with pytest.raises(BadInput, match="Did you mean 'dogs-classic'") as caught:
        fastmagic.compare("dogs-clasic", two[1], runs_folder=tmp_path)
    assert "dogs-modern" in caught.value.next_step


def test_a_folder_without_a_result_says_so(two, tmp_path):
    (tmp_path / "killed").mkdir()
    with pytest.raises(BadInput, match=r"no result\.json"):
        fastmagic.compare("killed", two[1], runs_folder=tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"status": "finished"}', "\x00"])
def test_a_damaged_result_is_named(two, damage):
    (two[0].folder / "result.json").write_text(damage)
    with pytest.raises(LessonError, match=r"result\.json cannot be read") as caught:
        fastmagic.compare(two[0].folder, two[1])
    assert caught.value.next_step


def test_what_is_no_run_is_refused(two):
    with pytest.raises(BadInput, match="int cannot be compared"):
        fastmagic.compare(3, two[1])


def test_the_result_of_an_older_version_without_the_new_fields_can_be_compared(two):
    file = two[0].folder / "result.json"
    plain = json.loads(file.read_text())
    for name in ("judged", "validation_pictures", "reference", "choices", "forecast", "identity"):
        plain.pop(name, None)
    file.write_text(json.dumps(plain))
    compared = fastmagic.compare(two[0].folder, two[1])
    assert compared.a.pictures is None
    assert compared.difference is not None


def test_the_comparison_is_data_that_json_takes(two):
    plain = json.loads(json.dumps(fastmagic.compare(*two).to_dict()))
    assert plain["difference"]["beyond_chance"] is False
    assert plain["settings"] == {"arch": ["resnet34", "resnet18"]}
    assert plain["a"]["stages"][1]["epochs_planned"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"accuracy": 7},
        {"accuracy": -0.1},
        {"seconds": float("nan")},
        {"judged": {"pictures": -3}},
        {"judged": {"pictures": "many"}},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_told_as_damage(two, changed):
    file = two[0].folder / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    with pytest.raises(LessonError, match="cannot be read as a result"):
        fastmagic.compare(two[0].folder, two[1])
