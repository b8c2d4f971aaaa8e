"""The front desk, on a real IPython shell."""

from __future__ import annotations

import json
import sys

import pytest

from fastmagic import magics
from fastmagic import shell as shell_hooks
from fastmagic.data.catalogue import OWN_PICTURES
from fastmagic.errors import BadInput, FastMagicError, LessonError
from fastmagic.lesson.order import Order
from fastmagic.line import split_line

MAGICS = ("gpu_check", "fastai_setup", "get_data", "train_lesson1")


@pytest.fixture
def loaded(shell):
    shell.run_line_magic("load_ext", "fastmagic")
    return shell


@pytest.fixture
def folder(tmp_path):
    """Make a tiny folder of pictures whose name has a blank."""
    from PIL import Image

    for part in ("train", "valid"):
        for kind in ("cats", "dogs"):
            place = tmp_path / "my pictures" / part / kind
            place.mkdir(parents=True)
            for n in range(3):
                Image.new("RGB", (32, 32), (40 * n, 80, 120)).save(place / f"{kind}.{n}.png")
    return tmp_path / "my pictures"


def everything_in(shell) -> dict:
    return {
        "line": sorted(shell.magics_manager.magics["line"]),
        "cell": sorted(shell.magics_manager.magics["cell"]),
        "registry": sorted(shell.magics_manager.registry),
        "configurables": [type(c).__name__ for c in shell.configurables],
        "cleanup": list(shell.input_transformers_cleanup),
        "ast": list(shell.ast_transformers),
        "hook": shell.display_trap.hook,
    }


def test_unload_leaves_nothing_behind(shell):
    shell.run_cell("%load_ext fastmagic")  # newer IPythons load their own magics at first use
    shell.run_cell("%unload_ext fastmagic")
    before = everything_in(shell)
    shell.run_cell("%load_ext fastmagic")
    assert set(MAGICS) <= set(shell.magics_manager.magics["line"])
    shell.run_cell("%unload_ext fastmagic")
    assert everything_in(shell) == before
    assert "FastMagics" not in before["registry"] + before["configurables"]
    assert not set(MAGICS) & {*before["line"], *before["cell"]}
    assert before["hook"] is shell.displayhook
    assert not any(isinstance(t, shell_hooks.EmptyCell) for t in before["cleanup"])


def test_reload_leaves_one_of_everything(loaded):
    before = everything_in(loaded)
    loaded.run_cell("%reload_ext fastmagic")
    after = everything_in(loaded)
    assert after["configurables"].count("FastMagics") == 1
    assert len(after["cleanup"]) == len(before["cleanup"])
    assert len(after["ast"]) == len(before["ast"])
    assert after["hook"].hook is loaded.displayhook


@pytest.mark.parametrize("name", MAGICS)
def test_help_is_shown_and_nothing_is_done(loaded, capsys, name):
    assert loaded.run_line_magic(name, "--help") is None
    assert loaded.run_line_magic(name, "-h") is None
    assert capsys.readouterr().out.count(f"%{name}") >= 2


@pytest.mark.parametrize("name", MAGICS)
def test_the_question_mark_shows_what_a_magic_takes(loaded, name):
    info = loaded.object_inspect(f"%{name}")
    assert info["found"]
    assert f"%{name}" in info["docstring"]


@pytest.mark.parametrize("name", MAGICS)
def test_an_unknown_flag_is_an_error_that_names_the_flags(loaded, name):
    with pytest.raises(BadInput, match="does not know '--frobnicate'"):
        loaded.run_line_magic(name, "--frobnicate")


def test_a_mistyped_flag_gets_the_nearest(loaded):
    with pytest.raises(BadInput, match="Did you mean '--epochs'"):
        loaded.run_line_magic("train_lesson1", "--epochz 3")


def test_a_flag_whose_value_is_no_number_is_an_error(loaded):
    with pytest.raises(BadInput, match="invalid int value: 'three'"):
        loaded.run_line_magic("train_lesson1", "--epochs three")


def test_get_data_without_a_name_lists_the_names(loaded):
    with pytest.raises(BadInput) as caught:
        loaded.run_line_magic("get_data", "")
    assert "dogscats" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_an_unknown_data_set_gets_the_nearest(loaded):
    with pytest.raises(FastMagicError, match="Did you mean 'dogscats'"):
        loaded.run_line_magic("get_data", "dogcats")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dogscats", ["dogscats"]),
        ("dogscats;", ["dogscats"]),
        ("dogscats ; ", ["dogscats"]),
        ('"my pictures" --dest "a b"', ["my pictures", "--dest", "a b"]),
        ("--label-pattern '^(.*)_\\d+'", ["--label-pattern", "^(.*)_\\d+"]),
        ("", []),
    ],
)
def test_a_line_is_split_into_its_words(line, words):
    assert split_line(line) == words


def test_an_open_quote_is_an_error():
    with pytest.raises(BadInput, match="quote"):
        split_line('"my pictures')


def test_a_path_with_blanks_a_variable_and_an_assignment_all_work(loaded, folder, capsys):
    loaded.user_ns["where"] = folder
    done = loaded.run_cell('quoted = %get_data "{where}"\n')
    assert done.success
    assert loaded.user_ns["quoted"] == folder
    assert type(loaded.user_ns["quoted"]) is type(folder)


def test_each_result_is_shown_once(loaded, folder, capsys):
    for line in (
        f'%get_data "{folder}"',
        f'%get_data "{folder}";',
        f'x = %get_data "{folder}"',
        f'x = %get_data "{folder}";',
    ):
        capsys.readouterr()
        assert loaded.run_cell(line, store_history=True).success
        out = capsys.readouterr().out
        assert out.count("cats") >= 1
        assert "Out[" not in out
        assert "PosixPath" not in out


def test_the_cell_that_loads_us_shows_its_result_once_too(shell, folder, capsys):
    shell.run_cell(f'%load_ext fastmagic\n%get_data "{folder}"', store_history=True)
    out = capsys.readouterr().out
    assert out.count("cats") >= 1
    assert "Out[" not in out


def test_the_result_is_filed_although_it_is_not_shown_again(loaded, folder):
    done = loaded.run_cell(f'%get_data "{folder}"', store_history=True)
    assert done.result == folder
    assert loaded.user_ns["_"] == folder


def test_a_result_that_is_asked_for_by_name_is_shown(loaded, folder, capsys):
    loaded.run_cell(f'x = %get_data "{folder}"\nx', store_history=True)
    assert "Out[" in capsys.readouterr().out


def test_errors_are_short_and_a_debug_switch_brings_the_traceback(loaded, capsys):
    loaded.run_cell("%get_data dogcats")
    short = capsys.readouterr()
    loaded.run_cell("%config FastMagics.debug = True")
    loaded.run_cell("%get_data dogcats")
    whole = capsys.readouterr()
    assert "Traceback" not in short.out + short.err
    assert len((short.out + short.err).strip().splitlines()) <= 3
    assert "Traceback" in whole.out + whole.err


def test_an_error_stops_the_cell(loaded):
    done = loaded.run_cell("%get_data dogcats\nafter = 1")
    assert isinstance(done.error_in_exec, FastMagicError)
    assert "after" not in loaded.user_ns


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%train_lesson1 --data x\n", "%train_lesson1 --data x\n"),
        ("%%train_lesson1\n\n   \n", "%train_lesson1\n"),
        ("\n%%train_lesson1\n# learn.fit(1)\n", "%train_lesson1\n"),
        ("%%train_lesson1\nlearn.fit(1)\n", "%%train_lesson1\nlearn.fit(1)\n"),
        ("%%timeit\n\n", "%%timeit\n\n"),
        ("x = 1\n", "x = 1\n"),
    ],
)
def test_a_cell_magic_with_nothing_below_becomes_a_line_magic(cell, line):
    transform = shell_hooks.EmptyCell(magics.MAY_BE_EMPTY)
    assert "".join(transform(cell.splitlines(keepends=True))) == line


def test_gpu_check_json_prints_the_report_and_nothing_else(shell, capsys):
    shell.run_line_magic("load_ext", "fastmagic")
    capsys.readouterr()
    report = shell.run_line_magic("gpu_check", "--no-probe --json")
    assert json.loads(capsys.readouterr().out) == report.to_dict()


@pytest.mark.parametrize("line", ["--watch 1 --json", "--watch --require", "--watch 0"])
def test_a_live_view_that_makes_no_sense_is_refused_at_once(shell, line):
    shell.run_line_magic("load_ext", "fastmagic")
    with pytest.raises(BadInput):
        shell.run_line_magic("gpu_check", line)


def test_settings_stand_in_for_flags(loaded, folder, tmp_path):
    """Where data sets go is a setting, and what a line says goes before it."""
    import shutil

    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    loaded.run_cell(f"%config FastMagics.data = {str(tmp_path / 'kept')!r}")
    path = loaded.run_line_magic("get_data", archive)
    assert path.is_relative_to(tmp_path / "kept")
    path = loaded.run_line_magic("get_data", f"{archive} --dest {tmp_path / 'other'}")
    assert path.is_relative_to(tmp_path / "other")


def test_the_default_recipe_is_a_setting(loaded, folder):
    loaded.run_cell("%config FastMagics.recipe = 'clasic'")
    with pytest.raises(BadInput, match="There is no recipe called 'clasic'"):
        loaded.run_line_magic("train_lesson1", f"--data '{folder}'")
    with pytest.raises(BadInput, match="--epochs 0"):  # a flag goes first, and so does own code
        loaded.run_line_magic("train_lesson1", f"--data '{folder}' --recipe quick --epochs 0")


@pytest.mark.parametrize("style", ["auto", "log", "terminal", "notebook", "quiet"])
def test_the_style_of_progress_is_a_setting(loaded, folder, capsys, style):
    loaded.run_cell(f"%config FastMagics.progress = {style!r}")
    capsys.readouterr()
    loaded.run_cell(f"card = %get_data {str(folder)!r}")
    said = capsys.readouterr().out
    assert bool(said) == (style != "quiet")


def test_what_is_quiet_still_gives_its_result(loaded, folder, capsys):
    loaded.run_cell("%config FastMagics.progress = 'quiet'")
    capsys.readouterr()
    loaded.run_cell(f"%get_data {str(folder)!r}")
    assert capsys.readouterr().out.count("my pictures") == 1


def test_a_style_that_is_not_known_is_refused(loaded, caplog):
    loaded.run_cell("%config FastMagics.progress = 'loud'")
    assert "'quiet'" in caplog.text  # traitlets says it, in red
    assert loaded.magics_manager.registry["FastMagics"].progress == "auto"


@pytest.mark.parametrize("flags", ["--gpus 2", "--gpus all", "--processes 2"])
def test_several_processes_without_torch_name_what_installs_it(loaded, folder, monkeypatch, flags):
    monkeypatch.setitem(sys.modules, "torch", None)  # as Python says of what is not installed
    with pytest.raises(LessonError, match="torch is not installed here") as caught:
        loaded.run_line_magic("train_lesson1", f"--data '{folder}' {flags}")
    assert "%fastai_setup" in caught.value.next_step


def test_a_named_set_keeps_its_settings_wherever_it_lies(loaded, tmp_path):
    put = []
    loaded.set_next_input = lambda text, replace=False: put.append(text)
    path = loaded.run_line_magic("get_data", f"sample --dest {tmp_path / 'else'}")
    loaded.run_line_magic("train_lesson1", "--show")
    loaded.run_line_magic("train_lesson1", f"--data {path} --show")
    for text in put:
        assert text.startswith(f"%%train_lesson1 --data {path}\n# Recipe `scratch`"), text
    settings, _ = Order(path).read()  # as --continue gives it
    assert (settings.recipe, settings.weights, settings.size) == ("scratch", "none", 48)


@pytest.mark.parametrize("source", ["https://example.org/mnist_tiny", "kaggle:me/cifar10"])
def test_somebodys_archive_is_not_taken_for_a_named_set(source):
    assert Order(source).defaults is OWN_PICTURES


def test_how_names_carry_the_class_travels_with_the_data(loaded, folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        (flat / f"Great {file.parent.name}_{number}.png").write_bytes(file.read_bytes())
    put = []
    loaded.set_next_input = lambda text, replace=False: put.append(text)
    loaded.run_line_magic("get_data", f"{flat} --label-pattern '^(.*)_\\d+'")
    loaded.run_line_magic("train_lesson1", "--show")
    loaded.run_line_magic("get_data", f"'{folder}'")
    loaded.run_line_magic("train_lesson1", "--show")
    assert ["--label-pattern" in text for text in put] == [True, False]


@pytest.mark.parametrize(
    "line",
    [
        *("get_data My Pictures", "get_data sample # mine", "gpu_check sample"),
        *("train_lesson1 My Pictures", "train_lesson1 --data My Pictures"),
    ],
)
def test_a_word_too_many_is_told_with_the_quotes_that_were_missing(loaded, line):
    with pytest.raises(BadInput, match="quotes"):
        loaded.run_line_magic(*line.split(" ", 1))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("sample", "--data sample"),
        ("--epochs 1 sample", "--data sample"),
        ("'My Pictures'", '--data "My Pictures"'),
        ("fresh", "--fresh"),
    ],
)
def test_a_single_word_is_a_data_set_whose_flag_was_forgotten(loaded, words, meant):
    with pytest.raises(BadInput) as caught:
        loaded.run_line_magic("train_lesson1", words)
    assert caught.value.next_step == f"Did you mean %train_lesson1 {meant}?"


def test_a_cell_that_is_not_remembered_and_loads_us_shows_its_result_once(shell, capsys):
    shell.run_cell("%load_ext fastmagic\n%config FastMagics.progress = 'log'\n%gpu_check")
    assert capsys.readouterr().out.count("training will use") == 1
