"""One try: asks one server for what is missing of a file, and adds what comes.

The rest is asked for with `If-Range`, so that a server whose file has changed sends the whole of
the new one instead of an end that does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from fastmagic import faces
from fastmagic.data.web.address import fingerprint, host, shown
from fastmagic.data.web.answer import Changed, DoesNotFit, check_part, version_of
from fastmagic.data.web.parallel import Crew, Ramp
from fastmagic.data.web.partial import Partial, write_all
from fastmagic.data.web.retry import TryAgain
from fastmagic.data.web.room import check_room
from fastmagic.data.web.server import Server
from fastmagic.data.web.verify import Digest, is_page, is_text
from fastmagic.errors import DownloadError
from fastmagic.progress import View

HEAD = 512
"""Bytes that tell a text from an archive."""


@dataclass(frozen=True)
class Wanted:
    """What is known of the file before it comes.

    Attributes
    ----------
    checksum
        `ALGORITHM:HEX` of the whole file; empty where none is known.
    expected
        The bytes that were recorded for it; said where they differ.
    size
        The bytes that it must have; 0 where that is not known.
    sources
        The fingerprints of all its addresses.
    contents
        The folder into which it will be unpacked, for which there has to be room too; or None.
    """

    checksum: str = ""
    expected: int = 0
    size: int = 0
    sources: tuple[str, ...] = ()
    contents: Path | None = None


class Fetch:
    """Fills a partial file from one server; `run` is one try.

    Parameters
    ----------
    server
        Where it comes from.
    partial
        What is there already.
    digest
        Takes the bytes in their order.
    wanted
        What is known of the file.
    ramp
        Decides over the number of connections.
    view
        Shows how far it is.

    Attributes
    ----------
    in_parts
        Whether the file was put together from several answers.
    """

    def __init__(
        self,
        server: Server,
        partial: Partial,
        digest: Digest,
        wanted: Wanted,
        ramp: Ramp,
        view: View,
    ) -> None:
        self._server, self._partial, self._digest = server, partial, digest
        self._wanted, self._ramp, self._view = wanted, ramp, view
        self.in_parts, self._misfits = partial.have > 0, 0

    def run(self) -> None:
        """Fetch what is missing.

        Raises
        ------
        TryAgain
            When the next try may bring more.
        DownloadError
            When it will not.
        DataError
            When it cannot be written.
        """
        try:
            while True:
                self._catch_up()
                if self._partial.is_whole:
                    return
                if self._next_gap():
                    return
        except DoesNotFit as trouble:
            # a server may be wrong once about a part, and what is there is right all the same
            self._misfits += 1
            if self._misfits > 1 or isinstance(trouble, Changed):
                self._partial.drop()
            raise

    def _catch_up(self) -> None:
        """Take what is there, from an earlier try or from other connections."""
        self._partial.absorb(self._digest)
        self._digest.catch_up(
            self._partial.part,
            self._partial.have,
            lambda done, total: self._view.bar("reading what is there", done, total, "B"),
        )

    def _next_gap(self) -> bool:
        """Fetch the first gap; True where the server says that this was the end of the file."""
        partial = self._partial
        guard = self._guard()
        if partial.have and guard is None:
            self._view.note(f"The partial {partial.name} cannot be gone on with: starting over.")
            partial.drop()
        start, end = partial.have, None
        if start and (gaps := partial.gaps()):
            end = None if gaps[0][1] == partial.total else gaps[0][1]
        with self._server.ask(start, end, guard or "") as answer:
            start = self._accept(answer, start, end)
            return self._append(answer, start, end if start else None)

    def _guard(self) -> str | None:
        """Say what makes going on safe: a mark of the version, or the checksum of the whole.

        Returns
        -------
        str or None
            What `If-Range` takes; empty where the checksum decides; None where nothing does.
        """
        version, total = self._partial.version, self._partial.total
        if version is None or (total is not None and self._partial.have > total):
            return None
        here = version.source == fingerprint(self._server.url)
        if here and version.mark:
            return version.mark
        if version.source not in self._wanted.sources or not total:
            return None
        if self._wanted.checksum:
            return ""
        return version.strong or None

    def _accept(self, answer: Any, start: int, end: int | None) -> int:
        """Check the answer's head, and say at which byte its body begins."""
        version, url = self._partial.version, self._server.url
        if answer.status_code == 206:
            if not start or version is None:
                raise DoesNotFit(f"{shown(url)} answered with a part that does not fit (HTTP 206).")
            checked = check_part(url, answer, version, start, end, bool(self._wanted.checksum))
            self._partial.rename_version(checked)
            self.in_parts, self._misfits = True, 0
            return start
        if start:
            self._view.note(f"{self._why_anew(answer)}: starting over.")
        self._begin(answer)
        return 0

    def _why_anew(self, answer: Any) -> str:
        old, new = self._partial.version, version_of(self._server.url, answer)
        if old == new:
            return f"{host(self._server.url)} cannot go on in the middle"
        if old and old.source != new.source:
            return f"{shown(self._server.url)} is not known to be the same file as the one before"
        return f"{self._partial.name} has changed on the server"

    def _begin(self, answer: Any) -> None:
        """Start the partial file over, of the version that this answer is."""
        version, wanted, name = (
            version_of(self._server.url, answer),
            self._wanted,
            self._partial.name,
        )
        where, total = shown(self._server.url), version.total
        if total == 0:
            raise DownloadError(f"{where} sent an empty file.", "Check the address; files do move.")
        if total and wanted.size and total != wanted.size:
            msg = f"{name} is {total:,} bytes at {where}, not {wanted.size:,}."
            raise DownloadError(msg, "Check the address; it may be another version.")
        if total and wanted.expected and total != wanted.expected:
            self._view.note(
                f"{name} is {total:,} bytes on the server, {wanted.expected:,} were recorded for "
                "it; the archive's own checks decide."
            )
        if total is None and "Transfer-Encoding" not in answer.headers and not wanted.checksum:
            self._view.note(
                f"{host(where)} does not say how long {name} is: the archive's own checks decide "
                "whether all of it came."
            )
        self._partial.begin(version)
        self._digest.restart()
        self.in_parts, self._misfits = False, 0

    def _append(self, answer: Any, start: int, end: int | None) -> bool:
        """Add the body; True where it is the end of a file whose size nobody had said."""
        partial = self._partial
        total = partial.total or 0
        missing = max(0, total - partial.kept)
        check_room(partial.archive, missing, total, self._wanted.contents)
        crew = Crew(self._server, partial, self._digest, self._ramp, self._view)
        crew.able = crew.able and self._takes_ranges(answer)
        with crew:
            with partial.open(start) as file:
                have = self._copy(answer, file, start, end, crew)
            self._check_head()
            stop = crew.limit or end
            if stop is not None and have >= stop:
                answer.close()
                crew.gather()
                self.in_parts = True
                return False
        return self._ended(have)

    def _takes_ranges(self, answer: Any) -> bool:
        says = answer.headers.get("Accept-Ranges", "").strip().lower()
        return bool(answer.status_code == 206 or says == "bytes")

    def _copy(self, answer: Any, file: BinaryIO, start: int, end: int | None, crew: Crew) -> int:
        have = start
        for chunk in self._server.chunks(answer):
            stop = crew.limit or end
            fits = chunk if stop is None else chunk[: stop - have]
            write_all(file, fits)
            self._digest.update(fits)
            have += len(fits)
            if have - len(fits) < HEAD <= have:
                self._check_head()
            crew.look(len(fits))
            self._view.bar("downloading", crew.done, self._partial.total, "B")
            self._partial.sync_when_due(file)
            if stop is not None and have >= stop:
                break
        return have

    def _ended(self, have: int) -> bool:
        """Say whether the body's end is the file's."""
        total = self._partial.total
        if total is None and self._partial.version:
            self._partial.rename_version(replace(self._partial.version, total=have))
            return True
        if total is not None and have > total:
            raise Changed("More arrived than the server had announced.")
        if have != total:
            raise TryAgain(f"The connection ended after {faces.size(have)}.")
        return True

    def _check_head(self) -> None:
        """Refuse a text: it is a page or a message about the file, with status 200."""
        with self._partial.part.open("rb") as file:
            head = file.read(HEAD)
        kind = "a web page" if is_page(head) else "a text" if is_text(head) else ""
        if kind:
            self._partial.drop()
            msg = f"{shown(self._server.url)} sent {kind} instead of an archive."
            raise DownloadError(
                msg,
                "Open it in a browser: it may want a log-in or a click. Then use the file's path.",
            )
