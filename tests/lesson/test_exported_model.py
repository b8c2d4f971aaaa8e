"""The model that a run leaves, and what its making leaves of the learner."""

from __future__ import annotations

import pytest

import fastmagic
from tests.lesson.stopping import SMALL

pytestmark = pytest.mark.train


def trained(folder, runs, body):
    names: dict = {}
    result = fastmagic.train_lesson1(folder, body, runs_folder=runs, namespace=names, **SMALL)
    return result, names["learn"]


def test_a_callback_that_holds_a_file_is_left_out_of_the_model(small_folder, tmp_path):
    from fastai.learner import load_learner

    body = """
from fastai.callback.progress import CSVLogger
learn.add_cb(CSVLogger("log.csv"))
learn.fit(2)
"""
    result, learn = trained(small_folder, tmp_path, body)
    assert not [one for one in result.incidents if "exported" in one.what]
    assert len(learn.csv_logger.read_log()) == 2
    assert learn.csv_logger in learn.cbs and learn.csv_logger.learn is learn
    loaded = load_learner(result.model)
    assert not hasattr(loaded, "csv_logger")
    with loaded.no_bar():
        assert loaded.predict(learn.dls.valid_ds.items[0])[0] in result.judged.classes


def test_a_model_that_cannot_be_exported_costs_the_learner_nothing(small_folder, tmp_path):
    body = "learn.model.pictures = (one for one in [])\nlearn.fit(1)"
    result, learn = trained(small_folder, tmp_path, body)
    assert result.model is None
    assert ["the model could not be exported" in one.what for one in result.incidents] == [True]
    assert len(learn.dls.train_ds) > 0 and learn.opt is not None
    assert result.judged is not None
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
