"""The four magics in a real JupyterLab, in a real browser; `tour.py` is the long form, by hand."""

from __future__ import annotations

import importlib.util

import nbformat
import pytest

from tests.browser.front_ends import JupyterLab, find_browser, page_of
from tests.browser.serving import serving

MISSING = [name for name in ("playwright", "jupyterlab") if importlib.util.find_spec(name) is None]
if find_browser() is None:
    MISSING.append("chromium")

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed"),
]

LOAD, CHECK, DATA, TRAIN, FREE = range(5)
CELLS = [
    "%load_ext fastmagic",
    "%gpu_check --no-probe",
    "path = %get_data sample",
    "%%train_lesson1 --data sample --name browser\nlearn.fit_one_cycle(1, 5e-3)",
    "",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    book.metadata["kernelspec"] = {
        "name": "python3",
        "language": "python",
        "display_name": "Python 3",
    }
    nbformat.write(book, folder / "lesson.ipynb")
    with serving(folder) as server, page_of() as page:
        front = JupyterLab(page, server)
        front.open("lesson.ipynb")
        yield front


def test_a_beginners_way_through_the_lesson(lab):
    lab.run_all()
    lab.wait_for_end(DATA)
    assert "<svg" in lab.html(DATA) or "<img" in lab.html(DATA)
    assert "GPU" in lab.text(CHECK)

    lab.wait(lambda: "batches" in lab.text(TRAIN))
    lab.stop()
    lab.wait_for_end(TRAIN)
    assert "run the same cell again" in lab.text(TRAIN).lower()
    assert "Traceback" not in lab.text(TRAIN)

    lab.run(TRAIN)
    seen = lab.seen_of(TRAIN)
    assert len(seen) >= 3, "the live view did not move"
    assert "Finished: accuracy" in lab.text(TRAIN)
    assert "<progress" not in lab.html(TRAIN)

    lab.save()
    lab.page.reload()
    lab.open("lesson.ipynb")
    assert "Finished: accuracy" in lab.text(TRAIN)
    assert "<div" not in lab.text(TRAIN)


def test_tab_and_help(lab):
    assert "dogscats" in lab.completions(FREE, "%get_data ")
    assert "--no-probe" in lab.completions(FREE, "%gpu_check --no")
    assert "Say whether training will run here" in lab.help_on(FREE, "%gpu_check")


def test_the_restarted_kernel_finds_the_lesson_done(lab):
    lab.restart()
    for number in (LOAD, TRAIN):
        lab.run(number)
    lab.wait_for_end(TRAIN)
    assert "Finished: accuracy" in lab.text(TRAIN)
