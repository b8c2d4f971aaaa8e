"""Values made fit for JSON."""

from __future__ import annotations

import math
from typing import Any


def without_nan(value: Any) -> Any:
    """Replace what JSON has no word for, such as the loss of a network that diverged, by null.

    Examples
    --------
    >>> without_nan({"valid_loss": float("nan"), "accuracy": 0.5})
    {'valid_loss': None, 'accuracy': 0.5}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return value
