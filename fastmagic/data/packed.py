"""Training and validation pictures that are packed each by itself: `train.zip` and `valid.zip`.

Both are unpacked into one folder, as `train` and `valid`. What stays out of use is named.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from fastmagic.data import kaggle
from fastmagic.data.archives.archive import split_name, unpack
from fastmagic.data.survey import split, tree
from fastmagic.progress import View


def valid_beside(train: Path) -> Path | None:
    """Give the archive of validation pictures beside that of the training pictures, or None.

    It may be called `test`, which mostly has no labels: `left_out` says so.
    """
    if not split.train_of([split_name(train.name)[0]]):
        return None
    stems = {split_name(one.name)[0]: one for one in kaggle.archives_in(train.parent)}
    return next((stems[stem] for stem in split.among(stems, split.VALID_NAMES)), None)


def left_out(archive: Path) -> str:
    """Say why an archive beside `train.zip` stays out, and what to do; empty where it is used."""
    if not split.is_test(archive.name):
        return ""
    return (
        f"{archive.name} beside it is left out: pictures of that name mostly have no labels. To "
        "validate with them, unpack both archives into folders train and valid, and name what "
        "holds these two."
    )


def unused(folder: Path) -> str:
    """Say which of the two parts is still packed beside a folder with the other; empty if none is.

    Parameters
    ----------
    folder
        The data set's folder.
    """
    names = tree.subfolders(folder)
    if not split.among(names, (*split.TRAIN_NAMES, *split.VALID_NAMES)):
        return ""
    stems = {split_name(one.name)[0]: one for one in kaggle.archives_in(folder)}
    for wanted, doing in ((split.TRAIN_NAMES, "train"), (split.VALID_NAMES, "validate")):
        packed = [] if split.among(names, wanted) else split.among(stems, wanted)
        for stem in packed:
            if not split.is_test(stem):
                return f"{stems[stem]} is not used: unpack it there, to {doing} with its pictures."
    return ""


def unpack_both(train: Path, valid: Path, target: Path, view: View) -> Path:
    """Unpack two archives into folders `train` and `valid` of one that is there once both are.

    Parameters
    ----------
    train, valid
        The archives; a folder in them that is called so itself becomes that folder.
    target
        The folder to make.
    view
        Shows how far it is.
    """
    work = target.with_name(f".{target.name}.both")
    shutil.rmtree(work, ignore_errors=True)  # what a killed process left
    try:
        for archive, names in ((train, split.TRAIN_NAMES), (valid, split.VALID_NAMES)):
            whole = unpack(archive, work / ".part", view=view)
            inner = split.among(tree.subfolders(whole), names)
            whole.joinpath(*inner[:1]).replace(work / names[0])
            shutil.rmtree(whole, ignore_errors=True)
        with suppress(OSError):
            target.rmdir()  # an empty one in the way
        return work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
