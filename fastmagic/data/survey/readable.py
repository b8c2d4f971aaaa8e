"""Which pictures can be decoded: each is tried once, in threads, and the answer is remembered.

A truncated photograph stops an epoch somewhere in the middle; here it is found before the first.
Each file is read once, for its pixels and for the checksum that finds copies. The answers are kept
in one small JSON file a folder, by each file's name, size and time, so that a second look reads no
picture at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from fastmagic import platforms, whole
from fastmagic.data.survey.tree import Found
from fastmagic.errors import Stopped
from fastmagic.progress import View

BATCH = 32
"""Pictures that one task of the thread pool decodes: well below a second, for Ctrl-C."""

MOST_PIXELS = 100_000_000
"""Of a picture that is decoded whole, which takes 300 MB then, and several at once; JPEG alone is
decoded at an eighth of its size."""

VERSION = 3
"""Of what is kept; answers of another version are not used."""

Size = tuple[int, int]
"""Width and height in pixels; (0, 0) for a picture that cannot be read."""

UNREADABLE: Size = (0, 0)

EMPTY, TRUNCATED, DAMAGED = "empty", "truncated", "damaged"
NO_PICTURE, TOO_LARGE = "not a picture", "too large"
FAULTY = (EMPTY, TRUNCATED, DAMAGED, NO_PICTURE, TOO_LARGE)
"""Why a file cannot be decoded, whatever is installed."""

FOREIGN, CLOSED = "of a format not read here", "not to be opened"
PASSING = (FOREIGN, CLOSED)
"""What is no fault of the file, and is never remembered: a package such as pillow-heif may come, or
permission."""

MISNAMED, CMYK, PALETTE, DEEP = "named for another format", "CMYK", "palette", "16-bit"
CLIPPED = "16-bit with values above 255"
ODD = (MISNAMED, CMYK, PALETTE, DEEP, CLIPPED)
"""What is decoded and used, and worth knowing: colours that are converted, names that mislead."""

_FORMATS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".heic", ".heif"), ("HEIF",)),
    **dict.fromkeys((".ppm", ".pgm"), ("PPM",)),
    ".bmp": ("BMP", "DIB"),
}
"""What Pillow calls the formats of a suffix, where it is not the suffix itself."""

BRANDS = {"AVIF": (b"avif", b"avis"), "HEIC": (b"hei", b"hev", b"mif1", b"msf1")}
"""What each format that may be foreign here writes into its first bytes; both may write the last
two, so AVIF is asked first."""

_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}
"""How JPEG and PNG begin, and end."""

_BEGINNINGS = (*_ENDS, b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")


class Look(NamedTuple):
    """What the look at one picture found.

    Attributes
    ----------
    size
        Width and height in pixels; `UNREADABLE` if it cannot be decoded.
    kinds
        Of `FAULTY`, `PASSING` and `ODD`; mostly none.
    digest
        The first 128 bits of the file's SHA-256, as hex digits; empty if it cannot be read.
    """

    size: Size
    kinds: tuple[str, ...] = ()
    digest: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be decoded."""
        return self.size != UNREADABLE


def check(root: Path, files: Sequence[Found], view: View, memory: Path) -> dict[Path, Look]:
    """Look at each picture that is new or has changed, and recall the others.

    Parameters
    ----------
    root
        The folder that the answers are kept for; the files lie below it.
    files
        What to look at.
    view
        Shows how far it is.
    memory
        The folder in which the answers are kept; where it cannot be written, nothing is kept.

    Returns
    -------
    dict
        What was found, for every file.

    Raises
    ------
    Stopped
        On Ctrl-C; what was looked at so far is remembered.
    """
    book = _Book(memory, root)
    known: dict[Path, Look] = {}
    todo: list[Found] = []
    for found in files:
        look = book.recall(found)
        if look is None:
            todo.append(found)
        else:
            known[found.path] = look
    if not todo:
        return known
    try:
        _decode(todo, known, view)
    except KeyboardInterrupt:
        msg = f"Stopped after checking {len(known)} of {len(files)} pictures."
        raise Stopped(msg, "Run the same line again: these are not checked again.") from None
    finally:
        book.write((found, known[found.path]) for found in files if found.path in known)
    return known


def _decode(files: Sequence[Found], known: dict[Path, Look], view: View) -> None:
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    done = 0
    # Reading may wait for a disk or a network drive, so a few threads even where cores are few;
    # Pillow gives the interpreter free while it decodes.
    pool = ThreadPoolExecutor(max(4, platforms.usable_cores()), "fastmagic-check")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on EXIF, palettes and large pictures
        try:
            tasks: dict[Future[list[Look]], Sequence[Found]] = {
                pool.submit(_looks, batch): batch for batch in batches
            }
            for task in as_completed(tasks):
                known.update(zip((one.path for one in tasks[task]), task.result(), strict=True))
                done += len(tasks[task])
                view.bar("checking pictures", done, len(files), " pictures")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _looks(files: Sequence[Found]) -> list[Look]:
    return [look_at(found.path) for found in files]


def look_at(file: Path) -> Look:
    """Decode a picture, and say what is wrong or odd with it.

    JPEG is decoded at an eighth of its size where Pillow can: every byte is read all the same, so
    that a truncated file is found, in a fraction of the time.
    """
    from PIL import Image

    try:
        data = file.read_bytes()
    except OSError:
        return Look(UNREADABLE, (CLOSED,))
    if not data:
        return Look(UNREADABLE, (EMPTY,))
    digest = hashlib.sha256(data).hexdigest()[:32]
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
            kinds = _odd(image, file.suffix.lower())
            if image.format != "JPEG" and size[0] * size[1] > MOST_PIXELS:
                return Look(UNREADABLE, (TOO_LARGE,), digest)
            image.draft(None, (max(1, size[0] // 8), max(1, size[1] // 8)))
            image.load()
            if DEEP in kinds and _is_clipped(image):
                kinds = tuple(CLIPPED if kind == DEEP else kind for kind in kinds)
            return Look(size, kinds, digest)
    except Image.DecompressionBombError:
        return Look(UNREADABLE, (TOO_LARGE,), digest)
    except Exception as error:  # Pillow's plugins raise nearly anything on what is no picture
        return Look(UNREADABLE, (_fault(data, error),), digest)


def foreign(file: Path) -> str:
    """Name the format of a picture that is `FOREIGN`; that word where it is none that we know."""
    try:
        with file.open("rb") as opened:
            begins = opened.read(64)
    except OSError:
        return FOREIGN
    box = begins[8 : int.from_bytes(begins[:4], "big")]  # the brands that it keeps to
    return next((name for name, marks in BRANDS.items() if any(m in box for m in marks)), FOREIGN)


def _odd(image: Any, suffix: str) -> tuple[str, ...]:
    kinds = []
    if image.format not in _FORMATS.get(suffix, (suffix[1:].upper(),)):
        kinds.append(MISNAMED)
    if image.mode in ("CMYK", "P"):
        kinds.append(CMYK if image.mode == "CMYK" else PALETTE)
    # Pillow gives a 16-bit PNG in colour as 8-bit; only how it is stored shows what it was.
    if image.mode.startswith(("I", "F")) or any("16" in str(tile[3]) for tile in image.tile[:1]):
        kinds.append(DEEP)
    return tuple(kinds)


def _is_clipped(image: Any) -> bool:
    """Say whether values lie above 255, which Pillow, and so fastai, takes for white."""
    if not image.mode.startswith(("I", "F")):
        return False
    known = image if image.mode in ("I", "I;16", "F") else image.convert("I")
    return bool(known.getextrema()[1] > 255)


def _fault(data: bytes, error: Exception) -> str:
    if data[4:8] == b"ftyp":
        return FOREIGN  # HEIC, or AVIF where Pillow was built without it
    begins = next((one for one in _BEGINNINGS if data.startswith(one)), None)
    if begins is None:
        return NO_PICTURE
    end = _ENDS.get(begins, b"")
    cut = "truncated" in str(error) or isinstance(error, EOFError) or end not in data[-64:]
    return TRUNCATED if cut else DAMAGED


class _Book:
    """What is remembered of one folder's pictures."""

    def __init__(self, memory: Path, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._file = memory / f"pictures-{name}.json"
        self._known: dict[str, list[Any]] = {}
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            if kept["version"] == VERSION:
                self._known = dict(kept["pictures"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            pass  # none yet, or not ours: every picture is looked at

    def recall(self, found: Found) -> Look | None:
        """Give what was found of an unchanged picture that was looked at before, else None."""
        match self._known.get("/".join(found.parts)):
            case [found.size, found.mtime, int(width), int(height), str(kinds), str(digest)]:
                if kinds not in PASSING:
                    return Look((width, height), tuple(kinds.split(",")) if kinds else (), digest)
        return None

    def write(self, answers: Iterable[tuple[Found, Look]]) -> None:
        """Keep the answers: whole, or as they were."""
        kept = {
            "/".join(one.parts): [
                one.size,
                one.mtime,
                *look.size,
                ",".join(look.kinds),
                look.digest,
            ]
            for one, look in answers
        }
        # surrogates in names that are not UTF-8 are escaped by json
        whole.remember(self._file, json.dumps({"version": VERSION, "pictures": kept}))
