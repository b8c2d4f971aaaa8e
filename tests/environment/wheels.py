"""Tiny real wheels, built with zipfile, for a real pip."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Files = Mapping[str, str]


def _files(name: str, version: str, requires: Sequence[str], modules: Files | None) -> Files:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    return {
        **(modules or {f"{module}/__init__.py": f"__version__ = {version!r}\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }


def build(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    modules: Files | None = None,
) -> Path:
    """Write a wheel into a folder that serves as the index."""
    module = name.replace("-", "_")
    files = _files(name, version, requires, modules)
    record = f"{module}-{version}.dist-info/RECORD"
    lines = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in files.items()]
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")
    return wheel


def unpack(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    modules: Files | None = None,
) -> None:
    """Put a package where it would be after its installation."""
    for path, text in _files(name, version, requires, modules).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
