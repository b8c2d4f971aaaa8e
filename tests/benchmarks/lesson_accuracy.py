"""How well each recipe learns: the accuracy of every stage, for networks, sizes and seeds.

    python tests/benchmarks/lesson_accuracy.py --data dogscats.zip --arch squeezenet1_1 \
        --weights squeezenet1_1.pth [--size 224] [--recipe classic modern quick] [--seeds 3]

Each run is a `%train_lesson1` in a process of its own. Prints a Markdown row for each: accuracy
after the last epoch of each fit, with test-time augmentation, and minutes. A run that was stopped
goes on where it was when the same command is given again (`--runs` is where they lie).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

COLUMNS = ("recipe", "network", "pixels", "seed", "each fit", "with TTA", "minutes")


def run(asked: argparse.Namespace) -> None:
    """Run the lesson once in this process, and print its row."""
    from fastmagic import train_lesson1

    result = train_lesson1(
        asked.data,
        recipe=asked.recipe[0],
        arch=asked.arch,
        weights=asked.weights,
        size=asked.size,
        seed=asked.seeds,
        bs=asked.bs,
        workers=asked.workers,
        runs_folder=asked.runs,
        show=asked.show,
    )
    print(row(result, asked), flush=True)


def row(result: Any, asked: argparse.Namespace) -> str:
    """Give a Markdown row of what a run reached."""
    fits = " / ".join("-" if s.accuracy is None else f"{s.accuracy:.4f}" for s in result.stages)
    tta = "-" if result.accuracy_tta is None else f"{result.accuracy_tta:.4f}"
    cells = (result.recipe, asked.arch, asked.size, asked.seeds, fits, tta)
    return "| " + " | ".join(map(str, (*cells, f"{result.seconds / 60:.1f}"))) + " |"


def main() -> None:
    """Run each recipe with each seed, in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--bs", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--recipe", nargs="+", default=["classic", "modern", "quick"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", default="accuracy-runs")
    parser.add_argument("--show", action="store_true", help="show each run as it goes")
    parser.add_argument("--one", action="store_true", help="--seeds is one seed, in this process")
    asked = parser.parse_args()
    if asked.one:
        run(asked)
        return
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for recipe in asked.recipe:
        for seed in range(1, asked.seeds + 1):
            command = [sys.executable, __file__, *sys.argv[1:], "--one"]
            subprocess.run([*command, "--recipe", recipe, "--seeds", str(seed)], check=False)


if __name__ == "__main__":
    main()
