from __future__ import annotations

import pytest

from fastmagic.lesson.report import interval


@pytest.mark.parametrize(
    ("right", "pictures", "low", "high"),
    [  # by scipy.stats.binomtest(right, pictures).proportion_ci(method="wilson"), scipy 1.17.1
        (393, 400, 0.964322927074442, 0.991497708892962),
        (49_550, 50_000, 0.9901336606815757, 0.9917908988632139),
    ],
)
def test_the_interval_is_wilsons(right, pictures, low, high):
    assert interval.wilson(right / pictures, pictures) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("pictures", [1, 2, 10, 400, 50_000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_interval_holds_the_share_and_stays_within_0_and_1(share, pictures):
    low, high = interval.wilson(share, pictures)
    assert 0 <= low <= share <= high <= 1
    assert low < high


def test_more_pictures_tell_more():
    widths = [high - low for low, high in (interval.wilson(0.98, n) for n in (100, 400, 2000))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("share", "pictures"), [(1.1, 10), (-0.1, 10), (0.5, 0)])
def test_what_is_no_share_of_pictures_has_no_interval(share, pictures):
    with pytest.raises(ValueError, match="no interval"):
        interval.wilson(share, pictures)


def test_a_difference_of_newcombes_own_example():
    # R. G. Newcombe (1998), table II, method 10, a: 56/70 - 48/80 is 0.0524 to 0.3339.
    low, high = interval.difference(48 / 80, 80, 56 / 70, 70)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_equal_accuracies_are_never_beyond_chance_and_far_ones_are():
    low, high = interval.difference(0.98, 400, 0.98, 400)
    assert low < 0 < high
    low, high = interval.difference(0.90, 400, 0.98, 400)
    assert low > 0


def test_the_band_of_the_lesson_is_compared_as_far_as_the_pictures_can_tell():
    band = (0.991, 0.9965)
    assert "may be as good" in interval.against(0.9825, 400, band)
    assert "below it" in interval.against(0.95, 400, band)
    assert "above it" in interval.against(1.0, 50_000, band)


def test_words_without_a_count_promise_nothing():
    assert interval.words(0.98, None) == "98.00 %"
    assert interval.words(float("nan"), 400) == "nan %"
