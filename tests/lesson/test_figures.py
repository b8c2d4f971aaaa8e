"""What a body draws is kept where a terminal would not show it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train


def test_figures_are_saved_in_a_terminal_and_those_from_before_are_left(tmp_path):
    import matplotlib.pyplot as plt

    from fastmagic.lesson.figures import Figures

    mine = plt.figure()
    drawn = Figures("terminal")
    plt.figure().add_subplot().plot([1, 2])
    plt.figure().add_subplot().plot([2, 1])
    kept = drawn.keep(tmp_path)
    assert [file.name for file in kept] == ["figure-1.png", "figure-2.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in kept)
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_a_notebook_shows_them_itself(tmp_path):
    import matplotlib.pyplot as plt

    from fastmagic.lesson.figures import Figures

    drawn = Figures("notebook")
    figure = plt.figure()
    assert drawn.keep(tmp_path) == []
    assert figure.number in plt.get_fignums()
    plt.close(figure)


def test_a_loss_that_is_no_number_is_an_incident(small_folder, tmp_path):
    import fastmagic

    result = fastmagic.train_lesson1(
        small_folder,
        "learn.fit(2, lr=1e30)",
        arch="squeezenet1_1",
        weights="none",
        size=32,
        bs=16,
        runs_folder=tmp_path,
    )
    assert ["no number" in incident.what for incident in result.incidents] == [True]
