"""Files that are whole or not there: states in generations, each named for what is in it.

`fit-001-000017-<sha256>.pt` is generation 17 of the state `fit-001`. It is written under another
name, synced, and then renamed, so a kill at any moment leaves the generations before as they were.
The name holds the hash of the content: a file that a disk or a person has damaged is known, and the
one before it is taken. Files are read with torch's `weights_only=True`, which runs no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

GENERATIONS = 2
"""Kept of each state: the newest, and the one before it in case that it is damaged."""

NAME = re.compile(r"(?P<name>.+)-(?P<number>\d{6})-(?P<digest>[0-9a-f]{64})\.pt")


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is written from beginning to end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.refused: OSError | None = None  # torch turns it into an error of its own

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            self.refused = error
            raise
        return memoryview(data).nbytes


def write(folder: Path, name: str, content: Any, generations: int = GENERATIONS) -> Path:
    """Write the next generation of a state, and drop those that are no longer needed.

    Parameters
    ----------
    folder
        Where; it is made where it is missing.
    name
        The state's name: letters, digits and dashes.
    content
        What `torch.save` takes and `weights_only=True` reads: plain values and tensors.
    generations
        How many to keep.

    Raises
    ------
    OSError
        Where the disk is full or cannot be written; the generations before are as they were.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    found = kept(folder, name)
    number = 1 + max((number for number, _, _ in found), default=0)
    partial = folder / f"{name}.partial"
    try:
        with partial.open("wb") as file:
            hashed = _Hashed(file)
            try:
                torch.save(content, hashed)
            except RuntimeError as error:
                raise hashed.refused or error from error
            file.flush()
            os.fsync(file.fileno())
        target = folder / f"{name}-{number:06d}-{hashed.digest.hexdigest()}.pt"
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    _drop_old(found, generations)
    return target


def read(folder: Path, name: str, device: Any = "cpu") -> tuple[Any, list[str]]:
    """Read the newest generation of a state that is whole.

    Parameters
    ----------
    folder, name
        As in `write`.
    device
        Where its tensors go.

    Returns
    -------
    content, damaged
        The content, None where there is none; and the names of the newer files that are damaged.
    """
    import torch

    damaged: list[str] = []
    for _, digest, file in kept(folder, name):
        try:
            if _digest_of(file) != digest:
                raise ValueError("the content is not what the name says")
            return torch.load(file, map_location=device, weights_only=True), damaged
        except Exception:  # torch and pickle raise half a dozen kinds for a damaged or foreign file
            damaged.append(file.name)
    return None, damaged


def names(folder: Path) -> list[str]:
    """Name the states of a folder."""
    return sorted({match["name"] for match in _matches(folder)})


def drop(folder: Path, name: str) -> None:
    """Remove every generation of a state."""
    for _, _, file in kept(folder, name):
        file.unlink(missing_ok=True)


def bring(source: Path, target: Path) -> list[str]:
    """Copy what is newer of one folder's states into another, each whole or not at all.

    Parameters
    ----------
    source, target
        The folders; `target` is made where it is missing.

    Returns
    -------
    list of str
        The names of the states that were copied.

    Raises
    ------
    OSError
        Where `target` is full or cannot be written; what was there is as it was.
    """
    brought = []
    for name in names(source):
        have = kept(target, name)
        newest = have[0][0] if have else 0
        for number, digest, file in kept(source, name):
            if number <= newest:
                break
            if copy(file, target / file.name, digest):
                _drop_old(have, GENERATIONS)
                brought.append(name)
                break
    return brought


def copy(source: Path, target: Path, digest: str | None = None) -> bool:
    """Copy a file, whole or not at all.

    Parameters
    ----------
    source, target
        The file, and what it becomes.
    digest
        The sha256 that its content must have; None for any.

    Returns
    -------
    bool
        False where the source cannot be read or is not what the digest says.

    Raises
    ------
    OSError
        Where the target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        stream = source.open("rb")
    except OSError:  # the training has dropped it meanwhile
        return False
    found = hashlib.sha256()
    try:
        with stream, partial.open("wb") as file:
            while chunk := stream.read(1 << 20):
                found.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest in (None, found.hexdigest()):
            partial.replace(target)
            return True
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return False


def kept(folder: Path, name: str) -> list[tuple[int, str, Path]]:
    """List number, hash and path of each generation, the newest first."""
    found = [
        (int(match["number"]), match["digest"], folder / match.string)
        for match in _matches(folder)
        if match["name"] == name
    ]
    return sorted(found, reverse=True)


def _matches(folder: Path) -> list[re.Match[str]]:
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    return [match for entry in entries if (match := NAME.fullmatch(entry))]


def _drop_old(before: list[tuple[int, str, Path]], generations: int) -> None:
    """Drop what a new generation replaces; the next one tries again what cannot be removed now."""
    for _, _, old in before[max(generations - 1, 0) :]:
        with contextlib.suppress(OSError):
            old.unlink(missing_ok=True)


def _digest_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
