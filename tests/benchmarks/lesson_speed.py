"""How fast the lesson is beside plain fastai, at the same accuracy.

    python tests/benchmarks/lesson_speed.py --data FOLDER --arch squeezenet1_1 --weights FILE \
        [--recipe classic] [--size 128] [--seeds 3] [--workers 0 2]

Runs `plain_lesson.py` and `%train_lesson1` with the same recipe in turns, each in a process of its
own, and prints a table: seconds of each stage and of all with imports, accuracy, peak memory of the
process, and the ratio. Plain fastai gets the better of the numbers of `--workers`, found with its
first seed; ours chooses itself. The first of ours begins with an empty cache, the others find it
full. What follows after `--` is handed to ours, `--precision fp32` say.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"classic": ("precomputed", "frozen", "whole"), "quick": ("frozen",)}


def ours(asked: argparse.Namespace) -> None:
    """Run our lesson once in this process, and print its figures."""
    began = time.perf_counter()
    sys.path.insert(0, str(ROOT))
    from fastmagic import train_lesson1

    result = train_lesson1(
        asked.data,
        recipe=asked.recipe,
        arch=asked.arch,
        weights=asked.weights,
        normalize=asked.normalize,
        size=asked.size,
        seed=asked.seed,
        runs_folder=asked.runs,
        **dict(json.loads(asked.options)),
    )
    total = time.perf_counter() - began
    names = STAGES[asked.recipe]
    ends = dict(zip((*names, *names[-1:] * 9), result.stages, strict=False))
    reached = {name: stage.accuracy for name, stage in ends.items()}
    stages: dict[str, float] = dict.fromkeys(names, 0.0)
    for name, stage in zip((*names, *names[-1:] * 9), result.stages, strict=False):
        stages[name] += stage.seconds
    if result.accuracy_tta is not None:
        reached["tta"] = result.accuracy_tta
    print(json.dumps({"total": total, "stages": stages, "accuracy": reached}))


def run(script: str, asked: argparse.Namespace, home: Path, **more: object) -> dict[str, Any]:
    """Run one lesson in a process of its own; give its figures, with its peak memory."""
    flags = {**vars(asked), **more}
    names = ("data", "arch", "weights", "normalize", "recipe", "size", "seed")
    if script == "plain":
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "plain_lesson.py")]
        names = (*names, "workers", "threads")
    else:
        command = [sys.executable, __file__, "--ours"]
        names = (*names, "runs", "options")
    for name in names:
        if flags[name] not in (None, ""):
            command += [f"--{name}", str(flags[name])]
    env = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "MPLBACKEND": "Agg"}
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    found = json.loads(said.splitlines()[-1])
    return {**found, "wall": time.perf_counter() - began, "rss": usage.ru_maxrss / 1024}


def row(name: str, seed: int, found: dict[str, Any]) -> str:
    """Give a line of the table."""
    stages = ", ".join(f"{key} {seconds:.1f}" for key, seconds in found["stages"].items())
    reached = " / ".join(f"{share:.4f}" for share in found["accuracy"].values())
    cells = (name, seed, f"{found['wall']:.1f}", stages, reached, f"{found['rss']:.0f}")
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Run both in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--normalize", default="imagenet")
    parser.add_argument("--recipe", choices=sorted(STAGES), default="classic")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", choices=("plain", "ours"))
    parser.add_argument("--options", default="{}", help="ours alone: further arguments, as JSON")
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--runs", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        ours(asked)
        return
    print("| lesson | seed | seconds | stages | accuracy | peak MB |\n|" + "---|" * 6, flush=True)
    kinds = [asked.only] if asked.only else ["plain", "ours"]
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        home, workers = Path(folder), asked.workers
        for seed in range(1, asked.seeds + 1):
            for kind in kinds:
                tried = {}
                for number in workers if kind == "plain" else [0]:
                    found = run(kind, asked, home, seed=seed, runs=home / "runs", workers=number)
                    tried[number] = found
                    print(
                        row(f"{kind}, {number} workers" if kind == "plain" else kind, seed, found)
                    )
                best = min(tried, key=lambda number: tried[number]["wall"])
                workers = [best] if kind == "plain" else workers
                took[kind].append(tried[best]["wall"])
                sys.stdout.flush()
    if len(kinds) == 2:
        ratios = [plain / own for plain, own in zip(took["plain"], took["ours"], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"\nratio: {each}; median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
