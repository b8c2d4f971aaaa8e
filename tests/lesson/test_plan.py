"""What is read out of a lesson's body before it runs, and what is not."""

from __future__ import annotations

import pytest

from fastmagic.lesson import recipes
from fastmagic.lesson.forecast.calls import Work
from fastmagic.lesson.forecast.constants import UNKNOWN, value_of
from fastmagic.lesson.forecast.plan import read_plan


def works(body, **options):
    """Read a body that can be read, as pairs of kind and amount."""
    plan = read_plan(body, **options)
    assert plan.complete, plan.unread
    return [(work.kind, work.amount) for work in plan.works]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("learn.fit(2)", [("frozen", 2)]),
        ("learn.fit(n_epoch=2, lr=1e-3)", [("frozen", 2)]),
        ("learn.fit(5, start_epoch=2)", [("frozen", 3)]),
        ("learn.fit_one_cycle(4, 3e-3)", [("frozen", 4)]),
        ("learn.fit_flat_cos(4, start_epoch=2)", [("frozen", 4)]),  # fastai ignores it there
        ("learn.fine_tune(3)", [("frozen", 1), ("whole", 3)]),
        ("learn.fine_tune(3, 1e-3, 2)", [("frozen", 2), ("whole", 3)]),
        (
            "learn.fine_tune(3, freeze_epochs=0)\nlearn.fit(1)",
            [("frozen", 0), ("whole", 3), ("whole", 1)],
        ),
        ("learn.fit_sgdr(3, 1)", [("frozen", 7)]),
        ("learn.fit_sgdr(2, 2, cycle_mult=3)", [("frozen", 8)]),
        ("learn.fit_cycles(3, 1e-2)", [("frozen", 3)]),
        ("learn.fit_cycles(3, 1e-2, cycle_mult=2)", [("frozen", 7)]),
        ("learn.fit_cycles(2, 1e-2, 2, 3)", [("frozen", 8)]),
        (
            "learn.unfreeze()\nlearn.fit(2)\nlearn.freeze()\nlearn.fit(1)",
            [("whole", 2), ("frozen", 1)],
        ),
        ("learn.freeze_to(-1)\nlearn.fit(1)", [("frozen", 1)]),
        ("learn.freeze_to(-2)\nlearn.fit(1)", [("whole", 1)]),
        ("learn.freeze_to(0)\nlearn.fit(1)", [("whole", 1)]),
        ("found = learn.lr_find()", [("lr_find", 100)]),
        (
            "lr = learn.lr_find(num_it=50).valley\nlearn.fit(1, lr)",
            [("lr_find", 50), ("frozen", 1)],
        ),
        ("learn.lr_find(1e-7, 10, 3)", [("lr_find", 6)]),  # fastai's least
        ("preds, targets = learn.tta()", [("predict", 5)]),
        ("learn.tta(n=2)", [("predict", 3)]),
        ("learn.validate()\nlearn.get_preds()", [("predict", 1), ("predict", 1)]),
        (
            "learn.show_rights_and_wrongs()\nlearn.show_confusion()",
            [("predict", 1), ("predict", 1)],
        ),
        ("seen = Interpretation.from_learner(learn)\nseen.plot_top_losses(9)", [("predict", 1)]),
        ("learn.save('a')\nlearn.load('a').fit(1)", [("frozen", 1)]),
        ("learn.to_fp16()\nlearn.recorder.plot_loss()\nprint(learn.loss)\nlearn", []),
        ("student = learn\nstudent.fit(1)", [("frozen", 1)]),
        ("with learn.no_bar(), learn.no_logging() as quiet:\n    quiet.fit(1)", [("frozen", 1)]),
    ],
)
def test_each_call_is_read_as_fastai_would_do_it(body, found):
    assert works(body) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("epochs = 3  # --epochs\nlearn.fit(epochs)", [("frozen", 3)]),
        ("n, m = 2, 3\nlearn.fit(n * m - 1)", [("frozen", 5)]),
        ("n = 8\nn //= 3\nlearn.fit(n)", [("frozen", 2)]),
        ("n = 3\nlearn.fit(max(1, n // 2), slice(1e-3 / 100, 1e-3))", [("frozen", 1)]),
        ("for i in range(3):\n    learn.fit(i + 1)", [("frozen", 1), ("frozen", 2), ("frozen", 3)]),
        ("for lr in (1e-3, 1e-4):\n    learn.fit(2, lr)", [("frozen", 2), ("frozen", 2)]),
        ("quick = True\nif quick:\n    learn.fit(1)\nelse:\n    learn.fit(9)", [("frozen", 1)]),
        (
            "import numpy as np\nx = np.zeros(3)\nfor y in x:\n    print(y)\nlearn.fit(1)",
            [("frozen", 1)],
        ),
        ("def lr_of(n):\n    return n / 100\nlearn.fit(1, lr_of(3))", [("frozen", 1)]),
    ],
)
def test_constants_loops_and_branches_are_followed(body, found):
    assert works(body) == found


def test_numbers_from_the_notebook_are_known_if_they_are_handed_over():
    assert works("learn.fit(epochs)", known={"epochs": 4}) == [("frozen", 4)]
    assert not read_plan("learn.fit(epochs)").complete


def test_a_learner_without_weights_starts_whole():
    assert works("learn.fit(1)", frozen=False) == [("whole", 1)]


def test_precomputed_epochs_come_after_one_pass_for_the_features_and_end_with_the_block():
    body = """
with learn.precomputed() as head:
    head.lr_find()
    learn.fit(2, 1e-2)
    learn.validate()
learn.fit(1)
"""
    assert read_plan(body).works == (
        Work("features", 1),
        Work("lr_find", 100, "precomputed"),
        Work("precomputed", 2),
        Work("predict", 1, "precomputed"),
        Work("frozen", 1),
    )


def test_batch_norms_are_kept_until_something_is_frozen_or_unfrozen():
    body = """
learn.keep_batch_norm()
learn.fit(1)
with learn.precomputed():
    learn.fit(1)
learn.lr_find()
learn.freeze()
learn.fit(2)
learn.unfreeze()
learn.keep_batch_norm()
learn.fit(3)
"""
    assert works(body) == [
        *(("kept", 1), ("features", 1), ("precomputed", 1)),
        *(("lr_find", 100), ("frozen", 2), ("whole", 3)),
    ]
    assert read_plan(body).works[3].layers == "kept"


def test_a_part_of_the_pictures_is_enough_where_the_body_says_so():
    body = "most = 2000\nwith learn.precomputed(most=most, seed=1):\n    learn.fit(2)\nlearn.fit(1)"
    assert [work.most for work in read_plan(body).works] == [2000, 2000, 0]
    assert read_plan(body.replace("=most", "=None")).works[0].most == 0
    assert not read_plan(body.replace("=most", "=some")).complete


@pytest.mark.parametrize(
    "line",
    [
        "train(learn)",
        "train_it()",
        "learn.fit(n)",
        "learn.fit(True)",
        "learn.fit(*arguments)",
        "learn.fit(1, **options)",
        "learn.fit_sgdr(2, 1, cycle_mult=1)",  # fastai raises ZeroDivisionError
        "learn.teach(3)",
        "learn.get_preds(dl=test_dl)",
        "learn.tta(ds_idx=0)",
        "fit = learn.fit",
        "learners = [learn]",
        "[learn.fit(1) for _ in range(3)]",
        "train = lambda: learn.fit(1)",
        "ready and learn.fit(1)",
        "if ready:\n    learn.fit(1)",
        "while not good:\n    learn.fit(1)",
        "for x in dls.train:\n    step(x)",
        "for n in counts:\n    learn.fit(1)",
        "for n in range(10**7):\n    learn.fit(1)",
        "for n in range(3):\n    learn.fit(1)\n    break",
        "try:\n    learn.fit(1)\nexcept ValueError:\n    pass",
        "def train():\n    learn.fit(1)",
        "learn = vision_learner(dls, 'resnet18')",
        "from fastai.vision.all import *\nlearn = vision_learner(dls, resnet18)",
        "from fastai.vision.all import *\nother = vision_learner(dls, resnet18)\nother.fit(1)",
        "learn.dls = other",
        "learn.dls.train.bs = 8",
        "dls.train.bs = 8",
        "get_ipython().run_line_magic('time', 'learn.fit(1)')",
        "exec('learn.fit(1)')",
        "getattr(learn, 'fit')(1)",
        "learn.unfreeze()\nwith learn.precomputed():\n    learn.fit(1)",
        "with learn.precomputed():\n    learn.tta()",
        "with learn.precomputed():\n    learn.fine_tune(1)",
        "raise SystemExit",
        "learn.freeze_to(n)",
        "learn.fit(9**9**9)",
        "epochs = 1\nif maybe():\n    epochs = 5\nlearn.fit(epochs)",
    ],
)
def test_what_only_running_would_tell_makes_the_plan_incomplete(line):
    plan = read_plan(f"learn.validate()\n{line}")
    assert not plan.complete
    assert plan.works[:1] == (Work("predict", 1),)
    assert "(line " in plan.unread
    # it goes on after "it cannot be known beforehand"
    assert plan.unread.split()[0] in {"what", "how", "when", "where", "whether"}


def test_what_cannot_be_read_is_said_with_its_line():
    assert read_plan("learn.fit(1)\n\ntrain(learn)").unread == (
        "what `train` does with the learner (line 3)"
    )


def test_a_harmless_magic_hides_nothing():
    body = "get_ipython().run_line_magic('matplotlib', 'inline')\nlearn.fit(1)"
    assert works(body) == [("frozen", 1)]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_read_to_its_end(name):
    plan = read_plan(recipes.body(name, {"epochs": 5}), frozen=name != "scratch")
    assert plan.complete, plan.unread
    assert 5 in [work.amount for work in plan.works]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3 + 2 * (4 - 1)", 3),
        ("7 // 2 ** 2", 1),
        ("1 / 0", UNKNOWN),
        ("9 ** 9 ** 9", UNKNOWN),
        ("'a' * 10 ** 9", UNKNOWN),
        ("int('x')", UNKNOWN),
        ("len((1, 2, n))", UNKNOWN),
        ("round(2.6)", 3),
        ("not 1 > 2", True),
        ("dls.bs", UNKNOWN),
    ],
)
def test_a_value_is_worked_out_or_unknown_and_nothing_is_raised(text, value):
    import ast

    assert value_of(ast.parse(text, mode="eval").body, {}) == value


def test_small_pictures_count_for_their_share_of_the_pixels():
    plan = read_plan("learn.fit_cycles(3, 1e-2, cycle_mult=2, small_first=True)")
    assert plan.works[0].pixels == pytest.approx((3 / 4 + 2 * 9 / 16 + 2) / 7)


def test_what_precomputes_nothing_trains_the_frozen_network():
    body = "learn.freeze()\nwith learn.precomputed():\n    learn.fit(2)\n"
    plan = read_plan(body, precomputes=False)
    assert plan.complete
    assert [(work.kind, work.amount) for work in plan.works] == [("frozen", 2)]
