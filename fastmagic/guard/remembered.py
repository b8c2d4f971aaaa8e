"""How many pictures fit at once, remembered from run to run on this machine.

A small JSON file in the person's cache folder; where it cannot be read or written nothing is lost
but the memory of it. Each entry is of one card, network, size and precision, and is forgotten after
a month: by then the card may be free for more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from fastmagic import platforms, whole

MONTH = 30 * 24 * 3600


def default_file() -> Path:
    """Give the file that is used where no other is named."""
    return platforms.cache_folder() / "splits.json"


def read(file: Path, now: Callable[[], float] = time.time) -> dict[str, int]:
    """Read what is remembered: keys of `guard.splits` to pictures.

    Examples
    --------
    >>> read(Path("nowhere.json"))
    {}
    """
    return {key: most for key, (most, when) in _entries(file).items() if now() - when < MONTH}


def add(file: Path, key: str, most: int, now: Callable[[], float] = time.time) -> None:
    """Remember one more; whatever goes wrong stops nothing."""
    whole.remember(file, json.dumps({**_entries(file), key: (most, now())}, indent=1))


def _entries(file: Path) -> dict[str, tuple[int, float]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): (max(1, int(most)), float(when)) for key, (most, when) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
