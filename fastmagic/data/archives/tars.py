"""Unpacks a tar as it comes: one thread decompresses, this one reads headers, others write.

`tarfile` parses each header block; what stands around the blocks is read here, because `tarfile`
reads an extended header of any size into memory, keeps every member until the end, and spends more
time on 25,000 small members than `tar` takes for all. The formats are POSIX ustar and pax, and the
long names of GNU tar (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

from __future__ import annotations

import queue
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

from fastmagic.data.archives.crew import BATCH_BYTES, BATCH_FILES, Crew, write_new
from fastmagic.data.archives.folder import Folder
from fastmagic.data.archives.limits import HEADER
from fastmagic.progress import View

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
AHEAD = 16
"""Chunks that the decompressing thread may be ahead."""

SMALL = 4 << 20
"""Bytes up to which a member is held in memory until a thread writes it."""

_ZEROS = bytes(BLOCK)
_LONG_NAME = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


def untar(
    raw: IO[bytes],
    stream: IO[bytes],
    size: int,
    folder: Folder,
    view: View,
    *,
    checked_end: bool,
    threads: int | None = None,
) -> None:
    """Unpack a tar into a folder.

    Parameters
    ----------
    raw, stream
        The archive's file, of `size` bytes, and what comes out of it decompressed.
    folder
        Where to, and what is refused.
    view
        Shows how far it is.
    checked_end
        Whether the compression itself notices a missing end; a plain tar must show its own.
    threads
        How many write.
    """
    meter = folder.meter
    with _Pump(raw, stream, folder) as pump, Crew(threads) as crew:
        source = _Source(pump)
        batch: list[tuple[str, bytes]] = []
        weight = 0
        for member in _members(source, folder, checked_end):
            meter.count()
            meter.expect(member.size)
            if member.kind == tarfile.DIRTYPE:
                folder.take_folder(member.name)
            elif member.kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                folder.link(member.name, member.link, from_top=member.kind == tarfile.LNKTYPE)
            else:
                path = folder.take_file(member.name)
                folder.make_folders()
                if member.size > SMALL:
                    folder.write(member.name, path, source.part(member.size), member.size)
                else:
                    batch.append((path, source.exactly(member.size)))
                    weight += member.size
            if len(batch) >= BATCH_FILES or weight >= BATCH_BYTES:
                crew.give(partial(_write, batch), weight, len(batch))
                batch, weight = [], 0
            view.bar("unpacking", pump.packed, size, "B")
        crew.give(partial(_write, batch), weight, len(batch))
        while source.some():
            pass  # to the very end, where gzip and xz keep their checksums
    folder.make_folders()


@dataclass(frozen=True)
class _Member:
    name: str
    kind: bytes
    size: int
    link: str


def _members(source: _Source, folder: Folder, checked_end: bool) -> Iterator[_Member]:
    """Read header after header; the content of each file is taken by the caller in between."""
    said: dict[str, str] = {}
    always: dict[str, str] = {}
    while block := source.block():
        if block == _ZEROS:
            return
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.type in (*_PAX, *_LONG_NAME):
            if info.size > HEADER:
                raise folder.meter.refusal(info.name, "has a header of more than 1 MiB")
            data = source.exactly(info.size)
            source.pad(info.size)
            if info.type in _LONG_NAME:
                key = "path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
                said[key] = data.split(b"\0")[0].decode("utf-8", "surrogateescape")
            else:
                (always if info.type == tarfile.XGLTYPE else said).update(_pax(data))
            continue
        member = _member(info, {**always, **said}, folder)
        said = {}
        yield member
        source.pad(member.size)
    if not checked_end:
        raise tarfile.ReadError("its end is missing")


def _member(info: tarfile.TarInfo, said: dict[str, str], folder: Folder) -> _Member:
    name = said.get("path", info.name)
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in said):
        raise folder.meter.refusal(name, "is stored with holes (tar --sparse), which is not read")
    if info.type in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        return _Member(name, info.type, 0, said.get("linkpath", info.linkname))
    if info.type not in _FILES:
        known = info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
        what = (
            "is a device or a pipe, not a file" if known else f"is of no known kind ({info.type!r})"
        )
        raise folder.meter.refusal(name, what)
    if name.endswith("/"):
        return _Member(name, tarfile.DIRTYPE, 0, "")
    size = int(said.get("size", info.size))
    if size < 0:
        raise tarfile.ReadError("a size is negative")
    return _Member(name, tarfile.REGTYPE, size, "")


def _pax(data: bytes) -> dict[str, str]:
    """Read the records of an extended header: `LENGTH KEY=VALUE`, each with its newline.

    Examples
    --------
    >>> _pax(b"18 path=cat.0.jpg\\n11 size=77\\n")
    {'path': 'cat.0.jpg', 'size': '77'}
    """
    said = {}
    while data and data[0]:
        digits = data.split(b" ", 1)[0]
        length = int(digits)
        key, found, value = data[len(digits) + 1 : max(length - 1, 0)].partition(b"=")
        if not found or not 0 < length <= len(data):
            raise tarfile.ReadError("an extended header is damaged")
        said[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return said


def _write(batch: list[tuple[str, bytes]]) -> None:
    for path, data in batch:
        write_new(path, data)


class _Pump:
    """Decompresses ahead in a thread of its own, and watches the ratio."""

    def __init__(self, raw: IO[bytes], stream: IO[bytes], folder: Folder) -> None:
        self._raw, self._stream, self._meter = raw, stream, folder.meter
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastmagic-decompress", daemon=True)
        self.packed = 0

    def _run(self) -> None:
        given = 0
        try:
            while not self._stop.is_set():
                chunk = self._stream.read(CHUNK)
                given += len(chunk)
                self.packed = self._raw.tell()
                self._meter.weigh(given, self.packed)
                self._put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # raised again by whoever reads
            self._put(error)

    def _put(self, chunk: bytes | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._chunks.put(chunk, timeout=0.1)
                break
            except queue.Full:
                pass

    def read(self) -> bytes:
        """Give the next chunk; empty at the end."""
        chunk = self._chunks.get()
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def __enter__(self) -> _Pump:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class _Source:
    """Gives exactly so many bytes of what a pump brings."""

    def __init__(self, pump: _Pump) -> None:
        self._pump = pump
        self._chunk = memoryview(b"")
        self._ended = False

    def some(self, most: int = CHUNK) -> bytes | memoryview:
        """Give what is at hand, at most so many bytes; empty at the end."""
        if not self._chunk and not self._ended:
            self._chunk = memoryview(self._pump.read())
            self._ended = not self._chunk
        part, self._chunk = self._chunk[:most], self._chunk[most:]
        return part

    def exactly(self, count: int) -> bytes:
        """Give so many bytes, or say that the archive ends in the middle."""
        first = self.some(count)
        if len(first) == count:
            return bytes(first)
        parts = [first]
        missing = count - len(first)
        while missing:
            part = self.some(missing)
            if not part:
                raise EOFError("it ends in the middle")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def block(self) -> bytes:
        """Give a header's block; empty at the end."""
        if not self._chunk and not self.some(0) and self._ended:
            return b""
        return self.exactly(BLOCK)

    def pad(self, size: int) -> None:
        """Pass over the zeros that fill a member's last block."""
        self.exactly(-size % BLOCK)

    def part(self, size: int) -> _Part:
        """Give the next so many bytes as a stream."""
        return _Part(self, size)


class _Part:
    """One large member's content."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source, self._left = source, size

    def read(self, most: int) -> bytes | memoryview:
        """Give some of what is left."""
        part = self._source.some(min(most, self._left)) if self._left else b""
        if self._left and not part:
            raise EOFError("it ends in the middle")
        self._left -= len(part)
        return part
