"""What is secret in a text about package indexes stays out of messages, reports and logs."""

from __future__ import annotations

import re


def redacted(text: str) -> str:
    """Take names and passwords out of addresses: a log is something that people send around.

    Examples
    --------
    >>> redacted("--index-url https://me:secret@index.example/simple")
    '--index-url https://***@index.example/simple'
    >>> redacted("--index-url me:secret@index.example/simple")
    '--index-url ***@index.example/simple'
    """
    without_scheme = r"""(?<![^\s'"=/])[^\s'"=/\\:@]+:[^\s'"/\\]+@"""
    return re.sub(rf"(?<=//)[^/\s]+@|{without_scheme}", "***@", text)
