"""A copy of a run's states in a second place, on a mounted Google Drive say.

A free machine's disk is gone with the machine. States are written to it all the same, which is
quick and safe, and a thread beside the training copies what is new every few minutes, with its
checksum. The next machine takes the newest whole state of either place.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fastmagic.guard import files
from fastmagic.guard.keeper import Keeper

EVERY = 180.0
"""Seconds between two rounds: a Drive takes what is written to its own time, and has a quota."""

AT_THE_END = 120.0
"""Seconds that the end of a run waits for its last round, at most."""


class Copies:
    """One thread that copies; a context manager around the training.

    Parameters
    ----------
    states
        The folder of the states.
    copy
        The folder of their copies; None for none: then this does nothing.
    keeper
        What writes the states; the last round waits for it.
    every
        Seconds between two rounds.

    Examples
    --------
    >>> with Copies(Path("states"), None, Keeper(Path("states"))):
    ...     pass
    """

    def __init__(
        self,
        states: Path,
        copy: Path | None,
        keeper: Keeper,
        every: float = EVERY,
    ) -> None:
        self.states, self.copy, self.every = states, copy, every
        self._keeper = keeper
        self._trouble: OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastmagic-copies", daemon=True)
        self._process = os.getpid()

    def __enter__(self) -> Copies:
        if self.copy is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End; after a stop or an error with a last round, for a finished run needs no state."""
        if self.copy is None or os.getpid() != self._process:
            return
        self._over.set()
        self._thread.join(AT_THE_END)
        if kind is not None and not self._thread.is_alive():
            self._keeper.flush(AT_THE_END)
            self._round(self.copy)

    def trouble(self) -> OSError | None:
        """Give what went wrong since this was last asked; None where all is well."""
        found, self._trouble = self._trouble, None
        return found

    def _run(self) -> None:
        while self.copy is not None and not self._over.wait(self.every):
            self._round(self.copy)

    def _round(self, copy: Path) -> None:
        try:
            files.bring(self.states, copy)
        except OSError as error:
            self._trouble = error


def bring_results(folder: Path, copy: Path) -> None:
    """Copy what a run has left, such as the report and the model, beside the copy of its states.

    Parameters
    ----------
    folder, copy
        The run's folder and that of its copy. `run.json`, the lock and folders are left out.

    Raises
    ------
    OSError
        Where the copy cannot be written.
    """
    for file in sorted(folder.iterdir()):
        hidden = file.name.startswith(".") or file.suffix == ".partial"
        if file.is_file() and not hidden and file.name != "run.json":
            files.copy(file, copy / file.name)
