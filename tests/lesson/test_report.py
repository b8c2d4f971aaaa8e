from __future__ import annotations

import csv
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from fastmagic import faces
from fastmagic.faces import Picture, Table, Text
from fastmagic.guard.incidents import Incident
from fastmagic.guard.stages import Epoch, Stage
from fastmagic.lesson import report
from fastmagic.lesson.report import Curves, Judged, plot, sheets
from fastmagic.lesson.report.judged import Opinion
from tests.lesson import reports

HOSTILE = '<img src=x onerror="alert(1)">'


def pictures_of(face: faces.Face) -> list[Picture]:
    return [part for part in face.parts if isinstance(part, Picture)]


def test_each_accuracy_has_its_interval_and_the_lessons_band_beside_it(tmp_path):
    result = reports.result(tmp_path, accuracy_tta=0.9825, reference=(0.991, 0.9965))
    table = next(part for part in result.face().parts if isinstance(part, Table))
    accuracies = {row[1]: row[3] for row in table.rows}
    assert accuracies == {
        "head only": "90.00 % (86.7 to 92.6 %)",
        "whole network": "95.00 % (92.4 to 96.7 %)",
        "with TTA": "98.25 % (96.4 to 99.1 %)",
        "in the lesson": "99.10 to 99.65 %",
    }
    assert "one picture is 0.25 points" in str(result)
    assert "may be as good" in str(result)


def test_where_the_pictures_were_not_counted_no_interval_is_claimed(tmp_path):
    result = reports.result(tmp_path, validation_pictures=None, reference=(0.991, 0.9965))
    assert "95 %" not in str(result)
    assert "may be as good" not in str(result)


def test_the_pictures_that_were_judged_count_more_than_those_that_were_laid_out(tmp_path):
    result = reports.result(tmp_path, judged=reports.judged(tmp_path / "data"))
    assert "On 40 pictures" in str(result)


def test_the_report_names_the_mistakes_in_words_as_well(tmp_path):
    result = reports.result(
        tmp_path, judged=reports.judged(tmp_path / "data"), curves=reports.curves()
    )
    text = result.face().text()
    assert "Wrong on 4 of 40 validation pictures." in text
    assert "33.png, said cat 92 %, is dog" in " ".join(text.split())
    assert "training loss from 1.0000 to 0.0333" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    curves, wrong, uncertain = pictures_of(result.face())
    assert "Curves over 3 epochs" in curves.alt
    assert "4 pictures: 33.png" in wrong.alt
    assert "6 pictures: 0.png" in uncertain.alt


def test_a_picture_that_has_gone_costs_its_place_and_no_more(tmp_path):
    judged = reports.judged(tmp_path / "data")
    for file in judged.files:
        file.unlink()
    judged.files[0].write_text("not a picture")
    result = reports.result(tmp_path, judged=judged)
    assert report.write(result) == ()
    assert all(part.png[:4] == b"\x89PNG" for part in pictures_of(result.face()))


def test_a_result_is_drawn_once(tmp_path):
    judged = reports.judged(tmp_path / "data")
    result = reports.result(tmp_path, judged=judged, curves=reports.curves())
    first = result.face()
    for file in judged.files:
        file.unlink()
    assert result.face() == first


def test_a_sheet_is_small_opaque_and_white_where_there_is_no_picture(tmp_path):
    files = [tmp_path / f"{n}.jpg" for n in range(6)]
    for file in files:
        Image.effect_noise((600, 400), 120).convert("RGB").save(file)
    said = [Opinion(file, "cat", "dog", 0.1, 0.9) for file in files]
    png = sheets.draw(said)
    assert len(png) <= sheets.LIMIT
    with Image.open(io.BytesIO(png)) as sheet:
        assert sheet.convert("RGBA").getpixel((sheet.width - 1, sheet.height - 1)) == (255,) * 4


ENDS = ["two\nlines", "two\rlines", "two\x85lines", "two\u2029lines"]


@pytest.mark.parametrize("name", ["собака", "Ñandú", "犬", "x" * 200, "\x1b[31m", "", *ENDS])
def test_a_class_of_any_name_can_stand_in_a_caption(tmp_path, name):
    said = [Opinion(tmp_path / f"{name[:20]}.jpg", name, "dog", 0.1, 0.9)]
    assert sheets.draw(said)[:4] == b"\x89PNG"


def test_names_from_files_are_escaped_in_the_page(tmp_path):
    judged = reports.judged(tmp_path / "data", classes=(HOSTILE, "dog"))
    result = reports.result(tmp_path, judged=judged, data=HOSTILE)
    assert report.write(result) == ()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'onerror="' not in page
    assert "&lt;img" in page


def test_up_to_twelve_classes_have_the_whole_matrix_and_more_the_confused_pairs(tmp_path):
    twelve = reports.judged(tmp_path / "a", 120, tuple(f"class {n}" for n in range(12)))
    table = report.confusion_table(twelve)
    assert len(table.rows) == 12
    assert sum(int(cell) for row in table.rows for cell in row[1:-1]) == 120
    assert max(len(line) for line in faces.table_text(table).splitlines()) <= 80
    names = tuple(f"class {n}" for n in range(13))
    said = np.eye(13)[[1, 1, 1, 2, 5, 5]]
    many = Judged((Path("a"),) * 6, names, said, [0, 0, 1, 2, 4, 4])
    pairs = report.confusion_table(many)
    assert pairs.head == ("is", "said", "pictures")
    assert pairs.rows == (("class 0", "class 1", "2 of 2"), ("class 4", "class 5", "2 of 2"))


def test_the_folder_holds_the_result_the_epochs_the_steps_and_the_page(tmp_path):
    result = reports.result(
        tmp_path, judged=reports.judged(tmp_path / "data"), curves=reports.curves()
    )
    assert report.write(result) == ()
    with (tmp_path / "curves.csv").open(newline="") as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == 30
    assert steps[1] == {"step": "2", "stage": "1", "loss": "0.5", "rate": "0.001"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<img") == 3
    plain = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert sum(map(sum, plain["judged"]["confusion"])) == 40
    assert "curves" not in plain
    assert not list(tmp_path.glob("*.partial"))


def test_the_page_asks_no_network_and_runs_no_script(tmp_path):
    report.write(reports.result(tmp_path, judged=reports.judged(tmp_path / "data")))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_a_file_that_cannot_be_written_is_said_and_the_others_are_there(tmp_path):
    (tmp_path / "report.html").mkdir()
    trouble = report.write(reports.result(tmp_path, curves=reports.curves()))
    assert len(trouble) == 1
    assert trouble[0].startswith("report.html could not be written")
    assert json.loads((tmp_path / "result.json").read_text())["accuracy"] == 0.95
    assert (tmp_path / "history.csv").is_file()
    assert (tmp_path / "curves.csv").is_file()
    assert not list(tmp_path.glob("*.partial"))


def test_a_network_that_diverged_has_a_report_too(tmp_path):
    nan = math.nan
    broken = Stage(1, 1, "all", [Epoch(0, {"train_loss": nan, "valid_loss": nan}, 0.5, 1.0)])
    curves = Curves((1, 1, 1), (0.5, nan, math.inf), (0.1, 0.1, 0.1))
    result = reports.result(tmp_path, stages=(broken,), curves=curves)
    assert report.write(result) == ()
    assert (
        json.loads((tmp_path / "result.json").read_text())["stages"][0]["epochs"][0]["valid_loss"]
        is None
    )


def test_a_run_that_never_got_to_a_fit_has_a_report_too(tmp_path):
    result = reports.result(tmp_path, stages=(), accuracy=None, status="failed", curves=None)
    assert report.write(result) == ()
    assert "no accuracy measured" in str(result)


def test_only_of_pictures_a_photo_is_offered_to_be_asked_about(tmp_path):
    def said(items):
        dls = SimpleNamespace(valid=SimpleNamespace(items=items))
        model = tmp_path / "export.pkl"
        return str(reports.result(tmp_path / "run", dls=dls, model=model))

    offered = said([tmp_path / "1.png"])
    assert "photo = learn.dls.valid_ds.items[0]\n" in offered
    assert "learn.predict(photo)" in offered and '.predict("my_photo.jpg")' in offered
    assert "my_photo" not in said([(1.0, 2.0)])
    assert said([(1.0, 2.0)]).count("predict(item)") == 2
    assert "my_photo" in said(None)


def test_incidents_choices_and_the_forecast_are_told(tmp_path):
    @dataclass(frozen=True)
    class Said:
        seconds: float = 431.0

        def sentences(self) -> tuple[str, ...]:
            return ("about 7 min on this Tesla T4.",)

    result = reports.result(
        tmp_path,
        incidents=(Incident("fit 1, epoch 2", "out of memory", "the batch was halved"),),
        choices={"precision": "bf16: this card has tensor cores."},
        forecast=Said(),
    )
    text = str(result)
    assert "out of memory; the batch was halved." in text
    assert "Precision: bf16: this card has tensor cores." in text
    assert "about 7 min on this Tesla T4." in text
    told = {"sentences": ["about 7 min on this Tesla T4."], "seconds": 431.0}
    assert result.to_dict()["forecast"] == told


def test_whatever_is_among_the_settings_the_result_is_written(tmp_path):
    result = reports.result(tmp_path, arguments={"arch": object, "where": Path("a"), "n": {1}})
    assert report.write(result) == ()
    assert json.loads((tmp_path / "result.json").read_text())["arguments"]["where"] == "a"


def test_steps_of_a_fit_that_stopped_in_an_epoch_stand_where_they_were_done():
    first = Stage(1, 3, "all", [Epoch(0, {"valid_loss": 0.2}, 0.9, 1.0)])
    curves = Curves((1,) * 3, (0.5, 0.4, 0.3), (0.1,) * 3, (0.5, 1.0, 1.5))
    drawing = plot.lay_out([first], curves)
    assert [at for at, _ in drawing.training] == [0.5, 1.0, 1.5]
    assert drawing.end == 2


def test_without_steps_the_epochs_are_drawn():
    drawing = plot.lay_out(reports.stages(), None)
    assert drawing.training == [(1.0, 0.5), (2.0, 0.3), (3.0, 0.25)]
    assert not drawing.rate


def test_many_steps_are_thinned_and_the_last_is_kept():
    count = 50_000
    curves = Curves((1,) * count, tuple(float(n) for n in range(count)), (0.1,) * count)
    drawing = plot.lay_out([Stage(1, 1, "all", [Epoch(0, {}, None, 1.0)])], curves)
    assert len(drawing.training) <= plot.POINTS + 1
    assert drawing.training[-1] == (1.0, count - 1.0)


def test_without_matplotlib_the_report_has_no_curves(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = reports.result(tmp_path, curves=reports.curves())
    assert not pictures_of(result.face())


def test_curves_that_cannot_be_drawn_are_said_in_a_line(tmp_path):
    wrong = Stage(1, 1, "all", [Epoch(0, {"valid_loss": "much"}, 0.9, 1.0)])  # type: ignore[dict-item]
    result = reports.result(tmp_path, stages=(wrong,))
    words = [part.text for part in result._curves if isinstance(part, Text)]
    assert words == ["The curves could not be drawn (TypeError: must be real number, not str)."]


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        Curves((1, 1), (0.5,), (0.1, 0.1))
