"""The model that a run leaves, and what its making leaves of the learner."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

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


def test_the_history_that_a_cell_writes_is_kept_beside_ours(small_folder, tmp_path):
    body = """
from fastai.callback.progress import CSVLogger
learn.fit(2, cbs=CSVLogger())
"""
    result, _ = trained(small_folder, tmp_path, body)
    ours, theirs = (result.folder / f"history{name}.csv" for name in ("", "-of-the-cell"))
    assert ours.read_text().startswith("stage,epoch,")
    assert [line.split(",")[0] for line in theirs.read_text().splitlines()] == ["epoch", "0", "1"]


def test_a_model_that_cannot_be_exported_costs_the_learner_nothing(small_folder, tmp_path):
    body = "learn.model.pictures = (one for one in [])\nlearn.fit(1)"
    result, learn = trained(small_folder, tmp_path, body)
    assert result.model is None
    assert ["the model could not be exported" in one.what for one in result.incidents] == [True]
    assert len(learn.dls.train_ds) > 0 and learn.opt is not None
    assert result.judged is not None
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)


class OfAnotherSystem(pickle.Unpickler):
    """Reads as Windows does, which makes no `PosixPath`, by a Python without `pathlib._local`."""

    def find_class(self, module, name):
        if module == "pathlib._local":
            raise ModuleNotFoundError(module)
        return Refuses if name == "PosixPath" else super().find_class(module, name)


class Refuses:
    def __new__(cls, *parts):
        raise NotImplementedError("cannot instantiate 'PosixPath' on your system")


def test_a_model_can_be_loaded_on_another_system(small_folder, tmp_path):
    from fastai.learner import load_learner

    result, learn = trained(small_folder, tmp_path, "learn.fit(1)")
    there = SimpleNamespace(
        __name__="pickle", Unpickler=OfAnotherSystem, load=lambda file: OfAnotherSystem(file).load()
    )
    assert load_learner(result.model, pickle_module=there).path == learn.path
    learn.export(tmp_path / "by_fastai.pkl")
    with pytest.raises(NotImplementedError, match="cannot instantiate"):  # or nothing is shown here
        load_learner(tmp_path / "by_fastai.pkl", pickle_module=there)
