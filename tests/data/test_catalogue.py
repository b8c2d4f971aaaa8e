"""The catalogue: names, defaults, and another address for all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastmagic.data import sample
from fastmagic.data.catalogue import CATALOGUE, OWN_PICTURES, at_address, find, pattern_for
from fastmagic.errors import BadInput


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(BadInput) as caught:
        find("pet")
    assert "Did you mean 'pets'?" in caught.value.what
    assert all(name in caught.value.next_step for name in CATALOGUE)


def test_every_entry_is_complete() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.title and entry.folder and entry.pictures > 0 and entry.classes > 1
        assert entry.defaults.weights in ("imagenet", "none")
        assert not entry.checksum or re.fullmatch(r"(md5|sha256):[0-9a-f]+", entry.checksum)
        if entry.url:
            assert entry.url.startswith("https://") and entry.archive_name.endswith(".tgz")
            assert entry.archive_name == f"{entry.folder}.tgz"  # where untar_data unpacks it


def test_the_sample_has_as_many_pictures_as_the_catalogue_says() -> None:
    assert find("sample").pictures == sample.TRAIN + sample.VALID
    assert find("sample").classes == len(sample.KINDS)


def test_defaults_differ_where_the_data_do() -> None:
    assert [find(name).defaults.recipe for name in ("dogscats", "pets", "sample")] == [
        "classic",
        "pets",
        "scratch",
    ]
    assert find("sample").defaults.weights == "none"
    assert OWN_PICTURES.recipe == "classic"


def test_the_pattern_for_pets_takes_the_breed() -> None:
    match = re.search(find("pets").label_pattern, "great_pyrenees_173.jpg")
    assert match and match[1] == "great_pyrenees"


def test_a_folder_of_the_catalogue_brings_its_pattern() -> None:
    assert pattern_for(Path("/x/oxford-iiit-pet/images")) == find("pets").label_pattern
    assert pattern_for(Path("/x/images")) == pattern_for(Path("/x/dogscats")) == ""


def test_another_address_expects_nothing_that_was_recorded() -> None:
    moved = at_address(find("pets"), {"FASTMAGIC_CATALOGUE": "http://here:8000/sets/"})
    assert moved.url == "http://here:8000/sets/oxford-iiit-pet.tgz"
    assert (moved.archive_bytes, moved.checksum, moved.pictures) == (0, "", 0)
    assert at_address(find("pets"), {}) == find("pets")
    assert at_address(find("sample"), {"FASTMAGIC_CATALOGUE": "http://here"}).url == ""
