"""Where a data set comes from: what was asked for is told apart, fetched and unpacked.

Each way ends in a `Got`: the folder, and what is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fastmagic.data import kaggle, packed, places
from fastmagic.data.archives.archive import split_name, unpack
from fastmagic.data.cache import put
from fastmagic.data.catalogue import (
    ADDRESS_VARIABLE,
    CATALOGUE,
    DataSet,
    at_address,
    choices,
    unknown,
)
from fastmagic.data.entry import Source
from fastmagic.data.fill import Order, fill
from fastmagic.data.places import Place, Record
from fastmagic.data.survey import tree
from fastmagic.data.survey.pictures import absolute, existing_folder
from fastmagic.data.web.address import address, shown
from fastmagic.data.web.verify import hash_file
from fastmagic.errors import ArchiveError, BadInput, DownloadError, PicturesError
from fastmagic.progress import View


@dataclass(frozen=True)
class Wish:
    """How a data set is to be had; each attribute is a parameter of `get_data`."""

    dest: Path | None
    checksum: str
    cache: Path | None
    env: Mapping[str, str] | None
    kaggle_input: Path
    kaggle_site: str
    sleep: Callable[[float], None]

    def order(self, sources: tuple[Source, ...]) -> Order:
        """Say how one of these archives is to be fetched."""
        return Order(sources, self.checksum, self.cache, self.sleep)


@dataclass(frozen=True)
class Got:
    """Where a data set is, and what is expected of it.

    Attributes
    ----------
    folder
        The folder that is searched for pictures.
    label_pattern
        The catalogue's, or empty.
    expected
        Pictures that the catalogue expects; 0 where it does not say.
    origin
        Where it came from, if not from where the catalogue says.
    place
        Where it was put; None for what is used where it is.
    """

    folder: Path
    label_pattern: str = ""
    expected: int = 0
    origin: str = ""
    place: Place | None = None

    @property
    def unpacked(self) -> Path | None:
        """The folder that this package has unpacked; None for others: nothing is moved there."""
        ours = self.place is not None and self.place.recorded.is_ours
        return self.place.folder if self.place and ours else None

    def notes(self, count: int) -> tuple[str, ...]:
        """Say what is not as the catalogue records it."""
        notes = [f"It came from {self.origin}."] if self.origin else []
        if self.expected and count < self.expected:
            notes.append(
                f"The catalogue expects {self.expected:,} pictures, here are {count:,}. If you did "
                f"not take some away, delete {self.folder} and run the same line again."
            )
        return tuple(notes)


def obtain(source: str | Path, wish: Wish, view: View) -> Got:
    """Tell what was asked for, and see that it is here.

    Parameters
    ----------
    source
        As `get_data` takes it.
    wish
        How it is to be had.
    view
        Shows how far it is.

    Raises
    ------
    BadInput
        For an unknown name or an address that cannot be used.
    DataError
        When it cannot be had.
    """
    text = source.strip() if isinstance(source, str) else ""
    if isinstance(source, str) and not text:
        raise BadInput("No data set was named.", choices())
    if _is_url(text):
        return _from_address(text, wish, view)
    wanted = kaggle.handle(text)
    if wanted:
        return _from_kaggle(wanted, wish, view)
    if text in CATALOGUE:
        _name_namesake(text, wish, view)
        return _from_catalogue(CATALOGUE[text], wish, view)
    path = absolute(text or source)
    if path.is_dir():
        return _from_folder(path, wish, view)
    if path.is_file():
        return _from_archive(path, wish, view)
    attached = _from_attached(text, wish, view) if text else None
    if attached:
        return attached
    if isinstance(source, Path) or _looks_like_path(text):
        if re.search(r":[^@]*@", text):  # a mistyped address, maybe with a password in it
            raise BadInput(f"{without_secrets(text)!r} is no address and no path.", choices())
        existing_folder(path)  # says that nothing is there
    raise unknown(text, kaggle.attached_names(wish.kaggle_input))


def _from_folder(path: Path, wish: Wish, view: View) -> Got:
    inside = kaggle.packed_pictures(path)
    if inside:
        return _from_packed(path, inside, wish, view)
    if wish.checksum or wish.dest:
        flag = "checksum" if wish.checksum else "dest"
        msg = f"{path} is a folder: it is used where it is, so {flag} means nothing for it."
        raise BadInput(msg, f"Leave --{flag} out.")
    return _told(Got(path), view)


def _told(got: Got, view: View) -> Got:
    """Say what lies in a folder and is not used."""
    if unused := packed.unused(got.folder):
        view.note(unused)
    return got


def _from_packed(folder: Path, inside: Path, wish: Wish, view: View) -> Got:
    """Give what is packed in a folder without pictures: one archive, or two of train and valid."""
    valid = packed.valid_beside(inside)
    if valid and (why := packed.left_out(valid)):
        view.note(why)
        valid = None
    return _from_archive(inside, wish, view, kaggle.unpacked_name(folder, inside, valid), valid)


def _from_archive(
    path: Path, wish: Wish, view: View, stem: str = "", valid: Path | None = None
) -> Got:
    """Give the contents of an archive, and those of one of validation pictures beside it."""

    def unpack_it(place: Place) -> None:
        place.remember(Record(place.origin))
        if valid:
            packed.unpack_both(path, valid, place.folder, view)
        else:
            unpack(path, place.folder, view=view)
        place.remember(Record(place.origin, path.name, path.stat().st_size))

    _compare(path, wish.checksum, view)
    place = places.settle(
        lambda: places.for_archive(path, wish.dest, wish.env, stem=stem, beside=valid),
        unpack_it,
        view,
    )
    return _deeper(Got(place.folder, place=place), wish, view)


def _from_address(url: str, wish: Wish, view: View) -> Got:
    if address(url) is None or not url.isprintable():
        msg = f"{without_secrets(url)!r} cannot be fetched: it is no http or https address."
        raise BadInput(msg, choices())
    for entry in CATALOGUE.values():
        if entry.url == url:
            return _from_catalogue(entry, wish, view)
    return _from_web(wish.order((Source(url),)), "", wish, view)


def _from_kaggle(wanted: kaggle.Handle, wish: Wish, view: View) -> Got:
    attached = None if wish.dest else _from_attached(wanted.name, wish, view)
    if attached:
        return attached
    door = kaggle.Door(kaggle.credentials(wish.env))
    order = wish.order((Source(wanted.archive_url(wish.kaggle_site)),))
    try:
        return _from_web(replace(order, session=door.session), f"{wanted.name}.zip", wish, view)
    except DownloadError as error:
        raise kaggle.refused(
            wanted,
            door,
            error,
            root=wish.kaggle_input,
            site=wish.kaggle_site,
        ) from None


def _from_web(order: Order, name: str, wish: Wish, view: View) -> Got:
    """Give the contents of one archive on the web, of this file name or the address's own."""
    url = order.sources[0].url
    place = _settle(
        lambda: places.for_url(url, wish.dest, wish.env, name=name),
        lambda place: fill(place, order, view),
        wish,
        view,
    )
    return _deeper(Got(place.folder, place=place), wish, view)


def _from_catalogue(entry: DataSet, wish: Wish, view: View) -> Got:
    attached = None if wish.dest else kaggle.attached((entry.name, entry.folder), wish.kaggle_input)
    if attached and tree.has_pictures(attached):
        view.note(f"Using the data set that is attached to this notebook: {attached}")
        return _found(attached, entry)
    entry, recorded = at_address(entry, wish.env), entry
    order = wish.order(entry.sources)
    place = _settle(
        lambda: places.for_entry(entry, wish.dest, wish.env),
        lambda place: fill(place, order, view) if entry.sources else _draw(place, view),
        wish,
        view,
    )
    if entry.url != recorded.url:
        view.note(
            f"{ADDRESS_VARIABLE} is set to another address: the recorded size and checksum are not "
            f"expected of {entry.archive_name}."
        )
    known = place.recorded.origin.split(" ")[0]
    elsewhere = known if known and known not in {one.url for one in recorded.sources} else ""
    got = _found(place.folder, entry)
    expected = 0 if elsewhere else entry.pictures
    return replace(got, expected=expected, origin=elsewhere, place=place)


def _name_namesake(name: str, wish: Wish, view: View) -> None:
    """Say where a folder here has a catalogue's name, if it is not that data set itself."""
    own = places.for_entry(CATALOGUE[name], wish.dest, wish.env).folder
    if absolute(name).is_dir() and absolute(name) != absolute(own):
        view.note(f"There is a folder {name} here too: for that write ./{name}")


def _found(folder: Path, entry: DataSet) -> Got:
    """Point to the pictures of a catalogue's data set; one that is laid out otherwise as it is."""
    inner = folder / entry.pictures_in
    if inner.is_dir():
        return Got(inner, entry.label_pattern)
    flat = bool(entry.label_pattern) and bool(tree.own_pictures(folder))
    return Got(folder, entry.label_pattern if flat else "")


def _from_attached(name: str, wish: Wish, view: View) -> Got | None:
    """Give what is attached on Kaggle under this name, or as FOLDER/ARCHIVE; None if nothing is."""
    folder, inside = kaggle.attached((name,), wish.kaggle_input), None
    if folder is None:
        above, _, file = name.rpartition("/")
        folder = kaggle.attached((above,), wish.kaggle_input) if above else None
        inside = folder / file if folder and split_name(file)[1] else None
        if folder is None or inside is None or not inside.is_file():
            return None
    view.note(f"Using the data set that is attached to this notebook: {inside or folder}")
    if inside:
        return _from_archive(inside, wish, view, kaggle.unpacked_name(folder, inside))
    return _deeper(Got(folder), wish, view)


def _deeper(got: Got, wish: Wish, view: View) -> Got:
    """Unpack the archive that lies in a folder without pictures, as Kaggle packs its contests."""
    inside = kaggle.packed_pictures(got.folder)
    if inside is None:
        several = [] if tree.has_pictures(got.folder) else kaggle.archives_in(got.folder)
        if several:
            names = ", ".join(repr(one.name) for one in several)
            msg = f"There are no pictures in {got.folder}, but several archives: {names}."
            raise PicturesError(msg, f"Name the one that you want: {str(several[0])!r}")
        return _told(got, view)
    return _from_packed(got.folder, inside, replace(wish, checksum=""), view)


def _draw(place: Place, view: View) -> None:
    from fastmagic.data.drawn.sample import draw_sample

    place.folder.parent.mkdir(parents=True, exist_ok=True)
    draw_sample(
        place.folder, progress=lambda done, total: view.bar("drawing", done, total, " pictures")
    )


def _settle(
    choose: Callable[[], Place], fill_it: Callable[[Place], None], wish: Wish, view: View
) -> Place:
    """Give a place with its data set in it, compared with what was asked for."""
    filled: list[Place] = []

    def fill_and_say(place: Place) -> None:
        fill_it(place)
        filled.append(place)

    place = places.settle(choose, fill_and_say, view)
    _look_again(place, wish, view, tried=bool(filled))
    return place


def _look_again(place: Place, wish: Wish, view: View, *, tried: bool) -> None:
    """Compare what was asked for with what is here, and keep the archive where that is asked."""
    record = place.recorded
    file = place.archive.with_name(record.archive) if record.archive else place.archive
    algorithm, _, wanted = wish.checksum.rpartition(":")
    if algorithm != "sha256" or not record.sha256:
        _compare(file, wish.checksum, view)
    elif record.sha256 != wanted:
        msg = (
            f"{place.folder} was unpacked from an archive whose SHA-256 is {record.sha256}, not "
            f"{wanted}."
        )
        step = f"Delete that folder and {file} to get it anew, or leave the checksum out."
        raise ArchiveError(msg, step)
    if wish.cache and not tried and record.sha256 and file.is_file():
        put(wish.cache, file, record.sha256, view)


def _compare(file: Path, checksum: str, view: View) -> None:
    """Refuse an archive whose checksum is another one than was asked for."""
    if not checksum:
        return
    if not file.is_file():
        view.note(f"There is no archive {file} any more to compare with the checksum.")
        return
    algorithm, _, wanted = checksum.rpartition(":")
    found = hash_file(file, algorithm)
    if found != wanted:
        msg = f"The {algorithm} checksum of {file} is {found}, not {wanted}."
        raise ArchiveError(msg, "Get the archive again, or leave the checksum out.")


def without_secrets(text: str) -> str:
    """Give an address or what was meant as one without user, password and query.

    Examples
    --------
    >>> without_secrets("https://me:pass/word@example.org/a.zip?token=1")
    'https://example.org/a.zip'
    >>> without_secrets("me:secret@example.org/a.zip"), without_secrets("dogscats")
    ('example.org/a.zip', 'dogscats')
    """
    if not _is_url(text):
        return re.sub(r"^(?![A-Za-z]:[\\/])[^@]*:[^@]*@", "", text)  # but not C:\me@work
    return shown(text) if address(text) else re.sub(r"://.*@", "://", text.split("?")[0])


def _is_url(source: str | Path) -> bool:
    return isinstance(source, str) and "://" in source


def _looks_like_path(text: str) -> bool:
    return bool(re.search(r"[/\\]", text)) or text[:1] in "~." or bool(split_name(text)[1])
