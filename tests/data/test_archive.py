"""Unpacking: whole or absent, and nothing outside."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.archives.archive import unpack
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


class Unflagged(zipfile.ZipInfo):
    """A member as the Finder of macOS writes it: its name is UTF-8, and no flag says so."""

    coding = "utf-8"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.coding), self.flag_bits & ~0x800


class OfDos(Unflagged):
    """A member whose name is in the letters of DOS, as no flag means."""

    coding = "cp437"


@pytest.mark.parametrize("kind", [Unflagged, OfDos])
def test_names_without_the_flag_for_utf_8(tmp_path: Path, kind: type[Unflagged]) -> None:
    names = ["Kühe/1.jpg", "Mäuse/großes Tier.jpg"]
    if kind is Unflagged:
        names += ["котик/1.jpg", "Ku\u0308hnheit.jpg"]  # macOS writes an accent by itself
    for size in (1, 5 << 20):  # read here, and by zipfile
        with zipfile.ZipFile(tmp_path / f"{size}.zip", "w") as made:
            for name in names:
                made.writestr(kind(f"set/{name}"), bytes(size))
        got = files(unpack(tmp_path / f"{size}.zip", tmp_path / f"of-{size}"))
        assert got == dict.fromkeys(names, bytes(size))


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


KILLED = """
import sys, time
from pathlib import Path
from fastmagic.data.archives.archive import unpack
from fastmagic.progress import View

class Slow(View):
    def bar(self, label, done, total=None, unit=""):
        print(done, flush=True)
        time.sleep(0.01)

unpack(Path(sys.argv[1]), Path(sys.argv[2]), view=Slow(), threads=2)
"""


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, kind: str) -> None:
    content = {f"set/{n:04}.jpg": random.Random(n).randbytes(20_000) for n in range(600)}
    data = zipped(content) if kind == "zip" else tar_bytes("w:gz", content)
    archive, target = put(tmp_path, data), tmp_path / "in" / "mine"
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(archive), str(target)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()  # it writes now
        time.sleep(random.uniform(0, 0.05))
        child.kill()
        child.wait()
        child.stdout.close()
        assert not target.exists()
        assert [one.name for one in target.parent.iterdir()] == [".mine.unpacking"]
    assert files(unpack(archive, target)) == {
        name.removeprefix("set/"): data for name, data in content.items()
    }
    assert [one.name for one in target.parent.iterdir()] == ["mine"]


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A disk of 1 MiB, made as root on Linux."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or os.geteuid() != 0 or not mount:
        pytest.skip("a small disk can be made by root on Linux only")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    if done.returncode:
        pytest.skip("no disk may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_disk_that_fills_in_the_middle(tmp_path: Path, small_disk: Path, kind: str) -> None:
    content = {f"{n}.jpg": random.Random(n).randbytes(30_000) for n in range(100)}
    data = zipped(content) if kind == "zip" else tar_bytes("w:gz", content)
    with pytest.raises(DataError, match="No space left on device"):  # another took the free space
        unpack(put(tmp_path, data), small_disk / "mine", free=lambda _: 10**9)
    assert list(small_disk.iterdir()) == []
    with pytest.raises(DataError, match=r"unpacks to .* or more, and 1\.0 MB are free"):
        unpack(tmp_path / "archive", small_disk / "mine")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_whatever_is_flipped_or_cut_nothing_false_is_accepted(tmp_path: Path, kind: str) -> None:
    whole, luck = KINDS[kind](), random.Random(kind)
    expected = files(unpack(put(tmp_path, whole), tmp_path / "whole"))
    refused = 0
    for number in range(150):
        data = bytearray(whole)
        for _ in range(luck.choice([1, 1, 3])):
            data[luck.randrange(len(data))] ^= 1 << luck.randrange(8)
        if number % 3 == 0:
            del data[luck.randrange(len(data)) :]
        target = tmp_path / f"of-{number}"
        try:
            unpack(put(tmp_path, bytes(data)), target)
        except ArchiveError:
            refused += 1
            assert not target.exists()
        else:
            got = files(target)
            assert set(got.values()) <= set(expected.values())  # only a zip's names have no sum
    assert refused > 75


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    for data in (zipped({}), tar_bytes("w:gz", {}), tar_bytes("w", {})):
        with pytest.raises(ArchiveError):
            unpack(put(tmp_path, data), tmp_path / "mine")
        assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("threads", [1, 7])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_many_small_and_large_files_in_many_threads(
    tmp_path: Path, kind: str, threads: int
) -> None:
    luck = random.Random(1)
    sizes = [0, 1, 511, 512, 513, 5 << 20, 4 << 20, *(luck.randrange(9000) for _ in range(400))]
    content = {f"set/{n % 9}/{n}.jpg": luck.randbytes(size) for n, size in enumerate(sizes)}
    data = zipped(content) if kind == "zip" else tar_bytes("w:gz", content)
    seen: list[float] = []

    class Watches(View):
        def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
            seen.append(done / (total or 1))

    got = files(unpack(put(tmp_path, data), tmp_path / "m", view=Watches(), threads=threads))
    assert got == {name.removeprefix("set/"): data for name, data in content.items()}
    assert seen == sorted(seen) and seen[0] > 0 and seen[-1] <= 1


def test_a_member_of_a_zip_without_a_name_is_refused(tmp_path: Path) -> None:
    data = zipped({"a": b"1"})
    for nameless in (data.replace(b"a", b"\0"), data.replace(b"a", b".")):
        with pytest.raises(ArchiveError, match="names no file"):
            unpack(put(tmp_path, nameless), tmp_path / "mine")


def test_a_zip_whose_own_headers_say_other_names_is_refused(tmp_path: Path) -> None:
    data = zipped({"name.jpg": b"1"}).replace(b"name.jpg", b"evil.jpg", 1)
    with pytest.raises(ArchiveError, match=r"'name\.jpg' is not where the zip's directory says"):
        unpack(put(tmp_path, data), tmp_path / "mine")
