"""Bombs: small files that would fill a disk or a memory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
from fastmagic.data.archives.limits import Limits
from fastmagic.errors import ArchiveError

TIGHT = Limits(members=10, size=3_000_000, ratio=100, ratio_from=1_000_000)


def put(folder: Path, kind: str, content: dict[str, bytes]) -> Path:
    file = folder / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in content.items():
                made.writestr(name, data)
    else:
        with tarfile.open(file, f"w:{kind}") as tar:  # type: ignore[call-overload]
            for name, data in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file


KINDS = ["zip", "gz", "bz2", "xz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({f"{n}.jpg": b"x" for n in range(11)}, "more than 10 files"),
        ({"zeros.jpg": bytes(2_000_000)}, "more than 100 times its size"),
        ({f"{n}.jpg": bytes(900_000) for n in range(3)}, "more than 100 times its size"),
        ({"large.jpg": bytes(3_000_001)}, "more than (3.0 MB|100 times its size)"),
    ],
)
def test_what_is_too_much_is_refused(
    tmp_path: Path, kind: str, content: dict[str, bytes], why: str
) -> None:
    file = put(tmp_path, kind, content)
    with pytest.raises(ArchiveError, match=why) as said:
        unpack(file, tmp_path / "in" / "mine", limits=TIGHT)
    assert said.value.next_step
    assert list((tmp_path / "in").iterdir()) == []
    assert unpack(file, tmp_path / "in" / "mine").is_dir()  # harmless for the usual limits


def test_a_member_of_a_zip_is_named(tmp_path: Path) -> None:
    file = put(tmp_path, "zip", {"fine.jpg": b"1", "zeros.jpg": bytes(2_000_000)})
    with pytest.raises(ArchiveError, match=r"its member 'zeros\.jpg' unpacks to more than 100"):
        unpack(file, tmp_path / "mine", limits=TIGHT)


def test_zeros_behind_the_end_of_a_tar_are_not_read_for_ever(tmp_path: Path) -> None:
    import gzip

    file = put(tmp_path, "gz", {"fine.jpg": b"1"})
    plain = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(plain + bytes(5_000_000)))
    with pytest.raises(ArchiveError, match="100 times its size"):
        unpack(file, tmp_path / "mine", limits=TIGHT)


def test_members_of_a_zip_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    file = put(tmp_path, "zip", {"one.jpg": bytes(1000), "two.jpg": bytes(1000)})
    data = bytearray(file.read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # where its header is
    file.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"'two\.jpg' overlaps another"):
        unpack(file, tmp_path / "mine")


def test_an_extended_header_is_not_read_into_memory_whatever_its_size(tmp_path: Path) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 3 << 20
    file = tmp_path / "bomb.tar"
    file.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(3 << 20) + bytes(1024))
    with pytest.raises(ArchiveError, match="a header of more than 1 MiB"):
        unpack(file, tmp_path / "mine")
