"""Room for the archive and its contents is looked for before the first byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fastmagic.data.get import get_data
from fastmagic.data.web.room import Disk, check_room, disk_of
from fastmagic.errors import DataError

from .server import FileServer, Quirk

ARCHIVE, CONTENTS = Path("/home/archive/a.zip"), Path("/data")


def two_disks(folder: Path) -> Disk:
    return Disk(2, 500) if folder == CONTENTS else Disk(1, 150)


def test_on_one_disk_both_have_to_fit() -> None:
    check_room(ARCHIVE, 100, 100, None, two_disks)
    check_room(ARCHIVE, 50, 100, ARCHIVE.parent, two_disks)
    with pytest.raises(DataError, match="200 B more for it and its contents"):
        check_room(ARCHIVE, 100, 100, ARCHIVE.parent, two_disks)


def test_on_two_disks_each_has_to_have_its_own_room() -> None:
    check_room(ARCHIVE, 150, 500, CONTENTS, two_disks)
    with pytest.raises(DataError, match="151 B more, and 150 B are free"):
        check_room(ARCHIVE, 151, 500, CONTENTS, two_disks)
    with pytest.raises(DataError, match=r"The contents of a\.zip need 501 B") as caught:
        check_room(ARCHIVE, 1, 501, CONTENTS, two_disks)
    assert str(CONTENTS) in caught.value.next_step


def test_a_folder_that_is_not_made_yet_is_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    assert disk_of(tmp_path / "not" / "yet").device == tmp_path.stat().st_dev


def test_nothing_is_fetched_whose_contents_will_not_fit(server: FileServer, home: Path) -> None:
    announced = shutil.disk_usage(home.parent).free * 7 // 10
    server.files["a.zip"] = b"PK\3\4" * 100
    server.quirks = [Quirk(headers={"Content-Length": str(announced)})] * 9
    with pytest.raises(DataError, match="for it and its contents"):
        get_data(server.url("a.zip"), sleep=lambda _: None)
    assert len(server.asked) == 1 and not list((home / "archive").glob("*.part"))
