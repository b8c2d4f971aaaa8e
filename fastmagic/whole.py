"""A file that is written whole or not at all, so that a kill leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_text(
    path: Path, text: str, *, errors: str = "strict", lasting: bool = True, shared: bool = False
) -> None:
    """Write a text beside its file, have it on the disk, and then put it in the file's place.

    Parameters
    ----------
    path
        The file; its folder is there.
    text
        Its content; ends of lines are written as they are.
    errors
        What is done with what UTF-8 has no word for, as in `open`.
    lasting
        Whether it has to be there still when the machine itself goes down the moment after.
    shared
        Whether several processes may write it at the same time; the last one counts.

    Raises
    ------
    OSError
        Where the disk is full or cannot be written; the file is as it was.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "a.txt", "whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    own = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{own}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors=errors, newline="") as file:
            file.write(text)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def remember(path: Path, text: str) -> None:
    """Write what only saves time the next time; a home that is read-only or full stops nothing.

    Parameters
    ----------
    path, text
        As for `write_text`; several processes may write it, and its folder is made.

    Examples
    --------
    >>> remember(Path("/dev/null/memory.json"), "{}")
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text, lasting=False, shared=True)
