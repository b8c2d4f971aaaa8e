"""Small copies of pictures in a GPU's memory, cut there: nothing has to be loaded in a step.

Processes that load pictures want the same two cores as the one that trains, and start anew in every
epoch. Where the copies of all pictures fit beside the network, they are put there once; a batch is
then one gathering of bytes. Each picture becomes the same tensor as in a loading process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastmagic.speed.brought import brought
from fastmagic.speed.enlarge import enlarged
from fastmagic.speed.pictures import Pictures, rectangle
from fastmagic.speed.store import Copy

SHARE_OF_CARD = 1 / 3
"""Of a GPU's memory, the pictures take this at most: the rest is the network's."""

SHARE_OF_FREE = 1 / 2
"""Of what is free when they come, they take this at most."""

AT_ONCE = 2**25
"""Bytes that are brought to the GPU at once."""

TRIED = 8
"""Pictures that are cut in both ways before any is trained with."""

BILINEAR = 2
"""Pillow's number for it (`Image.Resampling.BILINEAR`): the one that is done here."""

Share = tuple[float, float]
Rectangle = tuple[int, int, int, int]
"""The number of its first pixel, the width of the picture that it lies in, its width and height."""


class Resident:
    """The small copies of a data set's pictures in a device's memory.

    Parameters
    ----------
    pictures
        The copies on the disk; those of all files are there.
    files
        The pictures.
    device
        Whose memory takes them.

    Examples
    --------
    >>> Resident(Pictures(None, (8, 8)), [], "cpu").bytes
    0
    """

    def __init__(self, pictures: Pictures, files: Sequence[Path], device: Any) -> None:
        import torch

        self._pictures = pictures
        self.device = torch.device(device)
        self._held: dict[Path, tuple[Copy, int]] = {}  # of each picture, and its first pixel
        pixels = 0
        for file in dict.fromkeys(files):
            copy = pictures.kept(file)
            if copy is not None:
                self._held[file] = copy, pixels
                pixels += copy.width * copy.height
        self._pixels: Any = torch.empty((pixels, 3), dtype=torch.uint8, device=self.device)
        self._bring()

    def _bring(self) -> None:
        """Bring the copies over, some MB at a time."""
        import numpy as np
        import torch

        some, begin = [], 0
        for file, (copy, first) in self._held.items():
            some.append(self._pictures.pixels(file).reshape(-1, 3))
            end = first + copy.width * copy.height
            if 3 * (end - begin) >= AT_ONCE or end == len(self._pixels):
                self._pixels[begin:end] = torch.from_numpy(np.concatenate(some)).to(self.device)
                some, begin = [], end

    @property
    def bytes(self) -> int:
        """What the copies take on the device."""
        return 0 if self._pixels is None else int(self._pixels.numel())

    def release(self) -> None:
        """Give the memory back; pictures are cut in the host's memory from now on."""
        import torch

        self._pixels = None
        self._held.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def batch(self, files: Sequence[Path], shares: Sequence[Share], resample: Any) -> Any:
        """Cut a batch out of the copies, as `Pictures.batch` does.

        Parameters
        ----------
        files
            The pictures; one that has changed, or is not here, is read again.
        shares
            Where to cut each, across and down, 0 to 1.
        resample
            Pillow's, with which pictures that are too small are enlarged.

        Returns
        -------
        torch.Tensor
            Bytes, `[pictures, 3, height, width]`; in memory the channels are last.
        """
        import torch

        width, height = size = self._pictures.size
        batch = torch.empty((len(files), height, width, 3), dtype=torch.uint8, device=self.device)
        whole, small, others = self._parted(files, shares, resample)
        if whole:
            batch[self._there(whole)] = squares(self._pixels, list(whole.values()), size)
        if small:
            batch[self._there(small)] = enlarged(self._pixels, list(small.values()), size)
        if others:
            several = [files[place] for place in others], [shares[place] for place in others]
            read = self._pictures.batch(*several, resample)
            batch[self._there(others)] = brought(read.permute(0, 2, 3, 1), self.device)
        return batch.permute(0, 3, 1, 2)

    def _there(self, places: Iterable[int]) -> Any:
        """Give places in a batch to the device."""
        import torch

        return brought(torch.tensor(list(places)), self.device)

    def _parted(
        self, files: Sequence[Path], shares: Sequence[Share], resample: Any
    ) -> tuple[dict[int, Rectangle], dict[int, Rectangle], list[int]]:
        """Part places in a batch: those that are cut, those that are enlarged, the others."""
        whole: dict[int, Rectangle] = {}
        small: dict[int, Rectangle] = {}
        others = []
        for place, (file, share) in enumerate(zip(files, shares, strict=True)):
            copy, first = self._held.get(file, (None, 0))
            if copy is None or self._pictures.kept(file) != copy:
                others.append(place)
                continue
            left, top, *sides = rectangle((copy.width, copy.height), self._pictures.size, share)
            found = (first + top * copy.width + left, copy.width, sides[0], sides[1])
            if tuple(sides) == self._pictures.size:
                whole[place] = found
            elif resample == BILINEAR:
                small[place] = found
            else:
                others.append(place)
        return whole, small, others

    def is_right(self, resample: Any) -> bool:
        """Say whether some pictures become the same here as in a loading process, byte for byte."""
        import torch

        width, height = self._pictures.size
        held = self._held.items()
        small = [file for file, (one, _) in held if one.width < width or one.height < height]
        files = [*_some(small), *_some(list(self._held))]
        shares = [(number / len(files), 1 - number / len(files)) for number in range(len(files))]
        found = self.batch(files, shares, resample).cpu()
        return torch.equal(found, self._pictures.batch(files, shares, resample))


def _some(files: list[Path]) -> list[Path]:
    """Give a few of many, from all over."""
    return files[:: max(1, len(files) // TRIED)][:TRIED]


def squares(pixels: Any, rectangles: Sequence[Rectangle], size: tuple[int, int]) -> Any:
    """Cut rectangles of one size out of pictures.

    Parameters
    ----------
    pixels
        Bytes, `[pixels, 3]`: pictures one after another, row by row.
    rectangles
        Where they are.
    size
        Their width and height.

    Returns
    -------
    torch.Tensor
        Bytes, `[rectangles, height, width, 3]`.
    """
    import torch

    device = pixels.device
    firsts, rows, *_ = brought(torch.tensor(rectangles), device).unbind(1)
    down = torch.arange(size[1], device=device)[:, None]
    across = torch.arange(size[0], device=device)
    return pixels[firsts[:, None, None] + down * rows[:, None, None] + across]


def fits(device: Any, size: int, held: int = 0) -> bool:
    """Say whether so many bytes of pictures leave a GPU enough for training.

    Parameters
    ----------
    device
        A `torch.device`; of others than CUDA's it is not known how much is free.
    size
        Bytes.
    held
        Bytes of other pictures that are there already.
    """
    import torch

    if device.type != "cuda":
        return False
    free, whole = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size + held <= SHARE_OF_CARD * whole and size <= SHARE_OF_FREE * free


def never(device: Any, size: int, held: int = 0) -> bool:  # noqa: ARG001
    """Say that pictures stay where they are."""
    return False
