"""The example notebooks: run in a real kernel, and committed with what they showed."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests import notebooks

ERRORS = {"error"}


def outputs(book):
    return [output for cell in book.cells for output in cell.get("outputs", [])]


def text_of(book) -> str:
    return "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for output in outputs(book)
    )


@pytest.fixture(params=sorted(notebooks.CELLS))
def committed(request):
    file = notebooks.EXAMPLES / f"{request.param}.ipynb"
    book = nbformat.reads(file.read_text(encoding="utf-8"), as_version=4)
    return request.param, book


def test_what_is_committed_has_the_cells_of_its_source(committed):
    name, book = committed
    assert [cell.source for cell in book.cells] == [
        cell.source for cell in notebooks.written(name).cells
    ]


def test_what_is_committed_has_outputs_and_no_errors(committed):
    _, book = committed
    assert len(outputs(book)) >= 4
    assert not [output for output in outputs(book) if output.output_type in ERRORS]
    assert "Finished: accuracy" in text_of(book)


def test_no_path_of_the_machine_that_ran_it_is_in_it(committed):
    _, book = committed
    text = nbformat.writes(book)
    assert not re.search(r"/(root|tmp|work)/", text)


def test_every_magic_leaves_one_output(committed):
    _, book = committed
    for cell in book.cells:
        if cell.cell_type == "code" and "%get_data" in cell.source:
            shown = [o for o in cell.outputs if o.output_type in ("display_data", "execute_result")]
            assert len(shown) == 1


def test_badges_are_there_only_once_there_is_an_address():
    first = notebooks.written("lesson1").cells[0].source
    assert ("Open in Colab" in first) == bool(notebooks.address())
    assert "Open in Colab" in notebooks.badges("https://github.com/someone/fastmagic")


@pytest.mark.train
@pytest.mark.parametrize("name", sorted(notebooks.CELLS))
def test_the_notebook_runs_from_the_top(name, tmp_path):
    pytest.importorskip("nbclient")
    book = notebooks.run(name, tmp_path)
    assert not [output for output in outputs(book) if output.output_type in ERRORS]
    assert "Finished: accuracy" in text_of(book)
    assert "<div" not in text_of(book)
