"""README and reference: what they name is there, and what is there is named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import fastmagic
from fastmagic import magics

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
MAGICS = ("gpu_check", "fastai_setup", "get_data", "train_lesson1")
NOT_OURS = {  # messages of Python, IPython, PyTorch and Colab
    "No module named 'fastmagic'",
    "Line magic function `%gpu_check` not found",
    "no kernel image is available",
    "Your session crashed after using all available RAM",
    "CUDA out of memory",
}


def part_of(text: str, title: str) -> str:
    """Give what stands under a heading."""
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def flags_of(name: str) -> set[str]:
    parser = getattr(magics.FastMagics, name).parser
    return {flag for flag in parser._option_string_actions if flag.startswith("--")} - {"--help"}


def test_the_readme_has_a_readable_length():
    assert 60 <= len(README.splitlines()) <= 200


@pytest.mark.parametrize("name", MAGICS)
def test_the_reference_has_every_flag_and_no_other(name):
    described = set(re.findall(r"--[a-z][a-z0-9-]*", part_of(REFERENCE, f"`%{name}`")))
    assert described - {"--workers"} == flags_of(name) - {"--workers"}


def test_the_reference_has_every_setting_and_no_other():
    traits = magics.FastMagics.class_own_traits(config=True)
    assert set(re.findall(r"%config FastMagics\.(\w+)", REFERENCE)) == set(traits)


IN_PYTHON = part_of(REFERENCE, "In Python")


def test_the_reference_has_every_public_name():
    said = set(re.findall(r"`(\w+)[`(]", IN_PYTHON))
    assert not set(fastmagic.__all__) - said


@pytest.mark.parametrize("row", re.findall(r"^\| `\w+\(.*\|$", IN_PYTHON, re.MULTILINE))
def test_what_a_call_is_said_to_give_it_gives(row):
    _, calls, _, gives, _ = row.split("|")
    names = set(re.findall(r"`(\w+)\(", calls))
    assert names <= set(fastmagic.__all__)
    call = getattr(fastmagic, names.pop())
    given = eval(call.__annotations__["return"], call.__globals__)
    if given is Path:
        return
    fields = {one.name for one in dataclasses.fields(given)}
    of_each = "each with `name`, `here`, `folder`"
    attributes = set(re.findall(r"`(\w+)`", gives.replace(of_each, "")))
    assert len(attributes) > 1
    assert attributes <= fields | set(dir(given))


@pytest.mark.parametrize("file", ["README.md", "docs/reference.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text):
        assert (ROOT / file).parent.joinpath(link).exists(), link


def test_the_messages_to_look_up_are_those_that_are_raised():
    """A message that is reworded is reworded in the README too."""
    source = "\n".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "fastmagic").rglob("*.py")
    )
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go on in the next line
    rows = part_of(README, "When something goes wrong").splitlines()
    said = [row.split("|")[1] for row in rows if row.startswith("| `")]
    found = [one.strip("` ") for row in said for one in re.findall(r"``.*?``|`[^`]+`", row)]
    assert len(found) >= 10
    for words in set(found) - NOT_OURS:
        pattern = re.sub(r"\d+", r"(\\d+|\\{status\\})", re.escape(words)).replace("…", ".*")
        assert re.search(pattern, source), words


def test_every_recipe_is_named():
    from fastmagic.lesson import recipes

    named = re.findall(r"^\| `(\w+)` \|", part_of(README, "The lesson"), re.MULTILINE)
    assert sorted(named) == recipes.names()


def test_the_readme_says_that_a_recipe_prints():
    from fastmagic.lesson import recipes

    assert any("\nprint(" in recipes.body(name) for name in recipes.names())
    said = " ".join(README.split())
    assert "unless called with `show=True`; what a lesson's code prints is printed" in said
