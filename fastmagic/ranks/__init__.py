"""One training in several processes, each with a GPU or a few cores of its own.

Of a notebook's cell `launch` starts them (`--gpus`, `--processes`); `train` is what a script calls
that torchrun or accelerate has started on one machine or many (`--export-job`).
"""

from __future__ import annotations

from typing import Any


def train(*args: Any, **kwargs: Any) -> Any:
    """Train as one of the processes that a launcher started: see `fastmagic.ranks.member.train`."""
    from fastmagic.ranks.member import train

    return train(*args, **kwargs)
