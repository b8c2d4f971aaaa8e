from __future__ import annotations

import io
import json
import re
import zipfile

import pytest
from PIL import Image

import fastmagic
from fastmagic import faces, progress
from fastmagic.errors import FastMagicError
from fastmagic.faces import Face, Text, table
from fastmagic.platforms import Platform
from fastmagic.progress import print_json

NOTE = "loss 0.1234, GPU 5.1 of 15.0 GiB, host 3.2 of 13 GiB"


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


def test_a_long_note_is_broken_between_words_in_a_terminal_and_whole_in_a_log():
    terminal, log = io.StringIO(), io.StringIO()
    text = "The pictures are kept in " + "/a/very/long/folder" * 3 + " and wait for the next run."
    progress.TerminalView(terminal, columns=lambda: 40).note(text)
    progress.LogView(log).note(text)
    assert terminal.getvalue().split() == text.split()
    assert terminal.getvalue().splitlines()[0] == "The pictures are kept in"
    assert log.getvalue() == text + "\n"


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
    inner.row(["file"], ["1.png"])
    inner.table(table(["class"], [["cats"]]))
    inner.live(Face("GPU"))
    inner.finish(Face("card"))
    assert outer.notes == ["fetching"]
    assert outer.rows == []


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


def test_a_note_beside_the_bar_gives_way_before_the_time_that_is_left():
    stream, clock = io.StringIO(), Clock()
    view = progress.TerminalView(stream, clock, columns=lambda: 80)
    view.bar("fit 1, epoch 1 of 3, training", 0, 24, " batches", NOTE)
    clock.now = 10
    view.bar("fit 1, epoch 1 of 3, training", 12, 24, " batches", NOTE)
    line = stream.getvalue().split("\r")[-1]
    assert "50% 00:10 left" in line
    assert line.endswith("loss 0.1234, GPU 5.1 of 15.0 GiB")
    assert len(line) < 80


def test_a_wide_terminal_has_room_for_the_bar_and_the_whole_note():
    stream, clock = io.StringIO(), Clock()
    view = progress.TerminalView(stream, clock, columns=lambda: 160)
    view.bar("training", 1, 24, " batches", NOTE)
    line = stream.getvalue()
    assert "|" in line
    assert line.endswith(NOTE)


def test_a_log_has_the_note_below_the_line_of_progress():
    stream, clock = io.StringIO(), Clock()
    view = progress.LogView(stream, clock)
    for step in range(15):
        clock.now = step
        view.bar("training", step, 24, " batches", NOTE)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("training:  42%")
    assert second == f"    {NOTE}"


def test_a_notebook_shows_the_curve_under_the_table_on_a_ground_of_its_own():
    display, clock = Display(), Clock()
    view = progress.NotebookView("Lesson", display, clock)
    view.row(["epoch", "loss"], [0, 0.5])
    view.curve("loss", [0.9, 0.5, 0.25])
    clock.now = 1
    view.bar("training", 1, 2, note=NOTE)
    html, text = display.shown[-1]["text/html"], display.shown[-1]["text/plain"]
    assert html.index("<table") < html.index('alt="loss, from 0.9000 to 0.2500"')
    assert html.index("<img") < html.index("<progress")
    assert NOTE in html
    assert "[loss, from 0.9000 to 0.2500]" in text
    assert display.handles == 1


def test_a_curve_is_not_drawn_in_logs_and_terminals():
    for kind in (progress.LogView, progress.TerminalView):
        stream = io.StringIO()
        kind(stream).curve("loss", [0.9, 0.5, 0.25])
        assert stream.getvalue() == ""


def test_short_epochs_update_the_output_five_times_a_second_too():
    display, clock = Display(), Clock()
    view = progress.NotebookView("Lesson", display, clock)
    losses = []
    for step in range(3000):
        clock.now = step / 1000
        losses.append(1 / (step + 1))
        view.curve("loss", losses)
        view.bar(f"epoch {step // 20}", step % 20, 20, note=f"loss {losses[-1]:.4f}")
        if step % 20 == 19:
            view.row(["epoch", "loss"], [step // 20, losses[-1]])
    assert 10 <= len(display.shown) <= 16
    view.clear_bar()
    assert "<progress" not in display.shown[-1]["text/html"]
    assert "<td" in display.shown[-1]["text/html"]
    assert ">149<" in display.shown[-1]["text/html"]


def test_a_row_that_came_too_soon_is_seen_when_the_block_ends():
    display, clock = Display(), Clock()
    with progress.NotebookView("Lesson", display, clock) as view:
        view.row(["epoch"], [0])
        view.row(["epoch"], [1])
    assert ">1<" in display.shown[-1]["text/html"]


def test_a_verb_within_a_verb_hands_on_its_bar_note_and_curve():
    display, clock = Display(), Clock()
    outer = progress.NotebookView("Lesson", display, clock)
    inner = progress.NestedView(outer)
    inner.curve("loss", [0.9, 0.5])
    clock.now = 1
    inner.bar("fetching", 1, 2, "B", NOTE)
    assert NOTE in display.shown[-1]["text/html"]
    assert 'alt="loss,' in display.shown[-1]["text/html"]


HOSTILE = "\x1b]0;owned\x07cats\x9b2J"
OUR_OWN = re.compile(r"\r *\r|\x1b\[J|\r\x1b\[\d+A")
"""What the views themselves write to move the cursor."""


@pytest.fixture
def hostile_set(tmp_path):
    """Give the folder of a downloaded archive, one of whose classes would drive a terminal."""
    drawn = io.BytesIO()
    Image.effect_noise((32, 32), 80).save(drawn, "PNG")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for part in ("train", "valid"):
            for kind in (HOSTILE, "dogs"):
                for n in range(3):
                    archive.writestr(f"pictures/{part}/{kind}/{n}.png", drawn.getvalue())
    return fastmagic.get_data(tmp_path / "pictures.zip", dest=tmp_path)


@pytest.mark.parametrize("kind", [progress.TerminalView, progress.LogView])
def test_a_class_of_an_archive_cannot_drive_a_terminal(hostile_set, kind):
    from fastmagic.lesson import start
    from fastmagic.lesson.order import Order

    settings, _ = Order(str(hostile_set), "pass").read()
    said = start.describe(start.laid_out(settings, hostile_set))
    assert HOSTILE in said
    stream, clock = io.StringIO(), Clock()
    view = kind(stream, clock)
    view.note(said)
    for clock.now in (0, 20, 40):
        view.bar(f"reading {HOSTILE}", clock.now, 40, note=HOSTILE)
    view.row([HOSTILE, "loss"], [HOSTILE, "0.1\ntwo lines"])
    view.table(table([HOSTILE], [[HOSTILE]]))
    view.live(Face(HOSTILE, (Text(HOSTILE),)))
    view.live(Face(HOSTILE, (Text(HOSTILE),)))
    view.finish(Face("Lesson"))
    written = OUR_OWN.sub("", stream.getvalue())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", written), repr(written)
    assert written.count("\ufffd]0;owned\ufffdcats\ufffd2J") >= 8
    assert "0.1 two lines" in written


def test_an_error_that_names_a_file_cannot_drive_a_terminal(tmp_path):
    with pytest.raises(FastMagicError) as caught:
        fastmagic.get_data(tmp_path / HOSTILE)
    assert HOSTILE in caught.value.what
    for shown in (str(caught.value), *caught.value._render_traceback_()):
        assert not re.search(r"[\x1b\x07\x9b]", shown)
    caught.value.debug = True
    assert not re.search(r"[\x1b\x07\x9b]", "".join(caught.value._render_traceback_()))


def test_json_holds_nothing_that_drives_a_terminal():
    out = io.StringIO()
    data = {"a class called \x9b31mred": "caf\u00e9\x7f\n"}
    print_json(data, out)
    assert not faces.CONTROL.search(out.getvalue())
    assert "caf\u00e9" in out.getvalue()
    assert json.loads(out.getvalue()) == data


def narrow_stream(encoding="cp1252"):
    """Give what stands for a file that a run on Windows is redirected to."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


def written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437"])
@pytest.mark.parametrize("kind", [progress.LogView, progress.TerminalView])
def test_what_a_stream_cannot_write_stops_nothing(kind, encoding):
    stream, clock = narrow_stream(encoding), Clock()
    view = kind(stream, clock=clock)
    view.note("The class 猫 has 3 pictures")
    for step in (0, 11, 22):
        clock.now = step
        view.bar("fit 1", 20 + step, 80, " batches")
    view.clear_bar()
    assert "The class ? has 3 pictures" in written(stream)
    assert re.search(r"fit 1: +52%\|#+\d? +\|", written(stream))


def test_a_stream_of_unicode_has_blocks_and_every_name():
    for stream in (narrow_stream("utf-8"), io.StringIO()):
        clock = Clock()
        view = progress.LogView(stream, clock=clock)
        view.note("The class 猫")
        view.bar("fit 1", 0, 80, " batches")
        clock.now = 11
        view.bar("fit 1", 40, 80, " batches")
        text = stream.getvalue() if isinstance(stream, io.StringIO) else written(stream)
        assert "猫" in text
        assert "█" in text
