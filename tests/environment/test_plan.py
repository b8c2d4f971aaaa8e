from __future__ import annotations

import pytest

from fastmagic.environment.planning.plan import Wishes, make_plan
from fastmagic.errors import BadInput

from . import images

EMPTY: dict[str, str] = {}
AUGUST = images.packages("colab-2026-08-gpu")
HEALTHY = [name for name in images.NAMES if name != "colab-2026-07-gpu"]


def colab(**changes: str):
    changed = {name.replace("_", "-"): version for name, version in changes.items()}
    return images.image("colab-2026-08-gpu", {**AUGUST, **changed})


@pytest.mark.parametrize("name", HEALTHY)
def test_an_image_that_works_is_left_alone(name):
    plan = make_plan(images.image(name))
    assert plan.nothing_to_do
    assert plan.sentence.startswith("Nothing to do")
    assert not plan.warnings


def test_kaggles_own_image_is_left_alone():
    assert make_plan(images.image("kaggle-base-2026-05-gpu", images.kaggle())).nothing_to_do


def test_the_july_image_has_only_fastai_mended():
    plan = make_plan(images.image("colab-2026-07-gpu"))
    assert plan.requirements == ("fastai>=2.8.8",)
    assert "starmap" in plan.rows[0].why
    assert "torch==2.11.0+cu128" in plan.pins
    assert "fastcore==2.0.5" in plan.friends
    assert not any(line.startswith("fastai=") for line in plan.friends)


def test_on_kaggle_fastcore_is_mended_instead():
    installed = {**images.kaggle(), "fastcore": "2.0.5"}
    plan = make_plan(images.image("kaggle-base-2026-05-gpu", installed))
    assert plan.requirements == ("fastcore<2",)
    assert "fastcore<2" in plan.pins
    assert "fastai==2.8.7" in plan.friends


def test_on_kaggle_a_fastai_that_is_too_new_for_its_fastcore_goes_back():
    installed = {**images.kaggle(), "fastai": "2.8.8"}
    plan = make_plan(images.image("kaggle-base-2026-05-gpu", installed))
    assert plan.requirements == ("fastai>=2.8.7,<2.8.8",)


def test_on_kaggle_what_was_moved_on_by_hand_and_works_is_kept():
    installed = {**images.kaggle(), "fastai": "2.8.8", "fastcore": "2.2.12"}
    assert make_plan(images.image("kaggle-base-2026-05-gpu", installed)).nothing_to_do


@pytest.mark.parametrize("name", images.NAMES)
@pytest.mark.parametrize("without", ["fastai", "fastcore", "torchvision", "plum-dispatch"])
def test_a_torch_that_is_there_is_never_replaced(name, without):
    installed = images.packages(name)
    torch = installed["torch"]
    del installed[without]
    plan = make_plan(images.image(name, installed))
    assert "torch" not in {row.package for row in plan.rows}
    for kept in ("numpy", "ipykernel", "tornado", "ipywidgets"):
        assert f"{kept}=={installed[kept]}" in plan.pins
    assert f"torch=={torch}" in plan.pins


def test_no_plan_lets_a_plum_dispatch_in_with_which_nothing_can_be_exported():
    assert "plum-dispatch<2.10" in make_plan(images.inventory(EMPTY)).pins


@pytest.mark.parametrize(
    ("changes", "requirements"),
    [
        ({"fastai": "2.8.7"}, ("fastai>=2.8.8",)),
        ({"plum_dispatch": "2.10.0"}, ("plum-dispatch<2.10",)),
        ({"plum_dispatch": "2.10.1"}, ("plum-dispatch<2.10",)),
        (
            {"fastai": "2.8.9", "fastcore": "2.2.22", "plum_dispatch": "2.10.0"},
            ("plum-dispatch<2.10",),
        ),
        (
            {"fastcore": "1.14.5", "python_fasthtml": "0.14.14", "fastai": "2.8.7"},
            ("python-fasthtml<0.14.6",),
        ),
        ({"fastcore": "1.14.5", "python_fasthtml": "0.14.5"}, ("fastcore>=2.2.22",)),
        ({"fastcore": "2.0.0"}, ("fastcore>=2.0.4",)),
        ({"fastai": "2.7.19"}, ("fastai>=2.8",)),
        ({"fastai": "2.8.5", "fastcore": "1.8.18", "fastprogress": "1.0.5"}, ("fastai>=2.8.7",)),
    ],
)
def test_known_breakages_are_mended_with_the_least_change(changes, requirements):
    plan = make_plan(colab(**changes))
    assert plan.requirements == requirements
    assert len({row.package for row in plan.rows}) == len(plan.rows)


def test_what_a_package_declares_and_does_not_find_is_installed_once():
    installed = {name: version for name, version in AUGUST.items() if name != "fastcore"}
    plan = make_plan(images.image("colab-2026-08-gpu", installed))
    assert [row.package for row in plan.rows] == ["fastcore"]
    assert ">=1.14.6" in plan.requirements[0]


def test_a_package_that_fastai_does_not_use_is_not_mended():
    changes = {"fastai": "2.8.7", "fastcore": "1.8.18", "fastprogress": "1.0.5"}
    assert make_plan(colab(**changes)).nothing_to_do  # python-fasthtml is too new, and not used


def test_a_fastai_that_refuses_this_torch_is_changed_and_not_the_torch():
    here = colab(torch="3.0.0+cu128", torchvision="0.50.0+cu128")
    plan = make_plan(here)
    assert plan.requirements == ("fastai!=2.8.8",)
    assert "torch==3.0.0+cu128" in plan.pins


def test_a_fastai_that_is_asked_for_is_installed_with_what_it_needs():
    plan = make_plan(colab(), Wishes(fastai="2.8.7"))
    assert plan.requirements == ("fastai==2.8.7", "fastcore<2", "python-fasthtml<0.14.6")
    assert make_plan(colab(), Wishes(fastai=">=2.8.8")).nothing_to_do


def test_what_is_asked_of_fastai_holds_where_a_pair_is_mended():
    july = images.image("colab-2026-07-gpu")
    for asked in ("2.8.7", "<2.8.8"):
        assert make_plan(july, Wishes(fastai=asked)).requirements[0] == "fastcore<2"
    assert make_plan(july, Wishes(fastai=">=2.8")).requirements == ("fastai>=2.8.8",)
    old = make_plan(colab(fastai="2.7.19"), Wishes(fastai="<2.8.8"))
    assert old.requirements[0] == "fastai>=2.8,<2.8.8"
    assert make_plan(images.inventory(EMPTY), Wishes(fastai="<2.8.8")).requirements[2] == (
        "fastai>=2.8,<2.8.8"
    )


def test_a_fastai_that_would_need_another_torch_is_not_planned():
    plan = make_plan(colab(), Wishes(fastai="2.8.5"))
    assert not plan.requirements
    assert not plan.nothing_to_do
    assert plan.blocked == (
        "fastai 2.8.5 takes PyTorch before 2.10 only, and 2.11.0+cu128 is here and stays."
    )
    assert plan.offers[0].line == '%fastai_setup --fastai ">=2.8.7"'


def test_the_same_fastai_may_come_where_the_torch_may_change():
    plan = make_plan(colab(), Wishes(fastai="2.8.5", torch="2.9"))
    assert plan.requirements[0] == "torch<2.14,==2.9.*"
    assert "fastai==2.8.5" in plan.requirements


def test_an_upgrade_asks_for_fastai_and_keeps_torch():
    plan = make_plan(colab(), Wishes(upgrade=True))
    assert plan.requirements == ("fastai>=2.8",)
    assert plan.friends == ()
    assert "torch==2.11.0+cu128" in plan.pins


def test_what_may_change_is_not_pinned():
    plan = make_plan(colab(fastai="2.8.7"), Wishes(allow_change=("numpy", "ipywidgets")))
    assert plan.free == ("numpy", "ipywidgets")
    assert not any(line.startswith(("numpy=", "ipywidgets=")) for line in plan.pins)
    assert "tornado==6.5.7" in plan.pins


def test_the_index_is_a_setting():
    mirror = make_plan(images.inventory(EMPTY), Wishes(torch_index="https://mirror.example/cpu"))
    assert mirror.index == "https://mirror.example/cpu"
    assert mirror.label == "cpu"
    registry = make_plan(images.inventory(EMPTY), Wishes(torch_index="registry"))
    assert registry.index is None
    assert registry.label == ""
    assert registry.rows[0].why == "pip's own build, as asked"


def test_a_wish_that_cannot_be_read_is_told():
    with pytest.raises(BadInput, match="torch"):
        make_plan(images.inventory(EMPTY), Wishes(torch="newest"))
