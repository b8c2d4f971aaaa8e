"""Fills a place: from an archive that is there, from the cache, or from one source after another.

A data set may be had from several addresses, and these may be different archives of it (lesson 1's
dogs and cats are a tar in one place and a zip in another). The first that arrives and can be
unpacked is used; when none does, what each said is in the error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic.data import cache
from fastmagic.data.archives import archive
from fastmagic.data.entry import Source
from fastmagic.data.places import Place, Record
from fastmagic.data.web import refused
from fastmagic.data.web.address import fingerprint, shown
from fastmagic.data.web.unreached import together
from fastmagic.data.web.verify import hash_file
from fastmagic.errors import ArchiveError, DownloadError
from fastmagic.progress import View

MIB = 1 << 20


@dataclass(frozen=True)
class Order:
    """How a data set is to be fetched.

    Attributes
    ----------
    sources
        Where it can be had, the first first.
    checksum
        What the reader wants the archive to hash to, `ALGORITHM:HEX`; empty for the recorded one.
    cache
        The folder that keeps archives, or None.
    sleep
        Waits so many seconds between two tries.
    session
        Makes the `requests.Session` for the download; an ordinary one by default.
    """

    sources: tuple[Source, ...]
    checksum: str
    cache: Path | None
    sleep: Callable[[float], None]
    session: Callable[[], Any] | None = None


def fill(place: Place, order: Order, view: View) -> None:
    """Get a data set's archive and unpack it into its place.

    Parameters
    ----------
    place
        Where it goes. Its archive's name is that of the first source; others keep their own.
    order
        How it is to be fetched.
    view
        Shows how far it is.

    Raises
    ------
    DownloadError
        When no source gives it; every source's reason is in the message, once where it is one.
    ArchiveError
        When the only source's archive cannot be unpacked; it is put aside.
    """
    said: list[tuple[str, DownloadError | ArchiveError]] = []
    archives = _archives(place, order)
    for file, sources in archives.items():
        try:
            _from_archive(place, file, sources, order, view)
            return
        except (DownloadError, ArchiveError) as error:
            said.append((file.name, error))
            if len(said) < len(archives):
                view.note(f"{error.what} Trying another archive of it.")
    if len(said) == 1:
        raise said[0][1]
    if alike := together(place.folder.name, [error for _, error in said]):
        raise alike from said[-1][1]
    reasons = " ".join(f"{name}: {error.what}" for name, error in said)
    msg = f"{place.folder.name} could be had from none of its {len(said)} archives. {reasons}"
    raise DownloadError(msg, said[-1][1].next_step) from said[-1][1]


def _archives(place: Place, order: Order) -> dict[Path, list[Source]]:
    """Give each archive with its addresses: first the one that is meant, then what is here."""
    archives: dict[Path, list[Source]] = {}
    for source in order.sources:
        own = fingerprint(source.url) == place.origin
        file = place.archive if own else place.archive.with_name(source.archive_name)
        archives.setdefault(file, []).append(source)
    kept = cache.names(order.cache) if order.cache and len(archives) > 1 else set()

    def rank(file: Path) -> tuple[bool, bool, bool]:
        known = {text for one in archives[file] for text in (one.checksum, one.reported)}
        meant = bool(order.checksum) and order.checksum in known
        return not meant, not file.is_file(), file.name not in kept

    return {file: archives[file] for file in sorted(archives, key=rank)}


def _from_archive(
    place: Place, file: Path, sources: list[Source], order: Order, view: View
) -> None:
    was_here = file.is_file()
    contents = place.folder.parent
    source, sha256, md5 = _get(file, contents, sources, order, view)
    if not was_here:
        _look(file, source, md5, view)
    origin = fingerprint(source.url)
    place.remember(Record(origin))
    try:
        archive.unpack(file, place.folder, view=view)
    except ArchiveError as error:
        aside = refused.aside(file)
        refused.forget(file)
        file.replace(aside)
        if was_here:  # fastai's downloads, for one, leave a half archive when they are stopped
            view.note(f"{error.what} It was put aside as {aside}: fetching it anew.")
            _from_archive(place, file, sources, order, view)
            return
        step = f"It was put aside as {aside}; run the same line again to download it anew."
        raise ArchiveError(error.what, step) from error
    place.remember(Record(origin, file.name, file.stat().st_size, sha256))
    if not order.checksum and not source.checksum:
        view.note(
            f"No checksum was known for {file.name}; its SHA-256 is {sha256}. Another machine can "
            f"be held to it with --checksum sha256:{sha256}"
        )
    if order.cache:
        cache.put(order.cache, file, sha256, view)


def _get(
    file: Path, contents: Path, sources: list[Source], order: Order, view: View
) -> tuple[Source, str, str]:
    """Bring the archive here, from the cache or the web; say from where, its SHA-256 and md5."""
    from fastmagic.data.web.download import download  # not needed where all is here

    sha256, first = "", sources[0]
    if order.cache and not file.is_file():
        sha256 = cache.take(order.cache, file.name, file, view)
    fetched = download(
        first.url,
        file,
        checksum=order.checksum or first.checksum,
        expected=first.archive_bytes,
        contents=contents,
        mirrors=[one.url for one in sources[1:]],
        hashes=["md5"] if any(one.reported_md5 for one in sources) else (),
        view=view,
        session=order.session() if order.session and not file.is_file() else None,
        sleep=order.sleep,
    )
    source = next((one for one in sources if shown(one.url) == fetched.url), first)
    # one that lay there is hashed here, so that another machine can compare
    sha256 = fetched.sha256 or sha256 or hash_file(file, progress=_checking(view))
    return source, sha256, fetched.hashes.get("md5", "")


def _checking(view: View) -> Callable[[int, int], None]:
    return lambda done, total: view.bar("checking the archive", done, total, "B")


def _look(file: Path, source: Source, md5: str, view: View) -> None:
    """Say where an archive is not what is recorded of it; its own checks decide all the same."""
    newer = "the server may have another version."
    if source.first_mib_md5:
        with file.open("rb") as opened:
            found = hashlib.md5(opened.read(MIB), usedforsecurity=False).hexdigest()
        if found != source.first_mib_md5:
            view.note(
                f"{file.name} begins otherwise than fastai recorded (first MiB: md5 {found}, "
                f"not {source.first_mib_md5}): {newer}"
            )
    if source.reported_md5:
        whole = md5 or hash_file(file, "md5", _checking(view))
        if whole != source.reported_md5:
            view.note(
                f"The md5 of {file.name} is {whole}, not the {source.reported_md5} that "
                f"was reported for it: {newer}"
            )
