"""The data sets that have a name, and what lesson 1 does with each unless told otherwise.

Sizes are those that fastai 2.8.12 records in `fastai/data/download_checks.py`. The md5 it records
beside them covers the first MiB of an archive only (fastdownload's `path_stats`), so it is never
compared with a whole file's, and `checksum` stays empty: recorded, not verified. Numbers of
pictures are those that fastai's documentation and the data sets' own pages give; where what
arrives differs, the reader is told, and neither is trusted over the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fastmagic.errors import BadInput, did_you_mean

ADDRESS_VARIABLE = "FASTMAGIC_CATALOGUE"
"""The environment variable that holds another base address for every archive of the catalogue."""

S3 = "https://s3.amazonaws.com/fast-ai-"
"""Where fastai keeps its data sets (`fastai.data.external.URLs.S3`)."""


@dataclass(frozen=True)
class LessonDefaults:
    """What `%train_lesson1` uses for a data set where its flags do not say otherwise.

    Attributes
    ----------
    recipe, arch
        The name of the recipe, and of the network (torchvision's or timm's).
    size
        Side of the pictures, in pixels.
    epochs
        Epochs of the first stage.
    lr
        Learning rate.
    bs
        Pictures in a batch.
    weights
        What the network starts from: `imagenet` or `none`.
    augment
        How training pictures are varied: `standard` is fastai's `aug_transforms()`; `mirror` only
        turns them left to right, for networks that start from nothing and have little time.
    """

    recipe: str
    arch: str
    size: int
    epochs: int
    lr: float
    bs: int
    weights: Literal["imagenet", "none"]
    augment: Literal["standard", "mirror"] = "standard"


@dataclass(frozen=True)
class DataSet:
    """A data set that can be asked for by name.

    Attributes
    ----------
    name, title
        What one types, and what it is, in a few words.
    url
        The archive's address; empty for a data set that the package draws itself.
    archive_bytes
        The archive's size in bytes as recorded; 0 where unknown.
    checksum
        `md5:…` or `sha256:…` of the whole archive; empty where none is known.
    folder
        Its folder's name below the data folder: the one that fastai's `untar_data` makes.
    pictures_in
        Where the pictures are below that folder; empty for the folder itself.
    label_pattern
        A regular expression whose first group, found in a file's name, is the class; empty where
        folders name the classes.
    pictures, classes
        How many the lesson uses, train and valid together, as recorded; 0 where unknown.
    split
        `folders` where the data set brings its own validation set, `seed` where one is drawn.
    defaults
        The lesson's settings for it.
    reference
        The accuracies, lowest and highest, that lesson 1's author published for it, or None.
    """

    name: str
    title: str
    url: str
    archive_bytes: int
    checksum: str
    folder: str
    pictures_in: str
    label_pattern: str
    pictures: int
    classes: int
    split: Literal["folders", "seed"]
    defaults: LessonDefaults
    reference: tuple[float, float] | None = None

    @property
    def archive_name(self) -> str:
        """The archive's file name; empty where there is none."""
        return self.url.rsplit("/", 1)[-1]


OWN_PICTURES = LessonDefaults("classic", "resnet34", 224, 3, 3e-3, 64, "imagenet")
"""For a folder of the reader's own pictures."""

_SETS = (
    DataSet(
        name="dogscats",
        title="Dogs vs cats, lesson 1",
        url=f"{S3}sample/dogscats.tgz",  # fastai's URLs.DOGS
        archive_bytes=839_285_364,
        checksum="",
        folder="dogscats",
        pictures_in="",
        label_pattern="",
        pictures=25_000,  # 23,000 train and 2,000 valid, as the 2018 notebook prints
        classes=2,
        split="folders",
        defaults=LessonDefaults("classic", "resnet34", 224, 3, 3e-3, 64, "imagenet"),
        # The author's own notebook over its git history, 2017-11 to 2018-05: fastai's
        # courses/dl1/lesson1.ipynb, accuracy with TTA on the 2,000 validation pictures.
        reference=(0.991, 0.9965),
    ),
    DataSet(
        name="pets",
        title="Oxford-IIIT Pets",
        url=f"{S3}imageclas/oxford-iiit-pet.tgz",  # fastai's URLs.PETS
        archive_bytes=811_706_944,
        checksum="",
        folder="oxford-iiit-pet",
        pictures_in="images",
        label_pattern=r"^(.*)_\d+\.jpg$",
        pictures=7_390,
        classes=37,
        split="seed",
        defaults=LessonDefaults("pets", "resnet34", 224, 4, 3e-3, 64, "imagenet"),
    ),
    DataSet(
        name="sample",
        title="Cats and dogs, drawn",
        url="",
        archive_bytes=0,
        checksum="",
        folder="fastmagic-sample",
        pictures_in="",
        label_pattern="",
        pictures=640,  # sample.TRAIN + sample.VALID; a test holds them together
        classes=2,
        split="folders",
        defaults=LessonDefaults("scratch", "resnet18", 48, 8, 5e-3, 24, "none", "mirror"),
    ),
    DataSet(
        name="imagenette2-160",
        title="Imagenette, 160 pixels",
        url=f"{S3}imageclas/imagenette2-160.tgz",  # fastai's URLs.IMAGENETTE_160
        archive_bytes=99_003_388,
        checksum="",
        folder="imagenette2-160",
        pictures_in="",
        label_pattern="",
        pictures=13_394,  # 9,469 train and 3,925 val: github.com/fastai/imagenette
        classes=10,
        split="folders",
        defaults=LessonDefaults("classic", "resnet34", 128, 3, 3e-3, 64, "imagenet"),
    ),
    DataSet(
        name="imagenette2-320",
        title="Imagenette, 320 pixels",
        url=f"{S3}imageclas/imagenette2-320.tgz",  # fastai's URLs.IMAGENETTE_320
        archive_bytes=341_663_724,
        checksum="",
        folder="imagenette2-320",
        pictures_in="",
        label_pattern="",
        pictures=13_394,
        classes=10,
        split="folders",
        defaults=LessonDefaults("classic", "resnet34", 224, 3, 3e-3, 64, "imagenet"),
    ),
)

CATALOGUE: dict[str, DataSet] = {one.name: one for one in _SETS}
"""Every data set by its name."""


def find(name: str) -> DataSet:
    """Give the data set of this name.

    Parameters
    ----------
    name
        A name from `CATALOGUE`.

    Raises
    ------
    BadInput
        When there is none of this name; it lists the names, the nearest first.

    Examples
    --------
    >>> find("dogscats").defaults.arch
    'resnet34'
    >>> find("dogcats")
    Traceback (most recent call last):
    fastmagic.errors.BadInput: There is no data set called 'dogcats'. Did you mean 'dogscats'?
    Next: Use one of dogscats, pets, sample, imagenette2-160, imagenette2-320; an http(s) address \
of a zip or tar; or the path of an archive or a folder of your own.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise unknown(name)


def unknown(name: str) -> BadInput:
    """Make the error for a name that is not in the catalogue."""
    near = did_you_mean(name, CATALOGUE)
    return BadInput(f"There is no data set called {name!r}. {near}".rstrip(), choices())


def choices() -> str:
    """Say, as a next step, what can be asked for."""
    return (
        f"Use one of {', '.join(CATALOGUE)}; an http(s) address of a zip or tar; or the path of "
        "an archive or a folder of your own."
    )


def at_address(entry: DataSet, env: Mapping[str, str] | None = None) -> DataSet:
    """Give the entry as it is fetched from here: from another base address where one is set.

    So that a mirror, a class-room's server or a test's stand-in can take the place of the internet
    without changing a notebook. What is recorded of an archive is not expected of such a server's.

    Parameters
    ----------
    env
        `FASTMAGIC_CATALOGUE` holds the base address, for example `http://127.0.0.1:8000/`.

    Examples
    --------
    >>> at_address(find("dogscats"), {"FASTMAGIC_CATALOGUE": "http://127.0.0.1:8000"}).url
    'http://127.0.0.1:8000/dogscats.tgz'
    """
    base = (os.environ if env is None else env).get(ADDRESS_VARIABLE, "")
    if not base or not entry.url:
        return entry
    url = f"{base.rstrip('/')}/{entry.archive_name}"
    return replace(entry, url=url, archive_bytes=0, checksum="", pictures=0)


def pattern_for(folder: Path) -> str:
    """Give the label pattern of the catalogue's data set that lies in this folder; empty if none.

    Examples
    --------
    >>> pattern_for(Path("/data/oxford-iiit-pet/images"))
    '^(.*)_\\\\d+\\\\.jpg$'
    """
    for entry in CATALOGUE.values():
        tail = (entry.folder, *Path(entry.pictures_in).parts)
        if entry.label_pattern and folder.parts[-len(tail) :] == tail:
            return entry.label_pattern
    return ""
