"""The copy of the states in a second place, and going on from it on another machine."""

from __future__ import annotations

import errno
import time

import pytest

import fastmagic
from fastmagic.errors import Stopped
from fastmagic.guard import files
from fastmagic.guard.copies import Copies
from fastmagic.guard.keeper import Keeper
from fastmagic.progress import View

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}


def whole(folder, name):
    content, damaged = files.read(folder, name)
    assert not damaged
    return content


def test_what_is_newer_is_brought_and_old_generations_go(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for number in range(4):
        files.write(here, "fit-001", {"at": number})
        assert files.bring(here, there) == ["fit-001"]
    assert whole(there, "fit-001") == {"at": 3}
    assert len(list(there.iterdir())) == files.GENERATIONS
    assert files.bring(here, there) == []
    assert files.bring(there, here) == []


def test_a_damaged_state_is_not_brought_but_the_one_before_it(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    files.write(here, "fit-001", {"at": 1})
    newest = files.write(here, "fit-001", {"at": 2})
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    assert files.bring(here, there) == ["fit-001"]
    assert whole(there, "fit-001") == {"at": 1}
    assert not list(there.glob("*.partial"))


def test_a_place_that_refuses_leaves_what_is_there(tmp_path):
    here = tmp_path / "here"
    files.write(here, "fit-001", {"at": 1})
    (tmp_path / "there").write_text("no folder")
    with pytest.raises(OSError):
        files.bring(here, tmp_path / "there")


def test_a_thread_copies_what_is_new_and_tells_of_trouble_once(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    with Copies(here, there, Keeper(here), every=0.01) as copies:
        files.write(here, "fit-001", {"at": 1})
        ends = time.monotonic() + 30
        while not list(there.glob("*.pt")) and time.monotonic() < ends:
            time.sleep(0.01)
    assert whole(there, "fit-001") == {"at": 1}
    assert copies.trouble() is None
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ValueError), Copies(here, tmp_path / "file", Keeper(here)) as copies:
        raise ValueError  # a run that did not finish: a last round
    found = copies.trouble()
    assert isinstance(found, OSError) and found.errno in (errno.ENOTDIR, errno.EEXIST)
    assert copies.trouble() is None


def test_a_finished_run_needs_no_last_copy(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    files.write(here, "fit-001", {"at": 1})
    with Copies(here, there, Keeper(here)):
        pass
    assert not there.exists()


BODY = """
from fastai.callback.core import Callback
class Stop(Callback):
    def before_batch(self):
        if self.training and stop and self.epoch == 1:
            raise KeyboardInterrupt
found = learn.lr_find(show_plot=False, num_it=8)
learn.fit(1, found.valley)
learn.fit(3, n / 1000, cbs=Stop())
"""


@pytest.mark.train
def test_the_next_machine_goes_on_from_the_copy(small_folder, tmp_path):
    def lesson(machine, stop, n=1, **options):
        view = View()
        result = None
        try:
            result = fastmagic.train_lesson1(
                small_folder,
                BODY,
                runs_folder=tmp_path / machine,
                namespace={"stop": stop, "n": n},
                show=view,
                **{**SMALL, **options},
            )
        except Stopped:
            assert stop
        return result, "\n".join(view.notes)

    undisturbed, _ = lesson("alone", False)
    drive = {"copies": tmp_path / "drive"}
    _, said = lesson("first", True, **drive)
    assert "A copy of its state goes to" in said
    [copy] = (tmp_path / "drive").iterdir()
    there = {file.name for file in copy.iterdir()}
    assert {"report.html", "result.json", "run.json", "states"} <= there
    result, said = lesson("second", False, n=2, **drive)
    assert "its newest state comes from" in said
    assert "fit 1: already trained" in said
    assert "`n` is 2 now and was 1" in said
    assert result.folder == tmp_path / "second" / copy.name
    result, said = lesson("third", False, **drive)  # finished there: begins anew
    assert "Going on" not in said
    assert result.weights_sha256 == undisturbed.weights_sha256
    assert (copy / "export.pkl").is_file()
    assert not (copy / "states").exists()


@pytest.mark.train
def test_going_on_from_the_copy_is_bit_for_bit_the_same(small_folder, tmp_path):
    def lesson(machine, stop):
        return fastmagic.train_lesson1(
            small_folder,
            BODY,
            runs_folder=tmp_path / machine,
            copies=tmp_path / "drive",
            namespace={"stop": stop, "n": 1},
            **SMALL,
        )

    with pytest.raises(Stopped):
        lesson("first", True)
    second = lesson("second", False)
    alone = lesson("alone", False)
    assert second.weights_sha256 == alone.weights_sha256
    assert second.folder != alone.folder
