from __future__ import annotations

import numpy as np
import pytest

from fastmagic.data.catalogue import CATALOGUE, OWN_PICTURES
from fastmagic.errors import BadInput
from fastmagic.lesson import recipes
from fastmagic.lesson.order import recipe_body
from fastmagic.lesson.settings import settle


def settled(asked=None, *, own_body=False, defaults=OWN_PICTURES, env=None):
    return settle("photos", defaults, asked or {}, own_body=own_body, env=env or {})


def test_what_is_not_asked_for_comes_from_the_data_set():
    settings = settled(defaults=CATALOGUE["sample"].defaults)
    defaults = CATALOGUE["sample"].defaults
    assert (settings.recipe, settings.arch, settings.size) == (
        defaults.recipe,
        defaults.arch,
        defaults.size,
    )
    assert settings.weights == "none"


def test_what_is_asked_for_wins():
    assert settled({"arch": "squeezenet1_1", "size": 128}).arch == "squeezenet1_1"


def test_another_recipe_brings_its_own_epochs_and_rate():
    settings = settled({"recipe": "modern"}, defaults=CATALOGUE["sample"].defaults)
    assert (settings.epochs, settings.lr) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 3),
        ("bs", 0),
        ("bs", 1),
        ("epochs", 0),
        ("lr", -1.0),
        ("lr", float("nan")),
        ("valid_pct", 1.0),
        ("workers", -1),
        ("seed", -5),
    ],
)
def test_a_value_out_of_range_is_refused_with_an_example(name, value):
    with pytest.raises(BadInput, match="out of range") as caught:
        settled({name: value})
    assert "such as" in str(caught.value) or "0" in caught.value.next_step


def test_a_body_of_ones_own_may_train_on_one_picture_at_a_time():
    assert settled({"bs": 1}, own_body=True).bs == 1


@pytest.mark.parametrize("name", ["epochs", "lr", "recipe", "progressive"])
def test_a_recipes_flags_are_refused_for_a_body_of_ones_own(name):
    with pytest.raises(BadInput, match="has a body of its own"):
        settled({name: 1}, own_body=True)


@pytest.mark.parametrize("words", ["x", "0.5", "0.5,0", "0.5,0.5,0.5"])
def test_a_normalisation_that_cannot_be_read_is_refused(words):
    with pytest.raises(BadInput, match="cannot be read"):
        settled({"normalize": words})


@pytest.mark.parametrize(
    ("word", "hint"), [("fp17", "'fp16'"), ("half", "auto, fp32"), (16, "'fp16'")]
)
def test_a_word_that_is_no_precision_is_refused_before_anything_is_loaded(word, hint):
    with pytest.raises(BadInput, match=r"--precision .* is not known") as caught:
        settled({"precision": word})
    assert hint in caught.value.next_step
    assert settled({"precision": "auto"}).precision == "auto"


def test_a_weights_file_that_is_not_there_is_refused_before_anything_else():
    with pytest.raises(BadInput, match="no weights file"):
        settled({"weights": "missing.pth"})


def test_the_weights_can_be_set_by_the_environment():
    assert settled(env={"FASTMAGIC_WEIGHTS": "none"}).weights == "none"
    assert settled({"weights": "imagenet"}, env={"FASTMAGIC_WEIGHTS": "none"}).weights == "imagenet"


def test_every_data_sets_recipe_exists_and_its_epochs_reach_it():
    for entry in [*CATALOGUE.values()]:
        body = recipes.body(entry.defaults.recipe, {"epochs": 7, "lr": 0.125})
        assert "epochs = 7  # --epochs" in body
        assert "lr = 0.125  # --lr" in body


def test_every_recipe_is_python_that_names_learn():
    from fastmagic.lesson import cell

    for name in recipes.names():
        assert "learn" in cell.parse(recipes.body(name)).names


def test_an_unknown_recipe_gets_the_nearest():
    with pytest.raises(BadInput, match="Did you mean 'classic'"):
        recipes.body("clasic")


def test_the_home_folder_is_known_in_the_path_of_a_weights_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.pth").touch()
    assert settled({"weights": "~/my.pth"}).weights == str(tmp_path / "my.pth")


@pytest.mark.parametrize("words", ["nan,1", "0.5,nan", "0.5,inf", "inf,1", "0.5,0"])
def test_pixels_cannot_be_scaled_by_what_is_no_number(words):
    with pytest.raises(BadInput, match="cannot be read"):
        settled({"normalize": words})


def test_only_recipe_classic_has_epochs_on_small_pictures():
    assert settled({"recipe": "classic", "progressive": True}).progressive
    with pytest.raises(BadInput, match="quick has no epochs on smaller pictures"):
        settled({"recipe": "quick", "progressive": True})


def test_what_is_known_of_recipe_quick_is_what_stands_in_it():
    from fastmagic.lesson import recipes
    from fastmagic.lesson.start import QUICK_MOST

    assert f"\nmost = {QUICK_MOST}\n" in recipes.body("quick")


@pytest.mark.parametrize("given", [{"size": "64"}, {"epochs": "3"}, {"lr": "1e-3"}, {"bs": True}])
def test_what_is_no_number_is_refused_by_its_name(given):
    [name] = given
    with pytest.raises(BadInput, match=f"{name} is .* no (whole )?number"):
        settled(given)


def test_numbers_of_numpy_become_pythons_own():
    asked = {"epochs": np.int64(2), "lr": np.float64(0.5), "size": np.float32(64), "bs": 8.0}
    settings = settled({"recipe": "modern", **asked})
    numbers = [settings.epochs, settings.lr, settings.size, settings.bs]
    assert str(numbers) == "[2, 0.5, 64, 8]"
    assert "epochs = 2  # --epochs" in recipe_body(settings)
