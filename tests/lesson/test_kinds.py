"""What is of the wrong kind is refused by its argument's name, before anything is begun."""

from __future__ import annotations

import inspect

import pytest

import fastmagic
from fastmagic.errors import BadInput
from fastmagic.lesson import kinds
from fastmagic.lesson.train import train_lesson1
from fastmagic.ranks import member

ELSEWHERE = {"after", "precision", "gpus", "show", "cache", "dest"}
"""Looked at where they are used."""

OF_A_NOTEBOOK = {"namespace", "first_line", "transform", "display"}


def refusal(**given):
    [name] = given
    with pytest.raises(BadInput, match=f"^{name} is ") as caught:
        fastmagic.train_lesson1(**{"recipe": "scratch", **given})
    return caught.value


def test_each_argument_has_its_kind():
    arguments = set(inspect.signature(train_lesson1).parameters)
    assert arguments - ELSEWHERE - OF_A_NOTEBOOK == set(kinds.TAKES)


@pytest.mark.parametrize("name", [*kinds.TAKES, "after"])
def test_what_is_of_no_kind_is_refused_by_name_with_what_to_give(name):
    error = refusal(**{name: [5]})
    assert error.what.startswith(f"{name} is [5], which is n")
    assert error.next_step.startswith("Give ")


@pytest.mark.parametrize(
    "given",
    [
        *({name: 2.5} for name in ("size", "bs", "seed", "workers", "processes")),
        *({name: "5"} for name in ("time_limit", "cache_limit", "save_every", "processes")),
        *({name: float("nan")} for name in ("size", "processes")),
        {"seed": float("inf")},
        {"bs": True},
        {"arch": print},
        {"normalize": (0.5, 0.5)},
        {"save_every": None},
        {"freeze_bn": "no"},
        {"epochs": 1.5},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_refused_by_name(given):
    refusal(**given)


@pytest.mark.parametrize("name", ["time_limit", "save_every", "cache_limit"])
def test_a_job_says_so_too(capsys, name):
    with pytest.raises(SystemExit):
        member.train("sample", "learn.fit(1)", **{name: "5"})
    assert f"{name} is '5', which is no number." in capsys.readouterr().err
