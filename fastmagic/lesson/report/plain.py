"""Values made fit for JSON."""

from __future__ import annotations

import math
from typing import Any


def without_nan(value: Any) -> Any:
    """Replace what JSON has no word for, such as the loss of a network that diverged, by null.

    Whatever else JSON does not know becomes its text: a result is written, come what may.

    Examples
    --------
    >>> without_nan({"valid_loss": float("nan"), "accuracy": 0.5})
    {'valid_loss': None, 'accuracy': 0.5}
    >>> from pathlib import Path
    >>> without_nan([Path("a.jpg"), 3, None])
    ['a.jpg', 3, None]
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:  # a number of numpy's or torch's
        return without_nan(value.item())
    return str(value)
