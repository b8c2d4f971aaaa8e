"""Cats and dogs that the package draws itself: no network, no licence, no download.

Pictures come in pairs. `cat.7` and `dog.7` share everything that is no sign of the animal: pose,
place, size, turn, fur, background, light, noise and what stands in the way. Only the shape tells
them apart (ears, muzzle, eyes, tail), so neither colours nor a coarse look at the layout do.
`animals` holds the shapes, `drawing` the pen.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastmagic.data.drawn.animals import BODIES, HEADS, make_scene
from fastmagic.data.drawn.drawing import Dice, paint_obstacle
from fastmagic.errors import BadInput, DataError, Stopped

if TYPE_CHECKING:
    from fastmagic.data.drawn.drawing import Array

KINDS = ("cat", "dog")
TRAIN, VALID, SIDE = 480, 160, 80


def draw_picture(kind: str, index: int, seed: int = 1, side: int = SIDE) -> Array:
    """Draw one animal, the same to the last bit on every machine.

    Parameters
    ----------
    kind
        ``cat`` or ``dog``.
    index
        Number of the picture; the cat and the dog of one number share their scene.
    seed
        Another seed gives another data set.
    side
        Width and height in pixels.

    Returns
    -------
    Array
        uint8, (side, side, 3), RGB.

    Raises
    ------
    BadInput
        The kind is neither cat nor dog.

    Examples
    --------
    >>> draw_picture("cat", 0, side=32).shape
    (32, 32, 3)
    """
    if kind not in KINDS:
        raise BadInput(f"There is no {kind!r} in the sample.", "Ask for 'cat' or 'dog'.")
    dice = Dice(seed, index, "scene")
    scene = make_scene(dice, side)
    own = Dice(seed, index, kind)
    BODIES[scene.pose](scene, own, kind)
    HEADS[kind, scene.profile](scene, own)
    paint_obstacle(scene.canvas, scene.frame, dice)
    return scene.canvas.photograph(dice)


def draw_sample(
    folder: Path,
    *,
    seed: int = 1,
    train: int = TRAIN,
    valid: int = VALID,
    side: int = SIDE,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the whole data set in lesson 1's layout, ``{train,valid}/{cats,dogs}/cat.N.png``.

    Drawn whole or not at all: into a sibling of the folder, which is renamed at the end. So a
    folder that is there is complete, and is given back as it is. What a killed process left is
    removed by the next call; so only one process at a time may draw into a folder. `get_data`
    holds the data set's lock meanwhile.

    Parameters
    ----------
    folder
        Where the data set shall be.
    seed
        Another seed gives other pictures.
    train, valid
        Pictures in each part, cats and dogs together; odd numbers lose one.
    side
        Width and height in pixels.
    progress
        Called after each picture with the number drawn and the number in all.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        The folder cannot be written, or the disk is full; nothing is left behind.
    Stopped
        The person pressed stop; nothing is left behind.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     made = draw_sample(Path(place) / "sample", train=4, valid=2, side=16)
    ...     sorted(str(p.relative_to(made).as_posix()) for p in made.rglob("*.png"))[:3]
    ['train/cats/cat.0.png', 'train/cats/cat.1.png', 'train/dogs/dog.0.png']
    """
    folder = Path(folder)
    if _whole(folder):
        return folder
    # One name for one folder: what a killed process left is found here and removed.
    work = folder.with_name(f".{folder.name}.drawing")
    try:
        _remove(work)
        work.mkdir(parents=True)
        _draw_all(work, seed, train // 2, valid // 2, side, progress)
        _put_in_place(work, folder)
    except OSError as error:
        if not _whole(folder):  # else another process was quicker, and drew the same
            raise _no_room(folder, error) from None
    except KeyboardInterrupt:
        raise Stopped(
            "Drawing the sample was stopped; nothing of it is kept.", "The next call draws it anew."
        ) from None
    finally:
        _remove(work)
    return folder


def _whole(folder: Path) -> bool:
    if not folder.exists() and not folder.is_symlink():
        return False
    if (folder / "train" / "cats").is_dir() and (folder / "valid" / "dogs").is_dir():
        return True
    if folder.is_dir() and not any(folder.iterdir()):
        return False
    raise DataError(
        f"The sample cannot be drawn: there is something else at {folder}.",
        "Move it away, or choose another place for the data set.",
    )


def _draw_all(
    folder: Path,
    seed: int,
    train: int,
    valid: int,
    side: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    from PIL import Image

    for part, numbers in (("train", range(train)), ("valid", range(train, train + valid))):
        for kind in KINDS:
            (folder / part / f"{kind}s").mkdir(parents=True)
        for index in numbers:
            for kind in KINDS:
                picture = Image.fromarray(draw_picture(kind, index, seed, side))
                picture.save(folder / part / f"{kind}s" / f"{kind}.{index}.png", compress_level=1)
            if progress:
                progress(2 * index + 2, 2 * (train + valid))


def _put_in_place(drawn: Path, folder: Path) -> None:
    if folder.is_dir():  # an empty one; only POSIX would replace it
        folder.rmdir()
    drawn.rename(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _no_room(folder: Path, error: OSError) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk of {folder} is full; nothing of the sample is kept there.",
            "Free 20 MB, or choose another place for the data set, and run this again.",
        )
    return DataError(
        f"The sample cannot be written to {folder}: {error.strerror or error}.",
        "Choose a place for the data set that you may write to.",
    )
