"""The probe against real servers, and pip's settings against pip itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastmagic.environment.installers import network
from fastmagic.environment.installers.network import (
    Network,
    Settings,
    pip_settings,
    sizes,
    uv_settings,
)

from . import servers
from .wheels import build

SOON = 5.0


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    build(tmp_path / "wheels", "fastai", "2.8.12")
    build(tmp_path / "wheels", "plum-dispatch", "2.9.0")
    return tmp_path / "wheels"


def test_an_index_that_answers_is_reachable(wheels):
    with servers.serve(servers.index(wheels)) as url:
        network = Network(Settings(index_url=url), SOON)
        assert network.ask().reachable
        assert network.ask(f"{url}/", "plum-dispatch").reachable


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (servers.status(401), "wants a name and a password"),
        (servers.status(403), "refuses this machine"),
        (servers.status(404), "does not know fastai"),
        (servers.status(410), "gives no page"),
        (servers.status(500), "a fault of its own"),
        (servers.page("<html><a href='/login?to=/fastai/'>Sign in</a></html>"), "sign-in page"),
        (servers.page("", "text/plain"), "no package index"),
    ],
    ids=["401", "403", "404", "410", "500", "a sign-in page", "an empty page"],
)
def test_an_index_that_misbehaves_is_told(reply, words):
    with servers.serve(reply) as url:
        answer = Network(Settings(), SOON).ask(url)
    assert not answer.reachable
    assert words in answer.words


def test_an_index_that_sends_its_page_in_small_pieces_is_no_sign_in_page():
    link = '<a href="/files/fastai-2.8.12-py3-none-any.whl">fastai-2.8.12-py3-none-any.whl</a>'
    with servers.serve(servers.pieces("<!DOCTYPE html><body>\n", f"{link}\n", "</body>")) as url:
        assert Network(Settings(), SOON).ask(url).reachable


@pytest.mark.parametrize("reply", [servers.hang(), servers.drip()], ids=["silence", "drips"])
def test_an_index_that_hangs_is_given_up_at_the_limit(reply):
    with servers.serve(reply) as url:
        answer = Network(Settings(), 0.5).ask(url)
    assert not answer.reachable
    assert "did not answer within 0.5 s" in answer.words or "could not be reached" in answer.words


def test_a_proxy_that_hangs_is_given_up_at_the_limit():
    with servers.serve(servers.hang()) as proxy:
        answer = Network(Settings(proxy=proxy), 0.5).ask("https://index.invalid/simple")
    assert not answer.reachable


def test_a_proxy_that_wants_a_password_is_told():
    with servers.serve(servers.status(407)) as proxy:
        network = Network(Settings(proxy=proxy), SOON)
        for scheme in ("https", "http"):
            answer = network.ask(f"{scheme}://index.invalid/simple")
            assert not answer.reachable
            assert "the proxy" in answer.words.lower()


def test_a_name_server_that_says_nothing_does_not_hold_it_up():
    """The whole question is bounded, whatever in it takes long."""
    release = threading.Event()
    try:
        assert network._within(0.2, lambda: release.wait(20)) is None
    finally:
        release.set()


def test_nobody_listening_is_told():
    answer = Network(Settings(), SOON).ask("http://127.0.0.1:9/simple")
    assert answer == network.Answer(
        False, f"http://127.0.0.1:9/simple could not be reached. {network.INTERNET}"
    )


def test_a_certificate_file_that_is_gone_is_no_crash(tmp_path):
    settings = Settings(cert=str(tmp_path / "gone.pem"))
    assert not Network(settings, SOON).ask("https://127.0.0.1:9/simple").reachable


def test_no_index_asks_nobody():
    assert Network(Settings(index_url="http://127.0.0.1:9"), SOON).ask("").reachable
    assert Network(Settings(no_index=True), SOON).ask().reachable


def test_a_folder_as_an_index_is_looked_at(tmp_path):
    assert Network(Settings(), SOON).ask(tmp_path.as_uri()).reachable
    assert not Network(Settings(), SOON).ask((tmp_path / "gone").as_uri()).reachable


def test_a_password_stays_out_of_the_words():
    with servers.serve(servers.status(403)) as url:
        answer = Network(Settings(), SOON).ask(url.replace("//", "//me:secret@"))
    assert "secret" not in answer.words


def test_sizes_come_from_headers_and_files_and_the_rest_is_left_out(wheels):
    file = wheels / "fastai-2.8.12-py3-none-any.whl"
    with servers.serve(servers.index(wheels)) as url:
        known, unknown = f"{url}/files/{file.name}", f"{url}/files/other.whl"
        found = sizes([known, unknown, file.as_uri(), (wheels / "gone").as_uri()])
    assert found == {known: file.stat().st_size, file.as_uri(): file.stat().st_size}


def test_sizes_that_do_not_come_in_time_are_left_out():
    with servers.serve(servers.hang()) as url:
        assert sizes([f"{url}/{number}.whl" for number in range(20)], limit=0.3) == {}


GLOBAL = "[global]\nindex-url = https://one.example/simple/\nno-index = false\n"
INSTALL = "[install]\nindex_url = https://two.example/simple\nfind-links =\n    /a\n    /b\n"
EXTRA = "[global]\nextra-index-url =\n    https://four.example/simple\n    /five\n"


@pytest.mark.parametrize(
    ("text", "env"),
    [
        (GLOBAL, {}),
        (GLOBAL + INSTALL, {}),
        (INSTALL + GLOBAL, {}),
        (GLOBAL, {"PIP_INDEX_URL": "https://three.example/simple", "PIP_NO_INDEX": "1"}),
        ("", {"PIP_FIND_LINKS": "/c /d", "PIP_PROXY": "http://proxy.example:3128"}),
        (EXTRA, {}),
        (EXTRA, {"PIP_EXTRA_INDEX_URL": "https://six.example/simple"}),
        ("no ini file at all", {}),
    ],
)
def test_pips_settings_are_read_as_pip_reads_them(tmp_path, text, env):
    (tmp_path / "pip.conf").write_text(text)
    env = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "XDG_CONFIG_DIRS": "/nowhere", **env}
    env = {**env, "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    ask = (
        "from pip._internal.commands import create_command\n"
        "options, _ = create_command('install').parse_args(['x'])\n"
        "print(options.index_url, options.extra_index_urls, bool(options.no_index), "
        "options.find_links, options.proxy or '')"
    )
    done = subprocess.run([sys.executable, "-c", ask], env=env, capture_output=True, text=True)
    ours = pip_settings(env, home=tmp_path)
    if done.returncode != 0:
        assert "ini" in text  # pip itself refuses that file, and says so
        return
    extra = list(ours.extra_index_urls)
    found = (ours.index_url, extra, ours.no_index, list(ours.find_links), ours.proxy)
    assert " ".join(map(str, found)).strip() == done.stdout.replace("simple/ ", "simple ").strip()


def test_the_files_of_each_system_are_known(tmp_path):
    home = tmp_path / "home"
    for place in ("Library/Application Support/pip/pip.conf", "roaming/pip/pip.ini"):
        (home / place).parent.mkdir(parents=True)
        (home / place).write_text(f"[global]\nproxy = {place[:3]}\n")
    windows = {"APPDATA": str(home / "roaming")}
    assert pip_settings({}, "/nowhere", home, "darwin").proxy == "Lib"
    assert pip_settings(windows, "/nowhere", home, "win32").proxy == "roa"
    assert pip_settings({"PIP_CONFIG_FILE": os.devnull}, "/nowhere", home, "darwin").proxy == ""


def test_uvs_variables_are_read_in_all_their_spellings():
    named = {"UV_DEFAULT_INDEX": "own=https://one.example/simple/", "UV_INDEX_URL": "https://two"}
    assert uv_settings(named) == Settings(index_url="https://one.example/simple")
    old = {"UV_INDEX_URL": "https://two.example/simple", "UV_EXTRA_INDEX_URL": "https://three"}
    more = uv_settings({**old, "UV_INDEX": "four=https://four https://five"})
    assert more.index_url == "https://two.example/simple"
    assert more.extra_index_urls == ("https://four", "https://five", "https://three")
    assert not uv_settings({}).has_more
    assert uv_settings({"UV_FIND_LINKS": "/a,/b"}).find_links == ("/a", "/b")


@pytest.mark.skipif(os.name == "nt", reason="stands in for Windows")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_on_a_drive_of_windows_is_found(tmp_path, monkeypatch):
    import urllib.request
    from nturl2path import url2pathname

    monkeypatch.setattr(urllib.request, "url2pathname", url2pathname)
    monkeypatch.chdir(tmp_path)
    Path("C:\\my wheels").mkdir()
    Path("C:\\one.whl").write_bytes(b"12345")
    assert Network(Settings()).ask("file:///C:/my%20wheels").reachable
    assert sizes(["file:///C:/one.whl"]) == {"file:///C:/one.whl": 5}


def test_a_folder_with_a_blank_is_found(tmp_path):
    (tmp_path / "my wheels").mkdir()
    assert Network(Settings()).ask((tmp_path / "my wheels").as_uri()).reachable
