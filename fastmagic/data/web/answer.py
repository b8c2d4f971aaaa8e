"""What a server's answer is worth, judged by its head before a byte of its body is taken.

A resumed download that trusts its server splices: an old beginning with a new end, a part that was
not asked for, an error page at the end of half an archive. Here the status, range, length, encoding
and marks of the version are compared (RFC 9110, 13.1.5, 14.4 and 15.3.7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from fastmagic.data.web.address import fingerprint, shown
from fastmagic.data.web.partial import Version
from fastmagic.data.web.retry import LATER, TryAgain, retry_after
from fastmagic.errors import DownloadError

_LOG_IN = "Does one have to log in? Download it in a browser, then use the path of the file."
_MOVED = "Check the address; files do move."


class DoesNotFit(TryAgain):
    """The part that came is not the one that was asked for."""


class Changed(DoesNotFit):
    """The file is not the one any more whose beginning is there; that has to go."""


def version_of(url: str, answer: Any) -> Version:
    """Read from the head of a whole answer which version it is."""
    length = answer.headers.get("Content-Length", "")
    return Version(
        fingerprint(url),
        answer.headers.get("ETag", ""),
        _date(answer.headers),
        int(length) if length.isdecimal() else None,
    )


def _date(headers: Mapping[str, str]) -> str:
    """Give Last-Modified where it can tell versions apart.

    A file that changed within the second of the answer may have changed again (RFC 9110, 8.8.2.2).
    """
    modified, date = headers.get("Last-Modified", ""), headers.get("Date", "")
    try:
        age = parsedate_to_datetime(date) - parsedate_to_datetime(modified)
        return modified if age.total_seconds() >= 1 else ""
    except (TypeError, ValueError):
        return modified


def check_status(url: str, answer: Any, now: float) -> None:
    """Let 200 and 206 pass, and raise what the other answers mean.

    Parameters
    ----------
    url
        What was asked for.
    answer
        The answer, as requests gives it.
    now
        Seconds since 1970, for a Retry-After that is a date.

    Raises
    ------
    TryAgain
        When it may be different in a moment.
    DownloadError
        When it will not be.
    """
    status, where = answer.status_code, shown(url)
    if status in (200, 206):
        check_encoding(url, answer)
        return
    if status in LATER:
        wait = retry_after(answer.headers.get("Retry-After", ""), now)
        raise TryAgain(f"{where} is busy or in trouble (HTTP {status}).", wait)
    if status == 416:
        raise DoesNotFit(f"{where} answered with a part that does not fit (HTTP 416).")
    if status in (401, 403):
        raise DownloadError(f"{where} refuses to give the file (HTTP {status}).", _LOG_IN)
    if status in (404, 410):
        raise DownloadError(f"There is no file at {where} (HTTP {status}).", _MOVED)
    raise DownloadError(f"{where} does not give the file (HTTP {status}).", _MOVED)


def check_encoding(url: str, answer: Any) -> None:
    """Refuse a body that was encoded on the way, for which nobody asked.

    Its length and ranges are not those of the file. Servers that call a `.tar.gz` itself gzipped
    are common; those bytes are the file.

    Raises
    ------
    DownloadError
        When the body is not the file's own bytes.
    """
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return
    if encoding in ("gzip", "x-gzip") and shown(url).lower().endswith((".gz", ".tgz")):
        return
    msg = f"{shown(url)} was sent encoded ({encoding}), though the file itself was asked for."
    raise DownloadError(msg, "Download it in a browser, then use the path of the file.")


def check_part(
    url: str, answer: Any, version: Version, start: int, end: int | None, checksum: bool = False
) -> Version:
    """Check that a 206 is the part that was asked for, of the version whose beginning is there.

    Parameters
    ----------
    url
        What was asked for.
    answer
        The answer, as requests gives it.
    version
        The version that the partial file is of; it may be of another address.
    start, end
        The first byte asked for, and the first one not asked for; None for the end of the file.
    checksum
        Whether the whole file's checksum is known: then another address may mark the same file
        otherwise, as long as the size is the same.

    Returns
    -------
    Version
        The version as this server marks it.

    Raises
    ------
    DoesNotFit
        When it is another part.
    Changed
        When it is of another version.
    """
    part = content_range(answer.headers)
    if part is None or part[0] != start or not _ends_right(answer.headers, part, end):
        raise DoesNotFit(f"{shown(url)} sent another part of the file than was asked for.")
    etag, source = answer.headers.get("ETag", ""), fingerprint(url)
    modified = answer.headers.get("Last-Modified", "")
    same = source == version.source
    if (
        not _same_total(part[2], version.total, same)
        or (same and etag not in ("", version.etag))
        or (same and not version.etag and modified not in ("", version.modified))
        or not (same or checksum or etag == version.strong)
    ):
        raise Changed(f"{shown(url)} has another version of the file than the one that was begun.")
    if same:
        return replace(version, total=version.total or part[2])
    return Version(source, etag, _date(answer.headers), version.total)


def _same_total(said: int | None, known: int | None, same: bool) -> bool:
    """Compare sizes; where the address is another one, both have to be known."""
    if same:
        return said is None or known is None or said == known
    return said is not None and said == known


def _ends_right(
    headers: Mapping[str, str], part: tuple[int, int, int | None], end: int | None
) -> bool:
    first, last, total = part
    length = headers.get("Content-Length", "")
    return (
        first <= last
        and (end is None or last < end)
        and (total is None or last < total)
        and (not length.isdecimal() or int(length) == last - first + 1)
    )


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """Read `Content-Range`: the first byte, the last one, and the file's size if it is given.

    Examples
    --------
    >>> content_range({"Content-Range": "bytes 5-9/10"})
    (5, 9, 10)
    >>> content_range({"Content-Range": "bytes 5-9/*"})
    (5, 9, None)
    >>> content_range({"Content-Range": "lines 1-2/3"}) is None
    True
    """
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
