"""What a body draws with matplotlib, kept where nothing else would show it.

A notebook shows open figures below the cell by itself. A terminal and a log do not; there they are
saved in the run's folder and closed.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.errors import first_line


class Figures:
    """The figures that are open when a body begins, to know those that it draws.

    Attributes
    ----------
    trouble
        Why a figure could not be saved; empty where all is well.

    Parameters
    ----------
    front
        Where the cell runs: `notebook` keeps no figures; found by itself by default.

    Examples
    --------
    >>> Figures("notebook").keep(Path("nowhere"))
    []
    """

    def __init__(self, front: str | None = None) -> None:
        self._front = front or platforms.where().front
        self._before = set(_open())
        self.trouble = ""

    def keep(self, folder: Path) -> list[Path]:
        """Save what was drawn since as `figure-1.png` and so on, and close it; give the files.

        One that cannot be saved stays open, and `trouble` says why.
        """
        if self._front == "notebook":
            return []
        import matplotlib.pyplot as plt

        files: list[Path] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of glyphs that a font lacks
            for number in sorted(set(_open()) - self._before):
                file = folder / f"figure-{len(files) + 1}.png"
                if self._saved(plt.figure(number), file):
                    plt.close(number)
                    files.append(file)
        return files

    def _saved(self, figure: Any, file: Path) -> bool:
        laid_out = figure.get_layout_engine() is not None
        try:
            figure.savefig(file, dpi=80, bbox_inches=None if laid_out else "tight")
        except Exception as error:  # the disk, or what was drawn: no training ends for a picture
            self.trouble = getattr(error, "strerror", None) or first_line(error)
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)  # half a picture
            return False
        return True


def _open() -> list[Any]:
    """Give the numbers of pyplot's figures; it is not imported for that."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(pyplot.get_fignums())
