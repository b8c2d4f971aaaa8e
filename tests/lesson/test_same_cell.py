"""The same cell again: what it goes on with, and where; in a new kernel, another folder."""

from __future__ import annotations

from dataclasses import replace

import pytest

import fastmagic
from fastmagic.errors import BadInput, Stopped
from fastmagic.lesson import sameness
from fastmagic.lesson.order import DATA, Order
from tests.lesson.stopping import SMALL, STOP
from tests.views import Notes

pytestmark = pytest.mark.train


def test_a_new_kernel_takes_the_data_that_the_same_cell_was_begun_with(small_folder, tmp_path):
    code = f"{STOP}learn.fit(2, cbs=Stop())"

    def run(data, stop, code=code, **others):
        view = Notes()
        result = fastmagic.train_lesson1(
            data,
            code,
            runs_folder=tmp_path / "runs",
            copies=tmp_path / "copies",
            namespace={"stop": stop},
            show=view,
            **{**SMALL, **others},
        )
        return result, " ".join(view.notes)

    with pytest.raises(Stopped):
        run(small_folder, stop=True)
    order = Order(DATA, code, SMALL)
    [run_folder] = (tmp_path / "runs").glob("*/")
    for places in ((tmp_path / "runs", None), (tmp_path / "elsewhere", tmp_path / "copies")):
        found, name = sameness.begun_with(order, *places)
        assert (found.data, name) == (str(small_folder), run_folder.name)
    for other in (replace(order, code="learn.fit(2)"), replace(order, flags={**SMALL, "size": 40})):
        assert sameness.begun_with(other, tmp_path / "runs", tmp_path / "copies") is None

    result, said = run(None, stop=False)
    assert result.folder == run_folder and result.stages[0].resumed
    assert f"The data set is {small_folder}, with which {run_folder.name} was begun" in said
    assert sameness.begun_with(order, tmp_path / "runs", tmp_path / "copies") is None  # finished


@pytest.mark.parametrize("told", ["[]", "{", '{"status": "stopped"}', '{"data": 1, "parts": []}'])
def test_a_run_that_nobody_can_read_is_not_gone_on_with(tmp_path, told):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(told)
    assert sameness.begun_with(Order(DATA, "learn.fit(1)"), tmp_path) is None


def test_what_changes_only_the_time_a_run_takes_lets_it_go_on(small_folder, tmp_path):
    code = "learn.fit(2, cbs=Stop())"

    def run(stop, **others):
        namespace = {"stop": stop}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(
            small_folder,
            code,
            runs_folder=tmp_path,
            namespace=namespace,
            **SMALL,
            **others,
        )

    with pytest.raises(Stopped):
        run(True, workers=1)
    with pytest.raises(Stopped):
        run(True, workers=1, no_cache=True)  # other pixels: it begins anew
    free = {"no_gpu_cache": True, "no_allocator": True}
    first = run(False, workers=0, **free)
    assert first.stages[0].resumed
    other = run(False, workers=0, no_cache=True)
    assert other.stages[0].resumed and other.folder != first.folder


def test_a_cell_goes_on_where_it_began_though_the_folder_is_another_now(
    small_folder, tmp_path, monkeypatch
):
    code = "learn.fit(2, cbs=Stop())"

    def run(stop, where):
        (tmp_path / where).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / where)  # as %cd does
        namespace = {"stop": stop}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(small_folder, code, namespace=namespace, **SMALL)

    with pytest.raises(Stopped):
        run(True, "here")
    result = run(False, "there")
    assert result.stages[0].resumed
    assert result.folder.parent == tmp_path / "here" / "fastmagic-runs"
    assert run(False, "there").folder.parent == tmp_path / "there" / "fastmagic-runs"


def test_a_rate_that_is_far_too_high_is_told(small_folder, tmp_path):
    result = fastmagic.train_lesson1(
        small_folder, "learn.fit(1, 1e20)", runs_folder=tmp_path, **SMALL
    )
    assert any("no number any more" in one.what for one in result.incidents)


@pytest.mark.parametrize("limit", [-3, float("nan")])
def test_a_cache_of_less_than_nothing_is_refused(small_folder, limit):
    with pytest.raises(BadInput, match="--cache-limit"):
        fastmagic.train_lesson1(small_folder, "learn.fit(1)", cache_limit=limit)


def test_a_cell_that_begins_anew_says_how_it_goes_on(small_folder, tmp_path):
    namespace = {"stop": True}
    exec(STOP, namespace)
    with pytest.raises(Stopped) as caught:
        fastmagic.train_lesson1(
            small_folder,
            "learn.fit(2, cbs=Stop())",
            runs_folder=tmp_path,
            namespace=namespace,
            fresh=True,
            **SMALL,
        )
    assert "without --fresh" in caught.value.next_step


def test_how_names_carry_the_class_is_known_when_a_cell_goes_on(small_folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted((small_folder / "train").rglob("*.png"))):
        (flat / f"Great {file.parent.name}_{number}.png").write_bytes(file.read_bytes())
    code = "learn.fit(2, cbs=Stop())"

    def run(data, stop, **pattern):
        namespace = {"stop": stop}
        exec(STOP, namespace)
        return fastmagic.train_lesson1(
            data, code, runs_folder=tmp_path / "runs", namespace=namespace, **SMALL, **pattern
        )

    with pytest.raises(Stopped):
        run(flat, True, label_pattern=r"^(.*)_\d+")
    assert run(None, False).stages[0].resumed
