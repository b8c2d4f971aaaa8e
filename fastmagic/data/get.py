"""`%get_data`: from a name, an address or a path to a folder of pictures that can be learnt from.

    name       a data set of the catalogue; on Kaggle, one that is attached to the notebook
    address    http(s) of a zip or tar; kaggle:COMPETITION or kaggle:OWNER/DATASET
    path       an archive, which is unpacked beside the other data sets, or a folder, used in place

Nothing is done twice: what is there is found again without the network, what was begun goes on.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fastmagic import progress
from fastmagic.data import kaggle, places
from fastmagic.data.listing import DataList, list_data
from fastmagic.data.obtain import Got, Wish, obtain, without_secrets
from fastmagic.data.survey.card import DataCard, data_card, look
from fastmagic.data.survey.pictures import absolute
from fastmagic.errors import BadInput, DataError, FastMagicError, Stopped
from fastmagic.progress import View

__all__ = ["DataCard", "DataList", "data_card", "get_data", "list_data"]


def get_data(
    source: str | Path,
    *,
    dest: str | Path | None = None,
    checksum: str = "",
    label_pattern: str = "",
    cache: str | Path | None = None,
    show: bool | View = False,
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
        For an unknown name or a malformed checksum.
    DataError
        When it cannot be had: `DownloadError`, `ArchiveError`, `PicturesError`.
    Stopped
        On Ctrl-C; it says what is kept.
    """
    wish = Wish(
        _folder(dest), _checksum(checksum), _folder(cache), env, kaggle_input, kaggle_site, sleep
    )
    title = without_secrets(str(source))
    with progress.open_view(show, f"Data: {title}") as view:
        try:
            got = obtain(source, wish, view)
            card = _card(got, label_pattern or got.label_pattern, wish, view)
            if show:
                view.finish(card.face())
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
            raise DataError(msg, "Choose a folder that can be written, with --dest DIR.") from error
    return card.path


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
