"""What `%fastai_setup` costs where nothing is to be done, beside `pip install fastai`.

    python tests/benchmarks/setup_noop.py [--runs 10]

Both in turn, in fresh processes, in this very environment, which must have fastai. Ours is the call
alone, as its report has it (the aim is 0.5 s), and the whole process with its imports; pip's is the
whole process that finds that all requirements are satisfied.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

OURS = (
    "import time, fastmagic; t = time.perf_counter(); r = fastmagic.fastai_setup(); "
    "print(r.plan.nothing_to_do, r.verified, time.perf_counter() - t)"
)
PIP = ("-m", "pip", "install", "fastai")


def timed(*arguments: str) -> tuple[float, str]:
    """Give the seconds of a process of this Python, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    timed("-c", OURS)  # verifies, where that was not done before
    calls, ours, pips = [], [], []
    for _ in range(runs):
        seconds, said = timed("-c", OURS)
        nothing, verified, call = said.split()[-3:]
        if (nothing, verified) != ("True", "earlier"):
            raise SystemExit(f"There is something to do here: {said}")
        calls.append(float(call))
        ours.append(seconds)
        pips.append(timed(*PIP)[0])
    print(f"the call         {statistics.median(calls):.3f} s (worst {max(calls):.3f})")
    print(f"its process      {statistics.median(ours):.2f} s")
    print(f"pip install      {statistics.median(pips):.2f} s")
    print(f"the call over pip: {statistics.median(calls) / statistics.median(pips):.2f}")


if __name__ == "__main__":
    main()
