"""What stands around a tar's blocks: long names, pax records, links, what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
from fastmagic.errors import ArchiveError

LONG = "/".join(["a-folder-of-a-rather-long-name"] * 9) + "/größe-котик.jpg"


def put(folder: Path, *members: tarfile.TarInfo, form: int, data: bytes = b"content") -> Path:
    file = folder / "set.tgz"
    with tarfile.open(file, "w:gz", format=form) as tar:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    return file


def linked(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_long_links_in_both_formats(tmp_path: Path, form: int) -> None:
    members = [
        tarfile.TarInfo(f"set/{LONG}"),
        linked("set/link.jpg", LONG, tarfile.SYMTYPE),
        linked("set/hard.jpg", f"set/{LONG}", tarfile.LNKTYPE),
        tarfile.TarInfo("set/short.jpg"),  # what was said of the one before is over
    ]
    got = unpack(put(tmp_path, *members, form=form), tmp_path / "mine")
    for name in (LONG, "link.jpg", "hard.jpg", "short.jpg"):
        assert (got / name).read_bytes() == b"content" and not (got / name).is_symlink()


def test_a_pax_record_outdoes_the_block(tmp_path: Path) -> None:
    member = tarfile.TarInfo("set/a.jpg")
    member.pax_headers = {"path": "../outside.jpg"}
    with pytest.raises(ArchiveError, match=r"'\.\./outside\.jpg' would be written outside"):
        unpack(put(tmp_path, member, form=tarfile.PAX_FORMAT), tmp_path / "mine")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.CHRTYPE, "device or a pipe"),
        (tarfile.BLKTYPE, "device or a pipe"),
        (tarfile.FIFOTYPE, "device or a pipe"),
        (tarfile.GNUTYPE_SPARSE, "stored with holes"),
        (b"Z", "of no known kind"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes, why: str) -> None:
    file = tmp_path / "set.tar"
    member = linked("set/odd", "", kind)
    file.write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match=f"'set/odd' is .*{why}"):
        unpack(file, tmp_path / "mine")


def test_a_damaged_pax_record_is_said(tmp_path: Path) -> None:
    for record in (b"99 path=a\n", b"x path=a\n", b"9 patha\n\n", b"-4 path=a\n", b"0 path=a\n"):
        header = tarfile.TarInfo("long")
        header.type, header.size = tarfile.XHDTYPE, len(record)
        file = tmp_path / "set.tar"
        block = record + bytes(512 - len(record))
        file.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + block + bytes(1024))
        with pytest.raises(ArchiveError, match="broken or incomplete"):
            unpack(file, tmp_path / "mine")
