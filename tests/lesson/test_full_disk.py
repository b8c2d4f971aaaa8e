"""A disk that is full when a lesson ends costs neither its result nor the words of its error."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest

import fastmagic
from fastmagic.lesson import runs

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16, "workers": 0}


def filler(disk):
    """Give a function that leaves no byte of a disk."""

    def fill():
        for size in (2**20, 2**12, 1):
            with (disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass

    return fill


@pytest.fixture
def on_small_disk(small_folder, small_disk):
    """Give what runs a body, in which `fill()` fills the disk of the runs."""
    disk = small_disk(60_000_000)

    def run(body):
        names = {"fill": filler(disk)}
        return fastmagic.train_lesson1(
            small_folder, body, runs_folder=disk, name="mine", namespace=names, **SMALL
        )

    return run


def status_of(disk):
    return json.loads((disk / "mine" / "run.json").read_text())["status"]


def test_the_result_is_given_and_says_what_was_not_kept(on_small_disk, tmp_path):
    result = on_small_disk("fill()\nlearn.fit(1)")
    assert result.status == "finished" and result.learn.model is not None
    assert result.model is None and not (result.folder / "export.pkl").exists()
    assert "exported (No space left" in str(result.incidents[-2])
    said = [str(one) for one in result.incidents if one.when == "at the end"]
    assert len(said) == 1 and "result.json, history.csv" in said[0]
    assert "No space left on device" in said[0] and "make room on the disk" in said[0]
    assert said[0] in " ".join(str(result).split())
    assert status_of(tmp_path / "small") == "finished"  # there was room for that word
    result.learn.export(tmp_path / "elsewhere.pkl")


def test_what_the_states_took_is_room_for_the_report(on_small_disk, tmp_path):
    result = on_small_disk("learn.fit(1)\nimport time\ntime.sleep(1)\nfill()")  # all is saved
    assert result.status == "finished" and result.model is None
    assert not any(one.when == "at the end" for one in result.incidents)
    assert json.loads((result.folder / "result.json").read_text())["status"] == "finished"


def test_a_cells_own_error_is_the_one_that_is_shown(on_small_disk, tmp_path):
    with pytest.raises(ZeroDivisionError):
        on_small_disk("fill()\nlearn.fit(1)\n1 / 0")
    assert status_of(tmp_path / "small") == "failed"


def test_a_figure_that_finds_no_room_does_not_fail_the_run(on_small_disk):
    import matplotlib.pyplot as plt

    draw = "import matplotlib.pyplot as plt\nplt.figure().add_subplot()"
    result = on_small_disk(f"fill()\nlearn.fit(1)\n{draw}\nfill()")
    assert result.status == "finished"
    assert len(plt.get_fignums()) == 1  # to be saved elsewhere
    plt.close("all")
    assert not list(result.folder.glob("figure-*"))


def test_a_run_that_cannot_even_be_marked_says_so(small_disk):
    disk = small_disk(100_000)
    run = runs.claim(disk, "one", name="mine", stem="s", about={"parts": {"body": "x"}})
    filler(disk)()
    run.about["precision"] = "x" * 20_000  # more than the old file has room for
    [(what, what_to_do)] = run.mark("finished")
    assert what == f"{run.folder} does not say that the run has finished (No space left on device)"
    assert "make room on the disk" in what_to_do
    assert status_of(disk) == "running"
    (disk / "filler").unlink()
    assert run.mark("finished") == ()
    run.release()


def test_a_drive_that_refuses_at_the_end_is_told(small_folder, small_disk, tmp_path):
    drive = small_disk(60_000_000)

    def refuse():
        subprocess.run(["mount", "-o", "remount,ro", str(drive)], check=True)

    def lesson(machine, **names):
        return fastmagic.train_lesson1(
            small_folder,
            "learn.fit(1)\nrefuse()",
            runs_folder=tmp_path / machine,
            copies=drive,
            namespace=names,
            **SMALL,
        )

    result = lesson("here", refuse=refuse)
    copy = drive / result.folder.name
    told = json.loads((copy / "run.json").read_text())
    assert told["status"] == "running"  # another machine would go on
    incident = result.incidents[-1]
    assert incident.what == f"{copy} does not say that the run has finished (Read-only file system)"
    assert f"copy {result.folder}/run.json there" in incident.done
    kept = json.loads((result.folder / "result.json").read_text())
    assert kept["status"] == "finished" and kept["incidents"][-1]["what"] == incident.what


def test_a_full_drive_still_learns_how_a_run_ended(small_disk, tmp_path):
    drive = small_disk(100_000)
    run = runs.claim(tmp_path / "runs", "one", name="mine", stem="s", copies=drive)
    filler(drive)()
    assert run.mark("finished") == ()
    assert status_of(drive) == "finished"
    run.release()
