"""The state before a set-up comes back exactly: real pip, real environments, real kills."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from fastmagic.environment.inventory import Interpreter, snapshot
from fastmagic.environment.keeping.installed import Layout, installed, layout_of, version_of
from fastmagic.environment.keeping.keep import Keeper
from fastmagic.environment.keeping.undo import undo
from fastmagic.errors import SetupError

from .wheels import build

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills, links and modes as on POSIX")

OLD = {"core/__init__.py": "x = 1\n", "core/old.py": "", "core/deep/er/file.txt": "old"}
NEW = {"core/__init__.py": "x = 2\n", "core/new.py": "", "core/deep/two.txt": "new"}

# The real pip, ended by kill -9 at the moment when it opens a certain file for writing.
KILLED_PIP = """
import os, runpy, signal, sys
mark = sys.argv.pop(1)
def hook(event, details):
    if event == "open" and str(details[0]).endswith(mark) and "w" in str(details[1]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

# A keep or an undo, ended by kill -9 before its n-th step of a kind.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from fastmagic.environment.inventory import Interpreter
from fastmagic.environment.keeping.keep import Keeper
from fastmagic.environment.keeping.undo import undo
folder, python, site, kind, number, before, changes = sys.argv[1:]
left = [int(number)]
def step(what, path):
    left[0] -= what == kind
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
python = Interpreter(python, (site,))
if changes:
    Keeper(Path(folder), python, step=step).keep(json.loads(before), json.loads(changes))
else:
    undo(Path(folder), python, step=step)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment with pip, made once and copied for each test."""
    root = tmp_path_factory.mktemp("template") / "env"
    venv.create(root, with_pip=True, symlinks=True)
    return root


@pytest.fixture(autouse=True)
def _own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


class House:
    """An environment, an index of wheels for it, and a Keeper."""

    def __init__(self, root: Path, pip: bool, template: Path) -> None:
        env = root / "env"
        if pip:
            shutil.copytree(template, env, symlinks=True)
        else:
            venv.create(env, with_pip=False, symlinks=True)
        executable = str(env / "bin" / Path(sys.executable).name)
        self.layout: Layout = layout_of(Interpreter(executable))
        self.site = self.layout.sites[0]
        self.python = Interpreter(executable, (str(self.site),))
        self.index, self.folder = root / "index", root / "cache" / "undo"

    @property
    def keeper(self) -> Keeper:
        return Keeper(self.folder, self.python)

    def versions(self) -> dict[str, str]:
        found = installed(self.layout).items()
        return {
            name: version_of(infos[0]) for name, infos in found if name not in ("pip", "setuptools")
        }

    def keep(self, **changes: str | None) -> None:
        self.keeper.keep(snapshot(self.python), changes)

    def undo(self, **more):
        return undo(self.folder, self.python, **more)

    def pip(self, *arguments: str, kill_at: str = "") -> subprocess.CompletedProcess[str]:
        start = ("-c", KILLED_PIP, kill_at) if kill_at else ("-m", "pip")
        source = ("--no-index", "--find-links", str(self.index)) * (arguments[0] == "install")
        command = [self.python.executable, *start, *arguments, *source]
        return subprocess.run(command, capture_output=True, text=True)

    def put(self, name: str, version: str, modules=None, entries: str = "") -> None:
        """Unpack a wheel by hand, for tests that need no pip."""
        wheel = build(self.index, name, version, modules=modules)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        with (info / "RECORD").open("a") as record:
            record.write(entries)

    def take_away(self, name: str) -> None:
        for info in installed(self.layout)[name]:
            for line in (info / "RECORD").read_text().splitlines():
                (self.site / line.split(",")[0]).unlink(missing_ok=True)

    def kill(self, kind: str, number: int, **changes: str) -> None:
        """Keep or undo in a process that is killed before its n-th file."""
        command = [sys.executable, "-c", KILLED, self.folder, self.python.executable, self.site]
        now, what = json.dumps(snapshot(self.python)), json.dumps(changes) if changes else ""
        ended = subprocess.run([*map(str, command), kind, str(number), now, what])
        assert ended.returncode == -signal.SIGKILL

    def state(self) -> dict[str, tuple[str, int]]:
        """Give the content and mode of every file, and each folder of packages."""
        found = {}
        for top, folders, names in os.walk(self.layout.data):
            folders[:] = [name for name in folders if name != "__pycache__"]
            if Path(top) != self.layout.data and Path(top).is_relative_to(self.site):
                found[top] = ("folder", 0)
            for name in names:
                path = Path(top, name)
                link = path.is_symlink()
                content = str(path.readlink()) if link else path.read_bytes()
                digest = hashlib.sha256(content.encode() if link else content).hexdigest()
                found[str(path)] = (digest, path.lstat().st_mode)
        return found


@pytest.fixture
def house(tmp_path: Path, template: Path) -> House:
    return House(tmp_path, pip=False, template=template)


@pytest.fixture
def pip_house(tmp_path: Path, template: Path) -> House:
    """With core 1.0 and tool 1.0, a program and a data file, installed by pip."""
    house = House(tmp_path, pip=True, template=template)
    entry = {"core-1.0.dist-info/entry_points.txt": "[console_scripts]\nrun-core = core:x\n"}
    data = {"core-1.0.data/data/share/core/old.txt": "old"}
    build(house.index, "core", "1.0", modules={**OLD, **entry, **data})
    build(house.index, "tool", "1.0", ("core",))
    assert house.pip("install", "core==1.0", "tool").returncode == 0
    return house


def coming(house: House) -> dict[str, str | None]:
    """Put core 2.0 and the new package fresh into the index."""
    entry = {"core-2.0.dist-info/entry_points.txt": "[console_scripts]\nrun-new = core:x\n"}
    data = {"core-2.0.data/data/share/core/new.txt": "new"}
    build(house.index, "core", "2.0", ("fresh",), modules={**NEW, **entry, **data})
    build(house.index, "fresh", "1.0", modules={f"fresh/m{n}.py": f"{n}" for n in range(20)})
    return {"core": "2.0", "fresh": "1.0"}


def test_the_old_state_comes_back_exactly_after_pip(pip_house):
    before, freeze = pip_house.state(), pip_house.pip("freeze").stdout
    pip_house.keep(**coming(pip_house))
    assert pip_house.pip("install", "core==2.0").returncode == 0
    pip_house.keeper.acted()
    pip_house.keeper.settle()
    assert pip_house.versions() == {"core": "2.0", "fresh": "1.0", "tool": "1.0"}
    assert (pip_house.layout.scripts / "run-new").exists()

    undone = pip_house.undo()
    told = [(one.name, one.undone, one.back) for one in undone.changed]
    assert told == [("core", "2.0", "1.0"), ("fresh", "1.0", None)]
    assert (undone.others, undone.overwritten) == ((), ())
    assert "2 packages put back" in str(undone)
    assert pip_house.state() == before
    assert pip_house.pip("freeze").stdout == freeze
    assert pip_house.pip("check").returncode == 0
    with pytest.raises(SetupError, match="nothing to undo"):
        pip_house.undo()


def test_python_runs_the_old_code_again_whatever_was_compiled(house):
    house.put("core", "1.0", {"core/__init__.py": "x = 1\n"})
    source = house.site / "core" / "__init__.py"
    os.utime(source, (1e9, 1e9))
    house.keep(core="2.0")
    house.take_away("core")
    house.put("core", "2.0", {"core/__init__.py": "x = 2\n"})  # the same size and the same time
    os.utime(source, (1e9, 1e9))
    ask = [house.python.executable, "-c", "import core; print(core.x)"]
    assert subprocess.run(ask, capture_output=True, text=True).stdout == "2\n"
    house.undo()
    assert subprocess.run(ask, capture_output=True, text=True).stdout == "1\n"


# While it unpacks the new package, the changed one, writes its program, and its RECORD at the end.
@pytest.mark.parametrize("mark", ["fresh/m7.py", "core/new.py", "core/new.txt", "REQUESTED"])
def test_an_installation_that_was_killed_is_undone(pip_house, mark):
    before = pip_house.state()
    pip_house.keep(**coming(pip_house))
    killed = pip_house.pip("install", "core==2.0", kill_at=mark)
    assert killed.returncode == -signal.SIGKILL
    assert pip_house.state() != before
    if mark == "core/new.py":
        assert {path.name for path in pip_house.layout.data.rglob("~ore*")} >= {"~ore"}

    pip_house.undo()
    assert pip_house.state() == before
    assert pip_house.pip("check").returncode == 0


def test_an_installation_that_failed_half_way_is_undone(pip_house):
    before = pip_house.state()
    changes = coming(pip_house)
    bad = {**NEW, "core-2.0.data/nonsense/file": "a scheme that no pip knows"}
    build(pip_house.index, "core", "2.0", ("fresh",), modules=bad)
    pip_house.keep(**changes)
    failed = pip_house.pip("install", "core==2.0")
    pip_house.keeper.acted()
    assert failed.returncode == 1
    assert pip_house.versions()["fresh"] == "1.0"
    by_hand = pip_house.site / "mine.pth"  # after pip had ended
    by_hand.write_text("# mine\n")

    # pip puts core 1.0 back by itself, but leaves an unfinished core-2.0.dist-info beside it.
    assert [one.name for one in pip_house.undo().changed] == ["core", "fresh"]
    by_hand.unlink()
    assert pip_house.state() == before


@pytest.mark.parametrize("number", [0, 3])
def test_a_keep_that_was_killed_counts_for_nothing(house, number):
    house.put("core", "1.0", OLD)
    before = house.state()
    house.kill("keep", number, core="2.0")
    assert house.state() == before
    with pytest.raises(SetupError, match="nothing to undo"):
        house.undo()
    house.keep(core="2.0")
    assert len(list(house.folder.glob("*/run-*"))) == 1  # what the killed one left is gone


@pytest.mark.parametrize(
    ("kind", "number"), [("remove", 0), ("remove", 2), ("put back", 0), ("put back", 3)]
)
def test_an_undo_that_was_killed_is_finished_by_the_next(house, kind, number):
    house.put("core", "1.0", OLD)
    before = house.state()
    house.keep(core="2.0", fresh="1.0")
    house.take_away("core")
    house.put("core", "2.0", NEW)
    house.put("fresh", "1.0")
    house.keeper.settle()
    house.kill(kind, number)
    assert house.state() != before
    with pytest.raises(SetupError, match="undo was interrupted"):
        house.keep(core="3.0")
    assert [one.name for one in house.undo().changed] == ["core", "fresh"]
    assert house.state() == before


def test_links_modes_and_files_beside_the_packages_come_back(house):
    house.put(
        "core", "1.0", OLD, "core/link.py,,\n../../../bin/core,,\n../../../share/core/doc,,\n"
    )
    (house.site / "core/link.py").symlink_to("old.py")
    program, doc = house.layout.scripts / "core", house.layout.data / "share/core/doc"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o751)
    doc.parent.mkdir(parents=True)
    doc.write_text("doc")
    before = house.state()
    house.keep(core="2.0")
    house.take_away("core")
    shutil.rmtree(doc.parent)
    house.put("core", "2.0", {**NEW, "core/link.py": "no link"}, "../../../share/fresh/doc,,\n")
    fresh = house.layout.data / "share/fresh/doc"
    fresh.parent.mkdir()
    fresh.write_text("new")
    house.undo()
    assert house.state() == before
    assert not fresh.parent.exists()


def test_a_record_that_points_elsewhere_is_not_followed(house, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("not a package's")
    (house.site / "door").symlink_to(tmp_path)
    up = "../" * (len(house.site.parts) + 3)
    entries = f"{outside},,\n{up}{str(outside).lstrip('/')},,\ndoor/outside.txt,,\n"
    house.put("core", "1.0", OLD, entries)
    record = house.keeper.keep(snapshot(house.python), {"core": "2.0", "evil": "1.0"})
    assert record.left_out == tuple(line.removesuffix(",,") for line in entries.splitlines())
    assert not [file for file in record.files if "outside" in file.path]
    house.put("evil", "1.0", None, entries)
    house.undo()
    assert outside.read_text() == "not a package's"


def test_what_cannot_be_kept_is_said_beforehand(house):
    house.put("core", "1.0", OLD)
    (house.site / "core-1.0.dist-info/RECORD").unlink()
    need = house.keeper.estimate({"core": "1.0"}, ["core"])
    assert not need.fits
    assert "core came without a list of its files" in need.sentence
    with pytest.raises(SetupError, match="cannot be undone"):
        house.keep(core="2.0")
    new = house.keeper.estimate({"core": "1.0"}, ["fresh"])
    assert (new.bytes, new.fits) == (0, True)


def test_what_does_not_fit_is_said_beforehand(house):
    house.put("core", "1.0", {"core/big.bin": "x" * 100_000})
    small = Keeper(house.folder, house.python, limit_bytes=100_000)
    need = small.estimate({"core": "1.0"}, ["core"])
    assert need.bytes > 100_000
    assert "at most 100 kB are kept" in need.sentence
    crowded = Keeper(house.folder, house.python, free=lambda folder: 200_000)
    assert "only half of the 200 kB" in crowded.estimate({"core": "1.0"}, ["core"]).sentence
    with pytest.raises(SetupError, match="only half"):
        crowded.keep({"core": "1.0"}, {"core": "2.0"})
    with pytest.raises(SetupError, match="nothing to undo"):
        house.undo()


def in_own_mounts(house: House, mounts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Keep core in a process that sees other mounts, where this machine lets one do that."""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    script = (
        "import sys, json, pathlib; from fastmagic.environment.keeping.keep import Keeper\n"
        "from fastmagic.environment.inventory import Interpreter\n"
        "from fastmagic.errors import SetupError\n"
        "python = Interpreter(sys.argv[2], (sys.argv[3],)); folder = pathlib.Path(sys.argv[1])\n"
        "keeper = Keeper(folder, python, free=lambda folder: 10**12)\n"
        "try: keeper.keep({'core': '1.0'}, {'core': '2.0'})\n"
        "except SetupError as error: print(error)\n"
        "print(sum(path.is_file() for path in folder.rglob('*')))\n"
    )
    house.folder.mkdir(parents=True)
    shell = f'{mounts} || exit 77; shift; exec "$@"'
    places = [str(house.folder), house.python.executable, str(house.site)]
    command = ["unshare", "--mount", "sh", "-c", shell, places[2], places[0], sys.executable]
    told = subprocess.run([*command, "-c", script, *places], capture_output=True, text=True)
    if told.returncode == 77 or "unshare" in told.stderr:
        pytest.skip(f"may not mount here: {told.stderr.strip()}")
    return told


def test_a_full_disk_leaves_nothing_behind(house):
    house.put("core", "1.0", {"core/big.bin": "x" * 300_000, "core/more.bin": "y" * 300_000})
    before = house.state()
    told = in_own_mounts(house, 'mount -t tmpfs -o size=400k none "$1"')
    assert "the disk is full" in told.stdout
    assert "Nothing was changed." in told.stdout
    assert told.stdout.splitlines()[-1] == "0"
    assert house.state() == before


def test_read_only_packages_are_said_beforehand(house):
    house.put("core", "1.0", OLD)
    told = in_own_mounts(house, 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"')
    assert "cannot be written to" in told.stdout
    assert told.stdout.splitlines()[-1] == "0"


def test_a_change_by_somebody_else_is_not_undone_unless_asked(house):
    house.put("core", "1.0", OLD)
    before = house.state()
    house.keep(core="2.0", fresh="1.0")
    house.take_away("core")
    house.put("core", "3.0", NEW)
    house.put("fresh", "1.0")
    house.keeper.settle()
    now = house.state()
    with pytest.raises(SetupError, match=r"changed these since: core 3\.0") as caught:
        house.undo()
    assert "--undo --allow-change core" in caught.value.next_step
    assert house.state() == now
    house.undo(allow=["core"])
    assert house.state() == before


def test_what_somebody_else_installed_later_stays(house):
    shared = {"space/__init__.py": ""}
    house.put("core", "1.0", {**OLD, **shared})
    house.put("quiet", "1.0", {**shared, "quiet.py": ""})
    house.keep(core="2.0", fresh="1.0")
    house.take_away("core")
    house.put("core", "2.0", NEW)
    house.put("fresh", "1.0", {**shared, "space/fresh.py": "", "both/__init__.py": ""})
    house.put("later", "1.0", {"later.py": "", "both/__init__.py": ""})
    undone = house.undo()  # not even noted when the installation ended
    assert undone.others == ("later 1.0",)
    assert house.versions() == {"core": "1.0", "later": "1.0", "quiet": "1.0"}
    for name in ("later.py", "both/__init__.py", "quiet.py", "space/__init__.py"):
        assert (house.site / name).exists()
    assert not (house.site / "space/fresh.py").exists()


def test_a_file_of_another_package_that_was_written_over_is_named(house):
    both = {"space/__init__.py": "", "space/names.py": "quiet"}
    house.put("quiet", "1.0", both)
    house.keep(fresh="1.0")
    for name in both:
        (house.site / name).unlink()
    house.put("fresh", "1.0", {**both, "space/names.py": "fresh"})
    house.keeper.settle()
    undone = house.undo()
    assert undone.overwritten == (str(house.site / "space/names.py"),)  # the empty one agrees
    assert "Changed by another package since" in " ".join(str(undone).split())
    assert (house.site / "space/__init__.py").exists()


def test_after_a_run_that_failed_an_undo_leads_to_the_state_before_it(house):
    house.put("core", "1.0", OLD)
    house.put("tool", "1.0")
    before = house.state()
    house.keep(core="2.0", fresh="1.0")
    house.take_away("core")  # and then it failed
    house.keep(core="2.1", tool="2.0")
    house.take_away("tool")
    house.put("core", "2.1", NEW)
    house.put("tool", "2.0")
    house.keeper.settle()
    assert [one.name for one in house.undo().changed] == ["core", "tool"]
    assert house.state() == before


def test_a_verified_run_replaces_the_one_before_and_a_failed_one_does_not(house):
    house.put("core", "1.0", OLD)
    first = house.state()
    house.keep(core="2.0")
    house.take_away("core")
    house.put("core", "2.0", NEW)
    house.keeper.settle()
    second = house.state()
    house.keep(core="3.0")
    house.take_away("core")
    house.undo()
    assert house.state() == second
    house.undo()
    assert house.state() == first


def test_only_one_generation_is_kept(house):
    for version in ("1.0", "2.0", "3.0"):
        house.put("core", version, OLD)
        house.keep(core=str(float(version) + 1))
        house.take_away("core")
        house.keeper.settle()
    assert len(list(house.folder.glob("*/run-*"))) == 1
    house.keeper.settle()  # a verified run that could keep nothing
    assert not list(house.folder.glob("*/*"))


def test_a_run_that_changed_nothing_is_forgotten(house):
    house.put("core", "1.0", OLD)
    house.keep(core="2.0")
    house.keeper.forget()
    with pytest.raises(SetupError, match="nothing to undo"):
        house.undo()


def test_what_hid_a_package_of_the_system_is_taken_away(house):
    house.keeper.keep({"core": "0.9"}, {"core": "1.0"})
    house.put("core", "1.0", OLD)
    house.undo()
    assert house.versions() == {}
    assert not (house.site / "core").exists()


def test_a_file_that_cannot_be_removed_is_named_and_the_next_undo_goes_on(house):
    house.put("core", "1.0", OLD)
    before = house.state()
    house.keep(core="2.0")
    house.take_away("core")
    house.put("core", "2.0", NEW)
    stuck = house.site / "core/new.py"
    if not shutil.which("chattr") or subprocess.run(["chattr", "+i", stuck]).returncode:
        pytest.skip("needs chattr and root")
    try:
        with pytest.raises(SetupError, match=r"not permitted .*core/new\.py") as caught:
            house.undo()
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    assert "run it again" in caught.value.next_step
    house.undo()
    assert house.state() == before


def test_a_stash_that_pip_left_for_others_is_not_touched(house):
    house.put("core", "1.0", OLD)
    (house.site / "~ther").mkdir()
    (house.site / "~ther" / "file.py").write_text("")
    house.keep(core="2.0")
    for name in ("~ore", "~lder"):
        shutil.copytree(house.site / "core", house.site / name)
        for path in (house.site / name).rglob("*.*"):
            os.utime(path)
    house.keeper.settle()
    house.undo()
    assert {path.name for path in house.site.glob("~*")} == {"~ther", "~lder"}


def test_a_kept_copy_that_is_gone_is_said_before_anything_happens(house):
    house.put("core", "1.0", OLD)
    house.keep(core="2.0")
    house.take_away("core")
    house.put("core", "2.0", NEW)
    house.keeper.settle()
    now = house.state()
    next(house.folder.glob("*/run-*/part-*/000/000001")).write_text("damaged")
    with pytest.raises(SetupError, match="gone or damaged"):
        house.undo()
    assert house.state() == now


def test_another_disk_serves_as_well(house):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == house.site.stat().st_dev:
        pytest.skip("needs a second disk")
    house.folder = shared / f"fastmagic-test-{os.getpid()}"
    try:
        house.put("core", "1.0", OLD)
        before = house.state()
        house.keep(core="2.0")
        house.take_away("core")
        house.put("core", "2.0", NEW)
        house.kill("put back", 2)
        house.undo()
        assert house.state() == before
    finally:
        shutil.rmtree(house.folder)


def test_two_pythons_do_not_share_a_record(house, tmp_path, template):
    house.put("core", "1.0", OLD)
    house.keep(core="2.0")
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", pip=False, template=template)
    with pytest.raises(SetupError, match="nothing to undo"):
        undo(house.folder, other.python)
