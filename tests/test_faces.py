from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

from fastmagic import faces, progress
from fastmagic.faces import Code, Face, Picture, Shown, Text


@dataclass(frozen=True)
class Report(Shown):
    name: str
    folder: Path

    def face(self) -> Face:
        return Face(
            "Report", (Text(self.name, strong=True), faces.table(["where"], [[self.folder]]))
        )


HOSTILE = '<img src=x onerror="alert(1)">'


def test_text_and_html_are_made_from_the_same_words():
    bundle = Report("dogs", Path("runs"))._repr_mimebundle_()
    assert "dogs" in bundle["text/plain"]
    assert "dogs" in bundle["text/html"]


def test_what_comes_from_file_names_is_escaped_in_every_part_of_the_html():
    parts = (
        Text(HOSTILE),
        Text(HOSTILE, strong=True),
        Code(HOSTILE),
        faces.table([HOSTILE], [[HOSTILE]]),
        Picture(b"png", HOSTILE),
    )
    html = Face(HOSTILE, parts).html()
    assert 'onerror="' not in html
    assert html.count("&lt;img") == 7


def test_the_front_end_may_ask_for_one_face_only():
    report = Report("dogs", Path("runs"))
    assert set(report._repr_mimebundle_(include=["text/plain"])) == {"text/plain"}
    assert set(report._repr_mimebundle_(exclude=["text/plain"])) == {"text/html"}


def test_to_dict_is_data_that_json_takes():
    assert json.loads(json.dumps(Report("dogs", Path("runs")).to_dict())) == {
        "name": "dogs",
        "folder": "runs",
    }


def test_a_table_that_was_shown_live_can_be_left_out_of_the_text():
    face = Face("Lesson", (faces.table(["epoch"], [["0"]], name="epochs"), Text("done")))
    assert "epoch" in face.text()
    assert face.text(without=["epochs"]) == "Lesson\ndone"


def test_no_line_of_words_is_wider_than_an_80_column_terminal():
    text = Face("Check", (Text("word " * 60),)).text()
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_table_has_headers_and_what_is_missing_is_said():
    html = Face("GPUs", (faces.table(["name", "power"], [["T4", None]]),)).html()
    assert '<th scope="col"' in html
    assert "n/a" in html


def test_tabs_and_the_line_ends_of_windows_are_harmless():
    assert faces.harmless("a\tb\r\nc") == "a\tb\nc"
    assert "\t" not in faces.table_text(faces.table(("class",), [("a\tb",)]))


def test_a_name_from_an_archive_cannot_drive_the_terminal():
    evil = "c\x1b[31m\nats"
    text = faces.Face(evil, (Text(evil), faces.table(("class",), [(evil,)]))).text()
    assert "\x1b" not in text
    assert len(faces.table_text(faces.table(("class",), [(evil,)])).splitlines()) == 3


def test_a_name_that_is_no_utf_8_can_be_written_in_every_form():
    name = "k\udce4tzchen"
    table = faces.table([name], [[name]])
    face = Face(name, (Text(name), Code(name), faces.Heading(name), table, Picture(b"png", name)))
    for form in (face.text(), face.html(), faces.page(face)):
        assert "k\ufffdtzchen".encode() in form.encode()  # strict: nothing is left of the surrogate
    stream = io.StringIO()
    progress.print_json({"class": name}, stream)
    assert stream.getvalue().isascii() and json.loads(stream.getvalue()) == {"class": name}


def test_a_page_is_whole_and_escapes_its_title():
    page = faces.page(Face(HOSTILE, (faces.Heading(HOSTILE), Text("Finished."))))
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert page.rstrip().endswith("</html>")
    assert '<meta charset="utf-8">' in page
    assert "color-scheme: light dark" in page
    assert 'onerror="' not in page
    assert page.count("&lt;img") == 3


def test_a_page_may_hold_braces_and_percent_signs():
    assert "{x} 100 % {}" in faces.page(Face("t", (Text("{x} 100 % {}"),)))


def test_a_heading_stands_apart_in_the_text_and_is_one_in_the_html():
    face = Face("Lesson", (Text("Done."), faces.Heading("Training"), Text("quick")))
    assert face.text() == "Lesson\nDone.\n\nTraining\nquick"
    assert 'role="heading"' in face.html()


def test_the_words_of_a_picture_are_wrapped_like_any_others():
    text = Face("t", (Picture(b"png", "word " * 60),)).text()
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_wide_table_scrolls_by_itself():
    html = Face("t", (faces.table(["a"], [["b"]]),)).html()
    assert '<div style="overflow-x:auto"><table' in html
