"""What several processes train beside one, and how long they take.

    python tests/benchmarks/several_processes.py [--data FOLDER --arch squeezenet1_1 --weights FILE]
        [--size 128] [--recipe classic] [--processes 2] [--seeds 3] [--gpus]

By default the drawn data set `sample` with its own recipe. Each lesson runs in one process and in
several in turns, each of these with its share of the cores, or with `--gpus` on a GPU of its own.
Prints seconds and the accuracy of each seed, and the means.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def lesson(asked: argparse.Namespace, seed: int, runs: Path, *, together: bool) -> Any:
    """Run a lesson; give its result and the seconds that it took."""
    from fastmagic import train_lesson1

    options: dict[str, Any] = {"recipe": asked.recipe, "arch": asked.arch, "size": asked.size}
    options |= {"weights": asked.weights, "normalize": asked.normalize, "seed": seed}
    if together:
        options |= {"gpus": asked.processes} if asked.gpus else {"processes": asked.processes}
    began = time.perf_counter()
    result = train_lesson1(asked.data, runs_folder=runs, fresh=True, **options)
    return result, time.perf_counter() - began


def main() -> None:
    """Run all in turns, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="sample")
    parser.add_argument("--arch")
    parser.add_argument("--weights")
    parser.add_argument("--normalize")
    parser.add_argument("--recipe")
    parser.add_argument("--size", type=int)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gpus", action="store_true")
    asked = parser.parse_args()
    print("| processes | seed | seconds | each fit | accuracy | with TTA |\n|" + "---|" * 6)
    reached: dict[bool, list[float]] = {False: [], True: []}
    took: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        lesson(asked, 0, Path(folder), together=False)  # loads fastai, and makes the small copies
        for seed in range(1, asked.seeds + 1):
            for together in (False, True):
                result, seconds = lesson(asked, seed, Path(folder), together=together)
                fits = ", ".join(f"{stage.accuracy:.4f}" for stage in result.stages)
                tta = "" if result.accuracy_tta is None else f"{result.accuracy_tta:.4f}"
                count = asked.processes if together else 1
                cells = (count, seed, f"{seconds:.1f}", fits, f"{result.accuracy:.4f}", tta)
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
                reached[together].append(result.accuracy)
                took[together].append(seconds)
    means = [statistics.mean(reached[one]) for one in (False, True)]
    times = statistics.median(took[False]) / statistics.median(took[True])
    print(f"\nmean accuracy {means[0]:.4f} and {means[1]:.4f}; {times:.2f} times as fast")


if __name__ == "__main__":
    main()
