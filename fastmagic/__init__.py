"""fast.ai's lesson 1 on any machine, in four notebook magics.

``%load_ext fastmagic`` gives a notebook ``%gpu_check``, ``%fastai_setup``, ``%get_data`` and
``%%train_lesson1``. Each has a twin of the same name here, for scripts and tests. Nothing heavy
is imported until a verb is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmagic.data.get import data_card, get_data, list_data
    from fastmagic.environment.report import SetupReport
    from fastmagic.environment.setup import fastai_setup
    from fastmagic.errors import FastMagicError
    from fastmagic.gpu.check import gpu_check
    from fastmagic.gpu.report import GpuReport
    from fastmagic.lesson.compare import compare
    from fastmagic.lesson.prune import prune
    from fastmagic.lesson.report import TrainResult
    from fastmagic.lesson.train import train_lesson1

__version__ = "0.1.0"

_ROOMS = {
    "FastMagicError": "fastmagic.errors",
    "GpuReport": "fastmagic.gpu.report",
    "SetupReport": "fastmagic.environment.report",
    "TrainResult": "fastmagic.lesson.report",
    "compare": "fastmagic.lesson.compare",
    "data_card": "fastmagic.data.get",
    "fastai_setup": "fastmagic.environment.setup",
    "get_data": "fastmagic.data.get",
    "gpu_check": "fastmagic.gpu.check",
    "list_data": "fastmagic.data.get",
    "prune": "fastmagic.lesson.prune",
    "train_lesson1": "fastmagic.lesson.train",
}

__all__ = [
    "FastMagicError",
    "GpuReport",
    "SetupReport",
    "TrainResult",
    "compare",
    "data_card",
    "fastai_setup",
    "get_data",
    "gpu_check",
    "list_data",
    "load_ipython_extension",
    "prune",
    "train_lesson1",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    """Open the room that a public name lives in, at its first use (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'fastmagic' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})


def load_ipython_extension(shell: Any) -> None:
    """Give the shell the four magics; IPython calls this for ``%load_ext fastmagic``."""
    from fastmagic.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take everything of ours out of the shell; IPython calls this for ``%unload_ext``."""
    from fastmagic.magics import unload

    unload(shell)
