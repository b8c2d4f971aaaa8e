from __future__ import annotations

import pytest

from fastmagic.environment.planning.plan import Wishes, make_plan
from fastmagic.errors import BadInput
from fastmagic.platforms import GPU_OFFERS

from . import images

AUGUST = images.packages("colab-2026-08-gpu")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PAIR = "%fastai_setup --torch 2.13.0 --torch-index registry"


def without(name: str):
    installed = {each: version for each, version in AUGUST.items() if each != name}
    return images.image("colab-2026-08-gpu", installed)


def test_an_empty_machine_without_a_driver_gets_the_cpu_build():
    plan = make_plan(images.inventory({}))
    assert plan.requirements == ("torch", "torchvision", "fastai>=2.8")
    assert plan.index == CPU_INDEX
    assert plan.label == "cpu"
    assert plan.otherwise[0].line == "%fastai_setup --torch-index registry"
    assert "2.8 GB" in plan.otherwise[0].does


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_than_on_linux_the_registry_has_the_right_build(system):
    plan = make_plan(images.inventory({}, system=system, machine="arm64"))
    assert plan.index is None
    assert plan.label == ""
    assert plan.requirements[0] == "torch"


def test_an_old_card_gets_its_last_wheel_where_this_python_has_one():
    k80 = {"driver": "470.82.01", "capability": (3, 7)}
    plan = make_plan(images.inventory({}, python="3.12.3", **k80))
    assert plan.requirements == ("torch<=2.3.1", "torchvision==0.18.*", "fastai>=2.8")
    assert plan.index == "https://download.pytorch.org/whl/cu118"
    plan = make_plan(images.inventory({}, python="3.13.15", **k80))
    assert plan.label == "cpu"
    assert "2.3.1+cu118, has no wheel for Python 3.13" in plan.rows[0].why


def test_a_python_without_wheels_is_told():
    plan = make_plan(images.inventory({}, python="3.16.0"))
    assert plan.blocked == "PyTorch has no wheel for Python 3.16.0 on this machine."
    assert not plan.requirements
    assert plan.offers[0].line == "python3.15 -m venv lesson"


@pytest.mark.parametrize("asked", ["9.9", "2.16", "2.16.0+cu130", "3.0"])
def test_a_pytorch_newer_than_the_table_is_told_with_the_newest_that_fits(asked):
    plan = make_plan(images.inventory({}), Wishes(torch=asked))
    assert plan.blocked == "fastmagic knows PyTorch up to 2.15."
    assert plan.offers[0].line == "%fastai_setup --torch 2.15"


def test_the_newest_that_fits_minds_driver_python_and_index():
    t4 = images.inventory({}, "550.54", capability=(7, 5))
    assert make_plan(t4, Wishes(torch="2.16")).offers[0].line == "%fastai_setup --torch 2.13"
    old = images.inventory({}, python="3.10.4")
    plan = make_plan(old, Wishes(torch="2.15", torch_index="registry"))
    assert "no wheel for Python 3.10.4" in plan.blocked
    assert plan.offers[0].line == "%fastai_setup --torch 2.14 --torch-index registry"


@pytest.mark.parametrize("python", ["3.9.1", "3.10.4", "3.13.15", "3.16.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("asked", [None, "9.9", "2.0", "2.13.0+cpu", "2.15"])
@pytest.mark.parametrize("installed", [{}, {"torch": "2.6.0a0+nv25.1"}])
def test_every_plan_that_is_blocked_offers_something(python, system, asked, installed):
    for driver, capability in ((None, None), ("390.1", (6, 1)), ("580.1", (7, 5))):
        here = images.inventory(
            installed, driver, capability=capability, python=python, system=system
        )
        plan = make_plan(here, Wishes(torch=asked))
        assert bool(plan.blocked) <= bool(plan.offers)
        assert bool(plan.index) <= bool(plan.otherwise)


def test_a_pytorch_from_before_numpy_2_is_not_put_beside_it():
    mac = {"system": "darwin", "machine": "x86_64", "python": "3.11.9"}
    plan = make_plan(images.inventory({"numpy": "2.4.6"}, **mac))
    assert "numpy 1 only" in plan.blocked
    assert plan.offers[0].line == "%fastai_setup --allow-change numpy"
    allowed = make_plan(
        images.inventory({"numpy": "2.4.6"}, **mac), Wishes(allow_change=("numpy",))
    )
    assert "numpy<2" in allowed.requirements
    assert make_plan(images.inventory({"numpy": "1.26.4"}, **mac)).requirements[0] == "torch<=2.2.2"


def test_a_missing_torchvision_is_taken_from_the_build_of_the_torch_that_is_there():
    plan = make_plan(without("torchvision"))
    assert plan.requirements == ("torchvision==0.26.*",)
    assert plan.index == "https://download.pytorch.org/whl/cu128"
    # The registry's pair is for CUDA 13, which driver 550 does not run.
    assert [offer.line for offer in plan.otherwise] == ["%fastai_setup --torch-index ADDRESS"]
    assert "try again later" in plan.otherwise[0].does


def test_with_a_new_driver_the_registrys_pair_is_offered_for_it():
    here = images.inventory({"torch": "2.11.0+cu128"}, "580.65", capability=(7, 5))
    assert make_plan(here).otherwise[0].line == (
        "%fastai_setup --torch 2.11.0 --torch-index registry"
    )


@pytest.mark.parametrize("torch", ["2.13.0+cpu", "2.13.0"])
def test_a_cpu_torch_gets_a_cpu_torchvision_or_the_offer_of_the_matched_pair(torch):
    plan = make_plan(images.inventory({"torch": torch}, torch_cuda=None))
    assert plan.requirements == ("torchvision==0.28.*", "fastai>=2.8")
    assert plan.label == "cpu"
    assert f"torch=={torch}" in plan.pins
    assert "operator torchvision::nms does not exist" in plan.why_index
    assert plan.otherwise[0].line == PAIR


def test_the_offered_pair_is_what_a_cpu_build_of_the_same_number_does_not_meet():
    here = images.inventory({"torch": "2.13.0+cpu", "numpy": "2.4.6"})
    plan = make_plan(here, Wishes(torch="2.13.0", torch_index="registry"))
    assert plan.requirements == ("torch===2.13.0", "torchvision==0.28.*", "fastai>=2.8")
    assert plan.index is None
    assert plan.label == ""
    assert plan.free == ("torch", "torchvision", "torchaudio")
    assert "numpy==2.4.6" in plan.pins


def test_a_torch_for_cuda_without_a_label_takes_pips_own_torchvision():
    plan = make_plan(images.inventory({"torch": "2.13.0"}, torch_cuda="13.0"))
    assert plan.requirements[0] == "torchvision==0.28.*"
    assert plan.index is None


def test_a_build_that_nobody_publishes_a_torchvision_for_is_told():
    here = images.inventory({"torch": "2.6.0a0+df5bbc09d1.nv25.1"}, torch_cuda="12.8")
    plan = make_plan(here)
    assert "none is published" in plan.blocked
    assert plan.offers[0].line == "%fastai_setup --torch 2.6.0+cpu"


BROKEN = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
CUDA_INSIDE = {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cu130"}


def test_a_torchvision_of_another_build_is_seen_before_it_is_imported():
    plan = make_plan(images.inventory(BROKEN, builds=CUDA_INSIDE))
    assert "operator torchvision::nms does not exist" in plan.blocked
    assert [offer.line for offer in plan.offers] == [
        "%fastai_setup --allow-change torchvision",
        PAIR,
    ]


def test_it_is_replaced_where_that_is_allowed_though_its_number_is_right():
    allowed = Wishes(allow_change=("torchvision",))
    plan = make_plan(images.inventory(BROKEN, builds=CUDA_INSIDE), allowed)
    assert plan.requirements[0] == "torchvision==0.28.0+cpu"
    assert "torch==2.13.0+cpu" in plan.pins


def test_a_torchvision_for_another_torch_or_another_cuda_is_seen():
    newer = images.inventory({"torch": "2.15.0", "torchvision": "0.26.0"}, torch_cuda="13.2")
    assert "made for PyTorch 2.11.0, and 2.15.0 is here" in make_plan(newer).blocked
    pair = {"torch": "2.13.0", "torchvision": "0.28.0"}
    other = images.inventory(pair, torch_cuda="13.0", builds={"torchvision": "0.28.0+cu126"})
    assert "CUDA 12.6" in make_plan(other).blocked


def test_the_registrys_own_pair_is_not_taken_for_a_mismatch():
    pair = {**AUGUST, "torch": "2.15.0", "torchvision": "0.29.2"}
    builds = {"torch": "2.15.0+cu132", "torchvision": "0.29.2+cu132"}
    here = images.image(
        "colab-2026-08-gpu", pair, torch_cuda="13.2", builds=builds, capability=None
    )
    assert make_plan(here).nothing_to_do


@pytest.mark.parametrize(
    ("wish", "requirements"),
    [
        (
            "2.10.0+cu126",
            (
                "torch==2.10.0+cu126",
                "torchvision==0.25.*,!=0.25.0+cu128",
                "torchaudio==2.10.*,!=2.10.0+cu128",
            ),
        ),
        ("cu126", ("torch<2.14,!=2.10.0+cu128", "torchvision==0.28.*")),
        ("2.9", ("torch<2.14,==2.9.*", "torchvision==0.24.*", "torchaudio==2.9.*")),
        ("2.10", ()),
        ("cu128", ()),
    ],
)
def test_a_torch_that_is_asked_for_comes_with_what_belongs_to_it(wish, requirements):
    plan = make_plan(images.image("kaggle-base-2026-05-gpu"), Wishes(torch=wish))
    assert plan.requirements == requirements


def test_a_build_that_does_not_exist_is_told():
    plan = make_plan(images.image("colab-2026-08-gpu"), Wishes(torch="2.13.0+cu118"))
    assert "PyTorch 2.13.0 for CUDA 11.8 has no wheel" in plan.blocked
    assert plan.offers[0].line == "%fastai_setup --torch 2.13.0"


def test_a_mac_has_one_build_of_each_version():
    mac = images.inventory({}, system="darwin", machine="arm64")
    with pytest.raises(BadInput, match="for Macs"):
        make_plan(mac, Wishes(torch="cu126"))
    assert make_plan(mac, Wishes(torch="2.13.0+cpu")).requirements[0] == "torch==2.13.0"


def test_a_change_that_is_allowed_and_not_asked_for_is_told():
    plan = make_plan(images.image("colab-2026-08-gpu"), Wishes(allow_change=("torch",)))
    assert plan.nothing_to_do
    assert "--torch SPEC" in plan.warnings[-1]


def test_a_build_that_needs_a_newer_driver_is_warned_of():
    plan = make_plan(images.image("colab-2026-08-gpu"), Wishes(torch="cu130"))
    assert any("driver 580 or newer; this one is 550.54.15" in words for words in plan.warnings)


def test_a_card_that_this_torch_has_no_kernels_for_is_told_and_nothing_is_replaced():
    plan = make_plan(images.image("kaggle-base-2026-05-gpu", capability=(6, 0)))
    assert plan.nothing_to_do
    assert "no kernels for this GPU (compute capability 6.0)" in plan.warnings[0]
    assert plan.offers[0].line == GPU_OFFERS["kaggle"]
    assert plan.offers[1].line == "%fastai_setup --torch 2.10.0+cu126"


def test_where_no_other_card_is_offered_another_build_is():
    here = images.image("kaggle-base-2026-05-gpu", capability=(6, 0), place="jupyter")
    assert make_plan(here).offers[0].line == "%fastai_setup --torch 2.10.0+cu126"


def test_a_card_beside_a_build_for_the_cpu_is_told():
    installed = images.packages("colab-2026-08-cpu")
    here = images.inventory(installed, "550.54", capability=(7, 5))
    plan = make_plan(here)
    assert plan.nothing_to_do
    assert "a build for the CPU" in plan.warnings[0]
    assert plan.offers[0].line == "%fastai_setup --torch 2.11.0+cu126"


def test_a_driver_too_old_for_this_torch_is_told():
    here = images.inventory(
        {**AUGUST, "torch": "2.11.0", "torchvision": "0.26.0"},
        "550.54",
        capability=(7, 5),
        torch_cuda="13.0",
    )
    plan = make_plan(here)
    assert "needs NVIDIA's driver 580; this one is 550.54" in plan.warnings[0]
    assert plan.offers[0].line == "%fastai_setup --torch 2.11.0+cu126"


def test_a_pytorch_from_before_numpy_2_that_is_there_beside_it_is_not_called_well():
    mac = {"system": "darwin", "machine": "x86_64", "python": "3.11.9"}
    old = {"torch": "2.2.2", "torchvision": "0.17.2", "fastai": "2.8.7", "numpy": "2.4.6"}
    plan = make_plan(images.inventory(old, **mac))
    assert plan.blocked == "PyTorch 2.2 works with numpy 1 only, and 2.4.6 is here."
    assert plan.offers[0].line == "%fastai_setup --allow-change numpy"
    allowed = make_plan(images.inventory(old, **mac), Wishes(allow_change=("numpy",)))
    assert "numpy<2" in allowed.requirements
    assert not any(line.startswith("numpy") for line in allowed.pins)
    fits = images.inventory({**old, "numpy": "1.26.4"}, **mac)
    assert not make_plan(fits).blocked
    newer = {**old, "torch": "2.3.1", "torchvision": "0.18.1"}
    assert not make_plan(images.inventory(newer, python="3.11.9")).blocked
