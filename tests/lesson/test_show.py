"""What `--show` writes into the next cell: the very same lesson."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fastmagic import magics
from fastmagic.data.catalogue import CATALOGUE, OWN_PICTURES
from fastmagic.lesson import recipes
from fastmagic.lesson.settings import settle
from fastmagic.lesson.show import cell_text
from fastmagic.line import read_line

BODY = "epochs = 3  # --epochs\nlearn.fit(epochs)\n"


def defaults_of(data):
    return CATALOGUE[data].defaults if data in CATALOGUE else OWN_PICTURES


def shown(data, asked=None, env=None):
    settings = settle(data, defaults_of(data), asked or {}, own_body=False, env=env or {})
    text = cell_text(settings, defaults_of(data), BODY, env=env or {})
    first, _, body = text.partition("\n")
    return settings, first.removeprefix("%%train_lesson1 "), body


def read_back(line, env=None):
    args = vars(read_line(magics.FastMagics.train_lesson1.parser, line))
    names = set(settle("x", OWN_PICTURES, {}, own_body=True, env={}).to_dict())
    asked = {name: value for name, value in args.items() if name in names and name != "data"}
    data = args["data"]
    return settle(data, defaults_of(data), asked, own_body=True, env=env or {})


CASES = [
    ("sample", {}),
    ("dogscats", {}),
    ("pets", {"recipe": "modern", "epochs": 2, "lr": 1e-3}),
    ("dogscats", {"arch": "squeezenet1_1", "size": 128, "bs": 16, "seed": 7, "workers": 0}),
    ("sample", {"weights": "imagenet", "normalize": "half"}),
    ("dogscats", {"weights": "none", "normalize": "0.5,0.25", "valid_pct": 0.3}),
    ("/home/me/my photos", {"label_pattern": r"^(.*) no \d+\.jpg$"}),
    ("C:\\my cats", {}),
    ("it's here", {"label_pattern": r'^"(\w+)"'}),
    ("~/$photos/{new}", {"label_pattern": r"^(.*)_\d{2}$"}),
    ("-odd", {}),
]


@pytest.mark.parametrize(("data", "asked"), CASES)
def test_the_cell_that_is_shown_asks_for_the_same_lesson(data, asked, shell):
    settings, line, _ = shown(data, asked)
    as_ipython_hands_it_over = shell.var_expand(line)
    wanted = replace(settings, recipe="own", epochs=None, lr=None)
    assert read_back(as_ipython_hands_it_over) == wanted


def test_only_what_differs_is_written():
    assert shown("sample")[1] == "--data sample"
    line = shown("sample", {"size": 64, "epochs": 9, "lr": 0.1, "recipe": "classic"})[1]
    assert line == "--data sample --size 64"


def test_weights_that_the_environment_stands_in_for_are_written(tmp_path):
    env = {"FASTMAGIC_WEIGHTS": "none"}
    settings, line, _ = shown("dogscats", env=env)
    assert settings.weights == "none"
    assert "--weights none" in line
    _, line, _ = shown("dogscats", {"weights": "imagenet"}, env=env)
    assert read_back(line, env).weights == "imagenet"


def test_a_weights_file_is_named(tmp_path):
    file = Path(tmp_path / "my weights.pth")
    file.touch()
    settings, line, _ = shown("dogscats", {"weights": str(file)})
    assert read_back(line).weights == settings.weights


def test_the_body_is_the_recipes_own():
    assert shown("dogscats")[2] == BODY
    for name in recipes.names():
        settings = settle("sample", OWN_PICTURES, {"recipe": name}, own_body=False, env={})
        body = recipes.body(name)
        assert cell_text(settings, OWN_PICTURES, body).endswith(body)
