"""Compressed streams."""

from __future__ import annotations

import gzip
import importlib.util
import io
import random
import tarfile
import zlib
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
from fastmagic.data.archives.streams import Gunzip, open_zstd
from fastmagic.errors import ArchiveError

DATA = random.Random(0).randbytes(700_000) + bytes(700_000)


def read(packed: bytes, most: int = 1 << 16) -> bytes:
    stream, parts = Gunzip(io.BytesIO(packed)), []
    while part := stream.read(most):
        assert len(part) <= most
        parts.append(part)
    return b"".join(parts)


def test_gzip_streams_one_after_another_and_zeros_behind_them() -> None:
    packed = gzip.compress(DATA)
    assert read(packed) == read(packed, 1000) == DATA
    assert read(packed + gzip.compress(b"more") + bytes(3_000_000)) == DATA + b"more"


def test_gzip_that_is_cut_or_damaged() -> None:
    packed = gzip.compress(DATA)
    for cut in (3, len(packed) // 2, len(packed) - 1):
        with pytest.raises(EOFError):
            read(packed[:cut])
    for place in (len(packed) // 3, len(packed) - 6):
        with pytest.raises(zlib.error):
            read(packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :])
    with pytest.raises(zlib.error):
        read(packed + b"rubbish")


def test_zstd_without_anything_to_read_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="compressed with zstd") as said:
        open_zstd(io.BytesIO(), modules=("no_such_module",))
    assert "%pip install zstandard" in said.value.next_step


@pytest.mark.skipif(
    not importlib.util.find_spec("zstandard"), reason="the zstandard package is not installed"
)
def test_zstd_is_read_and_a_cut_is_noticed(tmp_path: Path) -> None:
    import zstandard

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(30):
            member = tarfile.TarInfo(f"set/{number}.jpg")
            member.size = 20_000
            tar.addfile(member, io.BytesIO(DATA[number * 20_000 :]))
    file = tmp_path / "set.tar.zst"
    packed = zstandard.ZstdCompressor().compress(buffer.getvalue())
    file.write_bytes(packed)
    assert len(list(unpack(file, tmp_path / "mine").iterdir())) == 30
    for cut in (100, len(packed) // 2, len(packed) - 200):
        file.write_bytes(packed[:cut])
        with pytest.raises(ArchiveError):
            unpack(file, tmp_path / "other")
    damaged = bytearray(packed)
    damaged[len(packed) // 2 : len(packed) // 2 + 4000] = bytes(4000)
    file.write_bytes(damaged)
    with pytest.raises(ArchiveError):
        unpack(file, tmp_path / "other")
