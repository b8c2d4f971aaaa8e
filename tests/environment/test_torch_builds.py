from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from fastmagic.environment.planning import torch_builds, torch_tables

LINUX = ("linux", "x86_64")


@pytest.mark.parametrize(
    ("driver", "capability", "torch", "label"),
    [
        ("580.65", (7, 5), "", ""),  # T4
        ("580.65", (12, 0), "", ""),  # RTX 5090
        ("590.44", (13, 0), "", ""),  # newer than the table
        ("580.65", None, "", ""),
        ("550.54", (7, 5), "<2.14", "cu126"),
        ("525.60", (9, 0), "<2.14", "cu126"),  # H100
        ("570.86", (12, 0), "<2.12", "cu128"),
        ("580.65", (6, 0), "<2.14", "cu126"),  # P100
        ("580.65", (7, 0), "<2.14", "cu126"),  # V100
        ("580.65", (5, 2), "<2.14", "cu126"),
        ("470.82", (7, 5), "<=2.7.1", "cu118"),
        ("470.82", (3, 7), "<=2.3.1", "cu118"),  # K80
        ("470.82", (3, 5), "", "cpu"),  # K40
        ("440.33", (7, 5), "", "cpu"),
        ("unknown", (7, 5), "", "cpu"),
        (None, None, "", "cpu"),
    ],
)
def test_the_build_fits_driver_and_card(driver, capability, torch, label):
    choice = torch_builds.choose(*LINUX, "3.12.3", driver, capability)
    assert choice is not None
    assert choice[:2] == (torch, label)
    assert choice[2]


def test_why_a_card_gets_the_build_for_the_cpu_is_said():
    old = torch_builds.choose(*LINUX, "3.12.3", "440.33", (7, 5))
    k40 = torch_builds.choose(*LINUX, "3.12.3", "470.82", (3, 5))
    k80 = torch_builds.choose(*LINUX, "3.13.15", "470.82", (3, 7))
    whole = torch_builds.choose(*LINUX, "3.12.3", "470.82", (7, 5), "==2.13.0")
    assert old is not None and k40 is not None and k80 is not None and whole is not None
    assert "driver 440.33 is too old for every build with CUDA" in old[2]
    assert "compute capability 3.5" in k40[2]
    assert "2.3.1+cu118, has no wheel for Python 3.13" in k80[2]
    assert "==2.13.0 has no build that fits driver 470.82" in whole[2]


def test_on_windows_a_gpu_build_is_never_pips_own():
    with_gpu = torch_builds.choose("win32", "AMD64", "3.12.3", "580.88", (7, 5))
    assert with_gpu is not None
    assert with_gpu[1] == "cu130"
    without = torch_builds.choose("win32", "AMD64", "3.12.3", None, None)
    assert without is not None
    assert without[1] == ""


def test_macs_get_pips_own_build():
    assert torch_builds.choose("darwin", "arm64", "3.12.3", None, None, "")[:2] == ("", "")
    assert torch_builds.choose("darwin", "x86_64", "3.12.3", None, None, "")[0] == "<=2.2.2"
    assert torch_builds.choose("darwin", "x86_64", "3.13.1", None, None, "") is None


@pytest.mark.parametrize("python", ["3.10.14", "3.11.9", "3.12.3", "3.13.15", "3.14.0", "3.15.0"])
def test_only_wheels_that_exist_for_this_python_are_planned(python):
    for driver, capability in (
        (None, None),
        ("580.1", (7, 5)),
        ("550.1", (6, 0)),
        ("470.1", (3, 7)),
    ):
        choice = torch_builds.choose(*LINUX, python, driver, capability)
        assert choice is not None
        newest = torch_builds.newest_for(python, choice[0])
        assert newest is not None
        assert torch_builds.python_fits(newest, python)
        first, until = torch_tables.LABELS.get(choice[1], ("2.0", ""))
        assert SpecifierSet(f">={first}{',' * bool(until)}{until}").contains(
            f"{newest[0]}.{newest[1]}"
        )


def test_a_python_that_none_is_made_for_gets_none():
    assert torch_builds.choose(*LINUX, "3.16.0", None, None) is None
    assert torch_builds.choose(*LINUX, "3.9.18", None, None) is not None  # up to 2.8


def test_every_pytorch_has_its_pythons_and_its_torchvision():
    assert set(torch_tables.PYTHONS) == set(torch_tables.TORCHVISION)
    assert torch_builds.torchvision_for("2.0.1") == "==0.15.*"
    assert torch_builds.torchvision_for("2.14.1") == "==0.29.*"


@pytest.mark.parametrize(
    ("torch", "cuda", "capability", "runs"),
    [
        ("2.10.0+cu128", "12.8", (6, 0), False),
        ("2.10.0+cu128", "12.8", (7, 5), True),
        ("2.7.1+cu128", "12.8", (7, 0), False),
        ("2.13.0+cu126", "12.6", (5, 0), True),
        ("2.13.0+cu126", "12.6", (12, 0), False),
        ("2.15.0", "13.2", (7, 0), False),
        ("2.15.0", "13.2", (12, 0), True),
        ("2.3.1+cu118", "11.8", (3, 7), True),
        ("2.7.1+cu118", "11.8", (3, 7), False),
        ("1.13.1+cu117", "11.7", (3, 7), True),
    ],
)
def test_which_build_has_kernels_for_which_card(torch, cuda, capability, runs):
    assert torch_builds.has_kernels(torch, cuda, capability) is runs
