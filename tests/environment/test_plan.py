from __future__ import annotations

import pytest

from fastmagic.environment.plan import KNOWN_BAD, make_plan

from . import images

EMPTY: dict[str, str] = {}
AUGUST = images.packages("colab-2026-08-gpu")
HEALTHY = [name for name in images.NAMES if name != "colab-2026-07-gpu"]


@pytest.mark.parametrize("name", HEALTHY)
def test_an_image_that_works_is_left_alone(name):
    plan = make_plan(images.image(name))
    assert plan.nothing_to_do
    assert plan.sentence.startswith("Nothing to do")


def test_the_july_image_has_only_fastai_and_fastcore_mended():
    plan = make_plan(images.image("colab-2026-07-gpu"))
    assert {row.package for row in plan.rows} == {"fastai", "fastcore"}
    assert "starmap" in plan.rows[0].why
    assert "torch==2.11.0+cu128" in plan.pins
    assert "fasttransform==0.0.2" in plan.friends
    assert not any(line.startswith(("fastai=", "fastcore=")) for line in plan.friends)


@pytest.mark.parametrize("name", images.NAMES)
@pytest.mark.parametrize("without", ["fastai", "fastcore", "torchvision", "plum-dispatch"])
def test_a_torch_that_is_there_is_never_replaced(name, without):
    installed = images.packages(name)
    torch = installed["torch"]
    del installed[without]
    plan = make_plan(images.inventory(installed))
    assert "torch" not in {row.package for row in plan.rows}
    assert f"torch=={torch}" in plan.pins
    assert f"numpy=={installed['numpy']}" in plan.pins
    assert f"ipykernel=={installed['ipykernel']}" in plan.pins


def test_an_empty_machine_without_a_driver_gets_the_cpu_build():
    plan = make_plan(images.inventory(EMPTY))
    assert plan.requirements == ("torch", "torchvision", "fastai>=2.8")
    assert plan.index == "https://download.pytorch.org/whl/cpu"
    assert plan.label == "cpu"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_than_on_linux_the_registry_has_the_right_build(system):
    plan = make_plan(images.inventory(EMPTY, system=system))
    assert plan.index is None
    assert plan.label == ""


@pytest.mark.parametrize(
    ("driver", "capability", "torch", "label"),
    [
        ("580.65", (7, 5), "torch", ""),
        ("550.54", (7, 5), "torch<2.14", "cu126"),
        ("580.65", (6, 0), "torch<2.14", "cu126"),
        ("470.82", (3, 7), "torch", "cpu"),
        ("470.82", (7, 5), "torch", "cpu"),
    ],
)
def test_the_build_fits_driver_and_card(driver, capability, torch, label):
    plan = make_plan(images.inventory(EMPTY, driver, capability=capability))
    assert plan.requirements[0] == torch
    assert plan.label == label


def test_the_index_is_a_setting():
    mirror = make_plan(images.inventory(EMPTY), "https://mirror.example/cpu")
    assert mirror.index == "https://mirror.example/cpu"
    assert mirror.label == "cpu"
    registry = make_plan(images.inventory(EMPTY), "registry")
    assert registry.index is None
    assert registry.label == ""
    assert registry.rows[0].why == "pip's own build, as asked"


def test_a_missing_torchvision_is_taken_from_the_build_of_the_torch_that_is_there():
    installed = {**AUGUST}
    del installed["torchvision"]
    plan = make_plan(images.inventory(installed))
    assert plan.requirements == ("torchvision",)
    assert plan.index == "https://download.pytorch.org/whl/cu128"


def test_a_cpu_torch_without_a_label_gets_a_cpu_torchvision():
    plan = make_plan(images.inventory({"torch": "2.13.0"}, torch_cuda=None))
    assert plan.label == "cpu"
    assert plan.pins == ("torch==2.13.0",)


@pytest.mark.parametrize(
    ("changes", "package"),
    [
        ({"fastai": "2.8.7"}, "fastai"),
        ({"plum-dispatch": "2.10.0"}, "plum-dispatch"),
        ({"fastcore": "1.14.5", "python-fasthtml": "0.14.14", "fastai": "2.8.7"}, "fastcore"),
        ({"fastai": "2.7.19"}, "fastai"),
    ],
)
def test_known_breakages_are_mended(changes, package):
    plan = make_plan(images.inventory({**AUGUST, **changes}))
    assert package in {row.package for row in plan.rows}
    assert "torch" not in {row.package for row in plan.rows}


def test_a_fastai_that_refuses_this_torch_is_changed_and_not_the_torch():
    here = images.inventory({**AUGUST, "torch": "3.0.0"})
    plan = make_plan(here)
    assert plan.requirements == ("fastai!=2.8.8",)
    assert "torch==3.0.0" in plan.pins


def test_every_known_bad_pair_names_its_source():
    assert all(bad.source.startswith("https://") and bad.why for bad in KNOWN_BAD)
