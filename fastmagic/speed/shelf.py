"""Which loaders read from small copies, and the making of these before the first pass."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from fastmagic import faces
from fastmagic.errors import first_line
from fastmagic.speed.pictures import Pictures, folder_of, small_copy
from fastmagic.speed.resident import BILINEAR, Resident, fits
from fastmagic.speed.room import make_room, mark, taken_beside
from fastmagic.speed.store import AtLimit

if TYPE_CHECKING:
    from fastmagic.speed.batches import Batches

GB = 1e9
FEW = 2
"""Batches; fewer are not worth bringing to a GPU, such as a picture that is asked about."""

SHARE_OF_DISK = 0.5
"""Of what is free on the disk, the copies take this at most."""


class Shelf:
    """The small copies of all that a cell loads.

    Parameters
    ----------
    cache
        The folder under which copies are kept.
    limit
        Bytes that all copies may take.
    threads
        How many pictures to reduce at once.
    tell
        Called with how many copies are made, and of how many.
    fits
        Says of a device, a number of bytes, and those that are there already, whether pictures may
        be kept there.
    note
        Called with a sentence where a device cannot keep them after all, and, once for each
        reason, where copies could not be made.
    """

    def __init__(
        self,
        cache: Path,
        limit: float,
        threads: int,
        tell: Callable[[int, int], None] = lambda made, of: None,  # noqa: ARG005
        fits: Callable[[Any, int, int], bool] = fits,
        note: Callable[[str], None] = lambda words: None,  # noqa: ARG005
    ) -> None:
        self._cache, self._limit, self._threads, self._tell = cache, limit, threads, tell
        self._fits, self._note = fits, note
        self._batches: weakref.WeakKeyDictionary[Any, tuple[Pictures, Batches | None]] = (
            weakref.WeakKeyDictionary()
        )  # of which data set
        self._kept_away: weakref.WeakSet[Any] = weakref.WeakSet()  # data sets, from devices
        self._made: dict[tuple[Any, ...], Pictures] = {}
        self._whole: set[tuple[Any, ...]] = set()
        self._marks: dict[Path, Any] = {}  # of whose copies are in use
        self._lacks: dict[tuple[Any, ...], tuple[int, int, str]] = {}  # how many, of, why
        self._told: set[str] = set()
        self._asked: weakref.WeakKeyDictionary[Any, Path | None] = (
            weakref.WeakKeyDictionary()
        )  # where whose photographs lie

    def pictures_for(self, loader: Any, numbers: Sequence[int] | None = None) -> Pictures | None:
        """Give the copies for a loader, made now where they are missing.

        Those of a loader that shows a part of its pictures are not made beforehand where `numbers`
        does not say which part: it may be a small one.

        Parameters
        ----------
        loader
            fastai's.
        numbers
            Which of its pictures will be read; None for those that the loader chooses.

        Returns
        -------
        Pictures or None
            None for a loader whose pictures are not photographs from files that fastai's `Resize`
            cuts, and nothing else before they are tensors.
        """
        size = _cut_to(loader)
        root = None if size is None else self._root_of(loader.dataset)
        if size is None or root is None:
            return None
        files = list(loader.dataset.items)
        key = (root, size, len(files), files[0], files[-1])
        pictures = self._found(key, root, size)
        if key not in self._whole and (numbers is not None or loader.n == len(files)):
            wanted = files if numbers is None else [files[number] for number in numbers]
            pictures.make(wanted, self._threads, self._tell)
            self._look_at(key, pictures, wanted)
            if len(wanted) == len(files) and not isinstance(pictures.trouble, Timeout):
                self._whole.add(key)
        return pictures

    def _found(self, key: tuple[Any, ...], root: Path, size: tuple[int, int]) -> Pictures:
        """Find the copies of a folder, and mark them as used; what others removed is made again."""
        pictures = self._made.get(key)
        if pictures is None:
            pictures = self._made[key] = self._copies(root, size)
        elif not pictures.is_there():
            self._whole.discard(key)
            pictures.limit = self._most(taken_beside(folder_of(self._cache, root, size)))
            pictures.look()
        if pictures.folder is not None and self._marks.get(pictures.folder) is None:
            self._marks[pictures.folder] = mark(pictures.folder)
        return pictures

    def _look_at(self, key: tuple[Any, ...], pictures: Pictures, wanted: Sequence[Path]) -> None:
        """Note how many copies are not there that should be, and say why, each reason once."""
        missing = 0 if pictures.trouble is None else len(pictures.missing(wanted))
        self._lacks.pop(key, None)
        if missing and pictures.trouble is not None:
            why = self._why(pictures.trouble, pictures.limit)
            self._lacks[key] = missing, len(wanted), why
            if why not in self._told:
                self._told.add(why)
                self._note(f"Not all small copies of the pictures were made: {why}.")

    def _why(self, trouble: OSError, limit: float) -> str:
        """Say why copies were not made, and what to do."""
        if isinstance(trouble, Timeout):
            return "another process is making them, which the next pass looks for"
        if isinstance(trouble, AtLimit):
            return (
                f"the copies may take {faces.size(limit)}; --cache-limit GB and room in "
                f"{self._cache} let them take more"
            )
        return f"{trouble.strerror or trouble}; make room in {self._cache}, or let it be written"

    def lacking(self) -> str:
        """Say how many pictures have no copy that should have one, and why; empty where none.

        Examples
        --------
        >>> Shelf(Path("cache"), 1e9, 1).lacking()
        ''
        """
        if not self._lacks:
            return ""
        missing = sum(missing for missing, _, _ in self._lacks.values())
        of = sum(of for _, of, _ in self._lacks.values())
        why = "; ".join(dict.fromkeys(why for _, _, why in self._lacks.values()))
        return f"{missing:,} of {of:,} have no small copy and are decoded in every pass: {why}."

    def _copies(self, root: Path, size: tuple[int, int]) -> Pictures:
        folder = folder_of(self._cache, root, size)
        return Pictures(folder, size, self._most(make_room(folder, self._limit / 2)))

    def _most(self, taken: float) -> float:
        """Say what copies may take where all others take so much."""
        return min(max(0.0, self._limit - taken), SHARE_OF_DISK * _free(self._cache))

    def make_ahead(
        self, parts: Sequence[Sequence[Path]], size: int, enough: Callable[[], bool]
    ) -> None:
        """Make copies of pictures before there are loaders, silently.

        Parameters
        ----------
        parts
            The pictures to train with, and those to validate with.
        size
            The side of the square that will be cut out of them.
        enough
            Says whether to leave the rest for `pictures_for`.
        """
        for files in parts:
            root = _common_folder(list(files)) if files else None
            if root is not None:
                self._copies(root, (size, size)).make(files, self._threads, enough=enough)

    def batches_for(self, loader: Any, pictures: Pictures, plain: type) -> Batches | None:
        """Give what makes a loader's batches, on its device where its pictures fit there.

        Parameters
        ----------
        loader
            fastai's.
        pictures
            The copies that it reads from.
        plain
            Its class, without what is mixed in while a cell runs.

        Returns
        -------
        Batches or None
            None where the loader makes its batches in a way of its own, and where a person's own
            function has a word in its targets.
        """
        from fastmagic.speed.batches import Batches, made_plainly, targets_of

        dataset = loader.dataset
        if not made_plainly(loader, plain):
            return None
        copies, batches = self._batches.get(dataset, (None, None))
        if copies is not pictures or (batches is not None and not batches.are_of(dataset)):
            targets = targets_of(dataset)
            batches = None if targets is None else Batches(pictures, dataset, targets)
            self._batches[dataset] = pictures, batches
        many = loader.n >= FEW * loader.bs and dataset not in self._kept_away
        if batches is not None and batches.resident is None and many:
            device = getattr(loader, "device", None)
            batches.resident = self._brought(dataset, batches.files, pictures, device)
        return batches

    def _brought(
        self, dataset: Any, files: Sequence[Path], pictures: Pictures, device: Any
    ) -> Resident | None:
        """Bring pictures to a device, and try there whether they become what they should.

        None where there is no room, and where a picture has no copy.
        """
        try:
            size = None if device is None else pictures.size_of(files)
            if size is None or not self._fits(device, size, self._held_bytes()):
                return None
            resident = Resident(pictures, files, device)
            if resident.is_right(BILINEAR):
                return resident
            trouble = "it cuts them differently"
        except Exception as error:  # CUDA's, such as memory that is full after all; a file's
            trouble = first_line(error)
        self._kept_away.add(dataset)
        self._note(f"The pictures are not kept in the GPU's memory ({trouble}); they are loaded.")
        return None

    def _held_bytes(self) -> int:
        made = [batches for _, batches in self._batches.values() if batches is not None]
        return sum(one.resident.bytes for one in made if one.resident is not None)

    def release(self) -> bool:
        """Take all pictures out of their devices' memory, for good; say whether there were any.

        The copies on the disk count as unused until the next pass.
        """
        for one in filter(None, self._marks.values()):
            one.release()
        self._marks.clear()
        made = [(dataset, batches) for dataset, (_, batches) in self._batches.items()]
        held = [dataset for dataset, batches in made if batches is not None and batches.release()]
        self._kept_away.update(held)
        return bool(held)

    def serves(self, loader: Any) -> bool:
        """Say whether a loader's pictures can be read from small copies; none is made."""
        return _cut_to(loader) is not None and self._root_of(loader.dataset) is not None

    def _root_of(self, dataset: Any) -> Path | None:
        """Give the folder of a data set's photographs, looked at once: each pass asks again."""
        try:
            if dataset not in self._asked:
                known = _are_photographs(dataset)
                self._asked[dataset] = _common_folder(list(dataset.items)) if known else None
        except TypeError:  # what cannot be referred to weakly is none of fastai's
            return None
        return self._asked[dataset]


def seconds_from_copy(loader: Any, clock: Callable[[], float], tries: int = 8) -> float | None:
    """Time what a picture takes that is read from its small copy; None where it has none.

    Parameters
    ----------
    loader
        fastai's; nothing of it is changed, but its transforms draw.
    clock
        Gives seconds.
    tries
        How many pictures to time.
    """
    from fastai.vision.core import PILImage

    size = _cut_to(loader)
    if size is None or not _are_photographs(loader.dataset):
        return None
    files = [loader.dataset.items[number % loader.n] for number in range(tries)]
    rest = tuple(one[0] for one in loader.dataset.tls[1:])
    copies = [PILImage(small_copy(file, size)) for file in files]
    began = clock()
    for one in copies:
        loader.after_item((one, *rest))
    return (clock() - began) / tries


def _common_folder(files: list[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([file.parent for file in files]))
    except ValueError:  # some from here, some from the root; or from two drives
        return None


def _cut_to(loader: Any) -> tuple[int, int] | None:
    """Give the width and height that `Resize` alone cuts a loader's pictures to, else None."""
    from fastai.data.transforms import ToTensor
    from fastai.vision.augment import Resize, ResizeMethod

    steps = list(getattr(getattr(loader, "after_item", None), "fs", ()))
    resize = [one for one in steps if type(one) is Resize]
    others = [one for one in steps if type(one) not in (Resize, ToTensor)]
    if len(resize) != 1 or others or resize[0].method != ResizeMethod.Crop or resize[0].p != 1:
        return None
    width, height = resize[0].size
    return int(width), int(height)


def _are_photographs(dataset: Any) -> bool:
    """Say whether a data set's first thing is a photograph as fastai loads it from its file."""
    from fastai.vision.core import PILImage, TensorBBox, TensorPoint
    from PIL.Image import Image

    cut_too = (Image, TensorPoint, TensorBBox)  # targets that are cut with their pictures
    lists = getattr(dataset, "tls", None)
    items = getattr(dataset, "items", None)
    if not lists or items is None or not len(items):
        return False
    if not all(isinstance(item, Path) for item in items):
        return False
    try:
        pairs = [(lists[0][i], PILImage.create(items[i])) for i in (0, len(items) - 1)]
        if any(isinstance(one[0], cut_too) for one in lists[1:]):
            return False
    except Exception:  # it is told where it is trained on
        return False
    return all(
        type(a) is PILImage and a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairs
    )


def _free(folder: Path) -> float:
    """Give the bytes that are free where a folder lies, or will."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return float(shutil.disk_usage(place).free)
    return 0.0
