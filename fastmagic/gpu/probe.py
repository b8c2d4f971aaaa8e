"""Asks PyTorch what it can do and tries it; run by its path, in a process of its own.

So that the notebook's kernel creates no CUDA context (hundreds of MiB of GPU memory that only a
restart gives back) and a crash in a driver is a finding, not the end of the kernel. It needs
nothing of fastmagic; `environment/trial.py` uses `try_device` too.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

MARK = "fastmagic-answer:"  # the same as in child.py, which this file cannot import


def try_device(device: str) -> dict[str, Any]:
    """Run a small convolution forward and backward on a device; never raises."""
    start = time.perf_counter()
    try:
        import torch

        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 8, 3).to(device)
        pictures = torch.randn(2, 3, 32, 32, device=device)
        loss = layer(pictures).square().mean()
        loss.backward()
        steepest = layer.weight.grad.abs().max().item()  # .item() waits for the device
        right = math.isfinite(steepest) and steepest > 0
        words = "" if right else f"the gradient came out as {steepest}"
    except Exception as error:  # whatever it says is the finding
        right, words = False, f"{type(error).__name__}: {error}".strip()
    return {"device": device, "ok": right, "words": words, "seconds": time.perf_counter() - start}


def about() -> dict[str, Any]:
    """Tell the version, the build and the devices of this torch."""
    import torch

    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    # get_arch_list() is empty without a GPU in older versions, the flags are not.
    architectures = flags.split() if flags else list(torch.cuda.get_arch_list())
    mps = getattr(torch.backends, "mps", None)
    return {
        "version": torch.__version__,
        "architectures": architectures,
        "cuda_available": torch.cuda.is_available(),
        "cuda_words": _cuda_words(),
        "cuda_names": _cuda_names(),
        "mps_available": bool(mps and mps.is_available()),
    }


def _cuda_words() -> str:
    """Say why CUDA does not start, in torch's own words; empty where it does."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return ""
    try:
        torch.cuda.init()
    except Exception as error:
        return str(error).strip()
    return ""


def _cuda_names() -> list[str]:
    import torch

    try:
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except Exception:  # a GPU that cannot be asked is found by the trial below
        return []


def main(wanted: str) -> None:
    """Print the answer as one marked line; `wanted` is "probe" or "ask"."""
    answer = about()
    devices = [f"cuda:{i}" for i in range(len(answer["cuda_names"]))]
    devices += ["mps"] if answer["mps_available"] else []
    trials = [*devices, "cpu"] if wanted == "probe" else []
    answer["runs"] = [try_device(device) for device in trials]
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules must not hide anybody else's
    main(sys.argv[1] if len(sys.argv) > 1 else "probe")
