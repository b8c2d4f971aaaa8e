"""Asks PyTorch what it can do and tries it; run by its path, in a process of its own.

So that the notebook's kernel creates no CUDA context (hundreds of MiB of GPU memory that only a
restart gives back) and a crash in a driver is a finding, not the end of the kernel. After every
step all that is known is printed again, with the trial that comes next: where that one crashes or
hangs, the rest is not lost. It needs nothing of fastmagic; `environment/trial.py` uses `try_device`
too.

    python probe.py ask|probe [DEVICE ...]
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

MARK = "fastmagic-answer:"  # the same as in child.py, which this file cannot import
MIB = 2**20

# Share of the largest gradient by which a device may differ from fp32 on the CPU: ten times the
# rounding of bf16 (2**-8), and a wrong kernel is off by far more.
TOLERANCE = 0.04

# The timed block: two 3x3 convolutions, 128 channels, 28x28 pixels, with batch norm and a shortcut:
# the second stage of resnet34, https://arxiv.org/abs/1512.03385, table 1.
CHANNELS, SIDE = 128, 28
CPU_BATCH, GPU_BATCH = 4, 32
# A training step is about three forward passes: one more for the gradient of the input, one for
# that of the weights. A multiplication and an addition are two operations.
STEP_GFLOP = 3 * 2 * (2 * CHANNELS * CHANNELS * 9 * SIDE * SIDE) / 1e9
TIMED_SECONDS = 0.3


def try_device(device: str, precision: str = "fp32") -> dict[str, Any]:
    """Run a small convolution forward and backward on a device; never raises."""
    start = time.perf_counter()
    try:
        gradient, expected = _gradient(device, precision), _gradient("cpu", "fp32")
        size = expected.abs().max().item()
        off = (gradient - expected).abs().max().item() / size
        right = math.isfinite(off) and off <= TOLERANCE
        words = "" if right else f"the gradient is wrong by {off:.2g} of its size"
    except Exception as error:  # whatever it says is the finding
        right, words = False, f"{type(error).__name__}: {error}".strip()
    seconds = time.perf_counter() - start
    found = {"device": device, "precision": precision, "ok": right, "words": words}
    return {**found, "seconds": seconds, "gflops": None}


def _gradient(device: str, precision: str) -> Any:
    """Give the gradient of a small convolution's weights, on the CPU."""
    import torch

    dice = torch.Generator().manual_seed(0)
    pictures = torch.randn(2, 3, 32, 32, generator=dice)
    layer = torch.nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=dice))
        torch.nn.init.zeros_(layer.bias)
    layer.to(device)
    with _autocast(device, precision):
        out = layer(pictures.to(device))
    out.float().square().mean().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad.float().cpu()  # .cpu() waits for the device


def _autocast(device: str, precision: str) -> Any:
    """Mix precisions as fastai's `to_fp16` and `to_bf16` do."""
    import torch

    if precision == "fp32":
        return contextlib.nullcontext()
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.split(":")[0], dtype=kind)


def measure(device: str, precision: str) -> float:
    """Train a block of resnet34 for a moment; give 10**9 operations a second.

    The first step is slow everywhere: kernels are loaded and chosen then. A GPU works through a
    queue, so many steps are timed together.
    """
    step, batch = _block(device, precision)
    _timed(step, device, 1)
    if device == "cpu":
        return batch * STEP_GFLOP / _fastest_on_cpu(step)
    seconds = _timed(step, device, 1)
    count = max(1, min(1000, int(TIMED_SECONDS / seconds)))
    return batch * STEP_GFLOP * count / _timed(step, device, count)


def _fastest_on_cpu(step: Any) -> float:
    """Give the seconds of the fastest step, on all cores or on one.

    Where other programs run too, threads that wait for one another may be ten times slower than one
    alone (seen on two busy cores); on a quiet machine all of them are faster.
    """
    import torch

    threads, best = torch.get_num_threads(), math.inf
    for count in sorted({threads, 1}, reverse=True):
        torch.set_num_threads(count)
        passed = 0.0
        while passed < TIMED_SECONDS:
            latest = _timed(step, "cpu", 1)
            passed, best = passed + latest, min(best, latest)
    torch.set_num_threads(threads)
    return best


def _block(device: str, precision: str) -> tuple[Any, int]:
    """Make a function that takes one training step, and say how many pictures it trains on."""
    import torch
    from torch import nn

    def layers() -> list[Any]:
        wires = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        return [wires, nn.BatchNorm2d(CHANNELS)]

    block = nn.Sequential(*layers(), nn.ReLU(inplace=True), *layers()).to(device)
    batch = CPU_BATCH if device == "cpu" else GPU_BATCH
    pictures = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device)
    if precision != "fp32":
        block = block.to(memory_format=torch.channels_last)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
    pictures.requires_grad_()

    def step() -> None:
        with _autocast(device, precision):
            out = torch.relu(block(pictures) + pictures)
        out.float().mean().backward()

    return step, batch


def _timed(step: Any, device: str, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def precisions(device: str) -> list[str]:
    """List the precisions that a device claims to compute in by itself, fp32 first."""
    if device == "cpu":
        return ["fp32", "bf16"] if _cpu_has_bf16() else ["fp32"]
    if device == "mps":
        return ["fp32", "fp16"]
    return ["fp32", "fp16", "bf16"] if _cuda_has_bf16(device) else ["fp32", "fp16"]


def _cuda_has_bf16(device: str) -> bool:
    import torch

    with torch.cuda.device(device):
        try:
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        except TypeError:  # before torch 2.5
            return bool(torch.cuda.get_device_capability() >= (8, 0))


def _cpu_has_bf16() -> bool:
    """Say whether the CPU multiplies bf16 by itself; one that converts is slower than in fp32."""
    import torch

    with contextlib.suppress(AttributeError):  # torch 2.10 and later
        abilities = torch.cpu.get_capabilities()
        return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    with contextlib.suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
        return bool(flags & {"avx512_bf16", "amx_bf16"})
    return False


def about() -> dict[str, Any]:
    """Tell the version, the build and the devices of this torch."""
    import torch

    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    # get_arch_list() is empty without a GPU in older versions, the flags are not.
    architectures = flags.split() if flags else list(torch.cuda.get_arch_list())
    mps = getattr(torch.backends, "mps", None)
    cuda_words, devices = _cuda_words(), _cuda_devices()
    return {
        "version": torch.__version__,
        "architectures": architectures,
        "cudnn": _cudnn(),
        "cuda_available": torch.cuda.is_available(),
        "cuda_words": cuda_words,
        "cuda_names": [device["name"] for device in devices],
        "devices": devices,
        "mps_available": bool(mps and mps.is_available()),
        "runs": [],
        "trying": "",
        "to_try": [],
    }


def _cudnn() -> str | None:
    """Spell cuDNN's number as its makers do; it has a digit more since version 9."""
    import torch

    try:
        number = torch.backends.cudnn.version()
    except Exception:  # a library that does not match
        return None
    if not number:
        return None
    big = 10_000 if number >= 90_000 else 1_000
    return f"{number // big}.{number % big // 100}.{number % 100}"


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


def _cuda_devices() -> list[dict[str, Any]]:
    import torch

    try:
        return [_cuda_device(index) for index in range(torch.cuda.device_count())]
    except Exception:  # a GPU that cannot be asked is found by the trials
        return []


def _cuda_device(index: int) -> dict[str, Any]:
    import torch

    card = torch.cuda.get_device_properties(index)
    place = [getattr(card, f"pci_{part}_id", -1) for part in ("domain", "bus", "device")]
    return {
        "index": index,
        "name": card.name,
        "uuid": str(getattr(card, "uuid", "")),
        "pci": "{:04x}:{:02x}:{:02x}.0".format(*place) if min(place) >= 0 else "",
        "capability": [card.major, card.minor],
        "memory": card.total_memory // MIB,
    }


def main(wanted: str, only: list[str]) -> None:
    """Print what is known as marked lines; `wanted` is "probe" or "ask"."""
    answer = about()
    # The CPU first: it never crashes, and says something where a GPU does.
    devices = ["cpu", *(f"cuda:{device['index']}" for device in answer["devices"])]
    devices += ["mps"] if answer["mps_available"] else []
    answer["to_try"] = (only or devices) if wanted == "probe" else []
    while answer["to_try"]:
        device = answer["to_try"].pop(0)
        try_precisions(device, answer)
    answer["trying"] = ""
    tell(answer)


def try_precisions(device: str, answer: dict[str, Any]) -> None:
    """Try and time one device, and print the answer before and after each step."""
    wanted = ["fp32"]
    for precision in wanted:
        answer["trying"] = f"{device} {precision}"
        tell(answer)
        run = try_device(device, precision)
        answer["runs"].append(run)
        if not run["ok"]:
            continue
        tell(answer)
        try:
            run["gflops"] = measure(device, precision)
        except Exception as error:  # a full GPU, for example
            run["words"] = f"not timed: {type(error).__name__}: {error}".strip()
        if precision == "fp32":
            wanted += precisions(device)[1:]


def tell(answer: dict[str, Any]) -> None:
    """Print a marked line at once."""
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules must not hide anybody else's
    main(sys.argv[1] if len(sys.argv) > 1 else "probe", sys.argv[2:])
