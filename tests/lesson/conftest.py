"""What the lesson's tests borrow from the GPU's."""

from __future__ import annotations

from tests.gpu.conftest import plug_in

__all__ = ["plug_in"]
