from __future__ import annotations

import pytest

from fastmagic.lesson.loading import Loading, measured


@pytest.fixture
def pictures(tmp_path):
    """Give a maker of pictures of one size."""
    from PIL import Image

    def make(side, count=3):
        for number in range(count):
            Image.new("RGB", (side + 100, side)).save(tmp_path / f"{number}.jpg")
        return sorted(tmp_path.glob("*.jpg"))

    return make


def told(waiting, pictures, **options):
    given = {
        "device": "cuda",
        "workers": 2,
        "size": 224,
        "shm_size": 6000,
        "cores": 4,
        "system": "linux",
    }
    found = measured(waiting, 100 - waiting, pictures=pictures, **{**given, **options})
    assert found is not None
    return found.sentences()


def test_nothing_fitted_is_nothing_to_tell():
    options = {"device": "cpu", "workers": 0, "pictures": (), "size": 224, "shm_size": None}
    assert measured(0.0, 0.0, **options) is None


def test_a_gpu_that_waits_is_told_of_the_cores_that_are_left(pictures):
    waited, advice = told(62, pictures(300))
    assert waited == "The GPU waited for pictures 62 % of the time."
    assert "--workers 4 (now 2)" in advice


def test_never_more_workers_are_advised_than_the_lesson_takes_by_itself(pictures):
    assert "--workers 8 (now 2)" in told(62, pictures(300), cores=64)[1]
    assert len(told(62, pictures(300), cores=64, workers=8)) == 1


def test_a_gpu_that_hardly_waits_needs_no_advice(pictures):
    assert told(20, pictures(300)) == ("The GPU waited for pictures 20 % of the time.",)


def test_on_a_cpu_loading_is_work_of_the_same_process(pictures):
    assert told(40, pictures(300), device="cpu", workers=0) == (
        "Loading pictures took 40 % of the time.",
    )
    assert told(10, (), device="cpu", workers=2)[0].startswith("Training waited")


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 4},
        {"workers": 0},  # three pictures: processes would cost more than they bring
        {"shm_size": 64},
        {"shm_size": None},
        {"system": "darwin"},
        {"device": "cpu"},
    ],
)
def test_more_workers_are_not_advised_where_they_would_not_help(pictures, options):
    assert not any("--workers" in line for line in told(62, pictures(300), **options))


def test_pictures_far_larger_than_needed_are_named(pictures):
    _, advice = told(62, pictures(600), workers=4)
    assert "about 600 pixels" in advice
    assert "becomes 224" in advice


def test_nothing_is_said_of_photographs_that_are_read_from_small_copies(pictures):
    assert len(told(62, pictures(600), workers=4, size=None)) == 1


def test_a_body_with_loaders_of_its_own_gets_no_advice():
    assert told(62, ()) == ("The GPU waited for pictures 62 % of the time.",)


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path):
    (tmp_path / "0.jpg").write_text("no picture")
    assert len(told(62, [tmp_path / "0.jpg"], workers=4)) == 1


def test_the_share_is_of_the_whole_time():
    assert Loading(30, 10, "cuda", 2).share == 0.75
