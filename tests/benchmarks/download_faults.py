"""What a download survives: the table of faults, tried on a real server and real processes.

    python tests/benchmarks/download_faults.py [--megabytes 50] [--kills 20]

Each row is one fault: how many requests it took, how it ended (the whole file, byte for byte, or a
refusal that left no archive), how many bytes were lost (sent by the server beyond the file's own,
or asked for again though they were on the disk), and how often something was accepted that is not
the file. Bytes are lost only where there is no way to go on safely; such rows say "(must)".
The last rows kill downloaders (kill -9) at random moments, with one connection and with four, start
many at once, and fill a disk.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fastmagic.data.web.download import download
from fastmagic.data.web.parallel import Ramp
from fastmagic.data.web.partial import Partial
from fastmagic.data.web.retry import Patience
from fastmagic.errors import DataError
from tests.data.downloads import CHILD
from tests.data.server import FileServer, Quirk

MEGA = 1_000_000
QUICK = Patience(connect=2.0, read=0.3, slow_rate=1000.0, slow_after=0.4)


class Counting(FileServer):
    """Notes with each request how many bytes that are on the disk it asks for again."""

    watched: Path
    again: int = 0

    def answer(self, request: Any) -> None:
        """Compare what is asked for with what is there, then answer."""
        asked = request.headers.get("Range", "")
        first, _, last = asked[6:].partition("-") if asked else ("0", "", "")
        start, stop = int(first), int(last) + 1 if last else 10**18
        partial = Partial(self.watched)
        spans = [(0, partial.have), *((one.start, one.end) for one in partial.pieces())]
        self.again += sum(max(0, min(stop, end) - max(start, begin)) for begin, end in spans)
        super().answer(request)


@dataclass
class Fault:
    """One thing that goes wrong, and how it should end."""

    name: str
    ends: str = "whole"
    quirks: list[Quirk] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    must_restart: bool = False


def faults(data: bytes) -> list[Fault]:
    """List the faults of servers and lines."""
    size = len(data)
    right = {"checksum": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    dice = random.Random(7)
    cuts = [Quirk(cut=cut) for cut in sorted(dice.sample(range(size // 25), 50))]
    part = Quirk(cut=size // 2)
    other = data[::-1]
    return [
        Fault("none"),
        Fault("cut 50 times at random bytes", quirks=cuts),
        Fault("cut before the first byte", quirks=[Quirk(cut=0)] * 3),
        Fault(
            "no ranges, cut half-way", quirks=[part], server={"ranges": False}, must_restart=True
        ),
        Fault("no mark of the version, cut", quirks=[part], server={"etag": ""}, must_restart=True),
        Fault("the same, checksum known", quirks=[part], server={"etag": ""}, more=right),
        Fault("weak ETag, cut", quirks=[part], server={"etag": 'W/"x"'}, must_restart=True),
        Fault("length 100 too large", "refused", [Quirk(length=size + 100)] * 99),
        Fault("length 100 too small", "refused", [Quirk(length=size - 100)] * 9, more=right),
        Fault("206 with another range", quirks=[part, Quirk(shift=7, cut=0)]),
        Fault(
            "206 without Content-Range",
            quirks=[part, Quirk(headers={"Content-Range": None}, cut=0)],
        ),
        Fault(
            "changed between two parts",
            quirks=[Quirk(cut=size // 2, body=other, etag='"old"')],
            must_restart=True,
        ),
        Fault(
            "the same, If-Range not heeded",
            quirks=[Quirk(cut=size // 2, body=other, etag='"old"')],
            server={"heeds_if_range": False},
            must_restart=True,
        ),
        Fault(
            "changed, nothing says so; checksum",
            quirks=[Quirk(cut=size // 2, body=other)],
            more=right,
            must_restart=True,
        ),
        Fault(
            "gzip content-encoding",
            "refused",
            [Quirk(body=gzip.compress(data[:MEGA]), headers={"Content-Encoding": "gzip"})],
        ),
        Fault("redirect loop", "refused", server={"redirects": {"a.zip": "/a.zip"}}),
        *(Fault(f"HTTP {code}", "refused", [Quirk(status=code)]) for code in (401, 403, 404)),
        Fault("HTTP 416 for ever", "refused", [Quirk(status=416)] * 9),
        *(
            Fault(f"HTTP {code} after a half, twice", quirks=[part, *[Quirk(status=code)] * 2])
            for code in (408, 429, 500, 503)
        ),
        Fault("HTTP 503 for ever", "refused", [Quirk(status=503)] * 99),
        Fault("a web page with status 200", "refused", [Quirk(body=b"<html>Log in</html>")]),
        Fault("an error in JSON, status 200", "refused", [Quirk(body=b'{"error": "quota"}' * 99)]),
        Fault("an empty file", "refused", [Quirk(body=b"")]),
        Fault("another file, checksum known", "refused", [Quirk(body=other)] * 9, more=right),
        Fault("stall half-way", quirks=[Quirk(cut=size // 2, stall=9.0)] * 1),
        Fault("drips a byte at a time", "refused", [Quirk(drip=0.05)] * 99),
        Fault("chunks without a length, cut", quirks=[part], server={"chunked": True}),
        Fault("nobody there", "refused", more={"url": "http://127.0.0.1:1/a.zip"}),
        Fault("TLS asked, none there", "refused", more={"url": "https"}),
        Fault("first address 404, then a mirror", quirks=[Quirk(status=404)], more={"mirror": 1}),
    ]


def try_fault(fault: Fault, data: bytes, folder: Path) -> tuple[bool, bool]:
    """Try one fault, print its row; say whether it ended well, and whether it is corrupt."""
    archive = folder / "a.zip"
    archive.unlink(missing_ok=True)
    server = Counting({"a.zip": data, "b.zip": data}, quirks=list(fault.quirks))
    server.watched = archive
    for name, value in fault.server.items():
        setattr(server, name, value)
    server.start()
    more = dict(fault.more)
    url = more.pop("url", server.url("a.zip"))
    if url == "https":
        url = server.url("a.zip").replace("http:", "https:")
    if more.pop("mirror", 0):
        more["mirrors"] = [server.url("b.zip")]
    try:
        download(url, archive, sleep=lambda _: None, patience=QUICK, **more)
        ended = "whole"
    except DataError as error:
        ended = "refused"
        assert not archive.exists(), error
    corrupt = archive.exists() and archive.read_bytes() != data
    server.stop()
    lost = max(server.again, server.sent - len(data) if ended == "whole" else 0)
    good = ended == fault.ends and not corrupt and bool(lost) == fault.must_restart
    says = amount(lost) + " (must)" * fault.must_restart
    row(fault.name, len(server.asked), ended, says, int(corrupt), "" if good else "  <-- WRONG")
    Partial(archive).drop()
    return good, corrupt


def amount(lost: int) -> str:
    """Give lost bytes in words."""
    return f"{lost / MEGA:.1f} MB" if lost else "0"


def row(*cells: object) -> None:
    """Print one row."""
    name, requests, ended, lost, corrupt, *rest = cells
    print(
        f"{name!s:38} {requests!s:>8}  {ended!s:14} {lost!s:>16} {corrupt!s:>8}", *rest, flush=True
    )


def kill_often(data: bytes, folder: Path, kills: int, connections: int) -> tuple[bool, bool]:
    """Kill downloaders at random moments until so many have died; the next goes on each time."""
    dice, archive = random.Random(connections), folder / "k.zip"
    server = Counting({"k.zip": data}, rate=25e6 / connections)
    server.watched = archive
    server.start()
    killed, wholes, corrupt = 0, 0, 0
    while killed < kills or not archive.exists():
        process = start(server.url("k.zip"), archive, connections)
        if killed < kills:
            time.sleep(dice.uniform(0.25, 0.8))
            killed += process.poll() is None
            process.kill()
        process.wait()
        if archive.exists():
            wholes += 1
            corrupt += archive.read_bytes() != data
            if killed < kills:
                archive.unlink()
    server.stop()
    name = f"kill -9, {killed} times, {connections} connection{'s' * (connections > 1)}"
    row(name, len(server.asked), f"{wholes} whole", amount(server.again), corrupt)
    return not server.again and not corrupt, bool(corrupt)


LOCKED = "from filelock import FileLock\nimport sys\nwith FileLock(sys.argv[2] + '.lock'):\n"


def start(url: str, archive: Path, connections: int, locked: bool = False) -> Any:
    """Start one downloader."""
    code = CHILD.strip()
    if locked:
        code = LOCKED + "\n".join(f"    {line}" for line in code.splitlines())
    arguments = [sys.executable, "-c", code, url, str(archive), str(connections)]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": root})


def many_at_once(data: bytes, folder: Path, count: int) -> tuple[bool, bool]:
    """Start several at once under one lock, as `places.py` holds it."""
    archive = folder / f"m{count}.zip"
    server = Counting({archive.name: data})
    server.watched = archive
    server.start()
    processes = [start(server.url(archive.name), archive, 1, locked=True) for _ in range(count)]
    failed = sum(process.wait() != 0 for process in processes)
    server.stop()
    corrupt = archive.read_bytes() != data
    row(f"{count} processes at once", len(server.asked), "whole", "0", int(corrupt))
    return not failed and not corrupt and len(server.asked) == 1, corrupt


def full_disk(data: bytes, folder: Path) -> tuple[bool, bool] | None:
    """Fill a small disk in the middle of it, make room, and go on."""
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={len(data) // 2}", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("disk full: not tried, a small file system cannot be mounted here")
        return None
    archive = small / "a.zip"
    server = Counting({"a.zip": data})
    server.watched = archive
    server.chunked = True  # so that nobody can know before
    server.start()
    try:
        ended = "whole"
        try:
            download(server.url("a.zip"), archive, ramp=Ramp(most=1))
        except DataError:
            ended = "refused"
        kept = Partial(archive).kept
        subprocess.run(["mount", "-o", f"remount,size={2 * len(data)}", str(small)], check=True)
        download(server.url("a.zip"), archive, ramp=Ramp(most=1))
        corrupt = archive.read_bytes() != data
        what = f"disk full at {kept / MEGA:.0f} MB, then room"
        row(what, len(server.asked), f"{ended}, whole", amount(server.again), int(corrupt))
        return ended == "refused" and not corrupt and not server.again, corrupt
    finally:
        server.stop()
        subprocess.run(["umount", str(small)], check=False)


def main() -> None:
    """Print the table; fail where a row is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    data = random.Random(0).randbytes(asked.megabytes * MEGA)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row("fault", "requests", "ended", "bytes lost", "corrupt")
        results = [try_fault(fault, data, folder) for fault in faults(data)]
        tries: list[Callable[[], tuple[bool, bool] | None]] = [
            lambda: kill_often(data, folder, asked.kills, 1),
            lambda: kill_often(data, folder, asked.kills, 4),
            lambda: many_at_once(data, folder, 2),
            lambda: many_at_once(data, folder, 8),
            lambda: full_disk(data, folder),
        ]
        results += [result for one in tries if (result := one()) is not None]
    wrong, corrupt = sum(not good for good, _ in results), sum(bad for _, bad in results)
    print(
        f"{len(results)} faults, {wrong} not as they should be, {corrupt} corrupt results accepted"
    )
    sys.exit(bool(wrong or corrupt))


if __name__ == "__main__":
    main()
