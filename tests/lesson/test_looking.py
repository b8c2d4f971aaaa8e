"""Pictures of rights and wrongs, and the confusion matrix."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from fastmagic.lesson import additions
from tests.lesson.test_precomputed import learner

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def learn(small_folder):
    return learner(small_folder)


@pytest.fixture
def plt():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


VOCAB = ["cats", "dogs"]
SURE_CAT, CAT, UNSURE, DOG = [0.99, 0.01], [0.8, 0.2], [0.51, 0.49], [0.1, 0.9]


def rows(predictions, targets, n=2):
    from fastmagic.lesson.additions.looking import kinds_of_pictures

    found = kinds_of_pictures(np.array(predictions), np.array(targets), VOCAB, n)
    return {heading: [int(i) for i in chosen] for heading, chosen in found}


def test_each_row_holds_the_pictures_that_it_says():
    found = rows([CAT, SURE_CAT, SURE_CAT, UNSURE, DOG, DOG], [0, 0, 1, 1, 1, 0])
    assert found["Most right: cats"] == [1, 0]
    assert found["Most wrong: cats"] == [5]
    assert found["Most right: dogs"] == [4]
    assert found["Most wrong: dogs"] == [2, 3]  # taken for a cat most surely first
    assert found["Least certain"] == [3, 0]
    assert set(found["Right, by chance"]) <= {0, 1, 4}
    assert set(found["Wrong, by chance"]) <= {2, 3, 5}


def test_where_nothing_is_wrong_the_rows_are_there_and_empty():
    assert rows([CAT, DOG], [0, 1])["Wrong, by chance"] == []


def test_a_title_says_what_it_is_taken_for_how_surely_and_what_it_is():
    from fastmagic.lesson.additions.looking import in_words

    assert in_words(np.array(CAT), 1, VOCAB) == "cats, 80% sure\n(it is dogs)"
    assert in_words(np.array(DOG), 1, VOCAB) == "dogs, 90% sure\n(right)"


def test_the_pictures_come_as_a_figure_and_nothing_is_returned(learn, plt):
    from fastmagic.lesson.additions.looking import show_rights_and_wrongs

    assert show_rights_and_wrongs(learn, n=2) is None
    [number] = plt.get_fignums()
    headings = [part.get_suptitle() for part in plt.figure(number).subfigs]
    assert len(headings) == 7
    assert headings[2].startswith("Most right: cats")


def test_the_confusion_matrix_counts_every_picture_once(learn, plt):
    from fastmagic.lesson.additions.looking import show_confusion

    assert show_confusion(learn) is None
    [axis] = plt.gcf().axes
    assert sum(int(text.get_text()) for text in axis.texts) == len(learn.dls.valid_ds)
    assert axis.get_ylabel() == "It is"


def test_the_additions_as_methods_are_plain_functions_of_a_learner():
    class Mine(additions.mixin()):
        pass

    for name in additions.NAMES:
        assert getattr(Mine, name).__doc__


@pytest.mark.parametrize("names", [{"precomputed"}, set(additions.NAMES), {"show_confusion"}])
def test_their_text_for_a_script_is_python_without_fastmagic(names):
    text = additions.sources(names)
    ast.parse(text)
    assert "fastmagic" not in text
    assert text.count("Learner.") >= len(names)
    lines = text.splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert len(imports) == len(set(imports))
