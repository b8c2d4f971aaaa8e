from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime

import pytest

from fastmagic.errors import BadInput, LessonError
from fastmagic.lesson import runs

NOON = datetime(2026, 1, 2, 12, 0, 0)


def claim(folder, identity="one", name=None, fresh=False):
    return runs.claim(
        folder, identity, name=name, stem="sample-scratch", fresh=fresh, now=lambda: NOON
    )


def test_a_run_without_a_name_is_called_after_data_recipe_date_and_time(tmp_path):
    assert claim(tmp_path).folder.name == "sample-scratch-20260102-120000"


def test_two_runs_in_one_second_do_not_meet(tmp_path):
    assert claim(tmp_path).folder != claim(tmp_path, "two").folder


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
@pytest.mark.parametrize("name", [None, "mine"])
def test_the_same_cell_goes_on_with_what_it_did_not_finish(tmp_path, status, name):
    first = claim(tmp_path, name=name)
    first.mark(status)
    first.release()
    again = claim(tmp_path, name=name)
    assert again.folder == first.folder
    assert again.resumed


def test_a_finished_run_is_left_alone(tmp_path):
    first = claim(tmp_path, name="mine")
    first.mark("finished")
    first.release()
    again = claim(tmp_path, name="mine")
    assert again.folder.name == "mine-2"
    assert not again.resumed
    assert "mine-2" in again.note


def test_a_name_that_belongs_to_another_cell_is_not_taken(tmp_path):
    claim(tmp_path, "one", name="mine").release()
    other = claim(tmp_path, "two", name="mine")
    assert other.folder.name == "mine-2"
    other.mark("stopped")
    other.release()
    assert claim(tmp_path, "two", name="mine").folder.name == "mine-2"


def test_fresh_begins_anew(tmp_path):
    first = claim(tmp_path)
    first.mark("stopped")
    first.release()
    assert claim(tmp_path, fresh=True).folder != first.folder


def test_a_run_that_another_process_works_in_is_not_entered(tmp_path):
    code = f"""
import sys
from pathlib import Path
from fastmagic.lesson import runs
run = runs.claim(Path({str(tmp_path)!r}), "one", name="mine", stem="s")
print("ready", flush=True)
sys.stdin.readline()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline().strip() == "ready"
        assert claim(tmp_path, name="mine").folder.name == "mine-2"
        child.kill()
        child.wait(30)
        assert claim(tmp_path, name="mine").folder.name in ("mine", "mine-2")
    finally:
        child.kill()
        child.communicate()


def test_after_kill_9_the_folder_is_free_again(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from fastmagic.lesson import runs
runs.claim(Path({str(tmp_path)!r}), "one", name="mine", stem="s")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    again = claim(tmp_path, name="mine")
    assert again.folder.name == "mine"
    assert again.resumed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' locks are others")
@pytest.mark.parametrize("refusal", ["EAGAIN", "ENOLCK"])
def test_a_disk_without_locks_is_said_and_not_filled_with_folders(tmp_path, refusal):
    """Some network disks answer every lock like this; a stand-in beneath filelock does here."""
    script = f"""
import errno, fcntl, sys
def refuses(*asked):
    raise OSError(errno.{refusal}, "no")
fcntl.flock = refuses
from datetime import datetime
from pathlib import Path
from fastmagic.errors import LessonError
from fastmagic.lesson import runs
try:
    runs.claim(Path(sys.argv[1]), "a" * 64, name=None, stem="sample-quick")
except LessonError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert "cannot be made" in done.stdout and "--runs FOLDER" in done.stdout, done.stderr
    assert len(list(tmp_path.iterdir())) <= 3


@pytest.mark.parametrize("name", ["a/b", "..", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(BadInput, match="not a plain folder name"):
        claim(tmp_path, name=name)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LessonError, match="cannot be made"):
        claim(tmp_path / "file")


def test_a_broken_status_file_is_not_ours_to_go_on_with(tmp_path):
    run = claim(tmp_path, name="mine")
    run.release()
    (run.folder / "run.json").write_text("{half")
    assert claim(tmp_path, name="mine").folder.name == "mine-2"


def test_json_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.json"
    runs.write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(target, {"a": float("nan")})
    assert json.loads(target.read_text()) == {"a": 1}


def test_a_class_whose_name_is_no_utf_8_is_written_down_as_it_is(tmp_path):
    told = {"classes": ["M\u00e4use", "k\udce4tzchen"]}
    runs.write_json(tmp_path / "result.json", told)
    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    assert json.loads(text) == told and "M\u00e4use" in text


def about(**parts):
    known = {"body": "a", "settings": "b", "pictures": "c", "after": "d"}
    return {"parts": {**known, **parts}, "values": {"n": "3"}}


def stopped(folder, identity, *, state="fit-001.pt", status="stopped", **options):
    run = runs.claim(folder, identity, name=None, stem="sample", **options)
    if state:
        run.states.mkdir(exist_ok=True)
        (run.states / state).touch()
    run.mark(status)
    run.release()
    return run


def test_a_new_run_says_what_has_changed_since_the_one_that_was_stopped(tmp_path):
    first = stopped(tmp_path, "one", about=about())
    edited = stopped(tmp_path, "two", about=about(body="A"))
    assert edited.note.startswith("A new run begins, because the cell's code changed since")
    assert first.folder.name in edited.note
    other = stopped(tmp_path, "three", about=about(body="x", settings="y", pictures="z"))
    assert not other.note  # another lesson altogether
    assert not stopped(tmp_path, "four", about=about(body="B"), fresh=True).note


def test_of_a_run_in_which_nothing_was_trained_nothing_is_said(tmp_path):
    first = stopped(tmp_path, "one", about=about())
    stopped(tmp_path, "typo", about=about(body="lern.fit(1)"), state="")
    stopped(tmp_path, "early", about=about(body="lr_find"), state="incidents-000001-ab.pt")
    assert first.folder.name in stopped(tmp_path, "two", about=about(body="A")).note
    stopped(tmp_path, "three", about=about(body="b"), status="finished")
    assert not stopped(tmp_path, "four", about=about(body="B")).note  # the person is further on


def test_a_run_that_goes_on_knows_the_values_that_it_began_with(tmp_path):
    stopped(tmp_path, "one", about=about())
    now = {**about(), "values": {"n": "5"}}
    again = stopped(tmp_path, "one", about=now)
    assert again.resumed
    assert again.before["values"] == {"n": "3"}
    assert stopped(tmp_path, "one", about=now).before["values"] == {"n": "3"}


def test_another_machine_goes_on_with_the_copy(tmp_path):
    copies = tmp_path / "drive"
    first = stopped(tmp_path / "a", "one", about=about(), copies=copies)
    assert json.loads((copies / first.folder.name / "run.json").read_text())["status"] == "stopped"
    again = stopped(tmp_path / "b", "one", about={**about(), "values": {}}, copies=copies)
    assert again.resumed
    assert again.folder == tmp_path / "b" / first.folder.name
    assert again.before["values"] == {"n": "3"}
    assert again.before["status"] == "stopped"
    assert not stopped(tmp_path / "c", "two", about=about(body="A"), copies=copies).resumed
    again.mark("finished")
    assert not stopped(tmp_path / "d", "one", about=about(), copies=copies).resumed


def test_a_drive_that_is_gone_stops_nothing(tmp_path):
    (tmp_path / "drive").write_text("no folder")
    assert not stopped(tmp_path / "a", "one", about=about(), copies=tmp_path / "drive").resumed


def begun(folder, copies, identity, **options):
    return runs.claim(
        folder, identity, stem="s", copies=copies, now=lambda: NOON, **{"name": "mine", **options}
    )


@pytest.mark.parametrize("status", ["stopped", "finished"])
def test_a_new_disk_takes_no_folder_of_copies_that_another_run_has(tmp_path, status):
    copies = tmp_path / "drive"
    first = begun(tmp_path / "one", copies, "cats")
    (first.copy / "states").mkdir()
    (first.copy / "states" / "theirs.pt").touch()
    first.mark(status)
    first.release()

    other = begun(tmp_path / "two", copies, "dogs")
    assert (other.copy.name, other.resumed) == ("mine-2", False)
    assert json.loads((first.copy / "run.json").read_text())["identity"] == "cats"
    other.mark("stopped")
    other.release()

    third = begun(tmp_path / "three", copies, "dogs")  # on another new disk
    assert (third.folder.name, third.copy, third.resumed) == ("mine-2", other.copy, True)
    again = begun(tmp_path / "two", copies, "dogs")
    assert (again.folder, again.copy) == (other.folder, other.copy)


def test_to_begin_anew_on_a_new_disk_leaves_the_copy_of_the_run_before(tmp_path):
    copies = tmp_path / "drive"
    first = begun(tmp_path / "one", copies, "cats")
    first.mark("stopped")
    assert begun(tmp_path / "two", copies, "cats", fresh=True).copy.name == "mine-2"
    assert json.loads((first.copy / "run.json").read_text())["status"] == "stopped"
