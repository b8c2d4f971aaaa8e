"""The folder in which a lesson runs: a new one, or that of the same cell, which goes on."""

from __future__ import annotations

from pathlib import Path

from fastmagic import faces, platforms
from fastmagic.guard import files
from fastmagic.guard.copies import EVERY
from fastmagic.lesson import runs, sameness
from fastmagic.lesson.start import Lesson

NO_DRIVE = (
    "No Google Drive is mounted: if this machine is taken away, the run is lost with it. To keep "
    'it, run this first: from google.colab import drive; drive.mount("/content/drive")'
)

_roots: list[Path] = []
"""The folders of runs that lessons of this process were begun in, where none was asked for."""


def claim(
    lesson: Lesson,
    name: str | None,
    folder: str | Path | None,
    *,
    fresh: bool,
    copies: str | Path | None = None,
) -> runs.Run:
    """Find the folder in which this lesson goes on, or make a new one, and say so."""
    settings = lesson.settings
    place = platforms.where()
    root, copied_to = platforms.run_folders(place, folder, copies)
    same = sameness.parts(lesson)
    identity = runs.identity_of(same)
    if folder is None:
        root = _where_it_began(root, identity)
    run = runs.claim(
        root,
        identity,
        name=name,
        stem=f"{Path(settings.data).stem or 'data'}-{settings.recipe}",
        fresh=fresh,
        about={
            "parts": same,
            "values": sameness.values(lesson),
            "data": settings.data,
            "label_pattern": settings.label_pattern,
        },
        copies=copied_to,
    )
    try:
        _say(run, lesson, place)
    except BaseException:  # stop, pressed while a state is brought
        run.release()
        raise
    return run


def _say(run: runs.Run, lesson: Lesson, place: platforms.Platform) -> None:
    """Say which run this is, with what is newer of its copy, and where it is kept."""
    note = lesson.view.note
    if run.note:
        note(run.note)
    if run.resumed:
        note(f"Going on with {run.folder.name}, which was not finished{_bring(run)}.")
        for words in sameness.changes(run.before["values"], sameness.values(lesson)):
            note(words)
    if run.copy is not None:
        note(
            f"A copy of its state goes to {run.copy} every {faces.duration(EVERY)}: "
            "where another machine has that folder, this cell goes on there."
        )
    elif place.name == "colab":
        note(NO_DRIVE)


def _where_it_began(root: Path, identity: str) -> Path:
    """Give the folder of runs here, or where this cell began: `%cd` may have come between."""
    if root not in _roots:
        _roots.append(root)
    return runs.where_begun(identity, root, *_roots) or root


def _bring(run: runs.Run) -> str:
    """Take what is newer from the copy; give words on that."""
    if run.copy is None:
        return ""
    try:
        brought = files.bring(run.copy / "states", run.states)
    except OSError:  # this disk is full: what follows says so
        return ""
    return f"; its newest state comes from {run.copy}" if brought else ""
