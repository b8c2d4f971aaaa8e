"""What stands around a tar's blocks: long names, pax records, links, what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
from fastmagic.errors import ArchiveError
from fastmagic.progress import View

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


@pytest.mark.parametrize(
    "links",
    [
        {"a.jpg": "b.jpg", "b.jpg": "real/1.jpg"},
        {"b.jpg": "real/1.jpg", "a.jpg": "b.jpg"},
        {"a.jpg": "real/../b.jpg", "b.jpg": "./real/1.jpg"},
    ],
)
def test_links_to_links_become_copies_in_any_order(tmp_path: Path, links: dict[str, str]) -> None:
    made = [linked(f"set/{name}", target, tarfile.SYMTYPE) for name, target in links.items()]
    file = put(tmp_path, *made, tarfile.TarInfo("set/real/1.jpg"), form=tarfile.PAX_FORMAT)
    view = View()
    got = unpack(file, tmp_path / "mine", view=view)
    assert {(got / name).read_bytes() for name in links} == {b"content"} and view.notes == []


def test_a_link_to_a_folder_is_left_out_and_named_but_followed(tmp_path: Path) -> None:
    members = [
        tarfile.TarInfo("set/v2/1.jpg"),
        linked("set/current", "v2", tarfile.SYMTYPE),
        linked("set/train/1.jpg", "../current/1.jpg", tarfile.SYMTYPE),
        linked("set/train/2.jpg", "set/current/1.jpg", tarfile.LNKTYPE),
    ]
    view = View()
    got = unpack(put(tmp_path, *members, form=tarfile.PAX_FORMAT), tmp_path / "mine", view=view)
    found = {one.relative_to(got).as_posix() for one in got.rglob("*.jpg")}
    assert found == {"v2/1.jpg", "train/1.jpg", "train/2.jpg"} and not (got / "current").exists()
    [note] = view.notes
    assert note.startswith("1 link is left out of set.tgz, 'set/current' for one: it leads to a")


@pytest.mark.parametrize(
    "links",
    [
        {"a": "b", "b": "a"},
        {"a": "a"},
        {"a": "a/b", "b": "nothing"},
        {"a": "..", "b": "a/../../1.jpg"},  # out of the archive, though it does not look so
    ],
)
def test_links_that_lead_to_nothing_are_left_out(tmp_path: Path, links: dict[str, str]) -> None:
    (tmp_path / "1.jpg").write_bytes(b"of somebody else")
    made = [linked(f"set/of/{name}", target, tarfile.SYMTYPE) for name, target in links.items()]
    file = put(tmp_path, tarfile.TarInfo("set/of/1.jpg"), *made, form=tarfile.PAX_FORMAT)
    view = View()
    got = unpack(file, tmp_path / "mine", view=view)
    assert [one.name for one in (got / "of").iterdir()] == ["1.jpg"]
    assert len(view.notes) == 1 and f"{len(links)} link" in view.notes[0]


def test_a_link_that_is_longer_than_any_path_is_refused(tmp_path: Path) -> None:
    link = linked("set/a", "b/" * 400_000, tarfile.SYMTYPE)  # following it would take hours
    with pytest.raises(ArchiveError, match=r"'set/a' is a link of more than 4,096 letters"):
        unpack(put(tmp_path, link, form=tarfile.PAX_FORMAT), tmp_path / "mine")


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
