"""The real pip against servers, folders and packages that fail on purpose."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastmagic.environment.installers import running, words
from fastmagic.environment.installers.pip import Chosen, Patience, Pip, Source, hear, read_report
from fastmagic.environment.inventory import Interpreter, snapshot
from fastmagic.environment.planning.plan import Plan
from fastmagic.errors import SetupError

from . import servers
from .wheels import build

HASTY = Patience(retries=0, timeout=1, silence=30)
BETA = Plan("Install beta.", requirements=("beta",))
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and mounts are POSIX's")
NOWHERE = "http://127.0.0.1:9/simple"  # the discard port: nothing listens there


def environment_at(root: Path, python: str = sys.executable, pip: bool = True) -> Interpreter:
    command = [python, "-m", "venv", str(root), *([] if pip else ["--without-pip"])]
    subprocess.run(command, check=True, capture_output=True)
    found = str(root / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([found, "-c", ask], capture_output=True, text=True, check=True)
    return Interpreter(found, (site.stdout.strip(),))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """One environment with this Python's own pip (four seconds)."""
    return environment_at(tmp_path_factory.mktemp("pip") / "environment")


@pytest.fixture
def bare(made: Interpreter) -> Iterator[Interpreter]:
    before = set(Path(made.paths[0]).iterdir())
    yield made
    for path in set(Path(made.paths[0]).iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    build(folder, "alpha", "1.0", ("beta>=1",))
    build(folder, "beta", "1.0")
    build(folder, "beta", "2.0")
    build(folder, "gamma", "1.0", ("beta<2",))
    build(folder, "delta", "1.0", ("beta>=2",))
    return folder


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine tells pip by itself does not count here."""
    unwanted = ("PIP_", "UV_", "HTTP", "HTTPS_", "NO_PROXY", "ALL_PROXY")
    for name in [name for name in os.environ if name.upper().startswith(unwanted)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def pip(bare: Interpreter, tmp_path: Path):
    """Make the environment's pip, for a source."""

    def make(source: Source, patience: Patience = HASTY, tell=lambda *_: None, **more) -> Pip:
        return Pip(bare.executable, tmp_path / "log", source, tell, patience, **more)

    return make


def failure(pip: Pip, plan: Plan = BETA, act: bool = False) -> SetupError:
    """Run into a failure and give it; its log must be there and no insides may be shown."""
    with pytest.raises(SetupError) as caught:
        pip.install(plan, {}) if act else pip.resolve(plan)
    assert "Traceback" not in str(caught.value)
    assert caught.value.next_step
    return caught.value


def local(folder: Path) -> Source:
    return Source(index_url="", find_links=str(folder))


def test_what_pip_chooses_comes_with_version_size_and_address(pip, wheels, bare):
    before = snapshot(bare)
    chosen = pip(local(wheels)).choose(Plan("", requirements=("alpha",)))
    files = {name: wheels / f"{name}-py3-none-any.whl" for name in ("alpha-1.0", "beta-2.0")}
    assert {f"{one.name}-{one.version}": one.size for one in chosen} == {
        name: file.stat().st_size for name, file in files.items()
    }
    assert {one.url for one in chosen} == {file.as_uri() for file in files.values()}
    assert snapshot(bare) == before


def test_sizes_come_from_an_index_without_a_download(pip, wheels):
    with servers.serve(servers.index(wheels)) as url:
        chosen = pip(Source(url)).choose(BETA)
    assert chosen[0].size == (wheels / "beta-2.0-py3-none-any.whl").stat().st_size


def test_exactly_what_was_chosen_is_installed_and_the_log_has_all(pip, wheels, bare, tmp_path):
    plan = Plan("", requirements=("alpha",), pins=("beta==1.0",))
    asked = pip(local(wheels))
    versions = asked.resolve(plan)
    asked.install(plan, versions)
    assert {name: snapshot(bare)[name] for name in versions} == {"alpha": "1.0", "beta": "1.0"}
    assert "Successfully installed alpha-1.0 beta-1.0" in (tmp_path / "log").read_text("utf-8")


def test_friends_are_kept_where_they_can_be_and_given_up_where_not(pip, wheels):
    kept = Plan("", requirements=("alpha",), friends=("beta==1.0",))
    assert pip(local(wheels)).resolve(kept)["beta"] == "1.0"
    given_up = Plan("", requirements=("delta",), friends=("beta==1.0",))
    assert pip(local(wheels)).resolve(given_up)["beta"] == "2.0"


def test_upgrade_takes_the_newest_of_what_is_asked_for(pip, wheels):
    pip(local(wheels)).install(BETA, {"beta": "1.0"})
    assert pip(local(wheels)).resolve(BETA) == {}
    assert pip(local(wheels), upgrade=True).resolve(BETA) == {"beta": "2.0"}


def test_a_conflict_names_those_that_quarrel(pip, wheels):
    error = failure(pip(local(wheels)), Plan("", requirements=("gamma", "delta")))
    assert "gamma 1.0 depends on beta<2; delta 1.0 depends on beta>=2" in error.what
    assert "what is installed is not changed" in error.what


def test_a_pin_that_refuses_is_named(pip, wheels):
    plan = Plan("", requirements=("delta",), pins=("beta==1.0",))
    assert "The user requested (constraint) beta==1.0" in failure(pip(local(wheels)), plan).what


def test_a_version_that_does_not_exist_is_told(pip, wheels):
    error = failure(pip(local(wheels)), Plan("", requirements=("beta>3",)))
    assert "no version that fits this Python of beta>3" in error.what


def test_a_version_for_another_python_alone_is_told(pip, wheels):
    name = "epsilon-1.0-py3-none-any.whl"
    page = f'<a href="/{name}" data-requires-python="&gt;=4">{name}</a>'
    with servers.serve(servers.page(page)) as url:
        error = failure(pip(Source(url)), Plan("", requirements=("epsilon",)))
    assert "are for another Python (1.0 Requires-Python >=4)" in error.what


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (servers.status(404), "answers 404 for beta"),
        (servers.status(401), "answers 401 for beta"),
        (servers.status(403), "answers 403 for beta"),
        (servers.status(500), "has a fault of its own"),
        (servers.status(503), "has a fault of its own"),
        (servers.page("<html>Please sign in</html>"), "names no version of beta at all"),
        (servers.page("hello", "text/plain"), "is no package index; it sends text/plain"),
        (servers.hang(), "could not be reached in time"),
    ],
    ids=["404", "401", "403", "500", "503", "a sign-in page", "plain text", "silence"],
)
def test_an_index_that_misbehaves_is_told_in_plain_words(pip, reply, what):
    with servers.serve(reply) as url:
        error = failure(pip(Source(url)))
    assert what in error.what
    assert "%fastai_setup" in error.next_step


def test_no_network_is_told_without_a_second_try_of_the_resolver(pip, tmp_path):
    plan = Plan("", requirements=("beta",), friends=("alpha==1.0",))
    assert "could not be reached" in failure(pip(Source(NOWHERE)), plan).what
    log = (tmp_path / "log").read_text("utf-8")
    assert log.count("$ ") == 2  # the question, and why it failed
    assert log.count("--constraint") == 1


def test_a_name_that_no_server_knows_is_told(pip):
    # .invalid never exists: https://www.rfc-editor.org/rfc/rfc2606
    error = failure(pip(Source("https://index.invalid/simple")))
    assert "could not be reached" in error.what or "The proxy" in error.what


def test_an_index_without_https_is_told(pip):
    error = failure(pip(Source("http://index.invalid/simple")))
    assert "does not trust index.invalid" in error.what


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (servers.status(407), "wants a name and a password"),
        (servers.status(502), "does not answer as it should"),
        (servers.hang(), "not answer as it should|not be reached in time"),
    ],
    ids=["407", "502", "silence"],
)
def test_a_proxy_that_misbehaves_is_told(pip, monkeypatch, reply, what):
    with servers.serve(reply) as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(SetupError, match=what):
            pip(Source("https://index.invalid/simple")).resolve(BETA)


def test_a_server_that_drips_is_ended_after_the_silence_that_is_allowed(pip):
    with servers.serve(servers.drip()) as url:
        error = failure(pip(Source(url), Patience(retries=0, timeout=5, silence=2)))
    assert "It said nothing for minutes" in error.what


def test_a_wheel_with_a_wrong_hash_is_not_installed(pip, wheels, bare):
    before = snapshot(bare)
    with servers.serve(servers.index(wheels, digest="0" * 64)) as url:
        error = failure(pip(Source(url)), act=True)
    assert "downloaded as beta is not what the index promised" in error.what
    assert snapshot(bare) == before


def test_a_transfer_that_breaks_off_is_told(pip, tmp_path):
    build(tmp_path / "big", "beta", "1.0", modules={"beta/__init__.py": "#" * 200_000})
    with servers.serve(servers.index(tmp_path / "big", cut=300)) as url:
        assert "broke off" in failure(pip(Source(url)), act=True).what


def test_a_file_that_is_no_wheel_is_told(pip, tmp_path):
    (tmp_path / "beta-1.0-py3-none-any.whl").write_bytes(b"no wheel at all")
    assert "The file of beta is no readable wheel" in failure(pip(local(tmp_path))).what


def test_a_package_that_fails_to_build_is_named_with_its_own_words(pip, tmp_path, monkeypatch):
    source = tmp_path / "alpha-1.0"
    backend = "def get_requires_for_build_wheel(*_): return []\n"
    backend += "def build_wheel(*_): raise RuntimeError('no compiler here')\n"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    source.mkdir()
    (source / "backend.py").write_text(backend)
    (source / "pyproject.toml").write_text(project)
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
    with tarfile.open(tmp_path / "alpha-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "alpha-1.0")
    error = failure(pip(local(tmp_path)), Plan("", requirements=("alpha",)))
    assert "no ready wheel of alpha" in error.what
    assert "RuntimeError: no compiler here" in error.what


def test_a_python_without_pip_is_told_what_to_do(tmp_path, wheels):
    alone = environment_at(tmp_path / "alone", pip=False)
    error = failure(Pip(alone.executable, tmp_path / "log", local(wheels)))
    assert error.what == "This Python has no pip."
    assert "ensurepip" in error.next_step


def test_a_python_that_does_not_start_is_told(tmp_path, wheels):
    error = failure(Pip(str(tmp_path / "nothing"), tmp_path / "log", local(wheels)))
    assert "No such file" in error.what


def python_with_pip(tmp_path: Path, fits) -> Interpreter:
    """Make an environment of some Python here whose own pip's version fits; skip without one."""
    ask = "import ensurepip; print(ensurepip.version())"
    folders = os.environ["PATH"].split(os.pathsep)
    if home := os.environ.get("PYENV_ROOT", str(Path(sys.base_prefix).parent.parent)):
        folders += [str(path / "bin") for path in Path(home).glob("versions/*")]
    for minor in range(15, 6, -1):
        for found in filter(None, (shutil.which(f"python3.{minor}", path=f) for f in folders)):
            said = subprocess.run([found, "-c", ask], capture_output=True, text=True, check=False)
            if said.returncode == 0 and fits(tuple(map(int, said.stdout.strip().split(".")))):
                return environment_at(tmp_path / "other", found)
    pytest.skip("no Python with such a pip is here")


def test_an_ancient_pip_is_told_what_to_do(tmp_path, wheels):
    old = python_with_pip(tmp_path, lambda version: version < (22, 2))
    error = failure(Pip(old.executable, tmp_path / "log", local(wheels)))
    assert "22.2 is the first that can" in error.what
    assert "python -m pip install --upgrade pip" in error.next_step
    assert not (tmp_path / "log").exists()


def test_bytes_move_where_pip_tells_them(tmp_path):
    new = python_with_pip(tmp_path, lambda version: version >= (24, 1))
    size = 1_500_000
    text = "".join(f"{number}\n" for number in range(size // 6))
    build(tmp_path / "big", "beta", "1.0", modules={"beta/__init__.py": "1", "beta/data": text})
    size = next((tmp_path / "big").iterdir()).stat().st_size
    said = []
    with servers.serve(servers.index(tmp_path / "big", rate=size)) as url:
        pip = Pip(new.executable, tmp_path / "log", Source(url), lambda *bar: said.append(bar))
        pip.install(BETA, {})
    bars = [bar for bar in said if bar[3] == "B"]
    assert {bar[2] for bar in bars} == {size}
    assert {bar[1] for bar in bars} - {0, size}
    assert all(bar[0].startswith("Downloading beta (") for bar in bars)
    log = (tmp_path / "log").read_text("utf-8")
    assert "Successfully installed beta-1.0" in log
    assert "Progress " not in log


@POSIX
def test_a_python_of_the_operating_system_is_left_alone(bare, wheels, tmp_path, monkeypatch):
    home = tmp_path / "own"
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = home / "lib" / name
    library.mkdir(parents=True)
    for path in (Path(sys.base_prefix) / "lib" / name).iterdir():
        if path.name not in ("site-packages", "EXTERNALLY-MANAGED"):
            (library / path.name).symlink_to(path)
    (library / "site-packages").symlink_to(bare.paths[0])
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=Ask the system.\n")
    monkeypatch.setenv("PYTHONHOME", str(home))
    error = failure(Pip(sys._base_executable, tmp_path / "log", local(wheels), patience=HASTY))
    assert "belongs to the operating system" in error.what
    assert "python -m venv" in error.next_step


@contextlib.contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """Mount something for a while; skip where this user may not."""
    where = arguments[-1]
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


@POSIX
def test_a_full_disk_is_told_and_the_old_version_put_back(tmp_path):
    build(tmp_path / "wheels", "beta", "1.0")
    much = {"beta/__init__.py": "", "beta/data": "0" * 900_000}
    build(tmp_path / "wheels", "beta", "2.0", modules=much)
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=80m", "none", str(disk)):
        small = environment_at(disk / "environment")
        pip = Pip(small.executable, tmp_path / "log", local(tmp_path / "wheels"), patience=HASTY)
        pip.install(BETA, {"beta": "1.0"})
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(b"0" * (free - 400_000))
        error = failure(pip, Plan("", requirements=("beta>1",)), act=True)
        assert error.what == "The installation failed: The disk is full."
        assert snapshot(small)["beta"] == "1.0"
        assert leftovers(small) == []


@POSIX
def test_a_folder_that_cannot_be_written_is_told(pip, bare, wheels):
    site = bare.paths[0]
    with mounted("--bind", site, site):
        subprocess.run(["mount", "-o", "remount,ro,bind", site], check=True)
        error = failure(pip(local(wheels)), act=True)
    assert "cannot be written" in error.what
    assert "beta" not in snapshot(bare)


@POSIX
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_told(pip, bare, wheels):
    site = Path(bare.paths[0])
    site.chmod(0o555)
    try:
        error = failure(pip(local(wheels)), act=True)
    finally:
        site.chmod(0o755)
    assert "cannot be written" in error.what


def test_a_setting_that_names_a_file_that_is_gone_is_told(pip, wheels, monkeypatch):
    gone = "/backend-container/containers/requirements.constraints"
    monkeypatch.setenv("PIP_CONSTRAINT", gone)
    error = failure(pip(local(wheels)))
    assert f"names a file that is not there: {gone}" in error.what
    assert "PIP_CONSTRAINT" in error.next_step


@pytest.fixture(params=["a variable", "pip.conf"])
def told(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tell pip a setting, in each of the two ways."""

    def tell(name: str, value: str) -> None:
        if request.param == "pip.conf":
            (tmp_path / "pip.conf").write_text(f"[global]\n{name} = {value}\n")
            monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        else:
            monkeypatch.setenv(f"PIP_{name.upper().replace('-', '_')}", value)

    return tell


@pytest.mark.parametrize(
    ("name", "value"), [("quiet", "1"), ("quiet", "3"), ("dry-run", "1"), ("no-deps", "true")]
)
def test_a_setting_that_would_silence_pip_or_hold_it_back_does_not_count(
    pip, wheels, bare, tmp_path, told, name, value
):
    told(name, value)
    plan = Plan("", requirements=("alpha",))
    asked = pip(local(wheels))
    versions = asked.resolve(plan)
    asked.install(plan, versions)
    assert {one: snapshot(bare).get(one) for one in ("alpha", "beta")} == versions
    # From this line on a stop lets pip finish.
    assert "Installing collected packages: beta, alpha" in (tmp_path / "log").read_text("utf-8")


def test_a_variable_that_names_another_python_does_not_count(pip, wheels, bare, monkeypatch):
    monkeypatch.setenv("PIP_PYTHON", "/no/such/python")
    pip(local(wheels)).install(BETA, {"beta": "2.0"})
    assert snapshot(bare)["beta"] == "2.0"


@pytest.mark.parametrize("name", ["target", "prefix", "root"])
def test_a_setting_that_puts_packages_elsewhere_is_refused(pip, wheels, tmp_path, told, name):
    told(name, str(tmp_path / "elsewhere"))
    error = failure(pip(local(wheels)))
    assert f"does not look for them: {name} = {tmp_path / 'elsewhere'}" in error.what
    assert f"PIP_{name.upper()}" in error.next_step
    assert "pip.conf" in error.next_step
    assert not (tmp_path / "elsewhere").exists()


def test_a_setting_that_puts_packages_where_python_looks_is_fine(pip, wheels, tmp_path, told):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
        told("target", str(tmp_path / "elsewhere"))
        pip(local(wheels)).install(BETA, {"beta": "2.0"})
    assert (tmp_path / "elsewhere/beta/__init__.py").is_file()


def test_an_index_that_is_asked_for_is_used_though_a_setting_says_none(pip, wheels, told):
    told("no-index", "1")
    with servers.serve(servers.index(wheels)) as url:
        assert pip(Source(url)).resolve(BETA) == {"beta": "2.0"}


def test_names_and_passwords_stay_out_of_log_and_message(pip, tmp_path):
    with servers.serve(servers.status(403)) as url:
        error = failure(pip(Source(url.replace("//", "//me:secret@"))))
    assert "secret" not in str(error)
    assert "secret" not in (tmp_path / "log").read_text("utf-8")


class Finger:
    """Presses stop as soon as a line of the log says so, and again if asked."""

    def __init__(self, log: Path, word: str, presses: int = 1) -> None:
        self.log, self.word, self.presses, self.said = log, word, presses, []

    def __call__(self, label: str, *_) -> None:
        self.said.append(label)
        if self.presses and self.word in self.log.read_text("utf-8"):
            self.presses -= 1
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def slow_wheels(tmp_path: Path) -> Path:
    """Two versions of a package whose files take a second to write."""
    for version in ("1.0", "2.0"):
        files = {f"beta/m{number}.py": f"# {version}\n" for number in range(6000)}
        files["beta/__init__.py"] = f"__version__ = {version!r}\n"
        build(tmp_path / "slow", "beta", version, modules=files)
    return tmp_path / "slow"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a place for temporary files that nobody else uses."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def leftovers(bare: Interpreter) -> list[str]:
    return [path.name for path in Path(bare.paths[0]).iterdir() if path.name.startswith("~")]


@POSIX
def test_stop_while_pip_asks_ends_it_and_changes_nothing(pip, bare, tmp_path, temporary):
    before, threads = snapshot(bare), threading.active_count()
    with servers.serve(servers.hang()) as url, pytest.raises(KeyboardInterrupt):
        finger = Finger(tmp_path / "log", "Looking in indexes")
        pip(Source(url), Patience(timeout=15), finger).install(BETA, {})
    assert snapshot(bare) == before
    assert threading.active_count() <= threads + 1
    assert list(temporary.iterdir()) == []


@POSIX
def test_stop_while_files_are_replaced_lets_pip_finish_that(pip, slow_wheels, bare, tmp_path):
    pip(local(slow_wheels)).install(BETA, {"beta": "1.0"})
    finger = Finger(tmp_path / "log", "Successfully uninstalled")
    with pytest.raises(KeyboardInterrupt):
        pip(local(slow_wheels), tell=finger).install(BETA, {"beta": "2.0"})
    assert snapshot(bare)["beta"] == "2.0"
    assert leftovers(bare) == []
    assert any("stop again to end it at once" in label for label in finger.said)


@POSIX
def test_a_second_stop_ends_pip_at_once(pip, slow_wheels, bare, tmp_path, temporary):
    pip(local(slow_wheels)).install(BETA, {"beta": "1.0"})
    finger = Finger(tmp_path / "log", "Successfully uninstalled", presses=2)
    with pytest.raises(KeyboardInterrupt):
        pip(local(slow_wheels), tell=finger).install(BETA, {"beta": "2.0"})
    # Half replaced, which is what `--undo` is for; but the program is gone.
    assert "~eta" in leftovers(bare)
    assert "Successfully installed beta-2.0" not in (tmp_path / "log").read_text("utf-8")
    assert finger.presses == 0
    assert list(temporary.iterdir()) == []


def test_a_report_in_another_format_is_told(tmp_path):
    report = tmp_path / "report.json"
    for text in ("[]", '{"install": 3}', '{"install": ["x"]}', "nonsense"):
        report.write_text(text)
        with pytest.raises(SetupError, match="report could not be read"):
            read_report(report)
    report.write_text('{"install": [{"metadata": {"name": "A_b", "version": "1"}}]}')
    assert read_report(report) == (Chosen("a-b", "1"),)


def test_a_download_without_bytes_may_be_silent_as_long_as_its_size_takes():
    line = "  Downloading torch-2.15.0-cp311-x86_64.whl (900.0 MB)"
    assert hear(line, has_bytes=False).slack == 9000
    assert hear(line, has_bytes=True).slack == 0
    assert hear("  Downloading torch-2.15.0.whl.metadata (28 kB)").label == ""
    assert hear("Installing collected packages: torch").settling


@POSIX
def test_a_program_that_leaves_a_child_with_its_output_is_not_waited_for(tmp_path):
    late = "import pathlib, time; time.sleep(15); pathlib.Path('late').touch()"
    code = "import subprocess, sys; print('done', flush=True); "
    code += f"subprocess.Popen([sys.executable, '-c', {late!r}])"
    log = tmp_path / "log"
    nothing = running.Heard()
    command = [sys.executable, "-c", code]
    outcome = running.run(command, log, "", lambda _: nothing, lambda *_: None, {}, 60)
    assert (outcome.code, outcome.lines) == (0, ("done\n",))
    assert not Path("late").exists()


def test_an_unknown_failure_is_told_in_the_installers_own_words():
    what, remedy = words.explain(["Collecting x\n", "ERROR: something new\n"])
    assert what == "it says: ERROR: something new"
    assert "log" in remedy
