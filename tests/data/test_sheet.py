"""The contact sheet."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from fastmagic.data.survey import sheet


def noisy(folder: Path, label: str, count: int) -> list[Path]:
    files = [folder / f"{label}.{n}.jpg" for n in range(count)]
    for file in files:
        Image.effect_noise((300, 200), 90).convert("RGB").save(file)
    return files


def test_two_classes_fill_a_row_each(tmp_path: Path) -> None:
    chosen = sheet.choose({"dogs": noisy(tmp_path, "dog", 7), "cats": noisy(tmp_path, "cat", 9)})
    assert [label for label, _ in chosen] == ["cats"] * 6 + ["dogs"] * 6
    assert len({file for _, file in chosen}) == 12
    assert sheet.rows(chosen) == ["row 1: cats", "row 2: dogs"]


def test_many_classes_show_one_picture_each() -> None:
    chosen = sheet.choose({f"c{n:02}": [Path(f"{n}.jpg")] for n in range(37)})
    assert [label for label, _ in chosen] == [f"c{n:02}" for n in range(12)]


def test_three_classes_share_the_places() -> None:
    chosen = sheet.choose({name: [Path(name)] * 50 for name in "abc"})
    assert sheet.rows(chosen) == ["row 1: a, a, a, a, b, b", "row 2: b, b, c, c, c, c"]


def test_even_noise_stays_small(tmp_path: Path) -> None:
    png = sheet.draw(sheet.choose({"a": noisy(tmp_path, "a", 6), "b": noisy(tmp_path, "b", 6)}))
    assert 0 < len(png) <= sheet.LIMIT
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG" and image.width > 2.5 * image.height


def test_a_picture_that_has_gone_is_left_out(tmp_path: Path) -> None:
    files = noisy(tmp_path, "a", 2)
    files[0].unlink()
    with Image.open(io.BytesIO(sheet.draw([("a", files[0]), ("a", files[1])]))) as image:
        assert image.size == (96, 96)
    assert sheet.draw([("a", files[0])]) == b"" == sheet.draw([])
