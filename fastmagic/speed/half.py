"""bf16 on a processor: fastai's mixed precision asks for CUDA's autocast alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision as OfFastai
from fastcore.foundation import L

BF16_UNITS = re.compile(r"\b(avx512_bf16|amx_bf16)\b")
"""Of `/proc/cpuinfo`: Intel's and AMD's names for them."""


class MixedPrecision(OfFastai):
    """fastai's callback of that name, in bf16 with the processor's autocast, while a cell runs."""

    def __init__(self) -> None:
        super().__init__(amp_mode="bf16")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Callback, (), {"learn": self.learn})  # exported in the body: plain fastai, in fp32

    def before_fit(self) -> None:
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.learn.scaler = torch.amp.GradScaler(
            "cpu", enabled=False
        )  # bf16 reaches as far as fp32
        self.scales = L()


def is_supported(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether this processor computes in bf16; where the system does not tell, it does not.

    Parameters
    ----------
    cpuinfo
        Linux's description of the processor.

    Examples
    --------
    >>> is_supported(Path("/no/such/file"))
    False
    """
    if sys.platform != "linux":
        return False
    try:
        return bool(BF16_UNITS.search(cpuinfo.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False
