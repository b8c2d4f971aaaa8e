"""Real pictures, real archives and a real server for the tests of the data rooms."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from .server import FileServer


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A web server that is stopped at the end."""
    one = FileServer()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """fastai's home for this test alone."""
    folder = tmp_path / "fastai-home"
    monkeypatch.setenv("FASTAI_HOME", str(folder))
    monkeypatch.delenv("FASTMAGIC_CATALOGUE", raising=False)
    return folder


NOBODY = 65534


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder in which permissions stop the test, also one that root runs."""
    if not hasattr(os, "setresuid"):
        pytest.skip("no user can be changed here")
    folder, me = Path(tempfile.mkdtemp()), os.geteuid()
    folder.chmod(0o777)
    monkeypatch.setenv("FASTAI_HOME", str(folder / "fastai-home"))
    monkeypatch.chdir("/")
    if me == 0:
        os.setresuid(NOBODY, NOBODY, 0)  # not for good: root stays in the third place
    try:
        yield folder
    finally:
        if me == 0:
            os.setresuid(0, 0, 0)
        for one in (folder, *(one for one in folder.rglob("*") if one.is_dir())):
            one.chmod(0o777)
        shutil.rmtree(folder)


def picture_bytes(number: int, size: tuple[int, int] = (32, 24), kind: str = "JPEG") -> bytes:
    """Make a small picture that differs from those of other numbers."""
    image = Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 100))
    image.putpixel((number % size[0], number % size[1]), (255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def fill() -> Callable[..., Path]:
    """Put pictures at these paths below a folder."""

    def put(folder: Path, *names: str) -> Path:
        for number, name in enumerate(names):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            kind = "PNG" if name.endswith(".png") else "JPEG"
            file.write_bytes(picture_bytes(number, kind=kind))
        return folder

    return put


LESSON_NAMES = tuple(
    f"{part}/{label}s/{label}.{number}.jpg"
    for part, numbers in (("train", range(6)), ("valid", range(6, 8)))
    for label in ("cat", "dog")
    for number in numbers
)


def zip_bytes(names: tuple[str, ...] = LESSON_NAMES, top: str = "dogscats/") -> bytes:
    """Make a zip of small pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for number, name in enumerate(names):
            zipped.writestr(f"{top}{name}", picture_bytes(number))
    return buffer.getvalue()
