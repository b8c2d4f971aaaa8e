"""What the training monitor costs: a sample, a training run beside it, and nvidia-smi instead.

    python tests/benchmarks/monitor_cost.py [--pairs 8] [--epochs 6] [--calls 2000]

(a) CPU time of one fast and one slow sample (reading and storing it), over the fake library beneath
pynvml that the tests use, for one T4 and for sixteen cards, and over the real library where there
is a GPU; each over and over, and again after pauses of 50 ms, when the processor's caches are as
cold as the monitor finds them. The aim is at most 0.3 ms for one card.
(b) The same small training with and without the monitor (a fake T4 beneath it, or the real GPU), in
turn and in one process: wall and CPU time, pair by pair, and the CPU time of the monitor's own
thread as a share of the run, which is the figure with the least noise. The aim is at most 0.5 %.
(c) One call of nvidia-smi, which is how a sample is usually taken, where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pynvml

from fastmagic.gpu import Monitor, Samples, Sensors
from tests.gpu.fake_nvml import FakeLibrary, colab_t4, sixteen_v100


@contextlib.contextmanager
def beneath_pynvml(library: FakeLibrary | None) -> Iterator[None]:
    """Put a fake library beneath pynvml; None leaves the real one."""
    if library is None:
        yield
        return
    before = pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache
    pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache = library, {}
    try:
        yield
    finally:
        pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache = before


def has_gpu() -> bool:
    """Say whether the real library shows a card."""
    with contextlib.closing(Sensors()) as sensors:
        return bool(sensors.cards)


def cost(call: Callable[[], object], calls: int, pause: float = 0.0) -> str:
    """Time one thread's CPU for many calls of the same, one after the other or with pauses."""
    call()
    took = []
    for _ in range(calls):
        time.sleep(pause)
        began = time.thread_time()
        call()
        took.append((time.thread_time() - began) * 1000)
    took.sort()
    middle, high = statistics.median(took), took[int(len(took) * 0.99)]
    return f"median {middle:.3f} ms, 99 % below {high:.3f} ms, worst {took[-1]:.3f} ms"


def sample_costs(calls: int) -> None:
    """Print (a)."""
    print(f"(a) CPU time of one sample, {calls} of each (aim: 0.3 ms for one card)")
    libraries: dict[str, FakeLibrary | None] = {
        "one fake T4": colab_t4(),
        "sixteen fake V100": sixteen_v100(),
    }
    if has_gpu():
        libraries["the real library"] = None
    for name, library in libraries.items():
        with beneath_pynvml(library), contextlib.closing(Sensors()) as sensors:
            samples = Samples(len(sensors.cards))
            for slow in (False, True):

                def take(slow: bool = slow, to: Samples = samples, of: Any = sensors) -> None:
                    to.add(time.monotonic(), of.read(slow))

                kind = f"{name}, {'slow' if slow else 'fast'}"
                print(f"    {kind}: {cost(take, calls)}")
                print(f"    {kind}, after a pause: {cost(take, calls // 20, 0.05)}")


def make_training(epochs: int) -> Callable[[], None]:
    """Give a small fastai training: a network of some megaflops on pictures of noise."""
    import fastai.callback.progress  # noqa: F401 - gives learners no_bar
    import torch
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from torch import nn
    from torch.utils.data import TensorDataset

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures, classes = torch.randn(1024, 3, 32, 32), torch.randint(0, 2, (1024,))
    sets = (TensorDataset(pictures, classes), TensorDataset(pictures[:64], classes[:64]))
    dls = DataLoaders.from_dsets(*sets, bs=32, device=device, num_workers=0)
    layers = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat())

    def train() -> None:
        with learn.no_bar(), learn.no_logging():
            learn.fit(epochs, 1e-3)

    return train


def timed(train: Callable[[], None]) -> tuple[float, float]:
    """Give wall and CPU seconds of one training."""
    wall, cpu = time.perf_counter(), time.process_time()
    train()
    return time.perf_counter() - wall, time.process_time() - cpu


def training_costs(pairs: int, epochs: int) -> None:
    """Print (b)."""
    train = make_training(epochs)
    library = None if has_gpu() else colab_t4()
    print(f"(b) training with and without it, {pairs} pairs (aim: 0.5 %); ", end="")
    print("a fake T4 beneath it" if library else "on the real GPU", flush=True)
    timed(train)
    rows, shares, counts, rates = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, beneath_pynvml(library):
        for pair in range(pairs):
            # The file is written twice as often as once a minute, and once more at the end.
            monitor = Monitor(Path(folder) / f"{pair}.csv", save_every=30)

            def watched(monitor: Monitor = monitor) -> None:
                with monitor:
                    train()

            turns = [("without", train), ("with", watched)][:: 1 if pair % 2 else -1]
            took = {name: timed(turn) for name, turn in turns}
            summary = monitor.summary()
            assert summary.gpus, summary.note
            rows.append((*took["without"], *took["with"]))
            shares.append(monitor.cpu_seconds / took["with"][0])
            counts.append(summary.samples)
            rates.append(monitor.cpu_seconds / summary.samples * 1000)
    for name, n in (("wall", 0), ("CPU", 1)):
        plain = statistics.median(row[n] for row in rows)
        extra = [row[n + 2] / row[n] - 1 for row in rows]
        low, high = min(extra), max(extra)
        print(
            f"    {name}: {plain:.2f} s without; with it {statistics.median(extra):+.2%} "
            f"(median of the pairs, {low:+.2%} to {high:+.2%})"
        )
    print(
        f"    the monitor's own thread: {statistics.median(shares):.3%} of the wall time (worst "
        f"{max(shares):.3%}); {statistics.median(counts):.0f} samples a run, "
        f"{statistics.median(rates):.3f} ms each, its start and its file included"
    )


def nvidia_smi_cost() -> None:
    """Print (c)."""
    found = shutil.which("nvidia-smi")
    if found is None:
        print("(c) there is no nvidia-smi here to compare with")
        return
    question = "--query-gpu=utilization.gpu,memory.used,temperature.gpu,power.draw"
    took = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([found, question, "--format=csv"], capture_output=True, check=False)
        took.append((time.perf_counter() - began) * 1000)
    print(f"(c) one nvidia-smi: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms")


def main() -> None:
    """Print the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--calls", type=int, default=2000)
    asked = parser.parse_args()
    sample_costs(asked.calls)
    training_costs(asked.pairs, asked.epochs)
    nvidia_smi_cost()


if __name__ == "__main__":
    main()
