"""What each thing that makes the lesson quicker wins, alone and together.

    python tests/benchmarks/speed_parts.py --data FOLDER --arch squeezenet1_1 --weights FILE \
        [--size 128] [--normalize imagenet] [--device cpu]

An epoch with the body frozen and one of the whole network, the second of two each, so that the
small copies are there and memory is warm; every row in a process of its own, with its peak memory.
The first row has everything switched off; then each thing is on alone, all three are, and each is
off beside the others. The last rows are what a body asks for by name: epochs on precomputed
features, and on smaller pictures. With `--device cuda` the things are those of a GPU; for what a
free machine has, put `taskset -c 0,1` in front.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OFF = {
    "no_cache": True,
    "no_gpu_cache": True,
    "no_channels_last": True,
    "no_allocator": True,
    "precision": "fp32",
}

EPOCHS = """
learn.freeze()
learn.keep_batch_norm()
learn.fit(2, 1e-4)
learn.unfreeze()
learn.keep_batch_norm()
learn.fit(2, 1e-4)
"""
BY_NAME = """
learn.freeze()
learn.keep_batch_norm()
with learn.precomputed():
    learn.fit(3, 1e-4)
learn.unfreeze()
learn.keep_batch_norm()
learn.fit_cycles(1, 1e-4, cycle_len=4, small_first=True)
"""


def rows(device: str) -> dict[str, dict[str, Any]]:
    """Give the settings of each row."""
    without = {name: {k: v for k, v in OFF.items() if k != name} for name in OFF}
    if device == "cuda":
        both = {k: v for k, v in without["no_cache"].items() if k != "no_gpu_cache"}
        return {
            "nothing": OFF,
            "small copies, loaded": without["no_cache"],
            "small copies in the GPU's memory": both,
            "channels last": without["no_channels_last"],
            "half precision": without["precision"],
            "all": {},
            "without small copies": {"no_cache": True},
            "without the GPU's memory for them": {"no_gpu_cache": True},
            "without channels last": {"no_channels_last": True},
            "without half precision": {"precision": "fp32"},
        }
    three = {"precision": "fp32"}
    return {
        "nothing": OFF,
        "small copies": without["no_cache"],
        "channels last": without["no_channels_last"],
        "kept memory": without["no_allocator"],
        "these three": three,
        "without small copies": {**three, "no_cache": True},
        "without channels last": {**three, "no_channels_last": True},
        "without kept memory": {**three, "no_allocator": True},
        "these three, bf16": {"precision": "bf16"},
    }


def one(asked: argparse.Namespace) -> None:
    """Run one row in this process, and print its figures."""
    sys.path.insert(0, str(HERE.parents[1]))
    from fastmagic import train_lesson1

    result = train_lesson1(
        asked.data,
        BY_NAME if asked.by_name else EPOCHS,
        arch=asked.arch,
        weights=asked.weights,
        normalize=asked.normalize,
        size=asked.size,
        workers=0 if asked.device == "cpu" else None,
        **json.loads(asked.options),
    )
    print(json.dumps([[epoch.seconds for epoch in stage.epochs] for stage in result.stages]))


def run(asked: argparse.Namespace, home: Path, *more: str) -> tuple[list[list[float]], float]:
    """Run a row in a process of its own; give the seconds of its epochs, and its peak memory."""
    command = [sys.executable, __file__, "--one", *more]
    for name in ("data", "arch", "weights", "normalize", "size", "device"):
        if getattr(asked, name):
            command += [f"--{name}", str(getattr(asked, name))]
    env = {**os.environ, "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home)}
    env |= {"MPLBACKEND": "Agg"} | ({"CUDA_VISIBLE_DEVICES": ""} if asked.device == "cpu" else {})
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True, cwd=home)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(said.splitlines()[-1]), usage.ru_maxrss / 1024


def main() -> None:
    """Run every row, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--normalize", default="imagenet")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--by-name", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked)
        return
    print("| on | frozen, s | times | whole network, s | times | peak MB |\n|" + "---|" * 6)
    first: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in rows(asked.device).items():
            found, memory = run(asked, Path(folder), "--options", json.dumps(options))
            last = [stage[-1] for stage in found]
            first = first or last
            cells = [f"{s:.1f} | {begun / s:.2f}" for s, begun in zip(last, first, strict=True)]
            print(f"| {name} | {' | '.join(cells)} | {memory:.0f} |", flush=True)
        (features, sizes), memory = run(asked, Path(folder), "--by-name")
    print(
        f"| an epoch on precomputed features | {features[-1]:.2f} | "
        f"{first[0] / features[-1]:.0f} | | | {memory:.0f} |"
    )
    for share, seconds in zip(("1/2", "3/4"), (sizes[0], sizes[2]), strict=True):
        print(f"| pictures of {share} the side | | | {seconds:.1f} | {first[1] / seconds:.2f} | |")


if __name__ == "__main__":
    main()
