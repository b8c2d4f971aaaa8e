"""Small copies of a data set's pictures, so that each photograph is decoded and reduced once.

fastai decodes every photograph again in every epoch, cuts the square that `Resize` chose out of it,
and reduces that. Here the whole picture is reduced first, so that the square has the wanted size,
and kept; then fastai's own `Resize` cuts it, with its own draws. What a picture becomes is the same
from the store, without it and while it is half built, for all three make it by `small_copy`.

The copies of one data set and size lie in a store, which two notebooks may read, make and remove at
once: what is gone, or another's by now, is decoded from the photograph.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic.speed.store import Adding, Copy, Store, lock_of

VERSION = 2
"""Of what `small_copy` makes and how it is stored; another one makes all copies again."""

TOGETHER = 256
"""Pictures that are written and synced at once."""


def small_copy(file: Path, size: tuple[int, int]) -> Any:
    """Reduce a picture so that the largest rectangle of a shape in it has a size.

    Parameters
    ----------
    file
        A picture that Pillow reads.
    size
        Width and height in pixels; a smaller picture stays as it is.

    Returns
    -------
    PIL.Image.Image
        In RGB, as fastai loads it.
    """
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    scale = min(width / size[0], height / size[1])
    if scale <= 1:
        return picture
    wanted = max(size[0], round(width / scale)), max(size[1], round(height / scale))
    return picture.resize(wanted, Image.Resampling.BILINEAR)


def _nothing(done: int, of: int) -> None:
    """Tell no one."""


@dataclass
class Pictures:
    """The copies of a data set's pictures at one size.

    Attributes
    ----------
    folder
        Where they are kept; it is made where it is missing. None keeps nothing.
    size
        Width and height of what is cut out of a copy.
    limit
        Bytes that the copies may take; pictures beyond it are reduced again each time.
    trouble
        Why copies were not made when they were to be, last time; None where all is well. filelock's
        `Timeout` where another process was at it, `AtLimit`, or what the system refused.
    """

    folder: Path | None
    size: tuple[int, int]
    limit: float = float("inf")
    trouble: OSError | None = None
    _store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.look()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what went wrong, for a process that loads pictures."""
        return {**vars(self), "trouble": None}

    def look(self) -> None:
        """Look what is kept now."""
        self._store = Store(self.folder)

    def is_there(self) -> bool:
        """Say whether what was kept when it was looked at is not removed, nor made anew."""
        return self._store.is_there()

    def load(self, file: Path) -> Any:
        """Give a picture's copy as fastai's `PILImage`, kept or made now."""
        from fastai.vision.core import PILImage
        from PIL import Image

        return PILImage(Image.fromarray(self.pixels(file)))

    def cut(self, file: Path, share: tuple[float, float], resample: Any) -> Any:
        """Cut a picture's copy as fastai's `Resize` and `ToTensor` do, without their many calls.

        Parameters
        ----------
        file
            The picture.
        share
            Where to cut, across and down, each 0 to 1.
        resample
            Pillow's, with which a picture that is too small is enlarged.

        Returns
        -------
        torch.Tensor
            Bytes, `[3, height, width]`.
        """
        import torch

        return torch.from_numpy(self._square(file, share, resample).copy()).permute(2, 0, 1)

    def batch(
        self, files: Sequence[Path], shares: Sequence[tuple[float, float]], resample: Any
    ) -> Any:
        """Cut a batch out of pictures' copies, each as `cut` does.

        Parameters
        ----------
        files
            The pictures.
        shares
            Where to cut each, across and down, 0 to 1.
        resample
            As in `cut`.

        Returns
        -------
        torch.Tensor
            Bytes, `[pictures, 3, height, width]`; in memory the channels are last.
        """
        width, height = self.size
        whole = shared_bytes((len(files), height, width, 3))
        rows = whole.numpy()
        for place, (file, share) in enumerate(zip(files, shares, strict=True)):
            rows[place] = self._square(file, share, resample)
        return whole.permute(0, 3, 1, 2)

    def _square(self, file: Path, share: tuple[float, float], resample: Any) -> Any:
        """Give what `Resize` cuts out, bytes `[height, width, 3]`; they may be the copy's own."""
        import numpy as np
        from PIL import Image

        pixels = self.pixels(file)
        height, width = pixels.shape[:2]
        left, top, across, down = rectangle((width, height), self.size, share)
        square = pixels[top : top + down, left : left + across]
        if (across, down) == self.size:
            return square
        return np.asarray(Image.fromarray(np.ascontiguousarray(square)).resize(self.size, resample))

    def kept(self, file: Path) -> Copy | None:
        """Say where a picture's copy lies; None where there is none of what the picture is now."""
        return _kept(self._store, file)

    def size_of(self, files: Iterable[Path]) -> int | None:
        """Give the bytes of some pictures' copies; None where one has none."""
        size = 0
        for file in files:
            known = self._store.copies.get(str(file))
            if known is None:
                return None
            size += known.end - known.offset
        return size

    def pixels(self, file: Path) -> Any:
        """Give the bytes of a copy, `[height, width, 3]`, kept or made now."""
        import numpy as np

        store = self._store  # one and the same, whatever another thread looks at
        known = _kept(store, file)
        pixels = None if known is None else store.pixels(known)
        return np.asarray(small_copy(file, self.size)) if pixels is None else pixels

    def missing(self, files: Iterable[Path]) -> list[Path]:
        """Give the pictures that have no copy, or one of what they were before."""
        return [file for file in files if self.kept(file) is None]

    def make(
        self,
        files: Sequence[Path],
        threads: int,
        tell: Callable[[int, int], None] = _nothing,
        enough: Callable[[], bool] = bool,
    ) -> int:
        """Make the copies that are missing; give how many were made.

        Another process that is at it already is left to it. The limit or a disk that is full ends
        it: what is there is used. `trouble` says so.

        Parameters
        ----------
        files
            All pictures.
        threads
            How many to work on at once: Pillow lets others work while it decodes.
        tell
            Called with how many are done, and of how many.
        enough
            Says whether to leave the rest for later; asked every `TOGETHER` pictures.
        """
        if self.folder is None:
            return 0
        made = 0
        self.trouble = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with lock_of(self.folder).acquire(timeout=0):
                self.look()
                todo = self.missing(files)
                for more in self._append(todo, threads, enough) if todo else ():
                    made += more
                    tell(made, len(todo))
        except OSError as error:  # filelock's Timeout is one
            self.trouble = error
        self.look()
        return made

    def _append(
        self, files: Sequence[Path], threads: int, enough: Callable[[], bool]
    ) -> Iterator[int]:
        """Add copies to the store, some at a time; give each time how many."""
        with Adding(self._store, self.limit) as store:
            for batch in _in_turns(files, TOGETHER):
                if enough() or self.trouble is not None:
                    break
                self._add(store, batch, threads)
                yield store.keep()

    def _add(self, store: Adding, files: Sequence[Path], threads: int) -> None:
        with ThreadPoolExecutor(threads) as crew:
            try:
                for file, made in zip(files, crew.map(self._copy, files), strict=True):
                    if made is not None:
                        picture, made_of = made
                        store.add(str(file), made_of, picture)
            except OSError as error:  # AtLimit is one
                self.trouble = error

    def _copy(self, file: Path) -> tuple[Any, tuple[int, int]] | None:
        """Give a picture's copy, and the size and time of change of what it is made of."""
        try:
            told = file.stat()
            return small_copy(file, self.size), (told.st_size, told.st_mtime_ns)
        except OSError:  # it is told where it is trained on
            return None


def rectangle(
    picture: tuple[int, int], size: tuple[int, int], share: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Say what fastai's `Resize` cuts out of a picture, to be enlarged where it is too small.

    Parameters
    ----------
    picture
        Its width and height.
    size
        Width and height of what is wanted.
    share
        How far to the right and down, each 0 to 1.

    Returns
    -------
    left, top, width, height
        In pixels (fastai 2.8, `vision/augment.py`, `Resize.encodes`).

    Examples
    --------
    >>> rectangle((300, 224), (224, 224), (0.5, 0.5))
    (38, 0, 224, 224)
    """
    scale = min(picture[0] / size[0], picture[1] / size[1])
    across, down = int(scale * size[0]), int(scale * size[1])
    return int(share[0] * (picture[0] - across)), int(share[1] * (picture[1] - down)), across, down


def shared_bytes(shape: tuple[int, ...]) -> Any:
    """Give memory for bytes, such as other processes read where this one loads for them.

    As torch's `default_collate` does it: what lies elsewhere would be copied on its way.
    """
    import torch
    from torch.utils.data import get_worker_info

    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def folder_of(cache: Path, data: Path, size: tuple[int, int]) -> Path:
    """Give the folder of the copies of a data set at one size."""
    key = hashlib.sha256(f"{VERSION} {data.resolve()}".encode()).hexdigest()[:16]
    return cache / "pictures" / f"{key}-{size[0]}x{size[1]}"


def _kept(store: Store, file: Path) -> Copy | None:
    known = store.copies.get(str(file))
    return known if known is not None and _is_of(known, file) else None


def _is_of(known: Copy, file: Path) -> bool:
    """Say whether a copy is of the picture as it is now."""
    try:
        told = file.stat()
    except OSError:
        return False
    return (known.size, known.changed) == (told.st_size, told.st_mtime_ns)


def _in_turns(files: Sequence[Path], count: int) -> Iterator[Sequence[Path]]:
    for begin in range(0, len(files), count):
        yield files[begin : begin + count]
