"""Several connections for one file, where that is really faster.

It begins with one. Whether a second and a third bring more is measured, not assumed: their number
doubles while the whole becomes faster by it, and goes back when it does not. So a quick server is
asked once, and one that gives each connection its share is asked four times.

Each helping connection fetches a piece from further on into a file of its own (`partial.py`), with
`If-Range` and all the checks of a resumed download. The pieces are added in their order, so hashes
are made in one pass, and a kill at any moment leaves nothing but ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from fastmagic.data.web.answer import Changed, check_part, version_of
from fastmagic.data.web.partial import Partial, write_all
from fastmagic.data.web.retry import TryAgain
from fastmagic.data.web.server import Server
from fastmagic.data.web.verify import Digest
from fastmagic.errors import DownloadError
from fastmagic.progress import View

TICK = 0.1
"""Seconds between two looks at what the helpers have brought."""


BREATH = 0.5
"""Seconds after which a helper that was turned away asks once more."""


@dataclass
class Ramp:
    """Decides how many connections there are, by what they bring.

    Attributes
    ----------
    most
        The most connections; 1 for never more than one.
    settle, window
        Seconds that a new number of connections has to get going, and is then measured.
    enough
        Bytes a second at which one connection will do: hash and disk are then what is slow.
    worth
        Seconds that have to be left for more connections to be worth their while.
    gain
        How many times quicker it has to become by doubling them.
    piece
        Bytes that a helping connection fetches at a time.

    Examples
    --------
    >>> ramp = Ramp(settle=0.0, window=1.0)
    >>> [ramp.advise(second, second * 1e6, 1e9) for second in (0, 1, 2)]
    [1, 2, 2]
    """

    most: int = 4
    settle: float = 0.5
    window: float = 1.0
    enough: float = 100e6
    worth: float = 4.0
    gain: float = 1.2
    piece: int = 8 << 20
    count: int = field(default=1, init=False)
    settled: bool = field(default=False, init=False)
    _rate: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)
    _from: tuple[float, float] | None = field(default=None, init=False)

    def restart(self) -> None:
        """Measure anew; the number stays."""
        self._since = self._from = None

    def at_most(self, count: int) -> None:
        """Stay at so many: the server does not want more."""
        self.count, self.settled = min(self.count, max(1, count)), True

    def advise(self, now: float, received: float, missing: float) -> int:
        """Say how many connections there should be.

        Parameters
        ----------
        now
            Seconds that only grow.
        received
            Bytes that came over all connections together.
        missing
            Bytes that are still to come.
        """
        if self.settled or self.most < 2:
            return self.count
        if self._since is None:
            self._since = now
        if self._from is None:
            if now - self._since >= self.settle:
                self._from = (now, received)
        elif now - self._from[0] >= self.window:
            self._judge((received - self._from[1]) / (now - self._from[0]), missing)
            self.restart()
        return self.count

    def _judge(self, rate: float, missing: float) -> None:
        before, self._rate = self._rate, rate
        if before and rate < self.gain * before:
            self.count, self.settled = self.count // 2, True
        elif rate >= self.enough or missing < self.worth * rate or 2 * self.count > self.most:
            self.settled = True
        else:
            self.count *= 2


class Crew:
    """The connections that help the first one; a context manager, at whose end all have stopped.

    Parameters
    ----------
    server
        Whom they ask.
    partial
        What is there, with its version.
    digest
        Takes the bytes in their order.
    ramp
        Decides how many they are.
    view
        Shows how far it is.

    Attributes
    ----------
    able
        Whether there may be any: only for a file whose size and strong ETag are known.
    limit
        The byte at which the first connection has reached what the helpers fetch; None while there
        are none.
    """

    def __init__(
        self, server: Server, partial: Partial, digest: Digest, ramp: Ramp, view: View
    ) -> None:
        self._server, self._partial, self._digest = server, partial, digest
        self._ramp, self._view = ramp, view
        version = partial.version
        self.able = bool(ramp.most > 1 and version and version.strong and version.total)
        self.limit: int | None = None
        self._base, self._received = partial.kept, 0
        self._turn = threading.Condition()
        self._gaps: list[tuple[int, int]] = []
        self._busy: set[int] = set()
        self._answers: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._hands = self._wish = 0
        self._head_works = True
        self._stopped = False
        self._fatal: BaseException | None = None

    @property
    def done(self) -> int:
        """How many bytes are there, over all connections."""
        return self._base + self._received

    def __enter__(self) -> Crew:
        self._ramp.restart()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the helpers; when this returns, none of them writes any more."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
            answers = list(self._answers)
        for answer in answers:
            with suppress(AttributeError, ValueError, OSError, RuntimeError):
                answer.raw.shutdown()  # urllib3 2.3 and newer; else their read times out
        for thread in self._threads:
            thread.join(1.0)

    def look(self, amount: int) -> None:
        """Count what the first connection brought, and take on helpers where they would help."""
        with self._turn:
            self._received += amount
        if not self.able:
            return
        helpers = self._advised() - 1
        if helpers > 0 and self.limit is None:
            self._share_out()
        with self._turn:
            self._raise_fatal()
            self._staff(helpers)
            if not self._hands and self._gaps and self._gaps[0][0] == self.limit:
                self.limit = self._gaps.pop(0)[1]  # nobody helps: the first one simply goes on

    def gather(self) -> None:
        """Go on without the first connection, and add the pieces, as long as there are helpers.

        Raises
        ------
        Changed
            When a helper met another version on the server.
        OSError
            When a piece could not be written.
        """
        with self._turn:
            self._head_works = False
        while self._hands_left():
            self._absorb()
            self._view.bar("downloading", self.done, self._partial.total, "B")
        self._absorb()

    def _advised(self) -> int:
        missing = (self._partial.total or 0) - self.done
        return self._ramp.advise(self._server.clock(), self._received, missing)

    def _hands_left(self) -> bool:
        count = self._advised() if self.able else 1
        with self._turn:
            self._raise_fatal()
            # with one connection left, the first one goes on alone and writes straight to the end
            self._staff(count if count > 1 else 0)
            if self._hands:
                self._turn.wait(TICK)
            self._raise_fatal()
            return self._hands > 0

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    def _absorb(self) -> None:
        with self._turn:
            edge = min([*self._busy, *(start for start, _ in self._gaps)], default=None)
        self._partial.absorb(self._digest, edge)

    def _share_out(self) -> None:
        """Leave the next piece to the first connection, and all the rest to the helpers."""
        gaps = self._partial.gaps()
        if not gaps:
            return
        (start, end), *rest = gaps
        self.limit = min(start + self._ramp.piece, end)
        self._gaps = [(self.limit, end)] if self.limit < end else []
        self._gaps += rest

    def _staff(self, wish: int) -> None:
        self._wish = wish
        while self._hands < wish and self._gaps:
            self._hands += 1
            thread = threading.Thread(target=self._help, name="fastmagic-download", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _help(self) -> None:
        """One helper: piece after piece, until nothing is left or it is not wanted any more."""
        failures = 0
        while (span := self._claim()) is not None:
            try:
                self._fetch(*span)
                failures = 0
            except (DownloadError, TryAgain) as trouble:
                failures = 0 if self._brought(span) else failures + 1
                if self._leaves(failures, trouble):
                    return
            except BaseException as error:  # for the main thread, which raises it
                with self._turn:
                    self._fatal = error
                    self._hands -= 1
                    self._turn.notify_all()
                return

    def _claim(self) -> tuple[int, int] | None:
        with self._turn:
            if self._stopped or self._hands > self._wish or not self._gaps or self._fatal:
                self._hands -= 1
                self._turn.notify_all()
                return None
            start, end = self._gaps.pop(0)
            stop = min(start + self._ramp.piece, end)
            if stop < end:
                self._gaps.insert(0, (stop, end))
            self._busy.add(start)
            return start, stop

    def _brought(self, span: tuple[int, int]) -> bool:
        """Say whether a try that failed brought a part of its piece."""
        with self._turn:
            return any(span[0] < start < span[1] for start, _ in self._gaps)

    def _leaves(self, failures: int, trouble: Exception) -> bool:
        """Let a helper go that brought nothing twice; a server may be slow to count a line less.

        A part that was not asked for costs that helper alone. Another version costs what is there,
        which may be half old and half new. Or several servers that mark one file differently stand
        behind the address: so the next try has no helpers.
        """
        with self._turn:
            if isinstance(trouble, Changed):
                self._fatal = trouble
                self._ramp.at_most(1)
            elif not self._stopped and failures < 2:
                if failures:
                    self._turn.wait_for(lambda: self._stopped, BREATH)
                return False
            elif not self._stopped:
                self._ramp.at_most(self._hands - 1 + self._head_works)
            self._hands -= 1
            self._turn.notify_all()
            return True

    def _fetch(self, start: int, end: int) -> None:
        place = start
        try:
            version = self._partial.version
            assert version is not None
            with self._server.ask(start, end, version.strong) as answer:
                self._check(answer, start, end)
                with self._known(answer), self._partial.piece_file(start).open("wb", 0) as file:
                    for chunk in self._server.chunks(answer):
                        place += self._add(file, chunk[: end - place])
                        if place >= end:
                            break
            if place < end:
                raise TryAgain("The connection ended.")
        finally:
            with self._turn:
                self._busy.discard(start)
                if place < end:
                    self._gaps.append((place, end))
                    self._gaps.sort()
                self._turn.notify_all()

    def _check(self, answer: Any, start: int, end: int) -> None:
        version, url = self._partial.version, self._server.url
        assert version is not None
        if answer.status_code == 206:
            check_part(url, answer, version, start, end)
        elif version_of(url, answer).etag == version.etag:
            raise TryAgain("The server does not give this connection a part.")
        else:
            what = f"{self._partial.name} has changed on the server, or several servers mark it "
            raise Changed(f"{what}differently: one connection from now on.")

    @contextmanager
    def _known(self, answer: Any) -> Iterator[None]:
        """Keep the answer where it can be shut when all stop."""
        with self._turn:
            self._answers.append(answer)
        try:
            yield
        finally:
            with self._turn:
                self._answers.remove(answer)

    def _add(self, file: BinaryIO, chunk: bytes) -> int:
        """Write a chunk, unless all have stopped: after that nobody writes any more."""
        with self._turn:
            if self._stopped:
                raise TryAgain("The download has stopped.")
            write_all(file, chunk)
            self._received += len(chunk)
        return len(chunk)
