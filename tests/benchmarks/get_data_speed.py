"""From an address to pictures on the disk: `%get_data` against what one would do otherwise.

    python tests/benchmarks/get_data_speed.py [--pictures 25000] [--runs 3]

A zip of 25,000 real small JPEGs is made and served on loopback. All ways take turns, each in a
process and a folder of its own, imports included:

    curl + unzip      two shell commands: no check beyond the zip's own CRCs, no resume as typed
    untar_data        fastai's own
    pooch             pooch.retrieve with its Unzip
    ours, unpacked    what arrives hashed and unpacked within limits, whole or not at all
    ours, get_data    all of `%get_data`: the same, and every picture decoded once, and its card

The ratios are to curl + unzip, run by run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from many_pictures import TOP, make_zip

UNTAR = """
import sys
from fastai.data.external import untar_data
untar_data(sys.argv[1], data=sys.argv[2] + "/data", archive=sys.argv[2] + "/archive")
"""
POOCH = """
import sys, pooch
pooch.retrieve(sys.argv[1], None, path=sys.argv[2], processor=pooch.Unzip())
"""
UNPACKED = """
import sys
from pathlib import Path
from fastmagic.data.archives.archive import unpack
from fastmagic.data.web.download import download
out = Path(sys.argv[2])
unpack(download(sys.argv[1], out / "many.zip").path, out / "many")
"""
GET_DATA = """
import sys, fastmagic
fastmagic.get_data(sys.argv[1], dest=sys.argv[2] + "/many")
"""
BASE = "curl + unzip"
SERVER = Path(__file__).with_name("download_speed.py")


@contextlib.contextmanager
def served(archive: Path) -> Iterator[str]:
    """Serve a file from a process of its own; give its address."""
    command = [sys.executable, str(SERVER), "--serve", str(archive), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/{archive.name}"
        finally:
            server.terminate()


def ways(url: str, out: Path) -> dict[str, list[list[str]]]:
    """Give the commands of each way."""
    archive = str(out / "many.zip")
    python = {"untar_data": UNTAR, "pooch": POOCH, "ours, unpacked": UNPACKED}
    python["ours, get_data"] = GET_DATA
    found = {BASE: [["curl", "-s", "-o", archive, url], ["unzip", "-q", archive, "-d", str(out)]]}
    return found | {n: [[sys.executable, "-c", c, url, str(out)]] for n, c in python.items()}


def once(commands: list[list[str]], out: Path, pictures: int) -> float:
    """Run one way in an empty folder and home; give its seconds."""
    out.mkdir()
    home = {"HOME": str(out), "FASTAI_HOME": str(out / "fastai"), "XDG_CACHE_HOME": str(out / "c")}
    began = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **home})
    seconds = time.perf_counter() - began
    found = sum(1 for _ in out.rglob("*.jpg"))
    if found != pictures:
        raise SystemExit(f"{commands[0][:1]} left {found} pictures instead of {pictures}")
    shutil.rmtree(out)
    return seconds


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=25_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = make_zip(Path(folder) / "many.zip", options.pictures)
        out = Path(folder) / "out"
        taken: dict[str, list[float]] = {}
        with served(archive) as url:
            for _ in range(options.runs):
                for name, commands in ways(url, out).items():
                    taken.setdefault(name, []).append(once(commands, out, options.pictures))
        size = archive.stat().st_size / 1e6
    print(f"{options.pictures:,} pictures of {TOP!r}, {size:.0f} MB, {options.runs} runs")
    for name, seconds in taken.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, taken[BASE], strict=True))
        print(f"{name:16} {statistics.median(seconds):7.2f} s   {ratio:5.2f} x {BASE}")


if __name__ == "__main__":
    main()
