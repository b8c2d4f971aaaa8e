"""The real uv, where one is installed: the same answers as pip's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastmagic.environment.installers.pip import Patience, Pip, Source
from fastmagic.environment.installers.uv import Uv
from fastmagic.environment.inventory import Interpreter, snapshot
from fastmagic.environment.planning.plan import Plan
from fastmagic.errors import SetupError

from . import servers
from .test_pip import BETA, NOWHERE, environment_at, failure, local, mounted
from .wheels import build

HASTY = Patience(retries=0, timeout=1, silence=30)


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


UV = _uv()
needs_uv = pytest.mark.skipif(UV is None, reason="uv is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return environment_at(tmp_path_factory.mktemp("uv") / "environment", pip=False)


@pytest.fixture
def bare(made: Interpreter):
    yield made
    for path in Path(made.paths[0]).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    build(tmp_path / "wheels", "beta", "1.0")
    build(tmp_path / "wheels", "beta", "2.0")
    build(tmp_path / "wheels", "gamma", "1.0", ("beta<2",))
    build(tmp_path / "wheels", "delta", "1.0", ("beta>=2",))
    return tmp_path / "wheels"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("UV_") or n.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))


@pytest.fixture
def uv(bare: Interpreter, tmp_path: Path):
    class Found(Uv):
        find = staticmethod(lambda name: UV)

    return lambda source: Found(bare.executable, tmp_path / "log", source, patience=HASTY)


@needs_uv
def test_uv_chooses_and_installs_like_pip(uv, wheels, bare, tmp_path):
    plan = Plan("", requirements=("gamma",), friends=("beta==1.0",))
    before = snapshot(bare)
    versions = uv(local(wheels)).resolve(plan)
    assert snapshot(bare) == before
    assert versions == {"beta": "1.0", "gamma": "1.0"}
    with_pip = Pip(sys.executable, tmp_path / "pip.log", local(wheels), patience=HASTY)
    assert versions == with_pip.resolve(plan)
    uv(local(wheels)).install(plan, versions)
    assert snapshot(bare) == {"beta": "1.0", "gamma": "1.0"}
    assert "+ beta==1.0" in (tmp_path / "log").read_text("utf-8")


@needs_uv
def test_with_two_indexes_uv_compares_both_as_pip_does(uv, wheels, tmp_path):
    """Torch's index has old versions of numpy and others; uv alone would take those."""
    build(tmp_path / "second", "beta", "1.5")
    with (
        servers.serve(servers.index(wheels)) as first,
        servers.serve(servers.index(tmp_path / "second")) as second,
    ):
        plan = Plan("", requirements=("beta",), index=second)
        assert uv(Source(first)).resolve(plan) == {"beta": "2.0"}
        alone = [UV, "pip", "install", "--dry-run", "--python", sys.executable]
        alone += ["--index-url", first, "--extra-index-url", second, "beta"]
        done = subprocess.run(alone, capture_output=True, text=True, check=True)
        assert "beta==1.5" in done.stderr


@needs_uv
def test_a_conflict_names_those_that_quarrel(uv, wheels):
    error = failure(uv(local(wheels)), Plan("", requirements=("gamma", "delta")))
    assert "all versions of delta depend on beta>=2" in error.what


@needs_uv
def test_a_version_that_does_not_exist_is_told(uv, wheels):
    for need in ("beta>3", "nothing"):
        error = failure(uv(local(wheels)), Plan("", requirements=(need,)))
        assert "no version that fits this Python" in error.what


@needs_uv
@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (servers.status(404), "names no version of beta"),
        (servers.status(403), "It answers 403 for beta"),
        (servers.status(500), "a fault of its own"),
        (servers.page("<html>Please sign in</html>"), "names no version of beta"),
        (servers.page("hello", "text/plain"), "it sends text/plain"),
        (servers.hang(), "could not be reached in time"),
    ],
    ids=["404", "403", "500", "a sign-in page", "plain text", "silence"],
)
def test_an_index_that_misbehaves_is_told(uv, reply, what):
    with servers.serve(reply) as url:
        assert what in failure(uv(Source(url))).what


@needs_uv
def test_a_wrong_hash_is_told_and_nothing_is_installed(uv, wheels, bare):
    with servers.serve(servers.index(wheels, digest="0" * 64)) as url:
        error = failure(uv(Source(url)), act=True)
    assert "beta==2.0 is not what the index promised" in error.what
    assert snapshot(bare) == {}


@needs_uv
def test_no_network_is_told(uv):
    assert "could not be reached" in failure(uv(Source(NOWHERE))).what
    unknown = failure(uv(Source("http://index.invalid/simple")))
    assert "its name is not known here" in unknown.what


@needs_uv
def test_a_proxy_that_wants_a_password_is_told(uv, monkeypatch):
    with servers.serve(servers.status(407)) as url:
        monkeypatch.setenv("https_proxy", url)
        error = failure(uv(Source("https://index.invalid/simple")))
    assert "wants a name and a password" in error.what


@needs_uv
def test_a_setting_that_names_a_file_that_is_gone_is_told(uv, wheels, monkeypatch):
    gone = "/backend-container/containers/requirements.constraints"
    monkeypatch.setenv("UV_CONSTRAINT", gone)
    error = failure(uv(local(wheels)))
    assert f"names a file that is not there: {gone}" in error.what
    assert "UV_" in error.next_step


@needs_uv
@pytest.mark.skipif(os.name != "posix", reason="mounts are POSIX's")
def test_a_folder_that_cannot_be_written_is_told(uv, wheels, bare):
    site = bare.paths[0]
    with mounted("--bind", site, site):
        subprocess.run(["mount", "-o", "remount,ro,bind", site], check=True)
        assert "cannot be written" in failure(uv(local(wheels)), act=True).what


def test_without_uv_the_line_that_installs_it_is_shown(bare, wheels, tmp_path):
    class Nowhere(Uv):
        find = staticmethod(lambda name: None)

    with pytest.raises(SetupError, match="uv is not installed") as caught:
        Nowhere(bare.executable, tmp_path / "log", local(wheels)).resolve(BETA)
    assert "%pip install uv" in caught.value.next_step
