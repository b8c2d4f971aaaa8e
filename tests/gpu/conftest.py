from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from .fake_nvml import FakeLibrary


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Put a fake library (None: no library at all) beneath pynvml; gives pynvml back."""

    def plug(library: FakeLibrary | None) -> Any:
        def no_library(name: str) -> Any:
            raise OSError(f"{name}: cannot open shared object file")

        monkeypatch.setattr(pynvml, "CDLL", no_library)
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return pynvml

    return plug
