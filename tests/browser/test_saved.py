"""A saved notebook as a page that nothing runs in: nbconvert's HTML, in a browser."""

from __future__ import annotations

import nbformat
import pytest

from tests import notebooks
from tests.browser.front_ends import find_browser, page_of

pytest.importorskip("playwright", reason="needs the tests' own browser set-up: .[browser]")
nbconvert = pytest.importorskip("nbconvert", reason="needs nbconvert, which JupyterLab brings")
pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")


@pytest.mark.parametrize("width", [1200, 480])
def test_a_static_page_shows_what_the_notebook_showed(tmp_path, width):
    book = nbformat.read(notebooks.EXAMPLES / "quickstart.ipynb", as_version=4)
    html, _ = nbconvert.HTMLExporter().from_notebook_node(book)
    file = tmp_path / "quickstart.html"
    file.write_text(html, encoding="utf-8")
    with page_of(width) as page:
        page.goto(file.as_uri())
        said = page.inner_text("body")
        assert "Finished: accuracy" in said
        assert "<div" not in said
        wide = "() => [...document.querySelectorAll('[style*=line-height] img')]"
        reach = f"({wide})().map(one => one.getBoundingClientRect().right)"
        assert max(page.evaluate(reach)) <= width + 40  # no picture runs out of a narrow page
        page.screenshot(path=str(tmp_path / f"{width}.png"), full_page=True)
