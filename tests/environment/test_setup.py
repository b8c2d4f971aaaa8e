"""The verb with a real pip, in a throw-away environment, against an index of tiny wheels."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

import filelock
import pytest

from fastmagic import platforms, progress
from fastmagic.environment.installers.network import Answer
from fastmagic.environment.inventory import Interpreter, snapshot
from fastmagic.environment.setup import fastai_setup
from fastmagic.environment.surroundings import Surroundings
from fastmagic.environment.system_libraries import System
from fastmagic.errors import BadInput, SetupError, Stopped

from . import servers
from .test_pip import NOWHERE
from .wheels import build, unpack

VERSION = "__version__ = {version!r}\ncuda = None\n"
WORKS = 'import fastai; print(\'fastmagic-answer:{"good": ["fastai"], "failure": ""}\')'
PLACE = platforms.Platform("script", "log")


def torch_wheel(folder: Path, version: str, **more: object) -> None:
    modules = {"torch/__init__.py": "", "torch/version.py": VERSION.format(version=version)}
    build(folder, "torch", version, modules=modules, **more)


def fill(index: Path) -> None:
    """Fill an index: a CPU pair of torch and torchvision, and a small fastai family."""
    torch_wheel(index, "2.15.0+cpu")
    build(index, "torchvision", "0.30.0+cpu", ("torch==2.15.0",))
    build(index, "fastai", "2.8.12", ("fastcore>=2.2.22", "torch<3", "torchvision"))
    build(index, "fastcore", "2.2.39")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """One environment with pip for all these tests (five seconds)."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=True, symlinks=os.name == "posix")
    folder = "Scripts" if os.name == "nt" else "bin"
    python = str(root / folder / Path(sys.executable).name)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    return Interpreter(python, (site.stdout.strip(),))


@pytest.fixture
def bare(environment: Interpreter):
    """The environment, emptied of everything but pip afterwards."""
    yield environment
    names = sorted(snapshot(environment).keys() - {"pip", "setuptools"})
    if names:
        command = [environment.executable, "-m", "pip", "uninstall", "-y", "-q", *names]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    fill(tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def world(bare: Interpreter, tmp_path: Path) -> Surroundings:
    return Surroundings(
        interpreter=bare,
        cache=lambda: tmp_path / "cache",
        trial=(bare.executable, "-c", WORKS),
        ask_index=lambda url, package: Answer(True, ""),
        place=PLACE,
        modules=lambda: None,
    )


def setup(world: Surroundings, index: Path, **more):
    where = {"index_url": "", "find_links": index, "torch_index": index.as_uri()}
    where = {} if more.get("undo") else where
    return fastai_setup(surroundings=world, **{**where, **more})


@pytest.fixture
def _no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan for a machine without a GPU, also where the tests run on one with one."""
    import pynvml

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "CDLL", no_library)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


@pytest.fixture(autouse=True)
def _own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine tells pip by itself does not count here."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


pytestmark = [
    pytest.mark.usefixtures("_no_driver"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="plans Linux's CPU build"),
]


def test_an_empty_environment_gets_all_and_a_second_call_needs_no_pip(world, index):
    report = setup(world, index)
    assert {(c.name, c.before, c.after) for c in report.changed} == {
        ("torch", None, "2.15.0+cpu"),
        ("torchvision", None, "0.30.0+cpu"),
        ("fastai", None, "2.8.12"),
        ("fastcore", None, "2.2.39"),
    }
    assert report.verified == "now"
    assert report.restart_needed == ()
    assert report.log is not None
    assert "Successfully installed" in report.log.read_text(encoding="utf-8")
    assert "Done in" in str(report)

    def nobody(url, package):
        raise AssertionError("the network was asked")

    offline = dataclasses.replace(world, ask_index=nobody, trial=("no-such-program",))
    again = setup(offline, index)
    assert again.plan.nothing_to_do
    assert again.verified == "earlier"
    assert again.log is None
    assert again.seconds < 0.5


def test_a_dry_run_changes_nothing_and_shows_the_versions(world, index):
    before = snapshot(world.interpreter)
    report = setup(world, index, dry_run=True)
    assert snapshot(world.interpreter) == before
    assert {row.package: row.then for row in report.plan.rows}["torch"] == "2.15.0+cpu"
    assert "nothing was changed" in str(report)


def test_a_torch_that_is_there_is_kept_when_fastai_comes(world, index):
    site = Path(world.interpreter.paths[0])
    modules = {"torch/__init__.py": "", "torch/version.py": VERSION.format(version="2.11.0+cpu")}
    unpack(site, "torch", "2.11.0+cpu", modules=modules)
    unpack(site, "torchvision", "0.26.0+cpu")
    try:
        report = setup(world, index)
        assert {change.name for change in report.changed} == {"fastai", "fastcore"}
    finally:
        _remove(site, "torch", "torchvision")


def test_a_plan_that_would_change_torch_is_refused(world, index):
    for wheel in index.glob("fastai-*"):
        wheel.unlink()
    build(index, "fastai", "2.8.12", ("fastcore>=2.2.22", "torch>=2.15", "torchvision"))
    site = Path(world.interpreter.paths[0])
    modules = {"torch/__init__.py": "", "torch/version.py": VERSION.format(version="2.11.0+cpu")}
    unpack(site, "torch", "2.11.0+cpu", modules=modules)
    unpack(site, "torchvision", "0.26.0+cpu")
    try:
        before = snapshot(world.interpreter)
        with pytest.raises(SetupError, match="what is installed is not changed"):
            setup(world, index)
        assert snapshot(world.interpreter) == before
    finally:
        _remove(site, "torch", "torchvision")


def test_a_cuda_build_in_place_of_the_cpu_build_is_refused(world, index):
    for wheel in index.glob("torch*"):
        wheel.unlink()
    torch_wheel(index, "2.15.0")
    build(index, "torchvision", "0.30.0", ("torch==2.15.0",))
    before = snapshot(world.interpreter)
    with pytest.raises(SetupError, match="Without an index pip has no torch") as caught:
        setup(world, index)
    assert "--torch-index registry" in caught.value.next_step
    assert snapshot(world.interpreter) == before

    accepted = setup(world, index, torch_index="registry", dry_run=True)
    assert {row.package: row.then for row in accepted.plan.rows}["torch"] == "2.15.0"


def test_an_index_that_cannot_be_reached_is_said_at_once(world, index):
    away = dataclasses.replace(
        world, ask_index=lambda url, package: Answer(package != "torch", "No answer.")
    )
    with pytest.raises(SetupError, match="cannot be reached: https://download"):
        setup(away, index, torch_index=None, index_url=None)


def test_a_failing_install_is_told_in_plain_words_with_the_log(world, index):
    for wheel in index.glob("fastcore-*"):
        wheel.unlink()
    with pytest.raises(SetupError, match="no version that fits this Python") as caught:
        setup(world, index)
    log = Path(caught.value.next_step.rsplit("is in ", 1)[1].rstrip("."))
    assert "No matching distribution found for fastcore" in log.read_text(encoding="utf-8")


def test_a_broken_wheel_is_told_with_pips_own_words(world, index):
    (index / "fastcore-2.2.39-py3-none-any.whl").write_bytes(b"no wheel at all")
    with pytest.raises(SetupError, match="pip") as caught:
        setup(world, index)
    assert "Traceback" not in str(caught.value)


def test_an_installation_that_does_not_work_is_not_called_done(world, index):
    words = "RuntimeError: operator torchvision::nms does not exist"
    text = f"import json; print('fastmagic-answer:' + json.dumps(dict(good=[], failure={words!r})))"
    broken = dataclasses.replace(world, trial=(sys.executable, "-c", text))
    with pytest.raises(SetupError, match="another build of PyTorch"):
        setup(broken, index)
    with pytest.raises(SetupError, match="does not work"):
        setup(broken, index)  # and it is not remembered as verified


def test_a_python_without_pip_is_told_what_to_do(world, index, tmp_path):
    empty = tmp_path / "without-pip"
    venv.create(empty, with_pip=False, symlinks=True)
    alone = Interpreter(str(empty / "bin" / Path(sys.executable).name), (str(empty),))
    with pytest.raises(SetupError, match="has no pip") as caught:
        setup(dataclasses.replace(world, interpreter=alone), index)
    assert "ensurepip" in caught.value.next_step


def test_two_at_once_are_refused(world, index):
    world.cache().mkdir()
    with (
        filelock.FileLock(world.cache() / "setup.lock"),
        pytest.raises(SetupError, match="Another notebook"),
    ):
        setup(world, index)


def test_an_interrupt_ends_pip_and_says_what_is_kept(world, index):
    class Impatient(progress.View):
        def bar(self, *arguments):
            signal.raise_signal(signal.SIGINT)

    before = snapshot(world.interpreter)
    threads = threading.active_count()
    start = time.monotonic()
    with pytest.raises(Stopped, match="Nothing was changed"):
        setup(world, index, show=Impatient())
    assert time.monotonic() - start < 6
    assert snapshot(world.interpreter) == before
    assert threading.active_count() <= threads + 1


def test_an_interrupt_while_verifying_says_that_the_packages_are_there(world, index):
    class Impatient(progress.View):
        def bar(self, label, *arguments):
            if label == "Verifying":
                raise KeyboardInterrupt

    with pytest.raises(Stopped, match="installed, but not verified"):
        setup(world, index, show=Impatient())
    assert setup(world, index).verified == "now"


def test_the_notes_tell_what_happens(world, index):
    view = progress.View()
    setup(world, index, show=view)
    assert view.notes[0] == "Looking at what is installed"
    assert view.notes[-1].startswith("Verifying")


def _remove(site: Path, *names: str) -> None:
    for name in names:
        for path in site.glob(f"{name}*"):
            if path.name.split("-")[0] == name:
                shutil.rmtree(path)


def frozen(world: Surroundings) -> str:
    command = [world.interpreter.executable, "-m", "pip", "freeze", "--all"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_undo_brings_the_old_state_back_exactly(world, index):
    site = Path(world.interpreter.paths[0])
    setup(world, index)
    build(index, "fastcore", "2.2.40")
    build(index, "fastai", "2.8.13", ("fastcore>=2.2.40", "torch<3", "torchvision"))
    before, files = frozen(world), sorted(path for path in site.rglob("*.py"))
    upgraded = setup(world, index, upgrade=True)
    assert {(c.name, c.before, c.after) for c in upgraded.changed} == {
        ("fastai", "2.8.12", "2.8.13"),
        ("fastcore", "2.2.39", "2.2.40"),
    }
    assert frozen(world) != before
    shutil.rmtree(index)  # no network, no index: the old files are on this disk
    undone = setup(world, index, undo=True)
    assert frozen(world) == before
    assert sorted(path for path in site.rglob("*.py")) == files
    assert {(c.name, c.before, c.after) for c in undone.changed} == {
        ("fastai", "2.8.13", "2.8.12"),
        ("fastcore", "2.2.40", "2.2.39"),
    }
    assert "put back" in str(undone)


def test_an_undo_works_after_an_installation_that_failed_half_way(world, index):
    setup(world, index)
    before = frozen(world)
    build(index, "fastcore", "2.2.40")
    build(index, "fastai", "2.8.13", ("fastcore>=2.2.40", "torch<3", "torchvision"))
    broken = dataclasses.replace(
        world,
        trial=(sys.executable, "-c", 'print(\'fastmagic-answer:{"good": [], "failure": "no"}\')'),
    )
    with pytest.raises(SetupError) as caught:
        setup(broken, index, upgrade=True)
    assert "--undo" in caught.value.next_step
    assert frozen(world) != before
    setup(world, index, undo=True)
    assert frozen(world) == before


@pytest.mark.parametrize("label", ["Removing", "Putting back"])
def test_an_undo_that_is_stopped_is_finished_by_the_next(world, index, label):
    class Impatient(progress.View):
        def bar(self, at, *more):
            if at == label:
                signal.raise_signal(signal.SIGINT)

    setup(world, index)
    before = frozen(world)
    build(index, "fastcore", "2.2.40")
    build(index, "fastai", "2.8.13", ("fastcore>=2.2.40", "torch<3", "torchvision"))
    setup(world, index, upgrade=True)
    with pytest.raises(Stopped, match="stopped in the middle") as caught:
        setup(world, index, undo=True, show=Impatient())
    assert "--undo again" in caught.value.next_step
    setup(world, index, undo=True)
    assert frozen(world) == before


def test_nothing_to_undo_is_said(world, index):
    with pytest.raises(SetupError, match="undo") as caught:
        setup(world, index, undo=True)
    assert caught.value.next_step


def test_the_plan_says_beforehand_whether_it_can_be_undone(world, index):
    report = setup(world, index, dry_run=True)
    assert "undo" in report.undoable
    assert report.undoable in str(report).replace("\n", " ")


def test_another_torch_comes_only_when_it_is_asked_for(world, index):
    setup(world, index)
    torch_wheel(index, "2.14.0+cpu")
    build(index, "torchvision", "0.29.0+cpu", ("torch==2.14.0",))
    assert setup(world, index).plan.nothing_to_do
    report = setup(world, index, torch="2.14.0+cpu")
    assert ("torch", "2.15.0+cpu", "2.14.0+cpu") in {
        (c.name, c.before, c.after) for c in report.changed
    }
    before = frozen(world)
    setup(world, index, undo=True)
    assert frozen(world) != before
    assert "torch==2.15.0+cpu" in frozen(world)


def test_sizes_are_part_of_the_plan(world, index):
    report = setup(world, index, dry_run=True)
    assert {row.package for row in report.plan.rows} >= {"torch", "fastai"}
    assert all(row.size for row in report.plan.rows)


def test_json_is_all_that_is_printed(world, index, capsys):
    report = setup(world, index, dry_run=True, json=True, show=True)
    assert json.loads(capsys.readouterr().out) == report.to_dict()


def test_an_installer_that_does_not_exist_is_refused(world, index):
    with pytest.raises(BadInput, match="conda"):
        setup(world, index, installer="conda")


def test_no_network_is_said_before_pip_is_started(world, index):
    away = dataclasses.replace(
        world, ask_index=lambda url, package: Answer(False, "The index did not answer in 3 s.")
    )
    with pytest.raises(SetupError, match="did not answer in 3 s") as caught:
        setup(away, index, index_url=None, find_links=None)
    assert "stays as it is" in caught.value.next_step
    assert not list((world.cache() / "logs").glob("*"))


def test_an_index_that_does_not_know_fastai_is_no_refusal_beside_one_that_does(
    world, index, monkeypatch
):
    """A company's own index in front of the public one, as pip.conf may have it."""
    view = progress.View()
    asked = dataclasses.replace(world, ask_index=Surroundings().ask_index)
    with servers.serve(servers.status(404)) as own, servers.serve(servers.index(index)) as public:
        monkeypatch.setenv("PIP_INDEX_URL", own)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", public)
        where = {"index_url": None, "find_links": None, "torch_index": public}
        report = setup(asked, index, dry_run=True, show=view, **where)
    assert {row.package: row.then for row in report.plan.rows}["fastai"] == "2.8.12"
    assert any("pip looks in its other places too" in note for note in view.notes)


@pytest.mark.parametrize("by", ["a setting", "a flag"])
def test_an_index_out_of_reach_is_no_refusal_where_there_is_a_folder_of_wheels(
    world, index, monkeypatch, by
):
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    if by == "a setting":
        monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    asked = dataclasses.replace(world, ask_index=Surroundings().ask_index)
    where = {"index_url": None, "find_links": index if by == "a flag" else None}
    report = setup(asked, index, dry_run=True, torch_index="registry", **where)
    assert {row.package: row.then for row in report.plan.rows}["torch"] == "2.15.0+cpu"


def test_where_pip_uses_no_index_none_is_asked_and_none_is_planned(world, index, monkeypatch):
    def nobody(url, package):
        raise AssertionError("the network was asked")

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    view = progress.View()
    offline = dataclasses.replace(world, ask_index=nobody)
    where = {"index_url": None, "find_links": None, "torch_index": None}
    report = setup(offline, index, dry_run=True, show=view, **where)
    assert {row.package: row.then for row in report.plan.rows}["torch"] == "2.15.0+cpu"
    assert report.plan.index is None
    assert "pip is told to use no index, so PyTorch's own is not used." in view.notes


def test_of_uv_the_index_of_its_own_settings_is_asked(world, index, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))  # not uv's
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.example/simple")
    away = dataclasses.replace(world, ask_index=lambda url, package: Answer(False, f"Not {url}."))
    where = {"index_url": None, "find_links": None, "installer": "uv"}
    with pytest.raises(SetupError, match=r"Not https://index\.example/simple"):
        setup(away, index, **where)


def test_a_password_reaches_the_index_and_is_shown_nowhere(world, index, capsys):
    answers, heard = servers.index(index), []

    def reply(handler):
        heard.append(handler.headers.get("Authorization"))
        answers(handler)

    with servers.serve(reply) as url:
        mirror = url.replace("//", "//me:secret@")
        where = {"index_url": None, "torch_index": mirror, "dry_run": True}
        report = setup(world, index, json=True, **where)
    assert any(heard)
    assert report.log is not None
    shown = capsys.readouterr().out, repr(report), str(report), report.log.read_text("utf-8")
    assert json.loads(shown[0])["plan"]["index"] == url.replace("//", "//***@")
    assert not any("secret" in text for text in shown)


def test_a_mirror_that_does_not_answer_is_named_without_its_password(world, index):
    away = dataclasses.replace(world, ask_index=lambda url, package: Answer(package != "torch", ""))
    where = {"index_url": None, "torch_index": "https://me:secret@mirror.example/whl/cpu"}
    with pytest.raises(SetupError, match=r"//\*\*\*@mirror.example/whl/cpu\.") as caught:
        setup(away, index, **where)
    assert "secret" not in str(caught.value)


def test_a_kernel_that_has_the_old_modules_must_be_restarted(world, index):
    setup(world, index)
    build(index, "fastcore", "2.2.40")
    build(index, "fastai", "2.8.13", ("fastcore>=2.2.40", "torch<3", "torchvision"))
    asked = []
    here = dataclasses.replace(
        world, modules=lambda: {"fastcore.basics", "os"}, restart=lambda: bool(asked.append(1))
    )
    with pytest.raises(SetupError, match="has to be restarted") as caught:
        setup(here, index, upgrade=True, restart=True)
    assert asked == [1]
    assert "by hand" in caught.value.next_step
    report = setup(here, index, undo=True)
    assert report.restart_needed == ("fastcore",)
    assert "Restart the kernel now" in str(report)


def test_a_kernel_without_the_old_modules_is_not_restarted(world, index):
    asked = []
    here = dataclasses.replace(world, modules=lambda: {"os"}, restart=lambda: bool(asked.append(1)))
    assert setup(here, index, restart=True).restart_needed == ()
    assert asked == []


@pytest.mark.parametrize(
    "flag",
    [
        {"dry_run": True},
        {"torch": "cu126"},
        {"upgrade": True},
        {"torch_index": "registry"},
        {"index_url": ""},
        {"index_url": "https://pypi.org/simple"},
        {"find_links": "wheels"},
        {"installer": "uv"},
    ],
    ids=lambda flag: " ".join(flag),
)
def test_an_undo_goes_with_no_other_plan(world, index, flag):
    setup(world, index)
    before = frozen(world)
    with pytest.raises(BadInput, match="--undo"):
        setup(world, index, undo=True, **flag)
    assert frozen(world) == before


@pytest.mark.parametrize(
    "where", [{"index_url": "nonsense"}, {"find_links": "/no/such/folder"}], ids=["index", "links"]
)
def test_an_address_that_is_none_is_refused_at_once(world, index, where):
    with pytest.raises(BadInput):
        setup(world, index, **where)


@pytest.mark.parametrize(
    "where",
    [
        {"index_url": "me:secret@mirror.example/simple"},
        {"index_url": "secret@mirror.example/simple"},
        {"index_url": "ftp://me:secret@mirror.example/simple"},
        {"find_links": "me:secret@mirror.example/wheels"},
    ],
    ids=["index", "token", "ftp", "links"],
)
def test_an_address_that_is_none_is_refused_without_its_password(world, index, where):
    with pytest.raises(BadInput, match=r"\*\*\*@mirror\.example") as caught:
        setup(world, index, **where)
    assert "secret" not in str(caught.value)


def test_a_real_run_says_before_it_acts_whether_it_can_be_undone(world, index):
    view = progress.View()
    setup(world, index, show=view)
    notes = view.notes
    said = next(n for n, note in enumerate(notes) if "undone" in note)
    assert said < next(n for n, note in enumerate(notes) if note.startswith("Installing"))


def test_two_dry_runs_at_once_are_fine(world, index):
    world.cache().mkdir()
    with filelock.FileLock(world.cache() / "setup.lock"):
        assert setup(world, index, dry_run=True).dry_run


def test_an_installation_that_changed_nothing_offers_no_undo(world, index):
    class Impatient(progress.View):
        def _note(self, text):
            if text.startswith("Installing"):
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match=r"Nothing was changed|was stopped"):
        setup(world, index, show=Impatient())
    with pytest.raises(SetupError, match="nothing to undo"):
        setup(world, index, undo=True)


def test_a_cache_that_cannot_be_written_is_said(world, index, tmp_path):
    file = tmp_path / "file"
    file.touch()
    nowhere = dataclasses.replace(world, cache=lambda: file / "cache")
    with pytest.raises(SetupError, match="cannot be written") as caught:
        setup(nowhere, index)
    assert "Nothing was changed" in caught.value.next_step


def test_what_opencv_misses_is_installed_by_apt_before_the_verification(world, index, tmp_path):
    site = Path(world.interpreter.paths[0])
    library = tmp_path / "libGL.so.1"
    code = (
        f"import os\nif not os.path.exists({str(library)!r}):\n"
        "    raise ImportError('libGL.so.1: cannot open shared object file')\n"
    )
    unpack(site, "opencv-python", "5.0", modules={"cv2/__init__.py": code})
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\necho Setting up $@\ntouch {library}\n")
    apt.chmod(0o755)
    release = tmp_path / "os-release"
    release.write_text("ID=ubuntu\nID_LIKE=debian\n")
    system = System(os_release=release, apt_get=str(apt), is_root=lambda: True)
    try:
        report = setup(dataclasses.replace(world, system=system), index)
        assert report.libraries == ("libgl1",)
        assert "libgl1" in str(report)
        library.unlink()
        nobody = dataclasses.replace(system, is_root=lambda: False)
        shutil.rmtree(world.cache())  # nothing is remembered as verified
        with pytest.raises(SetupError, match="libGL") as caught:
            setup(dataclasses.replace(world, system=nobody), index)
        assert "sudo apt-get install" in caught.value.next_step
    finally:
        _remove(site, "opencv_python", "cv2")


def test_nothing_goes_into_the_users_own_folder_where_no_undo_would_look(world, index, monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")  # in an environment pip itself refuses that
    assert setup(world, index).verified == "now"
