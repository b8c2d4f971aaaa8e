"""Fetches one archive: what has arrived is never fetched again, in another process neither.

pooch keeps the archive and compares its hash; what it lacks is here, as its downloader: a partial
file that the next process goes on with. `NAME.part` is the beginning of the archive, and
`NAME.part.json` beside it says of which: the address, and the server's own marks of that version
(ETag, Last-Modified). The rest is asked for with `If-Range`, so that a server whose file has
changed sends the whole of the new one instead of an end that does not fit (RFC 9110, 13.1.5 and
14.2); the answer's status, range and length are checked before a byte is added.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fastmagic
from fastmagic import faces
from fastmagic.data.address import fingerprint, host, shown
from fastmagic.errors import DataError, DownloadError, FastMagicError, Stopped
from fastmagic.progress import View

CHUNK = 1 << 16
TIMEOUTS = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes."""

TRIES = 4
"""Tries in a row that bring nothing new before it ends; the waits between are 1, 2 and 4 s."""

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be different in a moment."""

_NETWORK = (
    "Check that this machine has internet (on Kaggle: Settings > Internet > On), then run the same "
    "line again: what has arrived is kept."
)


class _TryAgain(Exception):
    """This try did not bring the whole file; the next may."""


@dataclass
class _Version:
    """Which version of which file the partial file is the beginning of."""

    source: str
    etag: str = ""
    modified: str = ""
    total: int | None = None

    @property
    def mark(self) -> str:
        """What `If-Range` takes: a strong ETag, else the date, else nothing."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def download(
    url: str,
    archive: Path,
    *,
    checksum: str = "",
    expected: int = 0,
    view: View | None = None,
    session: Any = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch an archive unless it is there, going on from what an earlier try left.

    Parameters
    ----------
    url
        An http or https address.
    archive
        The file to make.
    checksum
        `md5:…` or `sha256:…` of the whole file; empty where none is known.
    expected
        The size in bytes that was recorded for it; said where it differs, and not insisted on.
    view
        Shows how far it is.
    session
        A `requests.Session`; a new one by default.
    sleep
        Waits so many seconds between two tries.

    Returns
    -------
    Path
        `archive`.

    Raises
    ------
    DownloadError
        When the server refuses, sends something else, or cannot be reached.
    Stopped
        On Ctrl-C; what has arrived is kept.
    """
    pooch = import_pooch()
    fetcher = _Fetcher(url, archive, view or View(), session, sleep, expected)
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(url, checksum or None, archive.name, archive.parent, downloader=fetcher)
    except FastMagicError:
        raise
    except ValueError as error:  # pooch: another hash
        fetcher.drop()
        msg = f"{archive.name} from {shown(url)} arrived with another checksum than {checksum}."
        raise DownloadError(msg, "It was not kept. Check the address and the checksum.") from error
    fetcher.drop()
    return archive


def import_pooch() -> Any:
    """Import pooch, without the warning that its tqdm gives where ipywidgets are missing.

    We show our own progress, which needs no widgets.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import pooch
    return pooch


class _Fetcher:
    """pooch's downloader: called with an address and the file to make."""

    def __init__(
        self,
        url: str,
        archive: Path,
        view: View,
        session: Any,
        sleep: Callable[[float], None],
        expected: int,
    ) -> None:
        self._name = archive.name
        self._part = archive.with_name(f"{archive.name}.part")
        self._notes = archive.with_name(f"{archive.name}.part.json")
        self._view, self._session, self._sleep = view, session, sleep
        self._expected = expected
        self._url = url
        self._version = self._read_version()

    def __call__(self, _url: str, output: str, _pooch: Any) -> None:
        """Fetch the file to `output`, in as many tries as it takes."""
        out = Path(output)
        out.unlink(missing_ok=True)  # pooch's empty file: a kill would leave it lying there
        try:
            self._until_whole()
        except KeyboardInterrupt:
            raise self._stopped() from None
        try:
            os.link(self._part, out)  # so that a kill during the hash loses nothing
        except OSError:
            self._part.replace(out)

    def drop(self) -> None:
        """Forget the partial file."""
        self._part.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def _stopped(self) -> Stopped:
        have, total = self._have(), self._version.total
        of = f" of {faces.size(total)}" if total else ""
        msg = f"Stopped the download of {self._name}; {faces.size(have)}{of} are kept."
        goes_on = f"it goes on from {faces.size(have)}" if have else "it starts again"
        return Stopped(msg, f"Run the same line again: {goes_on}.")

    def _until_whole(self) -> None:
        import requests

        with nullcontext(self._session) if self._session else requests.Session() as session:
            failures, most = 0, self._have()
            while not self._is_whole():
                try:
                    self._try_once(session)
                    break
                except _TryAgain as trouble:
                    # a try that brought new bytes is no failure, and is followed at once
                    failures = 0 if self._have() > most else failures + 1
                    most = max(most, self._have())
                    if failures >= TRIES:
                        raise self._given_up(trouble) from trouble
                    self._view.note(f"{trouble} Trying again.")
                if failures:
                    self._sleep(2 ** (failures - 1))

    def _given_up(self, trouble: _TryAgain) -> DownloadError:
        kept = f" {faces.size(self._have())} are kept." if self._have() else ""
        return DownloadError(f"{self._name} could not be downloaded. {trouble}{kept}", _NETWORK)

    def _try_once(self, session: Any) -> None:
        """Ask for what is missing, and add it."""
        import requests
        import urllib3

        have = self._usable()
        try:
            with session.get(
                self._url, headers=self._headers(have), stream=True, timeout=TIMEOUTS
            ) as answer:
                start = self._accept(answer, have)
                self._append(answer.raw.stream(CHUNK, decode_content=False), start)
        except (requests.exceptions.SSLError, requests.TooManyRedirects, ValueError) as error:
            msg = f"{shown(self._url)} cannot be used ({type(error).__name__})."
            raise DownloadError(msg, "Check the address.") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _TryAgain(
                f"The connection to {host(self._url)} failed ({_why(error)})."
            ) from error

    def _headers(self, have: int) -> dict[str, str]:
        headers = {
            "User-Agent": f"fastmagic/{fastmagic.__version__}",
            "Accept-Encoding": "identity",
        }
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._version.mark}
        return headers

    def _accept(self, answer: Any, have: int) -> int:
        """Check the answer's head, and say at which byte its body begins."""
        status = answer.status_code
        if status == 206 and have:
            return self._accept_part(answer, have)
        if status == 200:
            if have:
                self._view.note(self._why_anew(answer))
            self._begin(answer)
            return 0
        where = shown(self._url)
        if status in (206, 416):
            self.drop()
            raise _TryAgain(f"{where} answered with a part that does not fit (HTTP {status}).")
        if status in _LATER:
            raise _TryAgain(f"{where} is busy or in trouble (HTTP {status}).")
        if status in (401, 403):
            msg = f"{where} refuses to give the file (HTTP {status})."
            raise DownloadError(
                msg,
                "Does one have to log in? Download it in a browser, then use the path of the file.",
            )
        msg = f"There is no file at {where} (HTTP {status})."
        raise DownloadError(msg, "Check the address; files do move.")

    def _accept_part(self, answer: Any, have: int) -> int:
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
        etag = answer.headers.get("ETag", self._version.etag)
        totals = {"*", str(self._version.total)} if self._version.total else None
        if (
            not span
            or int(span[1]) != have
            or (totals and span[3] not in totals)
            or etag != self._version.etag
        ):
            self.drop()
            where = shown(self._url)
            raise _TryAgain(f"{where} sent another part of the file than was asked for.")
        return have

    def _why_anew(self, answer: Any) -> str:
        old, new = self._version, _version_of(self._url, answer)
        if (old.etag, old.modified, old.total) == (new.etag, new.modified, new.total):
            return f"{host(self._url)} cannot go on in the middle: starting over."
        return f"{self._name} has changed on the server: starting over."

    def _begin(self, answer: Any) -> None:
        """Start the partial file over: first the old bytes go, then the note on the new ones."""
        self.drop()
        self._version = version = _version_of(self._url, answer)
        if version.total and self._expected and version.total != self._expected:
            self._view.note(
                f"{self._name} is {version.total:,} bytes on the server, {self._expected:,} were "
                "recorded for it; the archive's own checks decide."
            )
        self._notes.write_text(json.dumps(asdict(version)), "utf-8")

    def _append(self, chunks: Iterator[bytes], start: int) -> None:
        total = self._version.total
        self._check_room((total or 0) - start)
        with self._part.open("r+b" if start else "wb") as file:
            file.seek(start)
            have = start
            for chunk in chunks:
                if have == 0 and _is_page(chunk):
                    self._refuse_page()
                self._write(file, chunk)
                have += len(chunk)
                self._view.bar("downloading", have, total, "B")
        if total is not None and have > total:
            self.drop()
            raise _TryAgain("More arrived than the server had announced.")
        if total is not None and have < total:
            raise _TryAgain(f"The connection ended after {faces.size(have)}.")

    def _write(self, file: Any, chunk: bytes) -> None:
        try:
            file.write(chunk)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
            why = "the disk is full" if full else str(error.strerror)
            msg = f"{self._name} could not be written: {why}."
            raise DataError(msg, f"Make room at {self._part.parent}, then run it again.") from error

    def _check_room(self, missing: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if missing > free:
            msg = f"{self._name} needs {faces.size(missing)} more, and {faces.size(free)} are free."
            raise DataError(msg, f"Free some space on the disk of {self._part.parent}.")

    def _refuse_page(self) -> None:
        self.drop()
        msg = f"{shown(self._url)} sent a web page instead of an archive."
        raise DownloadError(
            msg, "Open it in a browser: it may want a log-in or a click. Then use the file's path."
        )

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _usable(self) -> int:
        """Say how many bytes can be built upon; drop those that nothing is known of."""
        have = self._have()
        total = self._version.total
        if have and (not self._version.mark or (total is not None and have > total)):
            self._view.note(f"The partial {self._name} cannot be gone on with: starting over.")
            self.drop()
            return 0
        return have

    def _is_whole(self) -> bool:
        return self._version.total is not None and self._have() == self._version.total

    def _read_version(self) -> _Version:
        none = _Version(fingerprint(self._url))
        try:
            version = _Version(**json.loads(self._notes.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return none
        return version if version.source == none.source else none


def _version_of(url: str, answer: Any) -> _Version:
    length = answer.headers.get("Content-Length", "")
    return _Version(
        fingerprint(url),
        answer.headers.get("ETag", ""),
        answer.headers.get("Last-Modified", ""),
        int(length) if length.isdecimal() else None,
    )


def _is_page(chunk: bytes) -> bool:
    head = chunk[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--"))


def _why(error: BaseException) -> str:
    """Name the innermost reason; the outer ones only repeat the address and the pool."""
    text = str(error).lower()
    if "timed out" in text:
        return "no answer in time"
    if "resolve" in text or "name or service" in text:
        return "its name was not found"
    if "refused" in text:
        return "refused"
    return "it was cut"


@contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """Keep pooch from logging below warnings: the view says what happens."""
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
