from __future__ import annotations

import io

import pytest

from fastmagic import progress
from fastmagic.faces import Face, Text, table
from fastmagic.platforms import Platform


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Display:
    """Stands for IPython's display: one handle that is updated in place."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.handles = 0

    def __call__(self, bundle, raw, display_id):
        self.handles += 1
        self.shown.append(bundle)
        return self

    def update(self, bundle, raw):
        self.shown.append(bundle)


def test_a_log_has_whole_lines_only():
    stream, clock = io.StringIO(), Clock()
    view = progress.LogView(stream, clock)
    view.note("Looking")
    for step in range(100):
        clock.now = step
        view.bar("downloading", step, 100, "B")
    view.clear_bar()
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert 5 <= stream.getvalue().count("downloading") <= 10


def test_quick_work_leaves_no_line_of_progress_in_a_log():
    stream, clock = io.StringIO(), Clock()
    view = progress.LogView(stream, clock)
    for step in range(9):
        clock.now = step
        view.bar("unpacking", step, 9)
    view.clear_bar()
    assert stream.getvalue() == ""


def test_the_terminal_has_one_moving_line_that_goes_away():
    stream, clock = io.StringIO(), Clock()
    view = progress.TerminalView(stream, clock, columns=lambda: 60)
    view.bar("training", 1, 4)
    clock.now = 1
    view.bar("training", 2, 4)
    view.note("kept")
    assert stream.getvalue().endswith("\rkept\n")
    moving = stream.getvalue().split("\n")[0]
    assert all(len(piece) < 60 for piece in moving.split("\r"))


def test_a_bar_is_drawn_at_most_five_times_a_second():
    display, clock = Display(), Clock()
    view = progress.NotebookView("Lesson", display, clock)
    for step in range(1000):
        clock.now = step / 1000
        view.bar("training", step, 1000)
    assert len(display.shown) <= 6


def test_a_notebook_has_one_output_that_becomes_the_result():
    display = Display()
    with progress.NotebookView("Lesson", display) as view:
        view.note("Looking")
        view.bar("training", 1, 2)
        view.row(["epoch", "loss"], [0, 0.5])
        view.finish(Face("Lesson", (Text("Done.", strong=True),)))
    assert display.handles == 1
    assert "Looking" not in display.shown[-1]["text/html"]
    assert display.shown[-1]["text/plain"] == "Lesson\nDone."


def test_after_an_error_what_was_said_stays_and_the_bar_goes():
    display = Display()
    with pytest.raises(ValueError, match="no"), progress.NotebookView("Lesson", display) as view:
        view.note("Looking")
        view.bar("training", 1, 2)
        raise ValueError("no")
    assert "Looking" in display.shown[-1]["text/html"]
    assert "<progress" not in display.shown[-1]["text/html"]


def test_rows_that_a_terminal_has_shown_are_not_printed_again_at_the_end():
    stream = io.StringIO()
    view = progress.LogView(stream)
    view.row(["epoch"], [0], "epochs")
    view.row(["epoch"], [1], "epochs")
    view.finish(Face("Lesson", (table(["epoch"], [["0"], ["1"]], name="epochs"),)))
    assert stream.getvalue().count("epoch") == 1
    assert stream.getvalue().splitlines()[-1] == "Lesson"


def test_a_label_with_html_in_it_is_escaped():
    display = Display()
    view = progress.NotebookView("Lesson", display)
    view.bar("<script>", 1, 2)
    assert "<script>" not in display.shown[-1]["text/html"]


def test_a_verb_within_a_verb_does_not_end_the_outer_display():
    outer = progress.View()
    inner = progress.NestedView(outer)
    inner.note("fetching")
    inner.finish(Face("card"))
    assert outer.notes == ["fetching"]


@pytest.mark.parametrize(
    ("front", "kind"),
    [
        ("notebook", progress.NotebookView),
        ("terminal", progress.TerminalView),
        ("log", progress.LogView),
    ],
)
def test_the_view_fits_the_front_end(front, kind):
    assert type(progress.open_view(True, "x", Platform("terminal", front))) is kind


def test_a_twin_that_is_not_asked_to_show_says_nothing(capsys):
    with progress.open_view(False, "x") as view:
        view.note("hidden")
        view.bar("hidden", 1, 2)
        view.finish(Face("hidden"))
    assert capsys.readouterr().out == ""
