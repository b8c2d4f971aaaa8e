"""Kills a lesson with SIGKILL at random moments, again and again, until it has ended often enough.

    python tests/benchmarks/kills.py [--kills 50] [--seed 1] [--every 0]

Each run of the lesson is killed several times, within fits, validation, `lr_find`, test-time
augmentation and while its state is written (after every step here, so that many kills fall there;
`--every` gives the seconds between two states, to see what a kill costs then). It prints where
the kills fell, how many of the runs ended bit for bit as one that nothing disturbed (weights, what
`lr_find` found, what the body drew, what it validated), and the most work that a kill cost: the
time between the step that the next process went on with and the kill.

Processes are forked from one that has imported fastai: on Linux and macOS only.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
warnings.simplefilter("ignore")

import fastai.vision.all  # noqa: E402, F401 - before any process is forked

from fastmagic.data.drawn.sample import draw_sample  # noqa: E402
from tests.guard.killing import Ended, process, until_it_ends  # noqa: E402


def lost(before: Ended, after: Ended) -> float:
    """Give the seconds of training that a kill cost: those after the step that was gone on with."""
    trained = [told for told in before.told if told[4] == "train" and told[1]]
    again = next((told[1:4] for told in after.told if told[4] == "train" and told[1]), None)
    if not trained or again is None:
        return 0.0
    redone = [told for told in trained if told[1:4] >= again]
    return redone[-1][0] - redone[0][0] if redone else 0.0


def where(end: Ended) -> str:
    """Say where a kill fell."""
    if not end.told:
        return "before the first step"
    _, fit, epoch, _, what = end.told[-1]
    return f"fit {fit}, epoch {epoch}, {what}" if fit else what


def main() -> None:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=0.0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = draw_sample(work / "few", train=32, valid=16, side=32)
        (work / "whole").mkdir()
        began = time.monotonic()
        whole = process(pictures, work / "whole" / "runs", kill_after=None)
        seconds = whole.told[-1][0] - whole.told[0][0]
        print(f"undisturbed: {time.monotonic() - began:.1f} s, of which {seconds:.1f} s of steps")
        kills, runs, same, writing, most, places = 0, 0, 0, 0, 0.0, Counter()
        while kills < options.kills:
            runs += 1
            (work / str(runs)).mkdir()
            ends = until_it_ends(
                pictures,
                work / str(runs) / "runs",
                chance,
                seconds / 2,
                8,
                save_every=options.every,
            )
            killed = [end for end in ends if end.killed]
            kills += len(killed)
            places.update(where(end) for end in killed)
            writing += sum(end.writing for end in killed)
            pairs = itertools.pairwise(ends)
            most = max([most, *(lost(before, after) for before, after in pairs)])
            answer = {**(ends[-1].answer or {}), "incidents": []}
            same += answer == {**whole.answer, "incidents": []}
            print(f"run {runs}: {len(killed)} kills, the same: {same} of {runs}", flush=True)
    print(f"{kills} kills in {runs} runs; {same} ended bit for bit as the undisturbed one")
    print(f"{writing} of the kills left a state half written")
    print(f"most work lost by one kill: {most:.2f} s")
    for place, count in sorted(places.items()):
        print(f"    {count:3d}  {place}")


if __name__ == "__main__":
    main()
