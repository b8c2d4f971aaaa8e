from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from fastmagic.environment.planning.known_bad import KNOWN_BAD, known_bad
from fastmagic.environment.planning.torch_builds import fits

from . import images

GOOD = [  # each trained, predicted, exported and loaded in November 2026
    {"fastai": "2.8.8", "fastcore": "2.2.12", "plum-dispatch": "2.9.0"},
    {"fastai": "2.8.8", "fastcore": "2.0.0", "python-fasthtml": "0.14.5"},
    {"fastai": "2.8.8", "fastcore": "2.0.5", "python-fasthtml": "0.14.6"},
    {"fastai": "2.8.8", "fastcore": "2.2.39", "plum-dispatch": "2.8.0"},
    {"fastai": "2.8.7", "fastcore": "1.14.5", "python-fasthtml": "0.14.5"},
    {
        "fastai": "2.8.7",
        "fastcore": "1.8.18",
        "fastprogress": "1.0.5",
        "python-fasthtml": "0.14.14",
    },
    {"fastai": "2.8.6", "fastcore": "1.14.5", "python-fasthtml": "0.14.5"},
    {"fastai": "2.8.10", "fastcore": "2.2.39", "python-fasthtml": "0.14.6"},
    {"fastai": "2.8.12", "fastcore": "2.2.22", "plum-dispatch": "2.9.0"},
    {"fastai": "2.8.12", "fastcore": "2.2.39", "python-fasthtml": "0.14.14"},
]
BAR = {"fastprogress": "1.1.6"}
BAD = [  # each failed
    {"fastai": "2.8.7", "fastcore": "2.0.5", "python-fasthtml": "0.14.6"},
    {"fastai": "2.8.7", "fastcore": "2.0.0", "python-fasthtml": "0.14.5"},
    {"fastai": "2.8.8", "plum-dispatch": "2.10.0"},
    {"fastai": "2.8.9", "plum-dispatch": "2.10.0"},
    {"fastai": "2.8.7", "plum-dispatch": "2.10.1"},
    {"fastai": "2.8.12", "plum-dispatch": "2.10.1"},
    {"fastai": "2.8.8", "fastcore": "1.14.5", "python-fasthtml": "0.14.5"},
    {"fastai": "2.8.7", "fastcore": "1.14.5", "python-fasthtml": "0.14.14", **BAR},
    {"fastai": "2.8.7", "fastcore": "1.12.42", "python-fasthtml": "0.14.6", **BAR},
    {"fastai": "2.8.8", "fastcore": "2.0.0", "python-fasthtml": "0.14.14", **BAR},
]


@pytest.mark.parametrize("installed", GOOD, ids=str)
def test_what_worked_is_not_called_bad(installed):
    assert known_bad(installed) == []


@pytest.mark.parametrize("installed", BAD, ids=str)
def test_what_failed_is_called_bad(installed):
    assert known_bad(installed)


@pytest.mark.parametrize("bad", KNOWN_BAD, ids=lambda bad: bad.why)
def test_every_row_names_its_source_and_a_remedy_that_ends_it(bad):
    assert bad.source.startswith("https://github.com/")
    assert bad.why
    for remedy in (bad.remedy, bad.with_old_fastcore):
        for need in map(Requirement, remedy[:1]):
            span = bad.when[need.name]
            tried = {version for each in GOOD + BAD for version in each.values()}
            outside = [version for version in tried if fits(version, str(need.specifier))]
            assert any(not fits(version, span) for version in outside)


@pytest.mark.parametrize("name", [name for name in images.NAMES if "07" not in name])
def test_no_image_but_julys_is_called_bad(name):
    assert known_bad(images.packages(name)) == []
