"""What `%load_ext fastmagic` costs: `ipython -c "%load_ext fastmagic"` over bare `ipython -c ""`.

    python tests/benchmarks/load_time.py [--runs 15]

The two are run in turn, in fresh processes with a fresh profile, and the medians compared. The aim
is less than 60 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

BARE, LOADED = "", "%load_ext fastmagic"


def seconds(code: str, home: str) -> float:
    """Time one IPython process."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "IPython", "--HistoryManager.enabled=False", "-c", code],
        check=True,
        capture_output=True,
        env={**os.environ, "IPYTHONDIR": home},
    )
    return time.perf_counter() - began


def main() -> None:
    """Print the medians and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        for code in (BARE, LOADED):
            seconds(code, home)  # fills the disk cache and writes the profile
        pairs = [(seconds(BARE, home), seconds(LOADED, home)) for _ in range(runs)]
    bare, loaded = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    extra = statistics.median(after - before for before, after in pairs) * 1000
    print(f"bare ipython            {bare:7.1f} ms (median of {runs})")
    print(f"with %load_ext          {loaded:7.1f} ms")
    print(f"cost, pair by pair      {extra:7.1f} ms (aim: below 60)")


if __name__ == "__main__":
    main()
