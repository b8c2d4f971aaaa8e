"""The list of what has a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastmagic.data.catalogue import CATALOGUE
from fastmagic.data.get import list_data
from fastmagic.faces import LINE


def test_it_says_what_is_here(tmp_path: Path) -> None:
    env = {"FASTAI_HOME": str(tmp_path)}
    (tmp_path / "data" / "dogscats").mkdir(parents=True)
    listed = {one.name: one for one in list_data(env).sets}
    assert list(listed) == list(CATALOGUE)
    assert listed["dogscats"].here and not listed["pets"].here


def test_it_fits_a_terminal(tmp_path: Path) -> None:
    text = str(list_data({"FASTAI_HOME": str(tmp_path)}))
    assert all(len(line) <= LINE + 2 for line in text.splitlines())
    assert "839 MB" in text and "25,000" in text


def test_it_is_shown_once_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    list_data()
    assert capsys.readouterr().out == ""
    list_data(show=True)
    assert capsys.readouterr().out.count("Imagenette, 160 pixels") == 1
