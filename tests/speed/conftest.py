"""What the tests of speed borrow from the lesson's."""

from __future__ import annotations

from tests.lesson.conftest import small_disk

__all__ = ["small_disk"]
