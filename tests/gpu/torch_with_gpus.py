"""Runs the real probe on a real torch that believes in GPUs; run by its path.

    python torch_with_gpus.py WORKS,DIES,HANGS,... probe [DEVICE ...]

Each word makes a GPU: `works` computes on the CPU, `fails` raises torch's own words, `dies` kills
the process at the first layer that is put on it, `hangs` sleeps there.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch

PROBE = Path(__file__).parents[2] / "fastmagic" / "gpu" / "probe.py"


def properties(index: int, kind: str) -> SimpleNamespace:
    return SimpleNamespace(
        name=f"Card that {kind}",
        uuid=f"uuid-{index}",
        pci_domain_id=0,
        pci_bus_id=0x3B,
        pci_device_id=index,
        major=7,
        minor=5,
        total_memory=15 * 2**30,
    )


def put(real, kinds):
    def to(self, place=None, *args, **kwargs):
        device = str(place)
        if not device.startswith("cuda:"):
            return real(self, place, *args, **kwargs) if place is not None else real(self, **kwargs)
        kind = kinds[int(device.split(":")[1])]
        if kind == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hangs":
            time.sleep(600)
        if kind == "fails":
            raise RuntimeError("CUDA error: no kernel image is available for execution")
        return self

    return to


def main(kinds: list[str]) -> None:
    torch.cuda.init = lambda: None
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: len(kinds)
    torch.cuda.get_device_properties = lambda index: properties(index, kinds[index])
    torch.cuda.is_bf16_supported = lambda including_emulation=True: including_emulation
    torch.cuda.device = lambda device: torch.no_grad()
    torch.nn.Module.to = put(torch.nn.Module.to, kinds)
    torch.Tensor.to = put(torch.Tensor.to, kinds)
    sys.argv[0] = str(PROBE)
    sys.path.insert(0, "")  # which the probe takes away again, as its own folder
    runpy.run_path(str(PROBE), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv.pop(1).split(","))
