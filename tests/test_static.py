"""What a saved notebook shows where nothing runs: each output stands alone, for eyes and ears."""

from __future__ import annotations

from html.parser import HTMLParser

import nbformat
import pytest

from tests import notebooks

EMPTY = {"img", "br", "hr", "path", "line", "rect", "circle", "polyline", "input", "meta"}


class Read(HTMLParser):
    """Notes every tag with its attributes, and whether it lies within a table's head."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, "tags that are not closed spill over a page that shows many"

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def ours(book):
    """Give the data of each output that a magic has made; fastai makes some of its own."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.get("text/html", "").startswith('<div style="line-height'):
                yield data


@pytest.fixture(params=sorted(notebooks.CELLS))
def outputs(request):
    file = notebooks.EXAMPLES / f"{request.param}.ipynb"
    found = list(ours(nbformat.reads(file.read_text(encoding="utf-8"), as_version=4)))
    assert found
    return found


def test_an_output_needs_nothing_outside_itself(outputs):
    """Colab shows each in a frame of its own; no style, script or file of another is there."""
    for data in outputs:
        assert set(data) == {"text/html", "text/plain"}  # no widget, which a saved page has not
        read = Read(data["text/html"])
        assert read.open == []
        names = {name for name, _ in read.tags}
        assert not names & {"script", "link", "style", "iframe", "object", "form", "input"}
        for name, attrs in read.tags:
            assert not {"class", "id"} & set(attrs), f"{name} waits for a style from elsewhere"
            assert not any(key.startswith("on") for key in attrs)
            for key in ("src", "href"):
                assert (attrs.get(key) or "data:").startswith(("data:", "https://"))


def test_who_does_not_see_it_can_have_it_read_out(outputs):
    for data in outputs:
        read = Read(data["text/html"])
        assert all(len(image["alt"] or "") > 10 for image in read.all("img"))
        heads = read.all("th")
        assert all(head["scope"] in ("col", "row") for head in heads)
        assert len(heads) >= len(read.all("table"))
        headings = [attrs for _, attrs in read.tags if attrs.get("role") == "heading"]
        assert headings
        for drawing in read.all("svg"):
            assert drawing["role"] == "img"
            assert drawing["aria-label"]


def test_the_words_alone_say_it_all(outputs):
    """A viewer that shows no HTML has the text: the same tables, and the words of each picture."""
    for data in outputs:
        text = data["text/plain"]
        assert "<" not in text.replace("<lesson cell", "")
        assert "\x1b" not in text
        for image in Read(data["text/html"]).all("img"):
            assert "".join((image["alt"] or "").split())[:40] in "".join(text.split())
