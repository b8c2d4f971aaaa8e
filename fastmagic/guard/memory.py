"""Errors that mean that memory did not suffice, and letting go of what they hold."""

from __future__ import annotations

import gc
import re
import time
import traceback

# torch.OutOfMemoryError is a RuntimeError; the others come from libraries below and have no class.
NOT_ENOUGH = re.compile(
    r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|can't allocate memory",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory did not suffice, the device's or the host's.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    True
    >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(NOT_ENOUGH.search(str(error)))
    )


class Attempt:
    """A block that may run out of memory: that alone is kept back, and what it held let go of.

    Attributes
    ----------
    trouble
        The error, where memory ran out; None where the block went well.
    seconds
        How long the block took until then.

    Examples
    --------
    >>> with Attempt() as tried:
    ...     raise RuntimeError("CUDA error: out of memory")
    >>> print(tried.trouble)
    CUDA error: out of memory
    """

    trouble: Exception | None = None
    seconds = 0.0

    def __enter__(self) -> Attempt:
        self._began = time.perf_counter()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception) or not is_out_of_memory(error):
            return False
        let_go(error)
        self.trouble, self.seconds = error, time.perf_counter() - self._began
        return True


def let_go(error: BaseException) -> None:
    """Empty the frames that an error came through: they hold the tensors of the step."""
    import torch

    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
