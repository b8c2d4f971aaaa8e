"""How long `%get_data` takes when the data set is here: 25,000 pictures, each time a new process.

Measured from a process that has loaded IPython, as a notebook's has: the import of our own modules
and the call, without and with the card. The promise is 0.2 s, without network. Our modules are
compiled once, as an installed package's are.

    python -m tests.benchmarks.second_call
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PICTURES, TIMES = 25_000, 7

CALL = """
import contextlib, io, sys, time
import IPython.core.interactiveshell
start = time.perf_counter()
import fastmagic
with contextlib.redirect_stdout(io.StringIO()):
    fastmagic.get_data(sys.argv[1], show=sys.argv[2] == "card")
print(time.perf_counter() - start)
"""


def make(archive: Path) -> None:
    """Pack small pictures, each unlike the others, in lesson 1's layout."""
    from PIL import Image

    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(PICTURES):
            image = Image.new("RGB", (48, 36), (number % 256, number // 256, 77))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG")
            part = "valid" if number % 12 == 0 else "train"
            kind = "cat" if number % 2 else "dog"
            zipped.writestr(f"many/{part}/{kind}s/{kind}.{number}.jpg", buffer.getvalue())


def call(archive: Path, home: Path, how: str) -> float:
    """Call `get_data` in a process of its own; give the seconds."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(archive), how],
        env={
            **os.environ,
            "FASTAI_HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Print the first call's time, and the median and the longest of the later ones."""
    with tempfile.TemporaryDirectory() as folder:
        archive, home = Path(folder) / "many.zip", Path(folder) / "home"
        make(archive)
        print(f"first call, unpacking and checking {PICTURES:,}: {call(archive, home, ''):.2f} s")
        for how in ("", "card"):
            times = [call(archive, home, how) for _ in range(TIMES)]
            what = "with the card" if how else "the path alone"
            middle = statistics.median(times)
            print(f"later calls, {what}: median {middle:.3f} s, longest {max(times):.3f} s")


if __name__ == "__main__":
    main()
