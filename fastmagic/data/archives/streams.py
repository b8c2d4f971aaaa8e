"""What opens a compressed tar, known by its first bytes."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from fastmagic.errors import ArchiveError

PIECE = 1 << 17
"""Bytes that are read at once."""

_GZIP = 31  # zlib's word for a gzip header and checksum, largest window


@dataclass(frozen=True)
class Compression:
    """One way in which a tar is compressed.

    Attributes
    ----------
    magic
        The first bytes.
    open
        Makes the stream of what is inside.
    checks_its_end
        Whether that stream raises where its end is missing.
    """

    magic: bytes
    open: Callable[[IO[bytes]], Any]
    checks_its_end: bool = True


def open_zstd(raw: IO[bytes], modules: tuple[str, ...] = ("compression.zstd", "zstandard")) -> Any:
    """Open a zstd stream with what is there: Python 3.14's own module, or the zstandard package.

    Raises
    ------
    ArchiveError
        Where neither is there; it says what to install.
    """
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "ZstdFile"):
            return module.ZstdFile(raw)
        reader = module.ZstdDecompressor().stream_reader(raw, PIECE, read_across_frames=True)
        return _Translated(reader, module.ZstdError)
    msg = "The archive is compressed with zstd, which this Python does not read by itself."
    raise ArchiveError(msg, "Run  %pip install zstandard  and then the same line again.")


class Gunzip:
    """Reads gzip in large pieces: `gzip.GzipFile` takes 8 kB at a time before Python 3.12.

    Several streams one after another are read as one, as `gzip` does; zlib compares each one's
    checksum and length.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed = b""

    def read(self, most: int) -> bytes:
        """Give some bytes, at most so many; none at the end."""
        while True:
            if self._inflate.eof and not self._next_stream():
                return b""
            self._packed = self._packed or self._raw.read(most)
            if not self._packed:
                raise EOFError("it ends in the middle")
            content = self._inflate.decompress(self._packed, most)
            self._packed = self._inflate.unconsumed_tail
            if content:
                return content

    def _next_stream(self) -> bool:
        packed = self._inflate.unused_data
        while not (packed := packed.lstrip(b"\0")):  # tapes and some tools fill up with zeros
            packed = self._raw.read(PIECE)
            if not packed:
                return False
        self._packed, self._inflate = packed, zlib.decompressobj(_GZIP)
        return True

    def __enter__(self) -> Gunzip:
        return self

    def __exit__(self, *_: object) -> None: ...


class _Translated:
    """Makes errors of our own from the zstandard package's, which have no base but Exception."""

    def __init__(self, stream: Any, error: type[Exception]) -> None:
        self._stream, self._error = stream, error

    def read(self, most: int) -> bytes:
        try:
            return bytes(self._stream.read(most))
        except self._error as error:
            raise EOFError(str(error)) from error

    def __enter__(self) -> _Translated:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


STREAMS = (
    Compression(b"\x1f\x8b", Gunzip),
    Compression(b"BZh", bz2.BZ2File),
    Compression(b"\xfd7zXZ\x00", lzma.LZMAFile),
    Compression(b"\x28\xb5\x2f\xfd", open_zstd, checks_its_end=False),
)
