"""Installing fastmagic on the images changes nothing there, and the table of plans is whole."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fastmagic.environment.planning.plan import make_plan

from . import images

SETUP_CFG = Path(__file__).parents[2] / "setup.cfg"


def base_requirements() -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(SETUP_CFG, encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_there_are_six_lists():
    assert len(images.NAMES) == 6


@pytest.mark.parametrize("name", images.NAMES)
def test_the_base_install_is_met_by_every_image(name):
    somewhere = {package for each in images.NAMES for package in images.packages(each)}
    here = images.packages(name)
    for need in base_requirements():
        if need.name in here:
            assert need.specifier.contains(here[need.name], prereleases=True), str(need)
        else:
            assert need.name == "nvidia-ml-py" or need.name not in somewhere, str(need)


def test_kaggles_requirements_change_only_what_they_name():
    base, kaggle = images.packages("kaggle-base-2026-05-gpu"), images.kaggle()
    changed = {name for name in base if base[name] != kaggle[name]}
    assert changed == {"ipywidgets", "jupyter-server"}


@pytest.mark.parametrize("title", images.cases())
def test_every_case_is_planned_in_one_line_and_no_torch_that_is_there_is_replaced(title):
    here, wishes = images.cases()[title]
    plan = make_plan(here, wishes)
    assert "\n" not in images.one_line(plan)
    if "torch" in here.installed and wishes.torch is None:
        assert "torch" not in {row.package for row in plan.rows}
        assert "torch" not in plan.free
        if plan.requirements:
            assert f"torch=={here.installed['torch']}" in plan.pins
