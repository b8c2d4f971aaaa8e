"""The machine around the GPU: processor cores, memory, disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fastmagic import platforms

MIB = 2**20


@dataclass(frozen=True)
class Host:
    """What the host offers; None where the operating system does not say.

    Attributes
    ----------
    cores
        Processor cores that this process may use.
    ram_total, ram_available
        MiB.
    disk_free
        MiB on the disk where data sets go.
    """

    cores: int
    ram_total: int | None = None
    ram_available: int | None = None
    disk_free: int | None = None


def look(folder: Path | None = None) -> Host:
    """Measure the host.

    Parameters
    ----------
    folder
        Where data will go; fastai's data folder by default.

    Examples
    --------
    >>> look(Path.cwd()).cores >= 1
    True
    """
    import psutil

    memory = psutil.virtual_memory()
    return Host(
        platforms.usable_cores(),
        memory.total // MIB,
        memory.available // MIB,
        _disk_free(folder or platforms.data_folder()),
    )


def _disk_free(folder: Path) -> int | None:
    """Ask the disk of the nearest folder that is there already."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free // MIB
        except OSError:
            continue
    return None
