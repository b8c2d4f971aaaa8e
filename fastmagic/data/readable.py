"""Which pictures can be decoded: each is tried once, in threads, and the answer is remembered.

A truncated photograph stops an epoch somewhere in the middle; here it is found before the first.
The answers are kept in one small JSON file a folder, by each file's name, size and time, so that a
second look reads no picture at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from fastmagic import platforms
from fastmagic.data.tree import Found
from fastmagic.errors import Stopped
from fastmagic.progress import View

BATCH = 32
"""Pictures that one task of the thread pool decodes: well below a second, for Ctrl-C."""

Size = tuple[int, int]
"""Width and height in pixels; (0, 0) for a picture that cannot be read."""

UNREADABLE: Size = (0, 0)


def check(root: Path, files: Sequence[Found], view: View, memory: Path) -> dict[Path, Size]:
    """Give each picture's size, decoding those that are new or have changed.

    Parameters
    ----------
    root
        The folder that the answers are kept for; the files lie below it.
    files
        What to look at.
    view
        Shows how far it is.
    memory
        The folder in which the answers are kept; where it cannot be written, nothing is kept.

    Returns
    -------
    dict
        Width and height in pixels for every file, `UNREADABLE` for those that cannot be decoded.

    Raises
    ------
    Stopped
        On Ctrl-C; what was looked at so far is remembered.
    """
    book = _Book(memory, root)
    known: dict[Path, Size] = {}
    todo: list[Found] = []
    for found in files:
        size = book.recall(found)
        if size is None:
            todo.append(found)
        else:
            known[found.path] = size
    if not todo:
        return known
    try:
        _decode(todo, known, view)
    except KeyboardInterrupt:
        msg = f"Stopped after checking {len(known)} of {len(files)} pictures."
        raise Stopped(msg, "Run the same line again: these are not checked again.") from None
    finally:
        book.write((found, known[found.path]) for found in files if found.path in known)
    return known


def _decode(files: Sequence[Found], known: dict[Path, Size], view: View) -> None:
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    done = 0
    # Reading may wait for a disk or a network drive, so a few threads even where cores are few;
    # Pillow gives the interpreter free while it decodes.
    pool = ThreadPoolExecutor(max(4, platforms.usable_cores()), "fastmagic-check")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on EXIF, palettes and large pictures
        try:
            tasks: dict[Future[list[Size]], Sequence[Found]] = {
                pool.submit(_sizes, batch): batch for batch in batches
            }
            for task in as_completed(tasks):
                known.update(zip((one.path for one in tasks[task]), task.result(), strict=True))
                done += len(tasks[task])
                view.bar("checking pictures", done, len(files), " pictures")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _sizes(files: Sequence[Found]) -> list[Size]:
    return [picture_size(found.path) for found in files]


def picture_size(file: Path) -> Size:
    """Decode a picture and give its width and height in pixels; `UNREADABLE` if that fails.

    JPEG is decoded at an eighth of its size where Pillow can: every byte is read all the same, so
    that a truncated file is found, in a fraction of the time.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
            image.draft(None, (max(1, width // 8), max(1, height // 8)))
            image.load()
            return width, height
    except Exception:  # Pillow's plugins raise nearly anything on what is no picture
        return UNREADABLE


class _Book:
    """What is remembered of one folder's pictures."""

    def __init__(self, memory: Path, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._file = memory / f"pictures-{name}.json"
        self._known: dict[str, list[int]] = {}
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            if kept["version"] == 1:
                self._known = kept["pictures"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none yet, or not ours: every picture is looked at

    def recall(self, found: Found) -> Size | None:
        """Give the size of an unchanged picture that was looked at before, else None."""
        match self._known.get("/".join(found.parts)):
            case [found.size, found.mtime, int(width), int(height)]:
                return width, height
        return None

    def write(self, answers: Iterable[tuple[Found, Size]]) -> None:
        """Keep the answers: whole, or as they were."""
        kept = {"/".join(one.parts): [one.size, one.mtime, *size] for one, size in answers}
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # surrogates in names that are not UTF-8 are escaped by json
            new.write_text(json.dumps({"version": 1, "pictures": kept}), "utf-8")
            new.replace(self._file)
        except OSError:  # a read-only home, a full disk: it is only slower next time
            with contextlib.suppress(OSError):
                new.unlink()
