"""Freed memory that glibc keeps, so that a training step on a processor need not fault it in again.

A step allocates hundreds of MB and frees them. By default glibc gets large blocks by `mmap` and
gives them back at once, so the kernel clears the same pages again in every step. Kept, they are
used again: on depthwise networks that alone is worth more than half precision. The process holds on
to what its largest step took until the block ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping

# malloc.h, and the defaults of glibc's malloc/malloc.c, in bytes (M_MMAP_MAX: blocks).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
DEFAULTS = {M_TRIM_THRESHOLD: 128 * 1024, M_TOP_PAD: 128 * 1024, M_MMAP_MAX: 65536}
KEEPING = {M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 256 * 2**20, M_MMAP_MAX: 0}


@contextlib.contextmanager
def kept(*, wanted: bool = True, env: Mapping[str, str] | None = None) -> Iterator[bool]:
    """Let glibc keep what is freed within the block; afterwards all goes back to the system.

    Parameters
    ----------
    wanted
        False to change nothing.
    env
        The process's environment: where it names another allocator, or sets glibc's, as on Colab,
        which has tcmalloc, nothing is changed.

    Yields
    ------
    bool
        Whether it is kept.

    Examples
    --------
    >>> with kept(wanted=False) as keeps:
    ...     keeps
    False
    """
    libc = _glibc(os.environ if env is None else env) if wanted else None
    if libc is None:
        yield False
        return
    for name, value in KEEPING.items():
        libc.mallopt(name, value)
    try:
        yield True
    finally:
        for name, value in DEFAULTS.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)


def _glibc(env: Mapping[str, str]) -> ctypes.CDLL | None:
    """Give glibc, where it is what allocates and nobody has set it up."""
    another = "malloc" in env.get("LD_PRELOAD", "")
    set_up = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in env)
    if sys.platform != "linux" or another or set_up:
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
