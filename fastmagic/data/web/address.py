"""Addresses on the web: whether one can be fetched, and what of it may be shown or written down."""

from __future__ import annotations

import hashlib
from urllib.parse import SplitResult, urlsplit


def shown(url: str) -> str:
    """Give an address without what may be secret in it: user, password and query.

    Examples
    --------
    >>> shown("https://me:secret@example.org/data/cats.zip?token=1")
    'https://example.org/data/cats.zip'
    """
    parts = address(url)
    if parts is None:
        return "the address"
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"


def address(url: str) -> SplitResult | None:
    """Take an http(s) address apart; None where it is none.

    Examples
    --------
    >>> address("http://example.org/a.zip").path
    '/a.zip'
    >>> address("http://[broken/a.zip") is None, address("ftp://example.org/a.zip") is None
    (True, True)
    >>> address("http://me:pass/word@example.org/a.zip") is None
    True
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018 - raises where it is no number, as in http://me:pass/word@host
    except ValueError:
        return None
    return parts if usable else None


def fingerprint(url: str) -> str:
    """Give what tells an address from others, with no secret in it, to be kept in files."""
    parts = address(url)
    if parts:  # the part after # is never sent, and scheme and host have no case
        url = parts._replace(scheme=parts.scheme.lower(), fragment="").geturl()
    return f"{shown(url)} {hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def host(url: str) -> str:
    """Name the server that an address belongs to."""
    parts = address(url)
    return (parts and parts.hostname) or "the server"
