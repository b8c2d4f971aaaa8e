"""Decoding every picture once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from fastmagic.data import readable, tree
from fastmagic.errors import Stopped
from fastmagic.progress import View

from .conftest import picture_bytes


def look(folder: Path, memory: Path, view: View | None = None) -> dict[str, readable.Size]:
    files = tree.pictures_below(folder)
    sizes = readable.check(folder, files, view or View(), memory)
    return {file.name: size for file, size in sizes.items()}


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
    sizes = look(folder, tmp_path / "m")
    bad = {name for name, size in sizes.items() if size == readable.UNREADABLE}
    assert bad == {"cut-0.3.jpg", "cut-0.6.jpg", "cut-0.9.jpg", "empty.jpg", "page.png"}
    assert sizes["whole.jpg"] == (200, 150)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "RGBA", "I;16"])
def test_unusual_colours_are_readable(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode in ("CMYK", "L") else "a.png"
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new(mode, (20, 10)).save(folder / name)
    assert look(folder, tmp_path / "m") == {name: (20, 10)}


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
    for file in (tmp_path / "m").iterdir():
        file.write_text('{"version": 1, "pictures": []}'[:20])
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
