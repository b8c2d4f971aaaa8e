"""Decoding every picture once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from fastmagic.data.survey import readable, tree
from fastmagic.errors import Stopped
from fastmagic.progress import View

from .conftest import picture_bytes


def looks(folder: Path, memory: Path, view: View | None = None) -> dict[str, readable.Look]:
    found = readable.check(folder, tree.pictures_below(folder), view or View(), memory)
    return {file.name: look for file, look in found.items()}


def look(folder: Path, memory: Path, view: View | None = None) -> dict[str, readable.Size]:
    return {name: one.size for name, one in looks(folder, memory, view).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "set"
    made.mkdir()
    for number in range(3):
        (made / f"{number}.jpg").write_bytes(picture_bytes(number, (40, 30)))
    return made


def test_sizes_are_given_in_pixels(folder: Path, tmp_path: Path) -> None:
    assert look(folder, tmp_path / "m") == dict.fromkeys(["0.jpg", "1.jpg", "2.jpg"], (40, 30))


def test_truncated_empty_and_false_pictures_are_found(folder: Path, tmp_path: Path) -> None:
    noise = Image.effect_noise((200, 150), 80)
    noise.save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    for share in (0.3, 0.6, 0.9):
        (folder / f"cut-{share}.jpg").write_bytes(data[: int(len(data) * share)])
    (folder / "empty.jpg").touch()
    (folder / "page.png").write_text("<html>not found</html>")
    noise.save(folder / "whole.png")
    png = (folder / "whole.png").read_bytes()
    (folder / "head.jpg").write_bytes(data[:20])
    (folder / "half.png").write_bytes(png[: len(png) // 2])
    (folder / "broken.png").write_bytes(png[:16] + bytes(20) + png[36:])
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    found = looks(folder, tmp_path / "m")
    bad = {name: one.kinds for name, one in found.items() if not one.usable}
    assert bad == {
        **dict.fromkeys(("cut-0.3.jpg", "cut-0.6.jpg", "cut-0.9.jpg"), ("truncated",)),
        **dict.fromkeys(("head.jpg", "half.png"), ("truncated",)),
        "empty.jpg": ("empty",),
        "page.png": ("not a picture",),
        "broken.png": ("damaged",),
        "phone.heic": ("of a format not read here",),
    }
    assert found["whole.jpg"][:2] == ((200, 150), ())


@pytest.mark.parametrize(
    ("mode", "name", "kinds"),
    [
        ("CMYK", "a.jpg", ("CMYK",)),
        ("L", "a.jpg", ()),
        ("1", "a.png", ()),
        ("P", "a.png", ("palette",)),
        ("RGBA", "a.png", ()),
        ("I;16", "a.png", ("16-bit",)),
        ("I;16", "a.tif", ("16-bit",)),
        ("F", "a.tiff", ("16-bit",)),
        ("RGB", "a.JPEG", ()),
        ("RGB", "a.webp", ()),
        ("RGB", "a.bmp", ()),
    ],
)
def test_unusual_colours_are_readable(
    tmp_path: Path, mode: str, name: str, kinds: tuple[str, ...]
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new(mode, (20, 10)).save(folder / name)
    assert looks(folder, tmp_path / "m")[name][:2] == ((20, 10), kinds)


@pytest.mark.parametrize("kept", ["a.png", "a.tif", "big-endian.tif"])
@pytest.mark.parametrize(
    ("value", "kind"), [(255, "16-bit"), (256, "16-bit with values above 255")]
)
def test_what_fastai_makes_white_is_told(tmp_path: Path, kept: str, value: int, kind: str) -> None:
    (tmp_path / "set").mkdir()
    file, mode = tmp_path / "set" / kept, "I;16B" if "big" in kept else "I;16"
    data = value.to_bytes(2, "big" if "big" in kept else "little")
    Image.frombytes(mode, (9, 9), 81 * data).save(file)
    for _ in range(2):  # looked at, and recalled
        assert looks(tmp_path / "set", tmp_path / "m")[kept].kinds == (kind,)
    with Image.open(file) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("1", (10_001, 10_000)).save(folder / "plan.png")
    assert looks(folder, tmp_path / "m")["plan.png"][:2] == (readable.UNREADABLE, ("too large",))


def test_a_name_that_misleads_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "0.jpg").rename(folder / "0.png")
    Image.new("CMYK", (9, 9)).save(folder / "1.png", "JPEG")
    found = looks(folder, tmp_path / "m")
    assert found["0.png"].kinds == ("named for another format",)
    assert found["1.png"].kinds == ("named for another format", "CMYK")
    assert looks(folder, tmp_path / "m") == found  # as it is remembered


def test_the_checksum_is_of_the_whole_file(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):  # looked at, and recalled
        found = looks(folder, tmp_path / "m")
        for name, one in found.items():
            assert one.digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()[:32]


def test_what_may_be_readable_later_is_not_remembered(folder: Path, tmp_path: Path) -> None:
    (folder / "0.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    looks(folder, tmp_path / "m")
    [book] = (tmp_path / "m").iterdir()
    kept = json.loads(book.read_text())["pictures"]
    found = tree.pictures_below(folder)[0]
    again = readable._Book(tmp_path / "m", folder)
    assert "0.jpg" in kept and again.recall(found) is None
    assert again.recall(tree.pictures_below(folder)[1]) is not None


def test_a_second_look_reads_no_picture(folder: Path, tmp_path: Path) -> None:
    look(folder, tmp_path / "m")
    file = folder / "0.jpg"
    known = file.stat()
    file.write_bytes(b"x" * known.st_size)
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))  # the same to all appearances
    assert look(folder, tmp_path / "m")["0.jpg"] == (40, 30)


def test_a_changed_picture_is_looked_at_again(folder: Path, tmp_path: Path) -> None:
    look(folder, tmp_path / "m")
    (folder / "0.jpg").write_bytes(b"changed")
    assert look(folder, tmp_path / "m")["0.jpg"] == readable.UNREADABLE


def test_damaged_or_unwritable_memory_costs_only_time(folder: Path, tmp_path: Path) -> None:
    look(folder, tmp_path / "m")
    [file] = (tmp_path / "m").iterdir()
    version = readable.VERSION
    for text in ("", f'{{"version": {version}, "pictures": [1]}}', f'{{"version": {version}}}'):
        file.write_text(text)
        assert len(look(folder, tmp_path / "m")) == 3
    file.write_text("[" * 100_000)
    assert len(look(folder, tmp_path / "m")) == 3
    (tmp_path / "file").touch()
    assert len(look(folder, tmp_path / "file")) == 3


class PressesStop(View):
    """Ctrl-C at the first sign of progress."""

    def bar(self, label: str, done: float, total: float | None = None, unit: str = "") -> None:
        raise KeyboardInterrupt


def test_stop_keeps_what_was_checked(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(3 * readable.BATCH):
        (folder / f"{number:03}.jpg").write_bytes(picture_bytes(number))
    with pytest.raises(Stopped, match=r"Stopped after checking \d+ of 96 pictures"):
        look(folder, tmp_path / "m", PressesStop())
    [kept] = (tmp_path / "m").iterdir()
    assert readable.BATCH <= kept.read_text().count(".jpg") <= 2 * readable.BATCH
    assert len(look(folder, tmp_path / "m")) == 96
