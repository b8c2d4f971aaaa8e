"""Does the package index answer: one probe of three seconds at most, before pip's own patience.

pip gives a dead network minutes. A timeout of a socket does not bound a name server that is silent,
nor an answer that drips, so the whole question runs in a thread that is left behind.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastmagic.environment.redaction import redacted

PYPI = "https://pypi.org/simple"
PROBE_SECONDS = 3.0
SIZES_SECONDS = 3.0
PAGE_BYTES = 65536  # enough of an index's page to tell it from a sign-in page
AT_ONCE = 8
INTERNET = "Check the internet connection (Kaggle: Settings > Internet > on)."


@dataclass(frozen=True)
class Answer:
    """What the probe found.

    Attributes
    ----------
    reachable
        Whether packages can be expected from there.
    words
        Why, in one plain sentence.
    """

    reachable: bool
    words: str


@dataclass(frozen=True)
class Settings:
    """What an installer is told by its own settings about where packages come from and go.

    Attributes
    ----------
    index_url
        The index.
    extra_index_urls
        Indexes beside it.
    no_index
        Whether it must use none.
    find_links
        Folders and pages with wheels.
    proxy
        A proxy's address, or empty for the environment's.
    cert
        A file of certificates, or empty for the usual ones.
    breaks_system
        Whether it may change a Python that belongs to the operating system (PEP 668).
    elsewhere
        Settings that put packages into another folder: the name of each, and the folder.
    """

    index_url: str = PYPI
    extra_index_urls: tuple[str, ...] = ()
    no_index: bool = False
    find_links: tuple[str, ...] = ()
    proxy: str = ""
    cert: str = ""
    breaks_system: bool = False
    elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def has_more(self) -> bool:
        """Whether packages may come from other places than the index."""
        return bool(self.extra_index_urls or self.find_links)


def pip_settings(
    environ: Mapping[str, str] | None = None,
    prefix: str | None = None,
    home: Path | None = None,
    system: str = sys.platform,
) -> Settings:
    """Read pip's settings without starting pip, which takes half a second.

    Parameters
    ----------
    environ
        The environment; the process's own by default.
    prefix
        The environment of the Python that is set up; that of this one by default.
    home
        The person's home folder.
    system
        As `sys.platform` gives it.

    Notes
    -----
    Later files win over earlier ones, ``[install]`` over ``[global]``, ``PIP_`` variables over all:
    https://pip.pypa.io/en/stable/topics/configuration/.

    Examples
    --------
    >>> pip_settings({"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}).no_index
    True
    """
    env = os.environ if environ is None else environ
    said: dict[str, str] = {}
    if env.get("PIP_CONFIG_FILE") != os.devnull:
        for file in _files(env, prefix or sys.prefix, home or Path.home(), system):
            said.update(_read(file))
    for key, value in env.items():
        if key.startswith("PIP_") and value:
            said[key[4:].lower().replace("_", "-")] = value
    return Settings(
        index_url=said.get("index-url", PYPI).rstrip("/"),
        extra_index_urls=tuple(said.get("extra-index-url", "").split()),
        no_index=said.get("no-index", "").lower() in _YES,
        find_links=tuple(said.get("find-links", "").split()),
        proxy=said.get("proxy", ""),
        cert=said.get("cert", ""),
        breaks_system=said.get("break-system-packages", "").lower() in _YES,
        elsewhere=tuple((name, said[name]) for name in _PLACES if said.get(name)),
    )


_YES = ("1", "true", "yes", "on", "y", "t")
_PLACES = ("target", "prefix", "root")


def uv_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read uv's variables; its files, which have a format of their own, are left to uv.

    Parameters
    ----------
    environ
        The environment; the process's own by default.

    Examples
    --------
    >>> uv_settings({"UV_DEFAULT_INDEX": "own=https://index.example/simple/"}).index_url
    'https://index.example/simple'
    """
    env = os.environ if environ is None else environ
    index = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or PYPI
    extra = f"{env.get('UV_INDEX', '')} {env.get('UV_EXTRA_INDEX_URL', '')}"
    return Settings(
        index_url=_without_name(index).rstrip("/"),
        extra_index_urls=tuple(map(_without_name, extra.split())),
        find_links=tuple(filter(None, env.get("UV_FIND_LINKS", "").split(","))),
    )


def _without_name(index: str) -> str:
    return re.sub(r"^[\w.-]+=", "", index)


def _files(env: Mapping[str, str], prefix: str, home: Path, system: str) -> list[Path]:
    own = [Path(env["PIP_CONFIG_FILE"])] if env.get("PIP_CONFIG_FILE") else []
    if system == "win32":
        shared = [Path(env.get("PROGRAMDATA", "C:/ProgramData")) / "pip/pip.ini"]
        user = [home / "pip/pip.ini", Path(env.get("APPDATA", home)) / "pip/pip.ini"]
        return [*shared, *user, Path(prefix) / "pip.ini", *own]
    folders = env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)
    shared = [Path(folder) / "pip/pip.conf" for folder in folders] + [Path("/etc/pip.conf")]
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    library = Path("Library/Application Support/pip")
    if system == "darwin":
        shared.append("/" / library / "pip.conf")
        config = home / library.parent if (home / library).is_dir() else home / ".config"
    user = [home / ".pip/pip.conf", config / "pip/pip.conf"]
    return [*shared, *user, Path(prefix) / "pip.conf", *own]


def _read(file: Path) -> dict[str, str]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}  # pip itself says so when it runs
    said: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            said.update((key.replace("_", "-"), value) for key, value in parser.items(section))
    return said


@dataclass(frozen=True)
class Network:
    """The outside world of a probe, for tests: settings, and the limit in seconds."""

    settings: Settings = field(default_factory=pip_settings)
    limit: float = PROBE_SECONDS

    def ask(self, index_url: str | None = None, package: str = "fastai") -> Answer:
        """Ask the index that will be used for one package's page.

        Parameters
        ----------
        index_url
            The index; None for pip's own setting, "" for none at all.
        package
            A package that it must know.

        Returns
        -------
        Answer
            Within the limit, whatever the name server, a proxy or the index do.

        Examples
        --------
        >>> Network(Settings()).ask("").words
        'No package index is used.'
        """
        index = self.settings.index_url if index_url is None else index_url
        if not index or (index_url is None and self.settings.no_index):
            return Answer(True, "No package index is used.")
        if urlsplit(index).scheme == "file":
            return _folder(index)
        page = f"{index.rstrip('/')}/{package}/"
        shown = redacted(index)
        answer = _within(self.limit, lambda: self._get(page, package, shown))
        late = f"{shown} did not answer within {self.limit:g} s. {INTERNET}"
        return answer or Answer(False, late)

    def _get(self, page: str, package: str, shown: str) -> Answer:
        import requests

        try:
            with _session(self.settings) as session:
                reply = session.get(page, timeout=self.limit, stream=True)
                return _judge(reply.status_code, _beginning(reply), package, shown)
        except requests.exceptions.SSLError:
            # pip may know the certificate: since 24.2 it asks the operating system for it.
            return Answer(True, f"{shown} answers, with a certificate that is not known here.")
        except requests.exceptions.ProxyError as error:
            known = "407" in str(error)
            why = "wants a name and a password" if known else "does not let this through"
            return Answer(False, f"The proxy on the way to {shown} {why}. Check HTTPS_PROXY.")
        except (OSError, ValueError):  # among them every fault that requests knows
            return Answer(False, f"{shown} could not be reached. {INTERNET}")


def _beginning(reply: Any) -> str:
    """Read the first bytes of a page: an index may send it in many small pieces."""
    read = bytearray()
    for piece in reply.iter_content(PAGE_BYTES):
        read += piece
        if len(read) >= PAGE_BYTES:
            break
    return read.decode("utf-8", "replace")


def _session(settings: Settings) -> Any:
    import requests

    session = requests.Session()
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    if settings.cert:
        session.verify = settings.cert
    return session


def _folder(index: str) -> Answer:
    there = _local(index).is_dir()
    return Answer(there, f"{index} is {'there' if there else 'no folder that is there'}.")


def _local(address: str) -> Path:
    """Give the path that a ``file:`` address means; of ``/C:/wheels`` Windows makes its own."""
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(address).path))


def _judge(status: int, text: str, package: str, shown: str) -> Answer:
    name = re.sub(r"[-_.]+", "[-_.]+", package)
    link = rf"""["'][^"']*{name}[^"']*\.(whl|tar|zip)"""  # in HTML or in JSON
    if status == 200 and re.search(link, text, re.IGNORECASE):
        return Answer(True, f"{shown} answers.")
    if status == 200:
        return Answer(
            False,
            f"{shown} answers with a page that is no package index; it may be the sign-in page of "
            "this network.",
        )
    said = {
        401: "wants a name and a password",
        403: "refuses this machine",
        404: f"does not know {package}: is that address a package index?",
        407: "cannot be reached: the proxy wants a name and a password. Check HTTPS_PROXY",
    }
    fault = "has a fault of its own; try again later" if status >= 500 else "gives no page"
    return Answer(False, f"{shown} {said.get(status, fault)} (it answers {status}).")


def _within(limit: float, question: Callable[[], Answer]) -> Answer | None:
    """Give the answer if it comes in time; a thread that hangs is left to itself."""
    answers: queue.Queue[Answer] = queue.Queue()
    threading.Thread(target=lambda: answers.put(question()), daemon=True).start()
    try:
        return answers.get(timeout=limit)
    except queue.Empty:
        return None


def sizes(
    addresses: Iterable[str], limit: float = SIZES_SECONDS, settings: Settings | None = None
) -> dict[str, int]:
    """Say how many bytes the files at some addresses have, as far as that is known in time.

    Parameters
    ----------
    addresses
        Of wheels; ``file:`` ones are looked at, others are asked for their header alone.
    limit
        Seconds for all of them together.
    settings
        pip's, for the proxy and the certificates.

    Returns
    -------
    dict
        Address to bytes; those that did not answer are left out.

    Examples
    --------
    >>> sizes([Path(__file__).as_uri()]) == {Path(__file__).as_uri(): os.stat(__file__).st_size}
    True
    """
    found: dict[str, int] = {}
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    for address in dict.fromkeys(addresses):
        if urlsplit(address).scheme == "file":
            with contextlib.suppress(OSError):
                found[address] = _local(address).stat().st_size
        else:
            asked.put(address)
    until = time.monotonic() + limit
    known = settings or pip_settings()
    threads = [
        threading.Thread(target=_ask_sizes, args=(asked, found, until, known), daemon=True)
        for _ in range(min(AT_ONCE, asked.qsize()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    return dict(found)


def _ask_sizes(
    asked: queue.SimpleQueue[str], found: dict[str, int], until: float, settings: Settings
) -> None:
    with _session(settings) as session:
        while (left := until - time.monotonic()) > 0:
            try:
                address = asked.get_nowait()
                reply = session.head(address, timeout=left, allow_redirects=True)
                if reply.ok and "content-length" in reply.headers:
                    found[address] = int(reply.headers["content-length"])
            except queue.Empty:
                return
            except (OSError, ValueError):
                continue
