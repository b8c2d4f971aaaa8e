"""A file that is written whole or not at all, so that a kill leaves the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write a text beside its file, have it on the disk, and then put it in the file's place.

    Parameters
    ----------
    path
        The file; its folder is there.
    text
        Its content; ends of lines are written as they are.
    errors
        What is done with what UTF-8 has no word for, as in `open`.

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
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors=errors, newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        if partial.is_file():
            partial.unlink()
        raise
