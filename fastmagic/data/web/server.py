"""One address, how it is asked, and what its failures mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fastmagic
from fastmagic import faces
from fastmagic.data.web.address import host, shown
from fastmagic.data.web.answer import check_status
from fastmagic.data.web.retry import Patience, TryAgain
from fastmagic.data.web.unreached import NO_ANSWER, NOT_FOUND, NotReached
from fastmagic.errors import DownloadError

CHUNK = 1 << 20
"""The most bytes taken at once. `read1` gives what is there, so a slow line gives less."""


@dataclass
class Server:
    """One address, and how it is asked.

    Attributes
    ----------
    url
        An http or https address.
    session
        A `requests.Session`: it follows redirects, and takes the credentials of one host along to
        no other.
    patience
        How long to wait.
    clock
        Seconds that only grow.
    now
        Seconds since 1970.
    """

    url: str
    session: Any
    patience: Patience
    clock: Callable[[], float]
    now: Callable[[], float]

    @contextmanager
    def ask(self, start: int = 0, end: int | None = None, if_range: str = "") -> Iterator[Any]:
        """Ask for the file, or the part from byte `start` to the one before `end`.

        Raises
        ------
        TryAgain
            When it cannot be reached.
        DownloadError
            When the address cannot be used.
        """
        headers = {
            "User-Agent": f"fastmagic/{fastmagic.__version__}",
            "Accept-Encoding": "identity",
        }
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if if_range:
                headers["If-Range"] = if_range
        waits = (self.patience.connect, self.patience.read)
        with _troubles(self.url):
            answer = self.session.get(self.url, headers=headers, stream=True, timeout=waits)
        with answer:
            check_status(self.url, answer, self.now())
            yield answer

    def chunks(self, answer: Any) -> Iterator[bytes]:
        """Give the body as it comes, in chunks that are never empty.

        Raises
        ------
        TryAgain
            When the connection breaks, or only drips.
        """
        read = getattr(answer.raw, "read1", answer.raw.read)
        since, amount = self.clock(), 0
        while True:
            with _troubles(self.url):
                chunk = read(CHUNK, decode_content=False)
            if not chunk:
                return
            yield chunk
            amount += len(chunk)
            took = self.clock() - since
            if took >= self.patience.slow_after:
                if amount < self.patience.slow_rate * took:
                    msg = f"{host(self.url)} sent only {faces.size(amount)} in {took:.0f} s."
                    raise TryAgain(msg, progress=False)
                since, amount = self.clock(), 0


@contextmanager
def _troubles(url: str) -> Iterator[None]:
    """Say in our words what goes wrong on the network."""
    import requests
    import urllib3

    try:
        yield
    except requests.exceptions.TooManyRedirects:
        msg = f"{shown(url)} sends in circles from one address to another."
        raise DownloadError(msg, "Check the address.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        below = _beneath(error)
        if _is_certificate(error):
            msg = f"The certificate of {host(url)} cannot be trusted, so nothing was downloaded."
            raise DownloadError(msg, "Check the address, and this machine's clock.") from below
        if isinstance(error, ValueError):  # an address that is none, or that a redirect names
            raise _unusable(url, error) from None
        raise NotReached(host(url), _why(error)) from below
    except ValueError as error:
        raise _unusable(url, error) from None


def _beneath(error: BaseException) -> BaseException | None:
    """Give what the operating system said, for the traceback; None where it said nothing.

    What requests and urllib3 put around it names the address with all that is secret in it, that of
    a redirect too.
    """
    below: BaseException | None = error
    while below and not (isinstance(below, OSError) and isinstance(below.errno, int)):
        below = below.__cause__ or below.__context__
    return below


def _unusable(url: str, error: BaseException) -> DownloadError:
    msg = f"{shown(url)} cannot be used ({type(error).__name__})."
    return DownloadError(msg, "Check the address.")


def _is_certificate(error: BaseException) -> bool:
    text = str(error).lower()
    return "certificate" in text and "verif" in text


def _why(error: BaseException) -> str:
    """Name the innermost reason; the outer ones only repeat the address and the pool."""
    text = str(error).lower()
    if "timed out" in text:
        return NO_ANSWER
    if "resolve" in text or "name or service" in text:
        return NOT_FOUND
    if "refused" in text:
        return "refused"
    if "ssl" in text:
        return "its encryption failed"
    return "it was cut"
