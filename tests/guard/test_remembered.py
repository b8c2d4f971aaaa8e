"""The splits that were found, from run to run."""

from __future__ import annotations

import pytest

from fastmagic.guard import remembered


def test_what_was_found_is_remembered_for_a_month(tmp_path):
    file = tmp_path / "cache" / "splits.json"
    remembered.add(file, "T4 resnet34", 16, now=lambda: 0.0)
    remembered.add(file, "T4 resnet50", 8, now=lambda: 20 * 24 * 3600.0)
    assert remembered.read(file, now=lambda: 1.0) == {"T4 resnet34": 16, "T4 resnet50": 8}
    assert remembered.read(file, now=lambda: 31 * 24 * 3600.0) == {"T4 resnet50": 8}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": ["x", 1]}', "[" * 100_000])
def test_a_damaged_file_is_as_none(tmp_path, text):
    file = tmp_path / "splits.json"
    file.write_text(text)
    assert remembered.read(file) == {}
    remembered.add(file, "T4", 4)
    assert remembered.read(file) == {"T4": 4}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    remembered.add(tmp_path / "cache" / "splits.json", "T4", 4)
    assert remembered.read(tmp_path / "cache" / "splits.json") == {}
