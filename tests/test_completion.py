"""What TAB offers in a real shell: by a matcher from IPython 8.6 on, by a hook before."""

from __future__ import annotations

import warnings

import pytest

from fastmagic.completion import offer
from fastmagic.data.catalogue import CATALOGUE
from fastmagic.magics import FastMagics

PARSERS = {
    name: getattr(FastMagics, name).parser
    for name in ("gpu_check", "fastai_setup", "get_data", "train_lesson1")
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder with two folders, an archive, a text and a hidden folder in it."""
    for name in ("my pictures", "photos", ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("birds.zip", "notes.txt", "squeezenet.pth"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(shell, folder):
    shell.Completer.use_jedi = False  # it adds Python's names on 7.34
    shell.run_line_magic("load_ext", "fastmagic")
    return shell


def completed(shell, line: str) -> list[str]:
    """Press TAB at the line's end, and give the lines that come of it."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter(), warnings.catch_warnings():
        found = shell.Completer.completions(line, len(line))
        return [line[: one.start] + one.text for one in found]


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("%get_data dog", ["%get_data dogscats"]),
        ("path = %get_data pe", ["path = %get_data pets"]),
        ("%get_data mnist_", ["%get_data mnist_sample", "%get_data mnist_tiny"]),
        ("%get_data imagenette2-1", ["%get_data imagenette2-160"]),
        ("%get_data kag", ["%get_data kaggle:"]),
        ("%get_data ph", ["%get_data photos/"]),
        ("%get_data ./bi", ["%get_data ./birds.zip"]),
        ('%get_data "my p', ['%get_data "my pictures/']),
        ("%get_data --li", ["%get_data --list"]),
        ("%get_data dogscats --de", ["%get_data dogscats --dest"]),
        ("%get_data dogscats --dest ph", ["%get_data dogscats --dest photos/"]),
        ("%get_data dogscats --cache=ph", ["%get_data dogscats --cache=photos/"]),
        ("%get_data dogscats --checksum sha", ["%get_data dogscats --checksum sha256:"]),
        ("%gpu_check --no", ["%gpu_check --no-probe"]),
        ("%fastai_setup --dry", ["%fastai_setup --dry-run"]),
        ("%train_lesson1 --data pet", ["%train_lesson1 --data pets"]),
        ("%%train_lesson1 --data pet", ["%%train_lesson1 --data pets"]),
        ("%train_lesson1 --recipe mo", ["%train_lesson1 --recipe modern"]),
        ("%train_lesson1 --recipe=mo", ["%train_lesson1 --recipe=modern"]),
        ("%train_lesson1 --weights squ", ["%train_lesson1 --weights squeezenet.pth"]),
        ("%train_lesson1 --epochs 3 --va", ["%train_lesson1 --epochs 3 --valid-pct"]),
    ],
)
def test_tab_completes(loaded, line, becomes):
    assert completed(loaded, line) == becomes


def test_the_first_line_of_a_cell_is_completed_with_a_body_below(loaded):
    from IPython.core.completer import provisionalcompleter

    cell, at = "%%train_lesson1 --rec\nlearn.fit(1)", len("%%train_lesson1 --rec")
    with provisionalcompleter():
        assert [one.text for one in loaded.Completer.completions(cell, at)] == ["--recipe"]


def test_nothing_begun_offers_every_name(loaded):
    offered = {line.split()[-1] for line in completed(loaded, "%get_data ")}
    assert set(CATALOGUE) <= offered and "kaggle:" in offered


def test_every_flag_of_every_magic_is_offered(loaded):
    for name, parser in PARSERS.items():
        flags = {f"%{name} {one}" for one in parser._option_string_actions if one[:2] == "--"}
        assert set(completed(loaded, f"%{name} --")) == flags


def test_other_lines_are_left_to_ipython(loaded):
    loaded.user_ns["dogs_of_mine"] = 1
    assert completed(loaded, "dogs_of_m") == ["dogs_of_mine"]
    assert completed(loaded, "x = dogs_of_m") == ["x = dogs_of_mine"]


def test_unload_takes_completion_away(loaded):
    loaded.run_line_magic("unload_ext", "fastmagic")
    assert completed(loaded, "%get_data dogsc") == []
    assert not getattr(loaded.Completer, "custom_matchers", [])
    assert not loaded.strdispatchers["complete_command"].regexs


def test_reload_offers_everything_once(loaded):
    loaded.run_line_magic("reload_ext", "fastmagic")
    assert completed(loaded, "%get_data dogsc") == ["%get_data dogscats"]
    hooked = loaded.strdispatchers["complete_command"].regexs
    assert len(hooked) + len(getattr(loaded.Completer, "custom_matchers", [])) == 1


def test_a_name_with_a_blank_is_offered_in_quotes(folder):
    assert offer("%get_data my", PARSERS).words == ('"my pictures/"',)
    assert offer('%get_data "my', PARSERS).words == ("my pictures/",)


def test_hidden_folders_are_offered_only_where_a_dot_was_typed(folder):
    assert offer("%get_data --dest ", PARSERS).words == ('"my pictures/"', "photos/")
    assert offer("%get_data --dest .h", PARSERS).words == (".hidden/",)


def test_a_flag_that_stands_there_is_not_offered_again():
    assert "--dest" not in offer("%get_data pets --dest x --", PARSERS).words


def test_where_anything_may_stand_nothing_is_offered():
    assert offer("%train_lesson1 --epochs ", PARSERS).words == ()
    assert offer("%get_data /no/such/folder/x", PARSERS).words == ()


@pytest.mark.parametrize(
    "line", ["", "x", "%get_data", "get_data(do", "%other --li", "1 %get_data x"]
)
def test_lines_that_are_not_ours(line):
    assert offer(line, PARSERS) is None
