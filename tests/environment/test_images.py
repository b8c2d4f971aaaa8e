"""Installing fastmagic on the images changes nothing there."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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
