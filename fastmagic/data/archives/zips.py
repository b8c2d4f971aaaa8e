"""Unpacks a zip: its directory is judged as a whole before the first byte, then threads write.

`zipfile` reads the directory and, of the members, what is large or rarely compressed. Small ones
are read, inflated and checked here, one read and one write each: with 25,000 of them, what
`zipfile` does around every member costs more than the member. Nothing of a local header is believed
but its length, so what was judged is what is written.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from fastmagic.data.archives.crew import BATCH_BYTES, BATCH_FILES, Crew, write_new
from fastmagic.data.archives.folder import LONG_LINK, LONGEST_LINK, Folder
from fastmagic.progress import View

CHUNK = 1 << 20
SMALL = 4 << 20
"""Bytes, packed and unpacked, up to which a member is held in memory."""

_ENCRYPTED = 0x1 | 0x40  # the flags of APPNOTE.TXT 4.4.4
_UTF8 = 0x800
_HEADER = 30  # bytes of a local header before the name (APPNOTE.TXT 4.3.7)

Member = zipfile.ZipInfo


def unzip(archive: Path, folder: Folder, view: View, threads: int | None = None) -> None:
    """Unpack a zip into a folder; nothing is written unless all of its directory is in order."""
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        files = _judged(zipped, members, folder)
        folder.make_folders()
        total, written = len(files), 0

        def done(count: int) -> None:
            nonlocal written
            written += count
            view.bar("unpacking", written, total, " files")

        with Crew(threads, done) as crew:
            for batch in _batches(files):
                if len(batch) == 1 and not _is_small(batch[0][0]):
                    member, path = batch[0]
                    crew.give(partial(_stream, zipped, member, path, folder), CHUNK, 1)
                else:
                    weight = sum(max(one.file_size, one.compress_size) for one, _ in batch)
                    crew.give(partial(_inflate, archive, batch, folder), weight, len(batch))


def _judged(
    zipped: zipfile.ZipFile, members: Sequence[Member], folder: Folder
) -> list[tuple[Member, str]]:
    """Look at every member before any is written; give the files and where each goes."""
    files: list[tuple[Member, str]] = []
    links = []
    meter = folder.meter
    for member in members:
        member.filename = name = _name(member)
        mode = member.external_attr >> 16
        meter.count()
        meter.expect(member.file_size)
        meter.weigh(member.file_size, member.compress_size, name)
        if member.flag_bits & _ENCRYPTED:
            raise meter.refusal(name, "is encrypted")
        if name.endswith("/"):
            folder.take_folder(name)
        elif stat.S_ISLNK(mode):
            links.append(member)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise meter.refusal(name, "is a device or a pipe, not a file")
        else:
            files.append((member, folder.take_file(name)))
    meter.weigh(sum(one.file_size for one in members), Path(str(zipped.filename)).stat().st_size)
    _refuse_overlaps(members, folder)
    for member in links:
        if member.file_size > LONGEST_LINK:
            raise meter.refusal(member.filename, LONG_LINK)
        folder.link(member.filename, zipped.read(member).decode("utf-8", "surrogateescape"))
    return sorted(files, key=lambda one: one[0].header_offset)  # as they lie on the disk


def _name(member: Member) -> str:
    """Give a member's name: the Finder of macOS writes UTF-8 without the flag that says so.

    Hardly any other name is UTF-8 by chance.
    """
    if member.flag_bits & _UTF8 or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _refuse_overlaps(members: Sequence[Member], folder: Folder) -> None:
    """Refuse members that share bytes: the bomb of https://www.bamsoftware.com/hacks/zipbomb/."""
    end = 0
    for member in sorted(members, key=lambda one: one.header_offset):
        if member.header_offset < end:
            raise folder.meter.refusal(member.filename, "overlaps another")
        end = member.header_offset + _HEADER + member.compress_size


def _is_small(member: Member) -> bool:
    plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return plain and member.file_size <= SMALL and member.compress_size <= SMALL


def _batches(files: Sequence[tuple[Member, str]]) -> list[list[tuple[Member, str]]]:
    batches: list[list[tuple[Member, str]]] = []
    weight = 0
    for one in files:
        size = one[0].file_size
        full = weight + size > BATCH_BYTES or (batches and len(batches[-1]) == BATCH_FILES)
        if not batches or full or not _is_small(one[0]) or not _is_small(batches[-1][-1][0]):
            batches.append([])
            weight = 0
        batches[-1].append(one)
        weight += size
    return batches


def _inflate(archive: Path, batch: Sequence[tuple[Member, str]], folder: Folder) -> None:
    with archive.open("rb") as file:
        for member, path in batch:
            file.seek(member.header_offset)
            # The local header's extra field may be longer than the directory's: some to spare.
            data = file.read(_HEADER + 2 * len(member.orig_filename) + 256 + member.compress_size)
            write_new(path, _content(member, file, data, folder))


def _content(member: Member, file: IO[bytes], data: bytes, folder: Folder) -> bytes:
    coding = "utf-8" if member.flag_bits & _UTF8 else "cp437"
    name = member.orig_filename.encode(coding)
    if data[:4] != b"PK\x03\x04" or data[_HEADER : _HEADER + len(name)] != name:
        raise folder.meter.refusal(member.filename, "is not where the zip's directory says")
    start = _HEADER + sum(struct.unpack_from("<HH", data, 26))
    packed = data[start : start + member.compress_size]
    missing = member.compress_size - len(packed)
    if missing:
        packed += file.read(missing)
    content = packed
    if member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            inflate = zlib.decompressobj(-15)  # raw deflate, no header
            content = inflate.decompress(packed, member.file_size + 1)
        except zlib.error as error:
            raise folder.meter.refusal(member.filename, f"is damaged ({error})") from error
    if len(content) != member.file_size:
        less = "shorter" if len(content) < member.file_size else "larger"
        raise folder.meter.refusal(member.filename, f"is {less} than it says")
    if zlib.crc32(content) != member.CRC:
        raise folder.meter.refusal(member.filename, "is damaged (its checksum is another one)")
    return content


def _stream(zipped: zipfile.ZipFile, member: Member, path: str, folder: Folder) -> None:
    try:
        with zipped.open(member) as stream:  # checks the CRC at its end
            folder.write(member.filename, path, stream, member.file_size)
    except NotImplementedError as error:
        raise folder.meter.refusal(
            member.filename, f"is compressed in a way that is not read here ({error})"
        ) from error
