"""`%get_data`: from a name, an address or a path to a folder of pictures that can be learnt from.

    name       a data set of the catalogue; on Kaggle, one that is attached to the notebook
    address    http(s) of a zip or tar
    path       an archive, which is unpacked beside the other data sets, or a folder, used in place

Nothing is done twice: what is there is found again without the network, what was begun goes on.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fastmagic import progress
from fastmagic.data import archive, places, tree
from fastmagic.data.address import address, shown
from fastmagic.data.card import DataCard, data_card, make_card
from fastmagic.data.catalogue import (
    ADDRESS_VARIABLE,
    CATALOGUE,
    DataSet,
    at_address,
    choices,
    unknown,
)
from fastmagic.data.download import download, import_pooch
from fastmagic.data.listing import DataList, list_data
from fastmagic.data.pictures import absolute, existing_folder, survey
from fastmagic.errors import ArchiveError, BadInput, DataError, FastMagicError, Stopped
from fastmagic.progress import View

__all__ = ["DataCard", "DataList", "data_card", "get_data", "list_data"]

KAGGLE_INPUT = Path("/kaggle/input")
"""Where Kaggle puts the data sets that are attached to a notebook."""


def get_data(
    source: str | Path,
    *,
    dest: str | Path | None = None,
    checksum: str = "",
    label_pattern: str = "",
    show: bool | View = False,
    env: Mapping[str, str] | None = None,
    kaggle_input: Path = KAGGLE_INPUT,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Get a data set, checked and ready to learn from; nothing is downloaded or unpacked twice.

    Parameters
    ----------
    source
        A name from the catalogue (`list_data()` shows them), the http(s) address of a zip or tar,
        or the path of an archive or a folder. A catalogue's name goes first: write `./pets` for a
        folder of that name.
    dest
        The folder in which the data set's own folder is made; fastai's data folder by default.
    checksum
        `md5:…` or `sha256:…` of the whole archive.
    label_pattern
        A regular expression whose first group, found in a file's name, is the class.
    show
        False for no display, True for the one that fits, or a view.
    env
        Environment variables: `FASTAI_HOME` and `FASTMAGIC_CATALOGUE`.
    kaggle_input
        Where attached data sets lie; used in place.
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
    wish = _Wish(_folder(dest), _checksum(checksum), env, kaggle_input, sleep)
    title = shown(str(source)) if _is_url(source) else str(source)
    with progress.open_view(show, f"Data: {title}") as view:
        try:
            got = _obtain(source, wish, view)
            found = survey(
                got.folder,
                label_pattern=label_pattern or got.label_pattern,
                view=view,
                memory=places.state_folder(env),
            )
            layout = found.layout
            if show:
                count = len(layout.train) + len(layout.valid) + len(layout.unreadable)
                view.finish(make_card(found, got.notes(count)).face())
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
    return layout.path


@dataclass(frozen=True)
class _Wish:
    """How a data set is to be had."""

    dest: Path | None
    checksum: str
    env: Mapping[str, str] | None
    kaggle_input: Path
    sleep: Callable[[float], None]


@dataclass(frozen=True)
class _Got:
    """Where a data set is, and what is expected of it."""

    folder: Path
    label_pattern: str = ""
    expected: int = 0
    origin: str = ""

    def notes(self, count: int) -> tuple[str, ...]:
        """Say what is not as the catalogue records it."""
        notes = [f"It came from {self.origin}."] if self.origin else []
        if self.expected and count < self.expected:
            notes.append(
                f"The catalogue expects {self.expected:,} pictures, here are {count:,}. If you did "
                f"not take some away, delete {self.folder} and run the same line again."
            )
        return tuple(notes)


def _obtain(source: str | Path, wish: _Wish, view: View) -> _Got:
    text = source.strip() if isinstance(source, str) else ""
    if isinstance(source, str) and not text:
        raise BadInput("No data set was named.", choices())
    if _is_url(text):
        return _from_address(text, wish, view)
    if text in CATALOGUE:
        return _from_catalogue(CATALOGUE[text], wish, view)
    path = absolute(text or source)
    if path.is_dir():
        return _from_folder(path, wish)
    if path.is_file():
        return _from_archive(path, wish, view)
    if isinstance(source, Path) or _looks_like_path(text):
        existing_folder(path)  # says that nothing is there
    attached = _attached((text,), wish.kaggle_input)
    if attached is None:
        raise unknown(text)
    return _Got(attached)


def _from_folder(path: Path, wish: _Wish) -> _Got:
    if wish.checksum or wish.dest:
        flag = "checksum" if wish.checksum else "dest"
        msg = f"{path} is a folder: it is used where it is, so {flag} means nothing for it."
        raise BadInput(msg, f"Leave --{flag} out.")
    return _Got(path)


def _from_archive(path: Path, wish: _Wish, view: View) -> _Got:
    _compare(path, wish.checksum, view)
    place = places.settle(
        lambda: places.for_archive(path, wish.dest, wish.env),
        lambda place: _unpack(path, place, view),
        view,
    )
    return _Got(place.folder)


def _from_address(url: str, wish: _Wish, view: View) -> _Got:
    if address(url) is None:
        msg = f"{url.split('?')[0]!r} cannot be fetched: it is no http or https address."
        raise BadInput(msg, choices())
    for entry in CATALOGUE.values():
        if entry.url == url:
            return _from_catalogue(entry, wish, view)
    fetch = _fetcher(url, wish.checksum, 0, wish, view)
    place = places.settle(lambda: places.for_url(url, wish.dest, wish.env), fetch, view)
    _compare(place.archive, wish.checksum, view)
    return _Got(place.folder)


def _from_catalogue(entry: DataSet, wish: _Wish, view: View) -> _Got:
    attached = None if wish.dest else _attached((entry.name, entry.folder), wish.kaggle_input)
    if attached:
        view.note(f"Using the data set that is attached to this notebook: {attached}")
        return _found(attached, entry)
    entry, recorded = at_address(entry, wish.env), entry
    checksum = wish.checksum or entry.checksum
    fetch = _fetcher(entry.url, checksum, entry.archive_bytes, wish, view)
    place = places.settle(
        lambda: places.for_entry(entry, wish.dest, wish.env),
        fetch if entry.url else _draw(view),
        view,
    )
    if entry.url != recorded.url:
        view.note(
            f"{ADDRESS_VARIABLE} is set to another address: the recorded size and checksum are not "
            f"expected of {entry.archive_name}."
        )
    _compare(place.archive, wish.checksum, view)
    known = place.recorded_origin.split(" ")[0]
    elsewhere = known if known and known != recorded.url else ""
    return replace(
        _found(place.folder, entry), expected=0 if elsewhere else entry.pictures, origin=elsewhere
    )


def _found(folder: Path, entry: DataSet) -> _Got:
    """Point to the pictures of a catalogue's data set; one that is laid out otherwise as it is."""
    inner = folder / entry.pictures_in
    return _Got(inner, entry.label_pattern) if inner.is_dir() else _Got(folder)


def _draw(view: View) -> Callable[[places.Place], None]:
    def fill(place: places.Place) -> None:
        from fastmagic.data.sample import draw_sample

        place.folder.parent.mkdir(parents=True, exist_ok=True)
        draw_sample(
            place.folder, progress=lambda done, total: view.bar("drawing", done, total, " pictures")
        )

    return fill


def _fetcher(
    url: str, checksum: str, expected: int, wish: _Wish, view: View
) -> Callable[[places.Place], None]:
    def fill(place: places.Place) -> None:
        download(
            url, place.archive, checksum=checksum, expected=expected, view=view, sleep=wish.sleep
        )
        try:
            _unpack(place.archive, place, view)
        except ArchiveError as error:
            aside = place.archive.with_name(f"{place.archive.name}.refused")
            place.archive.replace(aside)
            step = f"It was put aside as {aside}; run the same line again to download it anew."
            raise ArchiveError(error.what, step) from error

    return fill


def _unpack(file: Path, place: places.Place, view: View) -> None:
    place.remember()
    archive.unpack(file, place.folder, view=view)


def _compare(file: Path, checksum: str, view: View) -> None:
    """Refuse an archive whose checksum is another one than was asked for."""
    if not checksum:
        return
    if not file.is_file():
        view.note(f"There is no archive {file} any more to compare with the checksum.")
        return
    algorithm, _, wanted = checksum.rpartition(":")
    found = import_pooch().file_hash(str(file), alg=algorithm)
    if found.lower() != wanted.lower():
        msg = f"The {algorithm} checksum of {file} is {found}, not {wanted}."
        raise ArchiveError(msg, "Get the archive again, or leave the checksum out.")


def _attached(names: tuple[str, ...], root: Path) -> Path | None:
    """Find a data set attached on Kaggle; newer images put it below datasets/OWNER."""
    if not root.is_dir():
        return None
    for name in names:
        if Path(name).name != name:
            continue
        for folder in (root / name, root / "competitions" / name, *root.glob("datasets/*/" + name)):
            if folder.is_dir() and tree.has_pictures(folder):
                return folder
    return None


def _is_url(source: str | Path) -> bool:
    return isinstance(source, str) and "://" in source


def _looks_like_path(text: str) -> bool:
    return bool(re.search(r"[/\\]", text)) or text[:1] in "~." or bool(archive.split_name(text)[1])


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
