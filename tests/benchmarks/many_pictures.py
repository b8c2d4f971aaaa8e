"""A data set of many small pictures for the benchmarks: real JPEGs, no two alike, made in seconds.

A few hundred pictures of noise are encoded once, in the sizes that photographs of 200 to 500 pixels
take (8 to 40 kB); each file is one of them with its own comment, so that every file has bytes of
its own and JPEG's own entropy, which deflate hardly shortens.
"""

from __future__ import annotations

import io
import itertools
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFilter

KINDS = 300
TOP = "many"


def contents(count: int) -> Iterator[tuple[str, bytes]]:
    """Give each picture's name and bytes, in lesson 1's layout, one in ten for validation."""
    kinds = [_encoded(number) for number in range(KINDS)]
    for number in range(count):
        part = "valid" if number % 10 == 9 else "train"
        label = ("cat", "dog")[number // 10 % 2]
        data = kinds[number * 7919 % KINDS]
        comment = f"picture {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        yield f"{part}/{label}s/{label}.{number}.jpg", data[:2] + segment + data[2:]


def _encoded(number: int) -> bytes:
    width, height = 200 + number * 53 % 300, 200 + number * 31 % 300
    noise = [Image.effect_noise((width, height), 60 + number % 40) for _ in range(3)]
    image = Image.merge("RGB", noise).filter(ImageFilter.GaussianBlur(1.5))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def make_folder(folder: Path, count: int) -> Path:
    """Write the pictures below a folder."""
    for name, data in contents(count):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def make_zip(file: Path, count: int) -> Path:
    """Write them into a zip, deflated as the zips of data sets are."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as made:
        for name, data in contents(count):
            made.writestr(f"{TOP}/{name}", data)
    return file


def make_tgz(file: Path, count: int) -> Path:
    """Write them into a tar.gz."""
    with tarfile.open(file, "w:gz", compresslevel=6) as made:
        folders = {str(parent) for name, _ in contents(40) for parent in Path(TOP, name).parents}
        for folder in sorted(folders - {"."}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            made.addfile(member)
        for name, data in contents(count):
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return file


def first(count: int) -> list[str]:
    """Name the first of them."""
    return [name for name, _ in itertools.islice(contents(count), count)]
