"""How fast the lesson is beside plain fastai, at the same accuracy.

    python tests/benchmarks/lesson_speed.py --data FOLDER --arch squeezenet1_1 --weights FILE \
        [--recipe classic] [--size 128] [--seeds 3] [--workers 0 2] [--progressive]

Runs `plain_lesson.py` and `%train_lesson1` with the same recipe in turns, each in a process of its
own, and prints a table: seconds of all with imports and of each stage, accuracy with its 95 %
interval, peak memory, and how many times as fast as plain fastai. FOLDER has lesson 1's layout:
`train/cats/1.jpg`, `valid/dogs/7.jpg`.

- Plain fastai gets the better of the numbers of `--workers`, found with its first seed; ours
  chooses itself.
- `ours` begins with an empty cache each time; `ours, warm` finds the small copies of that run.
- With `--progressive`, recipe `classic` runs a second time with smaller pictures in its first
  epochs, in ours alone.
- With `--one-epoch` plain fastai runs one epoch of each stage of `classic`, and the rest of its
  seconds is reckoned from that: on a GPU with many pictures the whole takes far too long.
- With `--device cuda` the share of the unfrozen epochs is printed in which the GPU was busy. To
  leave two cores, put `taskset -c 0,1` before the command.
- The last lines say what the machine could do at best (`hardware_limit.py`).

Further arguments for ours: `--options '{"precision": "fp32"}'`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STAGES = {"classic": ("precomputed", "frozen", "whole"), "quick": ("frozen",)}
HEADINGS = ("lesson", "seed", "seconds", "stages", "accuracy", "peak MB", "times as fast")


def ours(asked: argparse.Namespace) -> None:
    """Run our lesson once in this process, and print its figures."""
    began = time.perf_counter()
    sys.path.insert(0, str(HERE.parents[1]))
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from fastmagic import train_lesson1

    fits = marked() if asked.device == "cuda" else []
    if asked.threads:
        import torch

        torch.set_num_threads(asked.threads)
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
    stages: dict[str, float] = dict.fromkeys(names, 0.0)
    reached: dict[str, float | None] = {}
    epochs: dict[str, float] = {}
    for name, stage in zip((*names, *names[-1:] * 9), result.stages, strict=False):
        stages[name] += stage.seconds
        reached[name] = stage.accuracy
        epochs[name] = stage.epochs[-1].seconds
    if result.accuracy_tta is not None:
        reached["tta"] = result.accuracy_tta
    figures = {"total": total, "stages": stages, "accuracy": reached, "epochs": epochs}
    if asked.device == "cuda":
        import torch

        figures["gpu"] = torch.cuda.max_memory_allocated() / 2**20
        figures["busy"] = busy(result.folder / "monitor.csv", fits)
    print(json.dumps(figures))


def marked() -> list[tuple[float, float]]:
    """Have the beginning and end of each fit of the whole network noted; give their list."""
    from fastai.callback.core import Callback
    from fastai.learner import defaults

    fits: list[tuple[float, float]] = []

    class Marks(Callback):
        def before_fit(self) -> None:
            self.began = time.time()

        def after_fit(self) -> None:
            if self.opt.frozen_idx == 0:
                fits.append((self.began, time.time()))

        def __reduce__(self) -> tuple[Any, ...]:
            return Callback, ()

    defaults.callbacks = [*defaults.callbacks, Marks]
    return fits


def busy(file: Path, fits: list[tuple[float, float]]) -> float:
    """Give the mean use of the first GPU within these fits, in per cent, as NVIDIA counts it."""
    with file.open(encoding="utf-8") as rows:
        used = [
            float(row["gpu0_utilisation"])
            for row in csv.DictReader(rows)
            for when in [datetime.fromisoformat(row["wall"]).timestamp()]
            if row["gpu0_utilisation"] and any(begin <= when <= end for begin, end in fits)
        ]
    return statistics.mean(used) if used else float("nan")


def run(script: str, asked: argparse.Namespace, cache: Path, **more: object) -> dict[str, Any]:
    """Run one lesson in a process of its own; give its figures, with its peak memory."""
    flags = {**vars(asked), **more}
    names = ["data", "arch", "weights", "normalize", "recipe", "size", "seed", "threads", "device"]
    if script == "plain":
        command = [sys.executable, str(HERE / "plain_lesson.py")]
        names.append("workers")
        command += ["--one-epoch"] if asked.one_epoch else []
    else:
        command = [sys.executable, __file__, "--ours"]
        names += ["runs", "options"]
    for name in names:
        if flags[name] not in (None, ""):
            command += [f"--{name}", str(flags[name])]
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "MPLBACKEND": "Agg"}
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    found = json.loads(said.splitlines()[-1])
    wall = time.perf_counter() - began
    if script == "plain" and asked.one_epoch:
        wall = found["total"]
    return {**found, "wall": wall, "rss": usage.ru_maxrss / 1024}


def limit(asked: argparse.Namespace) -> dict[str, float]:
    """Give what the machine could do at best."""
    command = [sys.executable, str(HERE / "hardware_limit.py"), "--data", asked.data]
    command += ["--arch", asked.arch, "--size", str(asked.size), "--device", asked.device]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def at_least(recipe: str, can: dict[str, float]) -> dict[str, float]:
    """Give the seconds that a recipe's arithmetic and decoding take at least.

    The head's own arithmetic is left out, and so is augmentation.
    """
    looks = (can["train"] + can["valid"]) / can["look"]
    parts = {"decode": (can["train"] + can["valid"]) / can["decode"], "features": looks}
    if recipe == "classic":
        check = can["valid"] / can["look"]
        parts["frozen"] = 3 * looks
        parts["whole"] = 7 * (can["train"] / can["step"] + check)
        parts["tta"] = 5 * check
    return parts


def interval(share: float, of: int) -> str:
    """Give an accuracy with its 95 % interval (Wilson 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return f"{share:.4f} ({middle - half:.3f} to {middle + half:.3f})"


def row(name: str, seed: int, found: dict[str, Any], times: float | None, of: int) -> str:
    """Give a line of the table."""
    stages = ", ".join(f"{key} {seconds:.1f}" for key, seconds in found["stages"].items())
    *others, last = found["accuracy"].values()
    reached = " / ".join([*(f"{share:.4f}" for share in others), interval(last, of)])
    fast = "" if times is None else f"{times:.2f}"
    gpu = found.get("gpu")
    memory = f"{found['rss']:.0f}" + (f" + {gpu:.0f} on the GPU" if gpu else "")
    if "busy" in found:
        stages += f"; GPU busy {found['busy']:.0f} % of the whole network's epochs"
    cells = (name, seed, f"{found['wall']:.1f}", stages, reached, memory, fast)
    return "| " + " | ".join(map(str, cells)) + " |"


def plainly(asked: argparse.Namespace, seed: int, workers: list[int], of: int) -> Any:
    """Run plain fastai with each number of workers; give the best one's figures and number."""
    tried = {}
    for number in workers:
        tried[number] = run("plain", asked, Path(tempfile.gettempdir()), seed=seed, workers=number)
        name = f"plain fastai, {number} workers" + (", reckoned" if asked.one_epoch else "")
        print(row(name, seed, tried[number], None, of), flush=True)
    best = min(tried, key=lambda number: tried[number]["wall"])
    return tried[best], best


def main() -> None:
    """Run both in turns, and print the table."""
    asked = arguments()
    if asked.ours:
        ours(asked)
        return
    can = limit(asked)
    of, workers = int(can["valid"]), asked.workers
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS), flush=True)
    kinds = {"ours": {}}
    if asked.progressive:
        kinds["ours, smaller pictures first"] = {"progressive": True}
    won: dict[str, list[float]] = {}
    precomputed: list[tuple[float, ...]] = []
    for seed in range(1, asked.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            plain = None
            if asked.only != "ours":
                plain, best = plainly(asked, seed, workers, of)
                workers = [best]
            again = {"ours, warm": {}} if seed == 1 else {}
            for number, (kind, more) in enumerate({**kinds, **again}.items()):
                if asked.only == "plain":
                    break
                warm = kind == "ours, warm"
                cache = Path(folder, "0" if warm else str(number))
                options = json.dumps({**json.loads(asked.options), **more})
                runs = Path(folder, "runs", str(number))
                found = run("ours", asked, cache, seed=seed, runs=runs, options=options)
                times = None if plain is None else plain["wall"] / found["wall"]
                print(row(kind, seed, found, times, of), flush=True)
                if plain is not None and times is not None:
                    won.setdefault(kind, []).append(times)
                    if "precomputed" in found["epochs"]:
                        both = (plain["epochs"], found["epochs"])
                        precomputed.append(tuple(epochs["precomputed"] for epochs in both))
    for kind, ratios in won.items():
        print(f"\n{kind}: {statistics.median(ratios):.2f} times as fast as plain fastai (median)")
    if precomputed:
        plain_s, ours_s = (statistics.median(seconds) for seconds in zip(*precomputed, strict=True))
        print(
            f"\nThe last epoch of the precomputed fit: {plain_s:.2f} s in plain fastai, "
            f"{ours_s:.3f} s in ours (medians), {plain_s / ours_s:.0f} times as fast."
        )
    parts = at_least(asked.recipe, can)
    named = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    print(f"\nAt best this machine would take {sum(parts.values()):.1f} s ({named}):")
    print(
        f"{can['step']:.0f} pictures a second in training, {can['look']:.0f} looked at, "
        f"{can['decode']:.0f} decoded and reduced."
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights")
    parser.add_argument("--normalize", default="imagenet")
    parser.add_argument("--recipe", choices=sorted(STAGES), default="classic")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own number")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--one-epoch", action="store_true")
    parser.add_argument("--progressive", action="store_true")
    parser.add_argument("--only", choices=("plain", "ours"))
    parser.add_argument("--options", default="{}", help="ours alone: further arguments, as JSON")
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--runs", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
