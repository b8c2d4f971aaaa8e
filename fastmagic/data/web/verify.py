"""Hashes of archives, made while they arrive: nothing is read a second time to be checked.

A `Digest` follows a file that grows. After a restart it reads the beginning that is there once,
and then takes each chunk as it is written. Large chunks, which only a very quick line brings, are
hashed in a thread of their own while the next one arrives.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

BLOCK = 1 << 20

LARGE = 1 << 17
"""Bytes of a chunk from which on handing it to a thread costs less than hashing it."""

AHEAD = 8
"""Chunks that may wait to be hashed."""

_NEVER_IN_TEXT = frozenset({*range(32), 127}) - frozenset(b"\t\n\r\f")


class Digest:
    """The hashes of a file's beginning: SHA-256 always, and others where they are asked for.

    Parameters
    ----------
    algorithms
        The other hashes' names, as `hashlib` has them.

    Examples
    --------
    >>> digest = Digest("md5")
    >>> digest.update(b"cats")
    >>> digest.position, digest.hex("md5")
    (4, '0832c1202da8d382318e329a7c133ea0')
    """

    def __init__(self, *algorithms: str) -> None:
        self._names = tuple(dict.fromkeys(("sha256", *algorithms)))
        self._hand = ThreadPoolExecutor(1, "fastmagic-hash")
        self._waiting: deque[Future[None]] = deque()
        self.restart()

    def restart(self) -> None:
        """Begin again with nothing."""
        self._wait_for_all_but(0)
        self.position = 0
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._names}

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.position += len(chunk)
        if len(chunk) < LARGE and not self._waiting:
            _add(self._hashes.values(), chunk)
            return
        self._waiting.append(self._hand.submit(_add, self._hashes.values(), chunk))
        self._wait_for_all_but(AHEAD)

    def _wait_for_all_but(self, count: int) -> None:
        while len(self._waiting) > count:
            self._waiting[0].result()
            self._waiting.popleft()

    def catch_up(
        self, file: Path, size: int, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Read what is in the file up to `size` and was not taken yet.

        Parameters
        ----------
        file
            The file that is followed.
        size
            Its bytes; where it is shorter than what was taken, all of it is read anew.
        progress
            Called with the bytes that are done and those there are.
        """
        if size < self.position:
            self.restart()
        if size == self.position:
            return
        with file.open("rb", buffering=0) as opened:
            opened.seek(self.position)
            while self.position < size and (block := opened.read(min(BLOCK, size - self.position))):
                self.update(block)
                if progress:
                    progress(self.position, size)

    def hex(self, algorithm: str = "sha256") -> str:
        """Give the hash in small hexadecimal digits."""
        self._wait_for_all_but(0)
        return self._hashes[algorithm].hexdigest()

    def all_hex(self) -> dict[str, str]:
        """Give all of them, by their names."""
        return {name: self.hex(name) for name in self._hashes}


def _add(hashes: Iterable[Any], chunk: bytes) -> None:
    for one in hashes:
        one.update(chunk)


def split_checksum(checksum: str) -> tuple[str, str]:
    """Take `ALGORITHM:HEX` apart; without an algorithm it is a SHA-256.

    Examples
    --------
    >>> split_checksum("md5:AB12"), split_checksum("ff")
    (('md5', 'ab12'), ('sha256', 'ff'))
    """
    algorithm, _, digits = checksum.strip().rpartition(":")
    return (algorithm or "sha256").lower(), digits.lower()


def hash_file(
    file: Path, algorithm: str = "sha256", progress: Callable[[int, int], None] | None = None
) -> str:
    """Hash a whole file, for one that was not fetched just now.

    Parameters
    ----------
    file
        The file.
    algorithm
        The hash's name, as `hashlib` has it.
    progress
        Called with the bytes that are done and those there are.

    Returns
    -------
    str
        Small hexadecimal digits.
    """
    digest = Digest(algorithm)
    digest.catch_up(file, file.stat().st_size, progress)
    return digest.hex(algorithm)


def is_text(head: bytes) -> bool:
    """Say whether a file begins as text does: a web page or an error message, no archive.

    Every archive we know has bytes in its first 512 that no text has: a zip's version and a tar's
    header have zeros, the others begin with a mark that is no text.

    Examples
    --------
    >>> is_text(b"<!DOCTYPE html><html>"), is_text(b'{"error": "quota"}')
    (True, True)
    >>> is_text(b"PK\\x03\\x04\\x14\\x00"), is_text(b"\\x1f\\x8b\\x08"), is_text(b"")
    (False, False, False)
    """
    plain = head.removeprefix(b"\xef\xbb\xbf")
    if not plain or set(plain) & _NEVER_IN_TEXT:
        return False
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(plain) - 3  # the cut may be in the middle of a letter
    return True


def is_page(head: bytes) -> bool:
    """Say whether a file begins as a web page or XML does.

    Examples
    --------
    >>> is_page(b"\\n <html><body>Log in"), is_page(b"PK\\x03\\x04")
    (True, False)
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--"))
