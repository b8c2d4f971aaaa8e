from __future__ import annotations

import dataclasses

import pytest

from fastmagic.environment.planning.plan import Wishes, make_plan
from fastmagic.environment.planning.refusal import harm

from . import images

HERE = images.image("colab-2026-07-gpu")


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("torch", "--torch 9.9"),
        ("torchvision", "--allow-change torchvision"),
        ("torchaudio", "--allow-change torchaudio"),
        ("numpy", "--allow-change numpy"),
        ("ipykernel", "--allow-change ipykernel"),
        ("tornado", "--allow-change tornado"),
        ("ipywidgets", "--allow-change ipywidgets"),
    ],
)
def test_a_change_that_was_not_asked_for_is_refused_with_the_flag_for_it(name, flag):
    found = harm(make_plan(HERE), HERE, {"fastai": "2.8.8", name: "9.9"})
    assert found[0].what == f"This would replace {name} {HERE.installed[name]} by 9.9."
    assert flag in found[0].next_step


def test_a_change_that_was_asked_for_is_not_refused():
    numpy = make_plan(HERE, Wishes(allow_change=("numpy",)))
    assert harm(numpy, HERE, {"fastai": "2.8.8", "numpy": "2.4.6"}) == ()
    torch = make_plan(HERE, Wishes(torch="2.10"))
    chosen = {"torch": "2.10.0+cu126", "torchvision": "0.25.0+cu126", "torchaudio": "2.10.0+cu126"}
    assert harm(torch, HERE, {**chosen, "fastai": "2.8.8"}) == ()
    assert "numpy" in harm(torch, HERE, {**chosen, "fastai": "2.8.8", "numpy": "3"})[0].what


def test_what_is_new_or_stays_is_no_harm():
    chosen = {"fastai": "2.8.8", "numpy": HERE.installed["numpy"], "something": "1.0"}
    assert harm(make_plan(HERE), HERE, chosen) == ()


def test_a_build_from_another_index_is_refused_and_the_other_way_is_offered():
    here = images.inventory({"torch": "2.13.0+cpu"})
    found = harm(make_plan(here), here, {"torchvision": "0.28.0", "fastai": "2.8.12"})
    assert "pip would take 0.28.0 from elsewhere" in found[0].what
    assert "operator torchvision::nms does not exist" in found[0].what
    assert "%fastai_setup --torch 2.13.0 --torch-index registry" in found[0].next_step
    assert harm(make_plan(here), here, {"torchvision": "0.28.0+cpu", "fastai": "2.8.12"}) == ()


def test_a_password_stays_out_of_the_words():
    wishes = Wishes(torch="cu126", torch_index="https://me:secret@mirror.example/whl/cu126")
    here = images.inventory({})
    found = harm(make_plan(here, wishes), here, {"torch": "2.13.0"})
    assert found[0].what.startswith("https://***@mirror.example/whl/cu126 has no torch")


def test_without_an_index_it_is_said_that_there_is_none():
    here = images.inventory({})
    plan = dataclasses.replace(make_plan(here), index=None)
    found = harm(plan, here, {"torch": "2.15.0"})
    assert found[0].what.startswith("Without an index pip has no torch that fits")
    assert "--torch-index registry" in found[0].next_step


def test_a_solution_that_is_known_not_to_work_is_refused():
    found = harm(make_plan(HERE), HERE, {"fastcore": "2.2.39"})
    assert "starmap" in found[0].what
    assert '%fastai_setup --fastai ">=2.8.8"' not in found[0].next_step  # what was just planned
    assert '%pip install "fastai>=2.8.8"' in found[0].next_step


def test_where_our_own_line_mends_a_pair_it_is_named():
    here = images.image("colab-2026-08-gpu")
    found = harm(make_plan(here, Wishes(upgrade=True)), here, {"fastai": "2.8.7"})
    assert '%fastai_setup --fastai ">=2.8.8"' in found[0].next_step
    asked = make_plan(HERE, Wishes(upgrade=True))
    assert "%fastai_setup; it mends this pair" in harm(asked, HERE, {})[0].next_step
