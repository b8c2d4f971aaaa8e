"""The thread that writes states beside the training."""

from __future__ import annotations

import errno
import threading

from fastmagic.guard.keeper import Keeper


class Disk:
    """Takes what is written; waits while it is told to, and refuses while it is full."""

    def __init__(self):
        self.written, self.free, self.full = [], threading.Event(), False
        self.free.set()

    def __call__(self, folder, name, content, generations):
        self.free.wait(10)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written.append((name, content))


def test_a_state_that_waits_is_replaced_by_the_newer_one(tmp_path):
    disk = Disk()
    keeper = Keeper(tmp_path, disk)
    disk.free.clear()
    keeper.keep("fit-001", 1)
    while keeper._waiting:  # until the first is being written
        pass
    for number in (2, 3, 4):
        keeper.keep("fit-001", number)
    keeper.keep("fit-002", 5)
    assert not keeper.flush(0.05)
    disk.free.set()
    keeper.close()
    assert disk.written == [("fit-001", 1), ("fit-001", 4), ("fit-002", 5)]


def test_a_full_disk_is_told_and_the_next_state_is_tried(tmp_path):
    disk = Disk()
    keeper = Keeper(tmp_path, disk)
    disk.full = True
    keeper.keep("fit-001", 1)
    assert keeper.flush()
    assert keeper.trouble().errno == errno.ENOSPC
    assert keeper.trouble() is None
    disk.full = False
    keeper.keep("fit-001", 2)
    keeper.close()
    assert disk.written == [("fit-001", 2)]


def test_closing_without_having_kept_anything_starts_no_thread(tmp_path):
    before = threading.active_count()
    keeper = Keeper(tmp_path)
    keeper.close()
    assert threading.active_count() == before


def test_what_cannot_be_written_at_all_is_told_and_the_thread_stays(tmp_path):
    written = []

    def write(folder, name, content, generations):
        if content is None:
            raise MemoryError  # as where the host's memory is short
        written.append(name)

    keeper = Keeper(tmp_path, write)
    keeper.keep("fit-001", None)
    assert keeper.flush(10)
    assert isinstance(keeper.trouble(), MemoryError)
    keeper.keep("fit-002", 2)
    keeper.close()
    assert written == ["fit-002"]
