"""Many photographs of few, for benchmarks that want lesson 1's 25,000 where there are 2,000.

    python tests/benchmarks/more_photographs.py FOLDER TARGET [--times 12] [--quality 75]

Of each photograph in FOLDER (lesson 1's layout: `train/cats/1.jpg`, `valid/dogs/7.jpg`) so many are
written to TARGET, each cut a little differently at its own size and encoded anew: every file has
bytes of its own, and takes as long to read, decode and reduce as a photograph does. What they teach
is no more than the few teach: accuracies do not compare with those of the real 25,000.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

SHARE = 0.1
"""Of each side, what is cut off at most."""


def several(file: Path, source: Path, target: Path, times: int, quality: int) -> int:
    """Write so many photographs of one; give how many."""
    folder = target / file.parent.relative_to(source)
    folder.mkdir(parents=True, exist_ok=True)
    draws = random.Random(f"{file.parent.name}/{file.name}")
    with Image.open(file) as whole:
        photograph = whole.convert("RGB")
    width, height = photograph.size
    for number in range(times):
        left, right = (round(width * SHARE / 2 * draws.random()) for _ in "lr")
        top, bottom = (round(height * SHARE / 2 * draws.random()) for _ in "tb")
        cut = photograph.crop((left, top, width - right, height - bottom))
        if draws.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cut.save(folder / f"{file.stem}.{number}.jpg", quality=quality)
    return times


def main() -> None:
    """Write them all, on all cores, and say how many there are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--quality", type=int, default=75)
    asked = parser.parse_args()
    files = sorted(asked.folder.rglob("*.jpg"))
    one = partial(
        several,
        source=asked.folder,
        target=asked.target,
        times=asked.times,
        quality=asked.quality,
    )
    with ProcessPoolExecutor() as processes:
        written = sum(processes.map(one, files, chunksize=16))
    print(f"{written:,} photographs in {asked.target}")


if __name__ == "__main__":
    main()
