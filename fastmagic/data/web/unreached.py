"""Servers that could not be reached: where all failed for one reason, it is said once."""

from __future__ import annotations

from collections.abc import Sequence

from fastmagic.data.web.retry import TryAgain
from fastmagic.errors import DownloadError

NOT_FOUND, NO_ANSWER = "its name was not found", "no answer in time"
NONE_OF_THEM = {NOT_FOUND: "was found", NO_ANSWER: "answered in time"}


class NotReached(TryAgain):
    """This try has brought no connection, or lost it.

    Parameters
    ----------
    host
        The server's name.
    why
        The reason, in a few words.
    """

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"The connection to {host} failed ({why}).")
        self.host, self.why = host, why


class Unreached(DownloadError):
    """Nothing was brought by these servers, all of which failed for one reason."""

    _kind = "DownloadError: "

    def __init__(
        self, what: str, next_step: str = "", hosts: Sequence[str] = (), why: str = ""
    ) -> None:
        super().__init__(what, next_step)
        self.hosts, self.why = tuple(hosts), why


def together(name: str, refusals: Sequence[Exception]) -> Unreached | None:
    """Put refusals together that have one reason; None where they have several.

    Parameters
    ----------
    name
        What was wanted.
    refusals
        One for each of its addresses or archives.

    Examples
    --------
    >>> one = Unreached("cats.tgz could not …", "Try again.", ["a.org"], NOT_FOUND)
    >>> two = Unreached("cats.zip could not …", "Try again.", ["b.org"], NOT_FOUND)
    >>> together("cats", [one, two]).what
    'cats could not be downloaded: none of its servers (a.org, b.org) was found.'
    >>> together("cats", [one, DownloadError("b.org sent a page.")]) is None
    True
    """
    unreached = [one for one in refusals if isinstance(one, Unreached)]
    if len(unreached) < len(refusals) or len({one.why for one in unreached}) > 1:
        return None
    why, next_step = unreached[0].why, unreached[0].next_step
    hosts = tuple(dict.fromkeys(host for one in unreached for host in one.hosts))
    what = f"{name} could not be downloaded"
    if len(hosts) == 1:
        what = f"{what}. {NotReached(hosts[0], why)}"
    else:
        none = NONE_OF_THEM.get(why, f"could be reached ({why})")
        what = f"{what}: none of its servers ({', '.join(hosts)}) {none}."
    return Unreached(what, next_step, hosts, why)
