"""`%get_data`: from a name, an address or a path to a folder of pictures that can be learnt from.

    name       a data set of the catalogue; on Kaggle, one that is attached to the notebook
    address    http(s) of a zip or tar; kaggle:COMPETITION or kaggle:OWNER/DATASET
    path       an archive, which is unpacked beside the other data sets, or a folder, used in place

Nothing is done twice: what is there is found again without the network, what was begun goes on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fastmagic import platforms, progress
from fastmagic.data import kaggle, places
from fastmagic.data.listing import DataList, list_data
from fastmagic.data.obtain import Got, Wish, obtain, without_secrets
from fastmagic.data.survey.card import DataCard, data_card, look
from fastmagic.data.survey.pictures import absolute
from fastmagic.errors import BadInput, DataError, FastMagicError, Stopped
from fastmagic.progress import Show, View

__all__ = ["DataCard", "DataList", "data_card", "get_data", "list_data"]

_READ = "Check the path and who may read it."
_WRITE = "Choose a folder that can be written, with --dest DIR."


def get_data(
    source: str | Path,
    *,
    dest: str | Path | None = None,
    checksum: str = "",
    label_pattern: str = "",
    cache: str | Path | None = None,
    show: Show = False,
    env: Mapping[str, str] | None = None,
    kaggle_input: Path = kaggle.INPUT,
    kaggle_site: str = kaggle.SITE,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Get a data set, checked and ready to learn from; nothing is downloaded or unpacked twice.

    Parameters
    ----------
    source
        A name from the catalogue (`list_data()` shows them), the http(s) address of a zip or tar,
        `kaggle:COMPETITION`, `kaggle:OWNER/DATASET`, or the path of an archive or a folder. A
        catalogue's name goes first: write `./pets` for a folder of that name.
    dest
        The folder in which the data set's own folder is made; fastai's data folder by default.
    checksum
        `md5:…` or `sha256:…` of the whole archive.
    label_pattern
        A regular expression whose first group, found in a file's name, is the class.
    cache
        A folder that outlives this machine, say on a mounted Google Drive: archives that were
        downloaded are kept there, and copied from there instead of downloaded.
    show
        False for no display, True for the one that fits, or a view.
    env
        Environment variables: `FASTAI_HOME`, `FASTMAGIC_CATALOGUE` and those of Kaggle.
    kaggle_input
        Where attached data sets lie; used in place.
    kaggle_site
        Kaggle's address.
    sleep
        Waits so many seconds between two tries of a download.

    Returns
    -------
    Path
        The folder that holds train and valid, the class folders, or the flat files.

    Raises
    ------
    BadInput
        For an unknown name, a malformed checksum, or what is no text and no path.
    DataError
        When it cannot be had: `DownloadError`, `ArchiveError`, `PicturesError`.
    Stopped
        On Ctrl-C; it says what is kept.
    """
    _check_types(source, dest, cache, checksum, label_pattern)
    wish = Wish(
        _folder(dest), _checksum(checksum), _folder(cache), env, kaggle_input, kaggle_site, sleep
    )
    title = without_secrets(str(source)).encode("utf-8", "replace").decode()
    with progress.open_view(show, f"Data: {title}") as view:
        try:
            got = obtain(source, wish, view)
            card = _card(got, label_pattern or got.label_pattern, wish, view)
            if show:
                _show(card, view)
        except KeyboardInterrupt as stop:
            if isinstance(stop, FastMagicError):
                raise
            msg = "Stopped; what was finished is kept."
            raise Stopped(msg, "Run the same line again: it goes on from there.") from None
        except FastMagicError:
            raise
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            msg = f"The data set could not be written or read ({error.strerror or error}{where})."
            raise DataError(msg, _advice(error, wish)) from error
    return card.path


def _show(card: DataCard, view: View) -> None:
    """Show the card; a lesson's view, which does not, is told what spoils a result."""
    for line in card.cautions if isinstance(view, progress.NestedView) else ():
        view.note(line)
    view.finish(card.face())


def _card(got: Got, label_pattern: str, wish: Wish, view: View) -> DataCard:
    """Look at the pictures; the first time alone, so that several at once do it once."""

    def look_at_it() -> DataCard:
        return look(
            got.folder,
            label_pattern=label_pattern,
            view=view,
            memory=places.state_folder(wish.env),
            unpacked=got.unpacked,
        )

    if got.place is None or got.unpacked is None or got.place.recorded.checked:
        card = look_at_it()
    else:
        with places.alone(got.place.lock, view):
            card = look_at_it()
            got.place.remember(replace(got.place.recorded, checked=True))
    moved = len(card.rejected.files) if card.rejected else 0
    count = card.train + card.valid + len(card.unreadable) + moved
    return replace(card, notes=(*card.notes, *got.notes(count)))


def _check_types(
    source: object, dest: object, cache: object, checksum: object, label_pattern: object
) -> None:
    """Refuse what is no text and no path, and what no file can be called."""
    for name, given in (("source", source), ("dest", dest), ("cache", cache)):
        if given is None and name != "source":
            continue
        if not isinstance(given, (str, Path)):
            msg = f"{name} is {given!r}, which is neither a text nor a path."
            raise BadInput(msg, f"Give {name} as 'text' or as a pathlib.Path.")
        if not _can_be_named(str(given)):
            msg = f"{name} is {str(given)!r}, which no file can be called."
            raise BadInput(msg, "Check how it is written.")
    for name, given in (("checksum", checksum), ("label_pattern", label_pattern)):
        if not isinstance(given, str):
            raise BadInput(f"{name} is {given!r}, which is no text.", f"Give {name} as 'text'.")


def _can_be_named(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeError:
        return False


def _advice(error: OSError, wish: Wish) -> str:
    """Say what helps: another home, another path, or another folder to write to."""
    failed = absolute(os.fsdecode(error.filename)) if _has_path(error) else None
    if error.errno == errno.ENAMETOOLONG:
        return _READ
    if failed is None:
        return _WRITE
    denied = error.errno in (errno.EACCES, errno.EPERM)
    # Path.exists() fails where a folder above may not be entered
    if denied and os.path.exists(failed) and not os.access(failed, os.R_OK):  # noqa: PTH110
        return _READ
    homes = (platforms.archive_folder(wish.env), platforms.data_folder(wish.env))
    if wish.dest and _on_the_way(failed, wish.dest):
        return _WRITE
    if wish.dest and any(_on_the_way(failed, home) for home in homes):
        return "Set FASTAI_HOME to a folder that can be written."
    ours = any(_on_the_way(failed, home) for home in homes)
    return _READ if denied and not ours else _WRITE


def _has_path(error: OSError) -> bool:
    return isinstance(error.filename, (str, bytes))


def _on_the_way(failed: Path, folder: Path) -> bool:
    """Say whether a path lies below a folder, or is one that has to be made before it."""
    return failed.is_relative_to(folder) or folder.is_relative_to(failed)


def _folder(dest: str | Path | None) -> Path | None:
    return None if dest is None else absolute(dest)


def _checksum(text: str) -> str:
    """Check the form of a checksum: ALGORITHM:HEX, or the 64 digits of a sha256."""
    if not text:
        return ""
    algorithm, _, digits = text.strip().rpartition(":")
    algorithm = (algorithm or "sha256").lower()
    known = algorithm in hashlib.algorithms_guaranteed
    length = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size if known else 0
    if not length or not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digits):
        msg = f"{text!r} is not a checksum."
        raise BadInput(msg, "Write it as md5: and 32 digits, or sha256: and 64 digits (0-9, a-f).")
    return f"{algorithm}:{digits.lower()}"
