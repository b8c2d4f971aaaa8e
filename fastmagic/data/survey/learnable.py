"""Which classes can be learnt from what was read, and what is said where none can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastmagic.data.survey import labels, readable
from fastmagic.data.survey.cautions import listed
from fastmagic.data.survey.readable import Look
from fastmagic.errors import PicturesError

AGAIN = "Are they really pictures? Download or copy them again."
ALLOW = "Change who may read them."
AS_JPEG = "Save them as JPEG."
FROM_PHONES = (
    "Save them as JPEG (iPhone: Settings > Camera > Formats > Most Compatible; a Mac: Preview > "
    "Export)."
)


def classes(
    root: Path,
    named: Mapping[Path, str],
    train: Sequence[Path],
    valid: Sequence[Path],
    bad: Mapping[Path, Look],
) -> tuple[str, ...]:
    """Name the classes that can be learnt, or say why nothing can.

    Parameters
    ----------
    root
        The folder of the pictures.
    named
        The class of each, also of those that cannot be read.
    train, valid
        Those that can be read.
    bad
        What was found of the others.

    Raises
    ------
    PicturesError
        Where there is nothing to learn from; it says what is missing.
    """
    if not train and not valid:
        raise _none(root, bad)
    found = tuple(sorted({named[file] for file in train}))
    if len(found) < 2:
        raise _too_few(root, found, named, valid, bad)
    if not valid:
        msg = f"There are no validation pictures in {root}, or none that can be read."
        raise PicturesError(msg, "Add pictures: every class needs at least two.")
    strange = {named[file] for file in valid} - set(found)
    if strange:
        raise _strange(min(strange), found)
    return found


def _none(root: Path, bad: Mapping[Path, Look]) -> PicturesError:
    """Make the error for a folder of which not one picture can be read."""
    why = _reasons(bad)
    if list(why) == ["HEIC"] and len(bad) > 1:
        msg = f"The {len(bad):,} pictures in {root} are HEIC files, as iPhones make them, which "
        return PicturesError(f"{msg}fastai does not read.", FROM_PHONES)
    msg = f"None of the {len(bad):,} pictures in {root} can be read ({_counted(why)})."
    return PicturesError(msg, _next_step(why))


def _too_few(
    root: Path,
    found: Sequence[str],
    named: Mapping[Path, str],
    valid: Sequence[Path],
    bad: Mapping[Path, Look],
) -> PicturesError:
    """Make the error for one class or none, maybe because those of the others cannot be read."""
    lost = {file: look for file, look in bad.items() if named[file] not in found}
    what = "training pictures" if any(named[file] not in found for file in valid) else "pictures"
    if not lost:
        one = f"is only one class, {found[0]!r}" if found else "are no training pictures"
        return PicturesError(f"There {one}, in {root}.", f"Two classes are needed. {labels.SHOW}")
    why = _reasons(lost)
    who = f"Only {found[0]!r} has" if found else "No class has"
    of = listed(sorted({named[file] for file in lost}))
    msg = f"{who} {what} that can be read; the {len(lost):,} of {of} {_are(why)}."
    return PicturesError(msg, _next_step(why))


def _reasons(bad: Mapping[Path, Look]) -> Counter[str]:
    """Count why pictures cannot be read, by their format where that is it."""
    return Counter(
        readable.foreign(file) if look.kinds[0] == readable.FOREIGN else look.kinds[0]
        for file, look in sorted(bad.items())
    )


def _are(why: Counter[str]) -> str:
    [(kind, count), *others] = why.most_common()
    if others or kind not in readable.BRANDS:
        return f"cannot be read ({_counted(why)})"
    return f"are {kind} files" if count > 1 else f"is in the format {kind}"


def _counted(why: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in why.most_common())


def _next_step(why: Mapping[str, int]) -> str:
    if "HEIC" in why:
        return FROM_PHONES
    if why.keys() & {*readable.BRANDS, readable.FOREIGN}:
        return AS_JPEG
    return ALLOW if set(why) == {readable.CLOSED} else AGAIN


def _strange(name: str, found: Sequence[str]) -> PicturesError:
    """Make the error for a class of validation pictures alone, maybe one that is spelled anew."""
    same = next((one for one in found if one.casefold() == name.casefold()), "")
    if same:
        msg = f"The training pictures have a class {same!r} and the validation pictures {name!r}: "
        return PicturesError(
            f"{msg}the names differ in case alone.", "If they are one class, give both one name."
        )
    msg = f"The validation pictures have a class that the training ones lack: {name!r}."
    return PicturesError(msg, "Give both folders the same class folders.")
