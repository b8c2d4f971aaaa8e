from __future__ import annotations

import io
import os
import tempfile
import types

import pytest

from fastmagic import platforms
from fastmagic.gpu.advice import get_a_gpu


def shell_of(*family: tuple[str, str], names: dict | None = None):
    """Make an object whose class looks like a front end's shell."""
    kind: type = object
    for module, name in reversed(family):
        kind = type(name, (kind,), {"__module__": module})
    shell = kind()
    shell.user_ns = names or {}
    return shell


KERNEL = ("ipykernel.zmqshell", "ZMQInteractiveShell")
COLAB = (("google.colab._shell", "Shell"), KERNEL)
TERMINAL = ("IPython.terminal.interactiveshell", "TerminalInteractiveShell")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("shell", "env", "name", "front"),
    [
        (shell_of(*COLAB), {"COLAB_RELEASE_TAG": "x"}, "colab", "notebook"),
        (
            shell_of(KERNEL),
            {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "COLAB_RELEASE_TAG": "x"},
            "kaggle",
            "notebook",
        ),
        (shell_of(("mine", "Sub"), *COLAB), {}, "colab", "notebook"),
        (shell_of(KERNEL, names={"__vsc_ipynb_file__": "a"}), {}, "vscode", "notebook"),
        (shell_of(KERNEL), {"VSCODE_PID": "7"}, "vscode", "notebook"),
        (shell_of(KERNEL), {}, "jupyter", "notebook"),
        (shell_of(TERMINAL), {}, "terminal", "log"),
        (False, {}, "script", "log"),
    ],
)
def test_each_place_is_known(shell, env, name, front):
    place = platforms.where(shell=shell, env=env, stdout=io.StringIO())
    assert (place.name, place.front) == (name, front)


def test_a_terminal_is_told_from_a_pipe():
    place = platforms.where(shell=shell_of(TERMINAL), env={}, stdout=Tty())
    assert place.front == "terminal"


def test_the_data_folder_is_the_one_that_fastai_is_configured_for(tmp_path):
    env = {"FASTAI_HOME": str(tmp_path)}
    assert platforms.data_folder(env) == tmp_path / "data"
    (tmp_path / "config.ini").write_text("[DEFAULT]\ndata = /elsewhere\narchive = zips\n")
    assert str(platforms.data_folder(env)) == "/elsewhere"
    assert platforms.archive_folder(env) == tmp_path / "zips"


def test_a_broken_configuration_of_fastai_is_survived(tmp_path):
    (tmp_path / "config.ini").write_text("not an ini file")
    assert platforms.data_folder({"FASTAI_HOME": str(tmp_path)}) == tmp_path / "data"


def test_the_home_of_a_user_who_is_not_known_is_left_as_it_was_written(tmp_path):
    there = platforms.data_folder({"FASTAI_HOME": "~nobodyhere/x"})
    assert there.parts == ("~nobodyhere", "x", "data")
    (tmp_path / "config.ini").write_text("[DEFAULT]\ndata = ~nobodyhere/y\n")
    there = platforms.data_folder({"FASTAI_HOME": str(tmp_path)})
    assert there == tmp_path / "~nobodyhere" / "y"


@pytest.mark.train
def test_fastai_itself_agrees_where_data_lives():
    from fastai.data.external import fastai_path

    assert platforms.data_folder() == fastai_path("data")


def test_only_platforms_that_offer_a_gpu_say_how_to_get_one():
    assert "T4" in get_a_gpu("colab")
    assert get_a_gpu("jupyter") == ""


def test_no_shell_runs_where_ipython_was_never_imported(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "IPython", None)
    assert platforms.running_shell() is None
    fake = types.SimpleNamespace(get_ipython=lambda: "shell")
    monkeypatch.setitem(__import__("sys").modules, "IPython", fake)
    assert platforms.running_shell() == "shell"


def test_at_least_one_core_is_usable():
    assert platforms.usable_cores() >= 1


@pytest.mark.parametrize(("quota", "all_cores"), [("50000", False), ("9900000", True)])
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_the_smaller_of_affinity_and_quota_counts(tmp_path, quota, all_cores):
    files = {
        "proc/self/cgroup": "0::/",
        "proc/self/mountinfo": "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw",
        "cg/cpu.max": f"{quota} 100000",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    cores = len(os.sched_getaffinity(0)) if all_cores else 1
    assert platforms.usable_cores(tmp_path) == cores


def test_on_colab_a_mounted_drive_has_the_copy_and_never_the_run_itself(tmp_path, monkeypatch):
    colab, home = platforms.Platform("colab", "notebook"), tmp_path / "content"
    home.mkdir()
    monkeypatch.chdir(home)
    own = home / "fastmagic-runs"
    assert platforms.run_folders(colab, content=home) == (own, None)
    drive = home / "gdrive" / "MyDrive"
    drive.mkdir(parents=True)
    assert platforms.run_folders(colab, content=home) == (own, drive / "fastmagic-runs")
    assert platforms.run_folders(colab, drive / "mine", content=home) == (own, drive / "mine")
    assert platforms.run_folders(colab, "x", "y", content=home) == (home / "x", home / "y")
    monkeypatch.chdir(drive)
    assert platforms.run_folders(colab, content=home) == (own, drive / "fastmagic-runs")
    elsewhere = platforms.Platform("jupyter", "notebook")
    assert platforms.run_folders(elsewhere, "x", "x", content=home) == (drive / "x", None)


def test_where_the_persons_cache_cannot_be_written_a_temporary_one_is_used(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("no folder at all")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert platforms.cache_folder() == tmp_path / "fastmagic"
