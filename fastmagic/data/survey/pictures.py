"""How the pictures of a folder are laid out: which are for training, which for validation, which
class each is of.

Three layouts are known, and found by looking:

    train/valid folders   train/cats/…, valid/cats/…      (other names of them: `split`)
    class folders         cats/…, dogs/…                  a share is kept for validation, by seed
    flat files            cat.0.jpg, beagle_12.jpg        the name carries the class

What cannot be read is left out and named. Nothing is deleted, and nothing is moved but unusable
pictures out of a folder that we unpacked ourselves (`rejected`).
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastmagic import platforms
from fastmagic.data.catalogue import pattern_for
from fastmagic.data.survey import duplicates, labels, learnable, readable, rejected, split, tree
from fastmagic.data.survey.duplicates import Duplicates
from fastmagic.data.survey.labels import Kind
from fastmagic.data.survey.rejected import Rejected
from fastmagic.data.survey.tree import Found
from fastmagic.errors import BadInput, PicturesError, did_you_mean
from fastmagic.progress import View


@dataclass(frozen=True)
class Layout:
    """The pictures of a folder, divided and named.

    Attributes
    ----------
    path
        The folder that holds the train and valid folders, the class folders or the flat files.
    kind
        Which of the three layouts it has.
    train, valid
        The readable pictures, in a fixed order.
    classes
        The names of the classes, sorted.
    label_pattern
        The regular expression that finds the class in a file's name; empty where folders do.
    unreadable
        Files that call themselves pictures and cannot be decoded.
    """

    path: Path
    kind: Kind
    train: tuple[Path, ...]
    valid: tuple[Path, ...]
    classes: tuple[str, ...]
    label_pattern: str
    unreadable: tuple[Path, ...]

    def label(self, file: str | Path) -> str:
        """Give the class of one of these pictures.

        Raises
        ------
        PicturesError
            When neither its folder nor its name tells one.
        """
        label = labels.label(Path(file).relative_to(self.path).parts, self.kind, self.label_pattern)
        if label is None:
            msg = f"The class of {Path(file).name!r} cannot be told from its name."
            raise PicturesError(msg, labels.SHOW)
        return label


@dataclass(frozen=True)
class Survey:
    """A layout with what the look at each picture found.

    Attributes
    ----------
    layout
        The readable pictures, divided and named.
    looks
        What was found of every picture, the unreadable ones among them.
    named
        The class of each.
    duplicates
        Exact copies within and across the two parts.
    rejected
        What was moved out of the folder, now and earlier.
    moved
        The files that were moved now.
    """

    layout: Layout
    looks: dict[Path, readable.Look]
    named: dict[Path, str]
    duplicates: Duplicates
    rejected: Rejected | None = None
    moved: frozenset[Path] = frozenset()


def lay_out(
    path: str | Path,
    *,
    label_pattern: str = "",
    valid_pct: float = 0.2,
    seed: int = 42,
    view: View | None = None,
    memory: Path | None = None,
) -> Layout:
    """Find the classes, the training and the validation pictures of a folder.

    Parameters
    ----------
    path
        The folder; it is searched for the one that really holds the pictures.
    label_pattern
        A regular expression whose first group, found in a file's name, is the class. Where it is
        empty, folders tell the class, then the catalogue's rule for this folder, then the names if
        they look like Kaggle's `cat.0.jpg`.
    valid_pct
        Share of every class kept for validation where the folder brings no validation set.
    seed
        From which that choice is made: the same names and seed give the same choice.
    view
        Shows how far the check of the pictures is.
    memory
        The folder in which the outcome of that check is remembered; beside fastai's archives.

    Raises
    ------
    PicturesError
        When there is nothing to learn from; it says what is missing.
    BadInput
        When `valid_pct` is not a share.
    """
    return survey(
        path, label_pattern=label_pattern, valid_pct=valid_pct, seed=seed, view=view, memory=memory
    ).layout


def survey(
    path: str | Path,
    *,
    label_pattern: str = "",
    valid_pct: float = 0.2,
    seed: int = 42,
    view: View | None = None,
    memory: Path | None = None,
    unpacked: Path | None = None,
) -> Survey:
    """Do what `lay_out` does, and give all that was found.

    `unpacked` is the data set's folder, around or equal to `path`, if we unpacked it ourselves:
    then what cannot be read is moved to `NAME-rejected` beside it. Otherwise nothing is touched.
    """
    if not 0 < valid_pct < 1:
        msg = f"The share of validation pictures is {valid_pct}; it must lie between 0 and 1."
        raise BadInput(msg, "Use 0.2 for one picture in five.")
    root = picture_folder(path, label_pattern)
    kind, pattern, train, valid = _divided(root, label_pattern, valid_pct, seed)
    looks = readable.check(root, [*train, *valid], view or View(), memory or default_memory())
    bad = {file: look for file, look in looks.items() if not look.usable}
    good_train = tuple(one.path for one in train if one.path not in bad)
    good_valid = tuple(one.path for one in valid if one.path not in bad)
    named = {one.path: str(labels.label(one.parts, kind, pattern)) for one in (*train, *valid)}
    classes = learnable.classes(root, named, good_train, good_valid, bad)
    moved = _rejected(unpacked, bad) if unpacked else frozenset()
    layout = Layout(
        root, kind, good_train, good_valid, classes, pattern, tuple(sorted(bad.keys() - moved))
    )
    digests = {file: look.digest for file, look in looks.items()}
    return Survey(
        layout,
        looks,
        named,
        duplicates.find(good_train, good_valid, digests, named.__getitem__),
        rejected.beside(unpacked) if unpacked else None,
        moved,
    )


def default_memory() -> Path:
    """Say where what was found is remembered: beside fastai's archives."""
    return platforms.archive_folder() / "fastmagic"


def _rejected(unpacked: Path, bad: dict[Path, readable.Look]) -> frozenset[Path]:
    faults = {file: look.kinds[0] for file, look in sorted(bad.items())}
    lasting = {file: fault for file, fault in faults.items() if fault in readable.FAULTY}
    return rejected.set_aside(unpacked, lasting) if lasting else frozenset()


def picture_folder(path: str | Path, label_pattern: str = "") -> Path:
    """Go down from a folder to the one that holds train and valid, the classes or the files.

    Archives often hold their data set one or two folders deep.

    Raises
    ------
    PicturesError
        When the folder is missing, is a file, or holds no picture.
    """
    labels.compiled(label_pattern)
    folder = existing_folder(path)
    if not tree.has_pictures(folder):
        raise PicturesError(f"There are no pictures in {folder}{_what_else(folder)}.", labels.SHOW)
    while not tree.own_pictures(folder) and not _parts(folder, label_pattern):
        below = [name for name in tree.subfolders(folder) if tree.has_pictures(folder / name)]
        train = split.train_of(below)
        # its neighbours carry no classes: Kaggle's test1; beside Car and Bus, Train is one itself
        if train == "train" or (train and any(map(split.is_test, below))):
            folder = folder / train
        elif len(below) == 1 and _goes_on(folder / below[0], label_pattern):
            folder = folder / below[0]
        else:
            break
    return folder


def absolute(path: str | Path) -> Path:
    """Give a path from the root on, so that it still fits after a change of folder."""
    with suppress(RuntimeError):  # no such user, no home: the ~ stays a ~
        path = Path(path).expanduser()
    return Path(path).absolute()


def existing_folder(path: str | Path) -> Path:
    """Give the folder's absolute path, or say why there is none."""
    folder = absolute(path)
    try:
        folder.stat()
    except PermissionError:
        msg = f"{folder} lies in a folder that you may not enter."
        raise PicturesError(msg, "Check the path and who may read it.") from None
    except OSError:
        pass  # said below
    if folder.is_dir():
        return folder
    if folder.exists():
        msg = f"{folder} is a file, not a folder of pictures."
        raise PicturesError(msg, "If it is an archive, unpack it with %get_data first.")
    near = ""
    with suppress(OSError):
        near = did_you_mean(folder.name, [one.name for one in folder.parent.iterdir()])
    msg = f"There is nothing at {folder}. {near}".rstrip()
    raise PicturesError(msg, "Check how it is spelled, and in which folder you are (%pwd).")


def _goes_on(folder: Path, pattern: str) -> bool:
    """Say whether a lone folder is a wrapping, and not a class of its own."""
    names = tree.own_pictures(folder)
    if not names:
        return True
    pattern = pattern or pattern_for(folder) or labels.KAGGLE
    found = {labels.named(name, pattern) for name in names}
    return None not in found and len(found) > 1


def _parts(folder: Path, pattern: str) -> tuple[str, str] | None:
    """Name the folders of training and of validation pictures; None where there is no such pair."""
    names = tree.subfolders(folder)
    train = split.train_of(names)
    for valid in split.among(names, split.VALID_NAMES) if train else ():
        # Kaggle's `test` is a heap without labels, and no validation set.
        if not split.is_test(valid) or pattern or _has_classes(folder / valid):
            return train, valid
    return None


def _has_classes(folder: Path) -> bool:
    return any(tree.has_pictures(folder / name) for name in tree.subfolders(folder))


def _divided(
    root: Path, given: str, valid_pct: float, seed: int
) -> tuple[Kind, str, list[Found], list[Found]]:
    """Find which layout it is, and what is for what; the unreadable are still there."""
    parts = _parts(root, given)
    if parts:
        train = _below(root, parts[0])
        pattern = given if given or _has_classes(root / parts[0]) else _pattern(root, train)
        kind: Kind = "train/valid folders"
        files = _labelled(train, kind, pattern), _labelled(_below(root, parts[1]), kind, pattern)
        if not files[1]:
            msg = f"There are no validation pictures in {root / parts[1]}."
            raise PicturesError(msg, "Move some of each class there, or take that folder away.")
        return kind, pattern, *files
    found = tree.pictures_below(root)
    by_folder = not given and _has_classes(root) and not _flat_beside(root, found)
    kind, pattern = (
        ("class folders", "") if by_folder else ("flat files", given or _pattern(root, found))
    )
    return kind, pattern, *_split(_labelled(found, kind, pattern), kind, pattern, valid_pct, seed)


def _below(root: Path, name: str) -> list[Found]:
    return [
        Found(one.path, (name, *one.parts), one.size, one.mtime)
        for one in tree.pictures_below(root / name)
    ]


def _flat_beside(root: Path, found: list[Found]) -> bool:
    """Say whether the files beside some folders carry the classes, and the folders do not."""
    own = [one.parts[-1] for one in found if len(one.parts) == 1]
    pattern = pattern_for(root) or labels.KAGGLE
    return bool(own) and all(labels.named(name, pattern) is not None for name in own)


def _pattern(root: Path, found: list[Found]) -> str:
    """Guess the pattern of files that lie in no class folder."""
    for pattern in filter(None, (pattern_for(root), labels.KAGGLE)):
        if all(labels.named(one.parts[-1], pattern) is not None for one in found):
            return pattern
    msg = f"The pictures lie in one folder, {root}, and names like {found[0].parts[-1]!r} tell no "
    raise PicturesError(
        msg + "class.",
        f"{labels.SHOW} If the names do carry it, say how with --label-pattern REGEX.",
    )


def _labelled(found: list[Found], kind: Kind, pattern: str) -> list[Found]:
    """Keep what has a class; a picture that lies beside the class folders has none."""
    kept = []
    for one in found:
        if labels.label(one.parts, kind, pattern) is not None:
            kept.append(one)
        elif pattern:
            msg = f"The label pattern {pattern!r} finds no class in the file name "
            raise PicturesError(
                f"{msg}{one.parts[-1]!r}.",
                r"Its first group must be the class: ^(.*)_\d+\.jpg$ finds a in a_12.jpg.",
            )
    return kept


def _split(
    found: list[Found], kind: Kind, pattern: str, valid_pct: float, seed: int
) -> tuple[list[Found], list[Found]]:
    """Keep a share of every class for validation; names and seed decide, nothing else."""
    groups: dict[str, list[Found]] = {}
    for one in found:  # sorted by path
        groups.setdefault(str(labels.label(one.parts, kind, pattern)), []).append(one)
    valid: set[Path] = set()
    for label in sorted(groups):
        shuffled = list(groups[label])
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - a split is no secret
        share = max(1, round(len(shuffled) * valid_pct)) if len(shuffled) > 1 else 0
        valid.update(one.path for one in shuffled[:share])
    return (
        [one for one in found if one.path not in valid],
        [one for one in found if one.path in valid],
    )


def _what_else(folder: Path) -> str:
    names = [repr(one.name) for one in folder.iterdir() if not tree.is_junk(one.name)]
    return f" (there is {', '.join(sorted(names)[:3])})" if names else ": it is empty"
