"""How quickly an archive comes: ours against curl, pooch, requests and urllib, in one run.

    python tests/benchmarks/download_speed.py [--megabytes 512] [--rounds 5] [--share 8]

(a) A file of random bytes from a server on this machine (its own process, which sends from the file
system's cache), fetched by each in turn, round after round: wall and CPU time, and the growth of
the process's memory. Each Python contender runs in a process of its own that has imported
everything before the clock starts; curl's time holds its start. Ours and pooch's contain the hash
of the whole file (pooch reads it a second time), the others' none; curl is also measured with
sha256sum behind it, which is what it takes to know what came. The aim: the median of ours over
curl's near 1.
(b) The same from a server that gives each connection only its share of megabytes a second (--share;
a quarter of the file), with one connection and with up to four.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

MEGA = 1_000_000
SMALL = bytes(1000)
HEAD = (
    'HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: "one"\r\nAccept-Ranges: bytes\r\n'
    "{extra}Connection: close\r\n\r\n"
)


def serve(file: Path, share: float) -> None:
    """Serve one file, the quickest way there is; with a share, so many bytes a second each."""
    size = file.stat().st_size
    with socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        print(door.getsockname()[1], flush=True)
        while True:
            line, _ = door.accept()
            threading.Thread(target=answer, args=(line, file, size, share), daemon=True).start()


def answer(line: socket.socket, file: Path, size: int, share: float) -> None:
    """Answer one request, also for a part."""
    with line, file.open("rb") as source:
        request = line.recv(1 << 16)
        if b" /small " in request:
            head = HEAD.format(status="200 OK", length=len(SMALL), extra="")
            return line.sendall(head.encode() + SMALL)
        asked = re.search(rb"[Rr]ange: bytes=(\d+)-(\d*)", request)
        start = int(asked[1]) if asked else 0
        stop = int(asked[2]) + 1 if asked and asked[2] else size
        extra = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n" if asked else ""
        status = "206 Partial Content" if asked else "200 OK"
        head = HEAD.format(status=status, length=stop - start, extra=extra)
        try:
            line.sendall(head.encode())
            step = int(share / 20) or stop - start
            began = time.monotonic()
            for place in range(start, stop, step):
                line.sendfile(source, place, min(step, stop - place))
                if share:
                    late = began + (place + step - start) / share - time.monotonic()
                    time.sleep(max(0.0, late))
        except OSError:
            pass  # it hung up
    return None


def ours(url: str, target: Path, checksum: str, most: int = 4) -> None:
    """Fetch with fastmagic."""
    from fastmagic.data.web.download import download
    from fastmagic.data.web.parallel import Ramp

    download(url, target, checksum=checksum, ramp=Ramp(most=most))


def ours_alone(url: str, target: Path, checksum: str) -> None:
    """Fetch with fastmagic over one connection."""
    ours(url, target, checksum, most=1)


def with_pooch(url: str, target: Path, checksum: str) -> None:
    """Fetch with pooch."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    pooch.retrieve(url, checksum, target.name, target.parent)


def with_requests(url: str, target: Path, checksum: str) -> None:
    """Fetch with the loop that requests' own manual shows."""
    import requests

    with requests.get(url, stream=True, timeout=10) as got, target.open("wb") as file:
        for chunk in got.iter_content(1 << 16):
            file.write(chunk)


def with_urllib(url: str, target: Path, checksum: str) -> None:
    """Fetch with the standard library."""
    import urllib.request

    with urllib.request.urlopen(url, timeout=10) as got, target.open("wb") as file:
        shutil.copyfileobj(got, file, 1 << 16)


CONTENDERS: dict[str, Callable[[str, Path, str], None]] = {
    "ours": ours,
    "ours, one connection": ours_alone,
    "pooch": with_pooch,
    "requests": with_requests,
    "urllib": with_urllib,
}


def contend(name: str, url: str, target: Path, checksum: str) -> None:
    """Be one Python contender: a small file first, so that all is imported, then the clock."""
    small = target.with_name("small")
    CONTENDERS[name](url + "small", small, "sha256:" + hashlib.sha256(SMALL).hexdigest())
    small.unlink()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    CONTENDERS[name](url, target, checksum)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([wall, cpu, (after.ru_maxrss - before.ru_maxrss) / 1024]))


def run(name: str, url: str, target: Path, checksum: str) -> tuple[float, float, float]:
    """Let one contender fetch; give wall and CPU seconds and the growth of its memory in MiB."""
    target.unlink(missing_ok=True)
    if name.startswith("curl"):
        command = f"curl -sS -o {target} {url}"
        if name != "curl":
            command += f" && sha256sum {target}"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return wall, cpu, 0.0
    arguments = [sys.executable, __file__, "--contend", name, url, str(target), checksum]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    wall, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu, memory


def compare(names: list[str], url: str, target: Path, checksum: str, rounds: int) -> None:
    """Run the contenders in turn, and print their medians and the ratios to curl's."""
    took: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    wanted = checksum.partition(":")[2]
    for turn in range(rounds):
        for name in names[:: 1 if turn % 2 else -1]:
            took[name].append(run(name, url, target, checksum))
            with target.open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            assert digest.hexdigest() == wanted, name
    for name, rows in took.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = [row[0] / other[0] for row, other in zip(rows, took["curl"], strict=True)]
        print(
            f"    {name:22} wall {wall:6.2f} s  CPU {cpu:5.2f} s  memory +{memory:4.1f} MiB  "
            f"wall over curl's: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=8.0)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        loopback = ["curl", "curl + sha256sum", *CONTENDERS]
        shared = ["curl", "ours, one connection", "ours"]
        for title, size, share, names, rounds in (
            ("(a) loopback", asked.megabytes, 0.0, loopback, asked.rounds),
            (
                f"(b) {asked.share:g} MB/s a connection",
                asked.megabytes // 4,
                asked.share,
                shared,
                3,
            ),
        ):
            file = folder / "served"
            digest = hashlib.sha256()
            with file.open("wb") as out:
                for _ in range(size):
                    block = os.urandom(MEGA)
                    digest.update(block)
                    out.write(block)
            command = [sys.executable, __file__, "--serve", str(file), str(share * MEGA)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
                print(f"{title}, {size} MB, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
                compare(names, url, folder / "fetched", f"sha256:{digest.hexdigest()}", rounds)
                server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), float(sys.argv[3]))
    elif sys.argv[1:2] == ["--contend"]:
        contend(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])
    else:
        main()
