"""The catalogue: names, defaults, and another address for all of it."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from fastmagic.data.catalogue import CATALOGUE, OWN_PICTURES, at_address, find, pattern_for
from fastmagic.data.drawn import sample
from fastmagic.data.entry import Source
from fastmagic.errors import BadInput


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(BadInput) as caught:
        find("pet")
    assert "Did you mean 'pets'?" in caught.value.what
    assert "pets" in caught.value.next_step and "--list" in caught.value.next_step


def test_every_entry_is_complete() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.title and entry.folder and entry.pictures >= 0 and entry.classes != 1
        assert entry.defaults.weights in ("imagenet", "none")
        for source in entry.sources:
            assert source.url.startswith("http") and source.archive_bytes >= 0
            assert re.fullmatch(r"|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", source.checksum)
            assert re.fullmatch(r"|[0-9a-f]{32}", source.first_mib_md5)
            assert re.fullmatch(r"|[0-9a-f]{32}", source.reported_md5)
        if entry.sources:
            assert entry.url.startswith("https://")
            assert entry.archive_name == f"{entry.folder}.tgz"  # where untar_data unpacks it


def test_names_are_unlike_one_another_and_their_folders_too() -> None:
    assert len({one.folder for one in CATALOGUE.values()}) == len(CATALOGUE)
    assert len({one.url for one in CATALOGUE.values()}) == len(CATALOGUE)


def test_it_holds_what_the_installed_fastai_records() -> None:
    found = importlib.util.find_spec("fastai")
    if found is None or found.origin is None:
        pytest.skip("fastai is not installed")
    home = Path(found.origin).parent / "data"
    checks = ast.literal_eval((home / "download_checks.py").read_text("utf-8"))
    named = (home / "external.py").read_text("utf-8")
    for entry in CATALOGUE.values():
        if entry.sources:
            first = entry.sources[0]
            assert checks[entry.url] == (first.archive_bytes, first.first_mib_md5)
            assert f"/{entry.archive_name}'" in named or f"}}{entry.archive_name}'" in named


def test_a_checksum_of_the_first_mib_is_never_one_of_a_whole_file() -> None:
    sources = [source for entry in CATALOGUE.values() for source in entry.sources]
    parts = {source.first_mib_md5 for source in sources} - {""}
    whole = {source.reported_md5 for source in sources}
    whole |= {source.checksum.partition(":")[2] for source in sources}
    assert len(parts) > 15 and not parts & whole


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


def test_pets_from_the_archive_that_holds_the_pictures_alone_have_the_pattern_too() -> None:
    assert pattern_for(Path("/x/oxford-iiit-pet")) == find("pets").label_pattern


def test_another_address_expects_nothing_that_was_recorded() -> None:
    moved = at_address(find("pets"), {"FASTMAGIC_CATALOGUE": "http://here:8000/sets/"})
    assert moved.url == "http://here:8000/sets/oxford-iiit-pet.tgz"
    assert moved.sources[0] == Source(moved.url) and moved.pictures == 0
    assert [source.archive_name for source in moved.sources][1:] == ["images.tar.gz"]
    assert at_address(find("pets"), {}) == find("pets")
    assert at_address(find("sample"), {"FASTMAGIC_CATALOGUE": "http://here"}).url == ""
