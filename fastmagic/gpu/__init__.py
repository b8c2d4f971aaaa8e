"""What can train here: cards, driver, torch, host; and what they do while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmagic.gpu.monitor import Monitor, MonitorSummary
    from fastmagic.gpu.samples import Samples
    from fastmagic.gpu.sensors import Sensors

_ROOMS = {
    "Monitor": "fastmagic.gpu.monitor",
    "MonitorSummary": "fastmagic.gpu.monitor",
    "Samples": "fastmagic.gpu.samples",
    "Sensors": "fastmagic.gpu.sensors",
}

__all__ = ["Monitor", "MonitorSummary", "Samples", "Sensors"]


def __getattr__(name: str) -> Any:
    """Open the room that a public name lives in, at its first use (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'fastmagic.gpu' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
