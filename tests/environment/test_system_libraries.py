"""What OpenCV misses, with a real loader that misses a library, and an apt-get of our own."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastmagic.environment.inventory import Interpreter
from fastmagic.environment.system_libraries import Lack, System, can_install, install, missing
from fastmagic.errors import SetupError

from .test_pip import environment_at
from .wheels import unpack

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Linux's loader")
UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n'
GL_AND_GLIB = Lack(("libGL.so.1", "libgthread-2.0.so.0"), "ImportError: libGL.so.1: ...")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return environment_at(tmp_path_factory.mktemp("cv2") / "environment", pip=False)


@pytest.fixture
def bare(made: Interpreter):
    yield made
    for path in Path(made.paths[0]).iterdir():
        shutil.rmtree(path)


def put_opencv(bare: Interpreter, module: str, name: str = "opencv-python") -> None:
    unpack(Path(bare.paths[0]), name, "5.0.0.93", modules={"cv2/__init__.py": module})


def put_extension(bare: Interpreter, folder: Path, sonames: list[str]) -> None:
    """Compile a cv2 that is linked against libraries which are gone afterwards."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler is here")
    for soname in sonames:
        make = [compiler, "-shared", "-x", "c", os.devnull, "-o", str(folder / soname)]
        subprocess.run([*make, f"-Wl,-soname,{soname}"], check=True)
    put_opencv(bare, "from .native import *\n")
    out = Path(bare.paths[0]) / "cv2" / "native.so"
    linked = [str(folder / soname) for soname in sonames]
    command = [compiler, "-shared", "-x", "c", os.devnull, "-x", "none", "-o", str(out)]
    subprocess.run([*command, "-Wl,--no-as-needed", *linked], check=True)
    for soname in sonames:
        (folder / soname).unlink()


def test_nothing_is_asked_where_no_opencv_needs_it(bare, tmp_path):
    gone = Interpreter(str(tmp_path / "no-python"), bare.paths)
    assert missing(gone) == Lack()
    put_opencv(bare, "raise ImportError", "opencv-python-headless")
    assert missing(gone) == Lack()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's loader")
def test_every_library_that_the_loader_misses_is_named(bare, tmp_path):
    put_extension(bare, tmp_path, ["libFoo.so.1", "libBar.so.6"])
    lack = missing(bare)
    assert lack.error.startswith("ImportError: lib")
    expected = ("libBar.so.6", "libFoo.so.1") if shutil.which("ldd") else lack.libraries[:1]
    assert lack.libraries == expected


def test_an_opencv_that_works_misses_nothing(bare):
    put_opencv(bare, "")
    assert missing(bare) == Lack()


def test_an_opencv_that_fails_otherwise_keeps_its_words_and_names_no_library(bare):
    put_opencv(bare, "raise RuntimeError('numpy is too new')")
    assert missing(bare) == Lack((), "RuntimeError: numpy is too new")


def test_an_opencv_that_crashes_is_told(bare):
    put_opencv(bare, "import os; os.abort()", "opencv-contrib-python")
    assert "SIGABRT" in missing(bare).error


@pytest.fixture
def system(tmp_path: Path) -> System:
    """Ubuntu as root, with an apt-get that writes down how it was called."""
    (tmp_path / "os-release").write_text(UBUNTU)
    return System(tmp_path / "os-release", lambda: True, str(tmp_path / "apt-get"))


def put_apt(system: System, *lines: str) -> Path:
    calls = Path(system.apt_get).with_name("calls")
    script = [
        "#!/bin/sh",
        f'echo "$DEBIAN_FRONTEND: $*" >> {calls}',
        *lines,
    ]
    Path(system.apt_get).write_text("\n".join(script) + "\n")
    Path(system.apt_get).chmod(0o755)
    return calls


APT = "noninteractive: -o DPkg::Lock::Timeout=60"
INSTALL = f"{APT} install -y --no-install-recommends libgl1 libglib2.0-0"


def test_root_on_ubuntu_gets_the_packages_by_apt(system, tmp_path):
    calls = put_apt(system, "echo Unpacking libgl1")
    assert install(GL_AND_GLIB, tmp_path / "log", system=system) == ("libgl1", "libglib2.0-0")
    assert calls.read_text().splitlines() == [INSTALL]
    assert "Unpacking libgl1" in (tmp_path / "log").read_text("utf-8")


def test_lists_that_are_out_of_date_are_fetched_and_it_is_tried_again(system, tmp_path):
    lists = tmp_path / "lists"
    calls = put_apt(
        system,
        f'case "$*" in *update*) touch {lists}; exit 0;; esac',
        f"test -f {lists} && exit 0",
        "echo 'E: Unable to locate package libgl1'; exit 100",
    )
    install(GL_AND_GLIB, tmp_path / "log", system=system)
    assert calls.read_text().splitlines() == [INSTALL, f"{APT} update", INSTALL]


def test_an_apt_that_fails_is_told_with_its_own_words_and_the_line_to_run(system, tmp_path):
    put_apt(system, "echo noise; echo 'E: Could not get lock /var/lib/dpkg/lock'; exit 100")
    with pytest.raises(SetupError, match="Could not get lock") as caught:
        install(GL_AND_GLIB, tmp_path / "log", system=system)
    line = "apt-get install -y --no-install-recommends libgl1 libglib2.0-0"
    assert f"Run in a terminal: {line}" in caught.value.next_step
    assert "opencv-python-headless" in caught.value.next_step
    assert str(tmp_path / "log") in caught.value.next_step


def test_an_apt_that_is_not_there_is_told(system, tmp_path):
    with pytest.raises(SetupError, match="could not install libgl1"):
        install(GL_AND_GLIB, tmp_path / "log", system=system)


def test_without_root_the_one_line_is_shown_and_nothing_runs(system, tmp_path):
    calls = put_apt(system)
    user = dataclasses.replace(system, is_root=lambda: False)
    with pytest.raises(SetupError, match=r"libGL\.so\.1, libgthread-2\.0\.so\.0") as caught:
        install(GL_AND_GLIB, tmp_path / "log", system=user)
    assert "sudo apt-get install -y" in caught.value.next_step
    assert not calls.exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (UBUNTU, "apt-get install -y --no-install-recommends libgl1 libglib2.0-0"),
        ("ID=debian\n", "apt-get install -y --no-install-recommends libgl1 libglib2.0-0"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install -y libglvnd-glx glib2"),
        ("ID=arch\n", "pacman -S --noconfirm libglvnd glib2"),
        ("ID=plan9\n", "the package of your system that has libGL.so.1, libgthread-2.0.so.0"),
    ],
)
def test_each_system_has_its_own_line(system, text, line):
    system.os_release.write_text(text)
    assert GL_AND_GLIB.command(system) == line
    assert can_install(GL_AND_GLIB, system) == line.startswith("apt-get")


def test_what_is_not_known_is_named_beside_what_is(system):
    line = Lack(("libGL.so.1", "libFoo.so.3")).command(system)
    assert line.endswith("libgl1, and the package of your system that has libFoo.so.3")


def test_a_library_that_nobody_knows_is_named_and_not_guessed(system, tmp_path):
    unknown = Lack(("libFoo.so.3",))
    assert not can_install(unknown, system)
    with pytest.raises(SetupError, match=r"libFoo\.so\.3"):
        install(unknown, tmp_path / "log", system=system)
