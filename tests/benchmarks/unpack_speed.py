"""How fast 25,000 small pictures are unpacked: ours against `unzip`, `tar` and Python's `zipfile`.

    python tests/benchmarks/unpack_speed.py [--pictures 25000] [--runs 5] [--threads N]

The zip and the tar.gz are made first (about 500 MB each), in `--folder`. All ways take turns, each
into a folder of its own that is removed before the next, ours in a process of its own like the
others; the ratios are taken run by run. Ours also compares every checksum, refuses what is hostile,
and makes the folder appear only when it is whole. The memory is the largest that the process held,
and never less than this script's own, of which each is a copy at first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_pictures import make_tgz, make_zip

OURS = """
import sys
from pathlib import Path
from fastmagic.data.archives.archive import unpack
unpack(Path(sys.argv[1]), Path(sys.argv[2]) / "set", threads=int(sys.argv[3]) or None)
"""
PLAIN = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])"


def ways(made: Path, threads: int) -> dict[str, list[str]]:
    """Give the command of each way; `OUT` stands for the folder."""
    zipped, tarred = str(made / "many.zip"), str(made / "many.tgz")
    found = {
        "unzip": ["unzip", "-q", zipped, "-d", "OUT"],
        "zip, ours": [sys.executable, "-c", OURS, zipped, "OUT", str(threads)],
        "zip, zipfile": [sys.executable, "-c", PLAIN, zipped, "OUT"],
        "tar -xzf": ["tar", "-xzf", tarred, "-C", "OUT"],
        "tgz, ours": [sys.executable, "-c", OURS, tarred, "OUT", str(threads)],
    }
    return {name: command for name, command in found.items() if shutil.which(command[0])}


def once(command: list[str], out: Path) -> tuple[float, float, float]:
    """Run a command; give its seconds, the processor's seconds, and its memory in MiB."""
    out.mkdir()
    began = time.perf_counter()
    child = subprocess.Popen([str(out) if word == "OUT" else word for word in command])
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    shutil.rmtree(out)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print medians, and our ratios to the system's own tools."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=25_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to unpack")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        made = Path(name)
        make_zip(made / "many.zip", asked.pictures)
        make_tgz(made / "many.tgz", asked.pictures)
        commands = ways(made, asked.threads)
        runs = [
            {way: once(command, made / "out") for way, command in commands.items()}
            for _ in range(asked.runs)
        ]
    print(f"{asked.pictures:,} pictures, medians of {asked.runs} runs")
    for way in commands:
        wall, cpu, memory = (statistics.median(run[way][n] for run in runs) for n in range(3))
        print(f"{way:13} {wall:6.2f} s   processor {cpu:6.2f} s   memory {memory:5.0f} MiB")
    for ours, theirs in (("zip, ours", "unzip"), ("tgz, ours", "tar -xzf")):
        if theirs in commands:
            ratios = sorted(run[ours][0] / run[theirs][0] for run in runs)
            middle = statistics.median(ratios)
            print(f"{ours} / {theirs}: {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
