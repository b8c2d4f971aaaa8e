"""Finding pictures below a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastmagic.data.survey import tree


def test_hidden_files_and_what_macos_adds_are_not_there(
    tmp_path: Path, fill: Callable[..., Path]
) -> None:
    fill(
        tmp_path,
        *("cats/a.jpg", "cats/._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/cats/a.jpg"),
        *("cats/.hidden/b.jpg", "b.PNG", "notes.txt"),
    )
    assert [found.parts for found in tree.pictures_below(tmp_path)] == [
        ("b.PNG",),
        ("cats", "a.jpg"),
    ]
    assert tree.subfolders(tmp_path) == ["cats"]
    assert tree.own_pictures(tmp_path) == ["b.PNG"]


def test_order_is_by_path_whatever_the_disk_says(tmp_path: Path, fill: Callable[..., Path]) -> None:
    fill(tmp_path, "b/2.jpg", "a/9.jpg", "b/10.jpg", "a/1.jpg")
    names = ["/".join(found.parts) for found in tree.pictures_below(tmp_path)]
    assert names == ["a/1.jpg", "a/9.jpg", "b/10.jpg", "b/2.jpg"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path, fill: Callable[..., Path]) -> None:
    fill(tmp_path, "real/a.jpg")
    (tmp_path / "set").mkdir()
    try:
        (tmp_path / "set" / "cats").symlink_to(tmp_path / "real")
        (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    except OSError:
        pytest.skip("no links may be made here")
    assert [one.parts for one in tree.pictures_below(tmp_path / "set")] == [("cats", "a.jpg")]


def test_a_link_that_leads_to_itself_is_left_out(tmp_path):
    (tmp_path / "cat.1.jpg").touch()
    (tmp_path / "cat.2.jpg").symlink_to(tmp_path / "cat.2.jpg")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert [found.parts for found in tree.pictures_below(tmp_path)] == [("cat.1.jpg",)]
    assert tree.own_pictures(tmp_path) == ["cat.1.jpg"]
    assert tree.subfolders(tmp_path) == []
