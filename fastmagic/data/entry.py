"""What an entry of the catalogue says of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
class Source:
    """One archive that holds a data set; others of the same set may be packed otherwise.

    Attributes
    ----------
    url
        Its address.
    archive_bytes
        Its size in bytes as recorded; 0 where unknown.
    checksum
        `md5:…` or `sha256:…` of the whole file; another one is refused. Empty where none is known.
    first_mib_md5
        fastai's check: the md5 of the first MiB.
    reported_md5
        The md5 of the whole file, as somebody saw it.
    """

    url: str
    archive_bytes: int = 0
    checksum: str = ""
    first_mib_md5: str = ""
    reported_md5: str = ""

    @property
    def archive_name(self) -> str:
        """The archive's file name; empty where there is none."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def reported(self) -> str:
        """The reported md5 as a checksum is written; empty where none was reported."""
        return f"md5:{self.reported_md5}" if self.reported_md5 else ""

    @property
    def hashes(self) -> tuple[str, ...]:
        """What is known of its hashes, each in words.

        Examples
        --------
        >>> Source("https://a.org/a.tgz", checksum="md5:1f", first_mib_md5="2e").hashes
        ('md5:1f, checked', 'md5:2e of the first MiB')
        """
        first = self.first_mib_md5
        said = (
            f"{self.checksum}, checked" if self.checksum else "",
            f"{self.reported}, as reported" if self.reported else "",
            f"md5:{first} of the first MiB" if first else "",
        )
        return tuple(filter(None, said))


@dataclass(frozen=True)
class DataSet:
    """A data set that can be asked for by name.

    Attributes
    ----------
    name, title
        What one types, and what it is, in a few words.
    sources
        Where it can be had, the first first; none for a data set that the package draws itself.
        They may be different archives: only the name of the first is fastai's.
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
    sources: tuple[Source, ...]
    folder: str
    pictures_in: str
    label_pattern: str
    pictures: int
    classes: int
    split: Literal["folders", "seed"]
    defaults: LessonDefaults
    reference: tuple[float, float] | None = None

    @property
    def url(self) -> str:
        """The first archive's address; empty where there is none."""
        return self.sources[0].url if self.sources else ""

    @property
    def archive_bytes(self) -> int:
        """The first archive's size in bytes as recorded; 0 where unknown."""
        return self.sources[0].archive_bytes if self.sources else 0

    @property
    def archive_name(self) -> str:
        """The first archive's file name; empty where there is none."""
        return self.sources[0].archive_name if self.sources else ""
