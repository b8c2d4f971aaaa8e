"""Unpacking: whole or absent, and nothing outside."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.archive import unpack
from fastmagic.errors import ArchiveError, DataError, Stopped
from fastmagic.progress import View

from .conftest import picture_bytes, zip_bytes

CONTENT = {f"set/{part}/{n}.jpg": picture_bytes(n) for part in "ab" for n in range(5)}


def tar_bytes(mode: str, content: dict[str, bytes] = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zipped(content: dict[str, bytes] = CONTENT, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as made:
        for name, data in content.items():
            made.writestr(name, data)
    return buffer.getvalue()


def put(folder: Path, data: bytes, name: str = "archive") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(one for one in folder.rglob("*") if one.is_file())
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in found}


KINDS: dict[str, Callable[[], bytes]] = {
    "zip": zipped,
    "tar": lambda: tar_bytes("w"),
    "tar.gz": lambda: tar_bytes("w:gz"),
    "tar.bz2": lambda: tar_bytes("w:bz2"),
    "tar.xz": lambda: tar_bytes("w:xz"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    target = unpack(put(tmp_path, KINDS[kind]()), tmp_path / "data" / "mine")
    assert files(target) == {name.removeprefix("set/"): data for name, data in CONTENT.items()}
    assert sorted(one.name for one in (tmp_path / "data").iterdir()) == ["mine"]


def test_several_things_at_the_top_stay_as_they_are(tmp_path: Path) -> None:
    content = {"train/a.jpg": b"1", "valid/b.jpg": b"2", "README": b"3"}
    target = unpack(put(tmp_path, zipped(content)), tmp_path / "mine")
    assert files(target) == {"README": b"3", "train/a.jpg": b"1", "valid/b.jpg": b"2"}


def test_what_macos_adds_is_no_second_top_folder(tmp_path: Path) -> None:
    content = {"set/a.jpg": b"1", "__MACOSX/set/._a.jpg": b"2", ".DS_Store": b"3"}
    assert files(unpack(put(tmp_path, zipped(content)), tmp_path / "m")) == {"a.jpg": b"1"}


def test_names_in_unicode_and_with_html(tmp_path: Path) -> None:
    content = {"set/größe/котик.jpg": b"1", "set/<b>&amp;.jpg": b"2"}
    for kind, data in (("z", zipped(content)), ("t", tar_bytes("w:gz", content))):
        got = files(unpack(put(tmp_path, data, kind), tmp_path / f"of-{kind}"))
        assert set(got) == {"größe/котик.jpg", "<b>&amp;.jpg"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_archive_leaves_nothing(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind]()
    size = len(data.rstrip(b"\0") if kind == "tar" else data)  # the end of a tar is padding
    for cut in {size * tenth // 10 for tenth in range(10)} | {1, size - 1}:
        with pytest.raises(ArchiveError):
            unpack(put(tmp_path, data[:cut], f"{cut}.x"), tmp_path / "mine")
        assert not (tmp_path / "mine").exists()
    assert not [one for one in tmp_path.iterdir() if one.is_dir()]


def test_a_tar_cut_between_two_members_is_not_taken_for_whole(tmp_path: Path) -> None:
    data = tar_bytes("w", {"a": b"x" * 512, "b": b"y" * 512})
    with pytest.raises(ArchiveError, match="its end is missing"):
        unpack(put(tmp_path, data[: 2 * 512]), tmp_path / "mine")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_flipped_bit_is_found(tmp_path: Path, kind: str) -> None:
    data = bytearray(KINDS[kind]())
    data[len(data) // 3] ^= 0x40
    with pytest.raises(ArchiveError):
        unpack(put(tmp_path, bytes(data)), tmp_path / "mine")


OUTSIDE = ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "C:\\evil.jpg", "..\\evil.jpg", "\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [zipped, lambda content: tar_bytes("w:gz", content)])
def test_nothing_is_written_outside(
    tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    (tmp_path / "in").mkdir()
    archive = put(tmp_path, make({"ok.jpg": b"1", name: b"2"}))
    with pytest.raises(ArchiveError, match="would be written outside its folder") as caught:
        unpack(archive, tmp_path / "in" / "mine")
    assert repr(name) in caught.value.what
    assert list((tmp_path / "in").iterdir()) == []
    assert not (tmp_path / "evil.jpg").exists()


def linked(name: str, target: str, kind: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("set/a/real.jpg")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"real"))
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, target
        tar.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x", "../../.."])
def test_links_that_lead_out_are_refused(tmp_path: Path, target: str) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        with pytest.raises(ArchiveError, match="leads out"):
            unpack(put(tmp_path, linked("set/b.jpg", target, kind)), tmp_path / "mine")


def test_links_that_stay_inside_become_copies(tmp_path: Path) -> None:
    data = linked("set/b.jpg", "a/real.jpg", tarfile.SYMTYPE)
    got = unpack(put(tmp_path, data), tmp_path / "mine")
    assert (got / "b.jpg").read_bytes() == b"real" and not (got / "b.jpg").is_symlink()
    data = linked("set/c.jpg", "set/a/real.jpg", tarfile.LNKTYPE)
    assert (unpack(put(tmp_path, data), tmp_path / "two") / "c.jpg").read_bytes() == b"real"


def test_a_link_in_a_zip_that_leads_out_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveError, match="leads out"):
        unpack(put(tmp_path, buffer.getvalue()), tmp_path / "mine")


def test_devices_are_refused(tmp_path: Path) -> None:
    data = linked("set/null", "", tarfile.CHRTYPE)
    with pytest.raises(ArchiveError, match="'set/null' is a device"):
        unpack(put(tmp_path, data), tmp_path / "mine")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"secret.jpg": b"1"}))
    data[6] |= 1  # bit 0 of the flags, in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveError, match=r"'secret\.jpg' is encrypted"):
        unpack(put(tmp_path, bytes(data)), tmp_path / "mine")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a.jpg", b"1")
        made.writestr("a.jpg", b"2")
    with pytest.raises(ArchiveError, match="same name as another"):
        unpack(put(tmp_path, buffer.getvalue()), tmp_path / "mine")


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    data = tar_bytes("w", {"a": b"1", "a/b.jpg": b"2"})
    with pytest.raises(ArchiveError, match="lies below a file"):
        unpack(put(tmp_path, data), tmp_path / "mine")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_more_than_the_disk_holds_is_refused(tmp_path: Path, kind: str) -> None:
    content = {f"{n}.jpg": bytes(1000) for n in range(10)}
    data = zipped(content) if kind == "zip" else tar_bytes("w:gz", content)
    with pytest.raises(DataError, match=r"unpacks to .* or more, and 5\.0 kB are free"):
        unpack(put(tmp_path, data), tmp_path / "mine", free=lambda _: 5000)
    assert not (tmp_path / "mine").exists()


def test_a_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"bomb.jpg": bytes(100_000)}))
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = (50).to_bytes(4, "little")
    with pytest.raises(ArchiveError):
        unpack(put(tmp_path, bytes(data)), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is not an archive"):
        unpack(put(tmp_path, b"<html>hello</html>" * 50), tmp_path / "mine")


class PressesStop(View):
    """Ctrl-C when the unpacking is under way."""

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        if done > 2:
            raise KeyboardInterrupt


def test_stop_leaves_nothing_and_the_next_call_unpacks_all(tmp_path: Path) -> None:
    archive = put(tmp_path, zip_bytes())
    with pytest.raises(Stopped, match="the archive itself is kept"):
        unpack(archive, tmp_path / "mine", view=PressesStop())
    assert [one.name for one in tmp_path.iterdir()] == ["archive"]
    assert len(files(unpack(archive, tmp_path / "mine"))) == 16


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".mine.unpacking"
    left.mkdir()
    (left / "half.jpg").touch()
    assert "half.jpg" not in files(unpack(put(tmp_path, zipped()), tmp_path / "mine"))
    assert not left.exists()


def test_an_empty_folder_in_the_way_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert files(unpack(put(tmp_path, zipped()), tmp_path / "mine"))


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my notes")
    with pytest.raises(DataError, match="Unpacking archive failed"):
        unpack(put(tmp_path, zipped()), tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "my notes"
