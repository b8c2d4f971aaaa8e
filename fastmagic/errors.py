"""Every error that fastmagic raises on purpose, as one small tree.

    FastMagicError            what happened, and what to do next
    ├── BadInput              a flag, a name or a value that cannot be used
    ├── DataError             a data set that cannot be had or cannot be used
    │   ├── DownloadError     the network or the server
    │   ├── ArchiveError      a broken or hostile archive
    │   └── PicturesError     no pictures, one class only, unreadable pictures
    ├── GpuRequired           a GPU was asked for and none can be used
    ├── SetupError            an installation that failed
    ├── LessonError           a lesson that cannot start, or a body that failed
    └── Stopped               Ctrl-C or the stop button; also a KeyboardInterrupt

In IPython each is shown as a few red lines instead of a traceback (IPython calls
``_render_traceback_`` where an exception has one), and stops *Run All* like any other error.
``%config FastMagics.debug = True`` brings the whole traceback back.
"""

from __future__ import annotations

import difflib
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterable

from fastmagic.faces import harmless


class FastMagicError(Exception):
    """Something went wrong that the reader can do something about.

    Parameters
    ----------
    what
        What happened, one plain sentence.
    next_step
        What to do next; it is shown on a line of its own.

    Examples
    --------
    >>> error = FastMagicError("The disk is full.", "Free 2 GB and run the cell again.")
    >>> print(error)
    The disk is full.
    Next: Free 2 GB and run the cell again.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step
        self.debug = False

    def __str__(self) -> str:
        words = f"{self.what}\nNext: {self.next_step}" if self.next_step else self.what
        return harmless(words)  # they may name a file, or be a server's

    def _render_traceback_(self) -> list[str]:
        if self.debug:
            return harmless("".join(traceback.format_exception(self))).splitlines()
        return _fitted(f"{self._kind}{self}".splitlines())

    @property
    def _kind(self) -> str:
        return f"{type(self).__name__}: "


def _fitted(lines: list[str]) -> list[str]:
    """Break lines between words where they go to a terminal; a notebook does that by itself."""
    if not sys.stdout.isatty():
        return lines
    width = shutil.get_terminal_size().columns
    shape = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
    return [part for line in lines for part in textwrap.wrap(line, width, **shape) or [""]]  # type: ignore[arg-type]


class BadInput(FastMagicError, ValueError):
    """A flag, a name or a value that cannot be used."""


class DataError(FastMagicError):
    """A data set that cannot be had or cannot be used."""


class DownloadError(DataError, OSError):
    """The network or the server did not give what was asked for."""


class ArchiveError(DataError):
    """An archive that is broken, or that tries to write outside its folder."""


class PicturesError(DataError):
    """A folder without usable pictures, or with fewer than two classes."""


class GpuRequired(FastMagicError):
    """A usable GPU was asked for, and there is none."""


class SetupError(FastMagicError):
    """An installation that failed; the environment is said to be as it was, or how to mend it."""


class LessonError(FastMagicError):
    """A lesson that cannot start, or a cell body that cannot run."""


class Stopped(FastMagicError, KeyboardInterrupt):
    """The person pressed stop; what was finished is kept, and the next call goes on from it."""

    _kind = ""  # its words begin with it


def make_short(error: BaseException, lines: list[str]) -> None:
    """Make IPython show an error of any kind by these lines; `make_whole` takes it back."""
    lines = [harmless(line) for line in lines]
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]


def make_whole(error: BaseException) -> None:
    """Make IPython show an error's whole traceback, ours or the person's."""
    if isinstance(error, FastMagicError):
        error.debug = True
    else:
        error.__dict__.pop("_render_traceback_", None)


def first_line(error: object) -> str:
    """Give the first line of what an error says; the name of its kind where it says nothing.

    Examples
    --------
    >>> first_line(RuntimeError("CUDA out of memory.\\nTried to allocate 2 GiB."))
    'CUDA out of memory.'
    >>> first_line(AssertionError())
    'AssertionError'
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Say which known names are near to a mistyped one; empty where none is.

    Examples
    --------
    >>> did_you_mean("dogcats", ["dogscats", "pets", "sample"])
    "Did you mean 'dogscats'?"
    >>> did_you_mean("zebra", ["dogscats", "pets", "sample"])
    ''
    """
    near = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
