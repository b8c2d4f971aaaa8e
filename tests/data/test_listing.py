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


def test_it_fits_with_the_longest_word_for_where_it_is_too(tmp_path: Path) -> None:
    (tmp_path / "dogscats").mkdir()
    listed = list_data({"FASTAI_HOME": str(tmp_path)}, kaggle_input=tmp_path)
    assert listed.sets[0].here and listed.sets[0].where == "attached"
    assert all(len(line) <= LINE + 2 for line in str(listed).splitlines())


def test_an_archive_that_waits_to_be_unpacked_is_said(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "oxford-iiit-pet.tgz").write_bytes(b"x")
    listed = {one.name: one for one in list_data({"FASTAI_HOME": str(tmp_path)}).sets}
    assert listed["pets"].where == "archive" and not listed["pets"].here


def test_what_is_unknown_is_called_so(tmp_path: Path) -> None:
    listed = list_data({"FASTAI_HOME": str(tmp_path)})
    [line] = [one for one in str(listed).splitlines() if one.split()[:1] == ["caltech101"]]
    assert line.split().count("unknown") == 2


def test_what_is_known_of_the_archives_hashes_is_shown_where_asked(tmp_path: Path) -> None:
    env = {"FASTAI_HOME": str(tmp_path)}
    words = " ".join(str(list_data(env, verbose=True)).split())
    for entry in CATALOGUE.values():
        for source in entry.sources:
            of_it = words.partition(f"{entry.name}: {source.url} ")[2]
            assert of_it.startswith(" ".join(source.hashes))
    assert "md5:3e483c8d6ef2175e9d395a6027eb92b7 of the first MiB" in words
    assert "md5:aef22ec7d472dd60e8ee79eecc19f131, as reported" in words
    assert "md5:" not in str(list_data(env))
