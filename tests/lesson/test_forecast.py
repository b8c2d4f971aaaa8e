"""What a plan and a trial come to, and how it is said."""

from __future__ import annotations

import pytest

from fastmagic.guard.memory import is_out_of_memory
from fastmagic.lesson import recipes
from fastmagic.lesson.forecast.calls import Work
from fastmagic.lesson.forecast.memory import Memory, at_full_batch
from fastmagic.lesson.forecast.plan import Plan, read_plan
from fastmagic.lesson.forecast.trial import Trial
from fastmagic.lesson.forecast.words import about, forecast
from fastmagic.others import Others

GIB = 2**30


def trial(**changed):
    measured = {
        **{"device": "cpu", "where": "this CPU", "batch": 50, "workers": 0, "cores": 2},
        **{"whole": 0.04, "frozen": 0.03, "kept": 0.012, "forward": 0.01, "head": 0.0003},
        "loading": 0.01,
    }
    return Trial(**{**measured, **changed})


def seconds(*works, train=1000, valid=100, **changed):
    return forecast(Plan(works, True), trial(**changed), train, valid).seconds


@pytest.mark.parametrize(
    ("work", "found"),
    [
        (Work("frozen", 2), 2 * (1000 * 0.04 + 100 * 0.02)),
        (Work("kept", 2), 2 * (1000 * 0.022 + 100 * 0.02)),
        (Work("whole", 3), 3 * (1000 * 0.05 + 100 * 0.02)),
        (Work("features", 1), 1100 * 0.02),
        (Work("features", 1, most=200), 300 * 0.02),
        (Work("precomputed", 2), 2 * (1000 * 0.0003 + 100 * 0.0001)),
        (Work("precomputed", 2, most=200), 2 * (200 * 0.0003 + 100 * 0.0001)),
        (Work("lr_find", 100, "frozen"), 100 * 50 * 0.04),
        (Work("lr_find", 100, "precomputed"), 100 * 50 * 0.0003),
        (Work("predict", 5), 5 * 100 * 0.02),
        (Work("predict", 1, "precomputed"), 100 * 0.0001),
    ],
)
def test_each_work_costs_its_pictures_its_steps_and_its_validation(work, found):
    assert seconds(work) == pytest.approx(found)


def test_without_loader_processes_loading_comes_on_top_and_with_them_beside_the_gpu():
    epoch = Work("whole", 1)
    on_gpu = {"device": "cuda", "whole": 0.002, "forward": 0.001, "loading": 0.01}
    assert seconds(epoch, **on_gpu) == pytest.approx(1000 * 0.012 + 100 * 0.011)
    assert seconds(epoch, **on_gpu, workers=2) == pytest.approx(1100 * 0.005)
    assert seconds(epoch, **on_gpu, workers=8, cores=4) == pytest.approx(1100 * 0.0025)
    fast = {**on_gpu, "loading": 0.001}
    assert seconds(epoch, **fast, workers=2) == pytest.approx(1000 * 0.002 + 100 * 0.001)


def test_on_a_processor_loader_processes_take_their_time_from_the_training():
    assert seconds(Work("whole", 1), workers=2) == pytest.approx(1000 * 0.045 + 100 * 0.015)


def test_a_network_without_a_frozen_step_is_trained_whole():
    assert seconds(Work("frozen", 1), frozen=None) == seconds(Work("whole", 1))


def test_a_network_without_batch_norm_is_frozen_whether_they_are_kept_or_not():
    assert seconds(Work("kept", 1), kept=None) == seconds(Work("frozen", 1))


def test_where_batch_norms_are_kept_an_epoch_of_the_head_is_one_that_keeps_them():
    kept = forecast(read_plan("learn.keep_batch_norm()\nlearn.fit(1)"), trial(), 1000, 100)
    assert kept.frozen_epoch == pytest.approx(1000 * 0.022 + 100 * 0.02)


@pytest.mark.parametrize(
    ("plan", "changed"),
    [
        (Plan((Work("whole", 1),), False, "how large `n_epoch` is (line 2)"), {}),
        (Plan((Work("precomputed", 1),), True), {"head": None}),
        (Plan((Work("whole", 1),), True), {"whole": None, "frozen": None, "forward": None}),
    ],
)
def test_what_is_not_known_makes_no_total(plan, changed):
    assert forecast(plan, trial(**changed), 1000, 100).seconds is None


def test_a_body_that_cannot_all_be_read_gets_its_epochs_and_the_reason():
    said = forecast(read_plan("learn.fit(n)"), trial(), 1000, 100).sentences()[0]
    assert "about 40 s for an epoch of the head" in said
    assert "about 50 s for an epoch of the whole network on this CPU" in said
    assert "how large `n_epoch` is (line 1)" in said


def test_a_long_lesson_on_a_processor_is_told_of_the_quick_recipe_and_what_that_takes():
    quick = read_plan(recipes.body("quick"))
    found = forecast(read_plan(recipes.body("classic")), trial(), 23000, 2000, quick)
    assert found.quick_seconds == pytest.approx(4000 * 0.02, rel=0.1)
    assert found.sentences()[0].startswith("Estimate")
    assert "`--recipe quick` takes about 1.5 min" in found.sentences()[0]


@pytest.mark.parametrize(
    ("body", "train", "changed"),
    [
        ("learn.fit(1)", 1000, {}),  # short as it is
        ("learn.fit(1)", 23000, {"head": None}),  # quick's own time is not known
        ("learn.fit(1)", 23000, {"loading": 0.5}),  # not much shorter
    ],
)
def test_the_quick_recipe_is_not_offered_where_it_is_no_better(body, train, changed):
    quick = read_plan("learn.freeze()\nwith learn.precomputed():\n    learn.fit(3)")
    found = forecast(read_plan(body), trial(**changed), train, 100, quick)
    assert found.quick_seconds is None
    assert "quick" not in " ".join(found.sentences())


def test_nobody_is_told_of_the_quick_recipe_who_did_not_ask():
    found = forecast(Plan((Work("whole", 100),), True), trial(), 23000, 2000)
    assert "quick" not in " ".join(found.sentences())


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (Memory(True, int(3.1 * GIB), int(14.7 * GIB), 64), ["fits", "3.1 of 14.7 GiB"]),
        (Memory(False, 20 * GIB, 14 * GIB, 32), ["does not fit", "20.0 of 14.0 GiB", "--bs 32"]),
        (Memory(False, None, GIB // 2, 0), ["does not fit", "two pictures", "512 MiB", "--size"]),
    ],
)
def test_the_memory_is_said_with_its_numbers_and_with_what_helps(memory, words):
    plan = Plan((Work("whole", 1),), True)
    said = forecast(plan, trial(memory=memory), 1000, 100).sentences()[-1]
    assert [word for word in words if word not in said] == []


def test_nothing_is_said_where_nothing_was_measured():
    nothing = trial(whole=None, frozen=None, forward=None)
    assert forecast(Plan((Work("whole", 1),), True), nothing, 1000, 100).sentences() == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0, "a second or so"),
        (9.4, "about 9 s"),
        (9.6, "about 10 s"),
        (54, "about 55 s"),
        (56, "about 1 min"),
        (89, "about 1.5 min"),
        (600, "about 10 min"),
        (3200, "about 55 min"),
        (3400, "about 1 h"),
        (10 * 3600, "about 10 h"),
        (60 * 3600, "about 2 days"),
    ],
)
def test_a_time_is_said_as_roughly_as_it_is_known(given, said):
    assert about(given) == said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_known_by_all_its_names(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_what_does_not_grow_with_the_batch_is_not_scaled_with_it():
    assert at_full_batch(peak=300, batch=16, fixed=100, full=64) == 900
    assert at_full_batch(peak=90, batch=16, fixed=100, full=64) == 100


def test_small_copies_are_made_once_on_all_cores_and_read_in_every_pass():
    epoch = Work("whole", 1)
    made = 1100 * 0.01 / 2
    once = 1000 * 0.042 + 100 * 0.012
    assert seconds(epoch, again=0.002) == pytest.approx(made + once)
    assert seconds(epoch, epoch, again=0.002) == pytest.approx(made + 2 * once)
    assert seconds(again=0.002) == 0


def test_a_busy_machine_is_said_behind_the_estimate():
    plan = Plan((Work("whole", 1),), True)
    busy = forecast(plan, trial(), 1000, 100, others=Others(1.0, 2)).sentences()
    assert busy[0].startswith("Estimate") and busy[-1].startswith(
        "Other programs used 1.0 of the 2"
    )
    assert len(forecast(plan, trial(), 1000, 100, others=Others(0.1, 2)).sentences()) == 1
