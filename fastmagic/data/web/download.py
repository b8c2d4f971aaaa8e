"""Fetches one archive: what has arrived is never fetched again, in another process neither.

One `download` goes through an archive's addresses, and at each tries as often as that brings
something. What it stands on:

    address    what of an address may be shown      answer     is this the part that was asked for
    retry      when again, and after how long       server     one address, and its failures
    partial    what is there, and its record        fetch      one try
    verify     hashes, made as the bytes arrive     parallel   several connections, if that helps
    refused    what came with another checksum      room       do archive and contents fit
    unreached  one reason for all, said once

The caller holds the lock of the data set (`places.py`): two downloads to one archive at the same
time are not for here.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic import faces
from fastmagic.data.web import refused
from fastmagic.data.web.address import fingerprint, shown
from fastmagic.data.web.fetch import Fetch, Wanted
from fastmagic.data.web.parallel import Ramp
from fastmagic.data.web.partial import Partial
from fastmagic.data.web.retry import Patience, TryAgain, back_off
from fastmagic.data.web.server import Server
from fastmagic.data.web.unreached import NotReached, Unreached, together
from fastmagic.data.web.verify import Digest, split_checksum
from fastmagic.errors import DataError, DownloadError, FastMagicError, Stopped
from fastmagic.progress import View

_NETWORK = (
    "Check that this machine has internet (on Kaggle: Settings > Internet > On), then run the same "
    "line again: what has arrived is kept."
)
_REDIRECTS = 10


@dataclass(frozen=True)
class Fetched:
    """An archive that is here, and what is known of it.

    Attributes
    ----------
    path
        Where it lies.
    sha256
        Of the whole file; empty for one that lay there already and that nobody had a checksum for.
    size
        In bytes.
    url
        Where it came from, without secrets; empty for one that lay there already.
    etag
        The server's mark of that version; empty where it gave none.
    hashes
        All the hashes that were made, by their names in `hashlib`.
    """

    path: Path
    sha256: str
    size: int
    url: str = ""
    etag: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


def download(
    url: str,
    archive: Path,
    *,
    checksum: str = "",
    expected: int = 0,
    size: int = 0,
    contents: Path | None = None,
    mirrors: Sequence[str] = (),
    hashes: Sequence[str] = (),
    view: View | None = None,
    session: Any = None,
    sleep: Callable[[float], None] = time.sleep,
    dice: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    patience: Patience | None = None,
    ramp: Ramp | None = None,
) -> Fetched:
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
    size
        The size in bytes that it must have; 0 where that is not known.
    contents
        The folder into which it will be unpacked, for which there has to be room too; or None.
    mirrors
        Other addresses of the same file, tried in this order when the first one has failed.
    hashes
        Names of hashes that are to be made besides SHA-256 while it comes.
    view
        Shows how far it is.
    session
        A `requests.Session`; a new one by default.
    sleep
        Waits so many seconds between two tries.
    dice
        Gives a number from 0 to 1, by which the waits differ.
    clock
        Seconds that only grow.
    now
        Seconds since 1970.
    patience
        How long to wait, and for what.
    ramp
        Decides how many connections there are; one to four by default.

    Returns
    -------
    Fetched
        The archive with its hash, made while it was written.

    Raises
    ------
    DownloadError
        When every address refuses, sends something else, or cannot be reached.
    DataError
        When it cannot be written.
    Stopped
        On Ctrl-C; what has arrived is kept.
    """
    urls = tuple(dict.fromkeys((url, *mirrors)))
    sources = tuple(fingerprint(one) for one in urls)
    wanted = Wanted(checksum, expected, size, sources, contents)
    world = _World(session, sleep, dice, clock, now, patience or Patience(), ramp or Ramp())
    job = _Job(archive, wanted, hashes, view or View(), world)
    try:
        return job.already() or job.run(urls)
    except FastMagicError:
        raise
    except KeyboardInterrupt:
        raise job.stopped() from None
    except OSError as error:
        raise _not_written(archive, error) from error


@dataclass(frozen=True)
class _World:
    """What a download needs from outside."""

    session: Any
    sleep: Callable[[float], None]
    dice: Callable[[], float]
    clock: Callable[[], float]
    now: Callable[[], float]
    patience: Patience
    ramp: Ramp


class _Job:
    """One archive on its way."""

    def __init__(
        self, archive: Path, wanted: Wanted, hashes: Sequence[str], view: View, world: _World
    ) -> None:
        self._archive, self._wanted, self._view, self._world = archive, wanted, view, world
        self._algorithm, self._digits = split_checksum(wanted.checksum)
        self._partial = Partial(archive, clock=world.clock)
        self._digest = Digest(self._algorithm, *hashes)

    def already(self) -> Fetched | None:
        """Give the archive that lies there, if it is the one that is wanted."""
        if not self._archive.is_file():
            return self._put_back()
        size, made = self._archive.stat().st_size, dict[str, str]()
        if self._wanted.size not in (0, size):
            self._view.note(f"{self._archive} has another size than is wanted: fetching it anew.")
            return None
        if self._digits:
            self._digest.catch_up(self._archive, size, self._comparing)
            right, made = self._is_right(), self._digest.all_hex()
            self._digest.restart()
            if not right:
                self._view.note(f"{self._archive} has another checksum: fetching it anew.")
                return None
        self._partial.drop()
        return Fetched(self._archive, made.get("sha256", ""), size, hashes=made)

    def _put_back(self) -> Fetched | None:
        """Give what an earlier call put aside for its checksum, if it is what is wanted now."""
        sha256, source = refused.remembered(self._archive)
        if not sha256 or not (self._digits or source in self._wanted.sources):
            return None
        file = refused.aside(self._archive)
        size = file.stat().st_size
        self._digest.catch_up(file, size, self._comparing)
        right = self._is_right() and self._digest.hex() == sha256
        made = self._digest.all_hex()
        self._digest.restart()
        if not right or self._wanted.size not in (0, size):
            return None
        refused.put_back(self._archive)
        self._partial.drop()
        self._view.note(f"{self._archive.name} is the file that an earlier call had put aside.")
        return Fetched(self._archive, sha256, size, hashes=made)

    def run(self, urls: Sequence[str]) -> Fetched:
        """Try one address after the other; the one that the partial file came from goes first."""
        source = self._partial.version.source if self._partial.version else ""
        if source not in self._wanted.sources:
            self._forget()
        world, refusals = self._world, list[DownloadError]()
        with nullcontext(world.session) if world.session else _new_session() as session:
            for url in sorted(urls, key=lambda one: fingerprint(one) != source):
                server = Server(url, session, world.patience, world.clock, world.now)
                try:
                    return self._from(server)
                except DownloadError as refusal:
                    refusals.append(refusal)
                    if len(refusals) < len(urls):
                        self._view.note(f"{refusal.what} Trying the next address.")
        raise self._all_failed(refusals)

    def _forget(self) -> None:
        """Drop the partial file that came from elsewhere, or of which nothing is known."""
        if self._partial.kept:
            name = self._archive.name
            self._view.note(f"The partial {name} cannot be gone on with: starting over.")
        self._partial.drop()

    def stopped(self) -> Stopped:
        """Say what is kept of a download that was stopped."""
        have, total = self._partial.kept, self._partial.total
        of = f" of {faces.size(total)}" if total else ""
        msg = f"Stopped the download of {self._archive.name}; {faces.size(have)}{of} are kept."
        goes_on = f"it goes on from {faces.size(have)}" if have else "it starts again"
        return Stopped(msg, f"Run the same line again: {goes_on}.")

    def _from(self, server: Server) -> Fetched:
        """Fetch it from one address, and compare what came with what is known."""
        fetch = self._persist(server)
        if not self._is_right() and fetch.in_parts:
            self._view.note(
                f"{self._archive.name} was put together from what earlier tries had left, and its "
                "checksum is wrong: fetching it once more in one go."
            )
            self._partial.drop()
            self._persist(server)
        version = self._partial.version
        assert version is not None
        self._compare(server.url)
        size, made = self._partial.have, self._digest.all_hex()
        self._partial.finish()
        refused.forget(self._archive)
        return Fetched(self._archive, made["sha256"], size, shown(server.url), version.etag, made)

    def _persist(self, server: Server) -> Fetch:
        """Try as often as that brings something, and a few times more."""
        failures, most = 0, self._partial.kept
        fetch = Fetch(
            server, self._partial, self._digest, self._wanted, self._world.ramp, self._view
        )
        while True:
            try:
                fetch.run()
                return fetch
            except TryAgain as trouble:
                # a try that brought new bytes is no failure, and is followed at once
                kept = self._partial.kept
                failures = 0 if kept > most and trouble.progress else failures + 1
                most = max(most, kept)
                if failures >= server.patience.tries:
                    raise self._given_up(trouble) from trouble
                wait = self._wait(trouble, failures, server.patience)
            if failures:
                self._world.sleep(wait)

    def _wait(self, trouble: TryAgain, failures: int, patience: Patience) -> float:
        """Choose how long to wait, and say so where it is long."""
        wait = back_off(failures, patience.longest, self._world.dice) if failures else 0.0
        asked = min(trouble.wait or 0.0, patience.longest_asked)
        when = ""
        if failures and asked > wait:
            wait, when = asked, f" in {asked:.0f} s, as the server asks"
        elif wait >= 1:
            when = f" in {wait:.0f} s"
        self._view.note(f"{trouble} Trying again{when}.")
        return wait

    def _is_right(self) -> bool:
        return not self._digits or self._digest.hex(self._algorithm) == self._digits

    def _compare(self, url: str) -> None:
        """Keep nothing that is not what is known of the file."""
        name, have = self._archive.name, self._partial.have
        if self._wanted.size not in (0, have):
            self._partial.drop()
            what = f"{name} from {shown(url)} arrived with {have:,} bytes, not "
            what += f"{self._wanted.size:,}."
            raise DownloadError(what, "It was not kept. Check the address.")
        if not self._is_right():
            found = f"{self._algorithm}:{self._digest.hex(self._algorithm)}"
            sha256 = self._digest.hex()
            file = refused.keep(self._partial.part, self._archive, sha256, fingerprint(url))
            self._partial.drop()
            what = f"{name} from {shown(url)} arrived with another checksum than "
            what += f"{self._wanted.checksum}: it is {found}."
            step = f"Check the address and the checksum. It was put aside as {file}: with the "
            raise DownloadError(what, f"{step}checksum that fits, or none, it is used.")

    def _given_up(self, trouble: TryAgain) -> DownloadError:
        kept = self._partial.kept
        says = f" {faces.size(kept)} are kept." if kept else ""
        what = f"{self._archive.name} could not be downloaded. {trouble}{says}"
        if isinstance(trouble, NotReached) and not kept:
            return Unreached(what, _NETWORK, [trouble.host], trouble.why)
        return DownloadError(what, _NETWORK)

    def _all_failed(self, refusals: Sequence[DownloadError]) -> DownloadError:
        if len(refusals) == 1:
            return refusals[0]
        if alike := together(self._archive.name, refusals):
            return alike
        said = " ".join(f"({number}) {one.what}" for number, one in enumerate(refusals, 1))
        msg = (
            f"{self._archive.name} could be had from none of its {len(refusals)} addresses. {said}"
        )
        steps = dict.fromkeys(one.next_step for one in refusals)
        return DownloadError(msg, next(iter(steps)) if len(steps) == 1 else _NETWORK)

    def _comparing(self, done: int, total: int) -> None:
        self._view.bar("comparing the checksum", done, total, "B")


def _new_session() -> Any:
    import requests

    session = requests.Session()
    session.max_redirects = _REDIRECTS
    return session


def _not_written(archive: Path, error: OSError) -> DataError:
    """Say why it cannot be written."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        msg = f"{archive.name} could not be written: the disk is full."
        return DataError(msg, f"Make room at {archive.parent}, then run it again.")
    where = f" ({error.filename})" if error.filename else ""
    msg = f"{archive.name} could not be written: {error.strerror or error}{where}."
    return DataError(msg, f"Check {archive.parent}, or set FASTAI_HOME to another folder.")
