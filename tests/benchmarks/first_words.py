"""How soon `%gpu_check` says its first word in a notebook, and how soon it has said all.

    python tests/benchmarks/first_words.py [--runs 10]

In a real Jupyter kernel, over the wire: from the request to the first output that a front end gets,
and to the end. Each run has a fresh kernel, so that nothing was imported before. The aim is 0.3 s
to the first output, before torch is asked. Beside it, in fresh kernels too, what a person would do
otherwise: `import torch; torch.cuda.is_available()`.
"""

from __future__ import annotations

import argparse
import statistics
import time

from jupyter_client.manager import start_new_kernel

OURS, THEIRS = "%gpu_check", "import torch; print(torch.cuda.is_available())"
OUTPUTS = ("display_data", "stream", "execute_result", "update_display_data")


def times(code: str) -> tuple[float, float]:
    """Give the seconds to the first output and to the end, in a fresh kernel."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive("%load_ext fastmagic", timeout=60)
        return _timed(client, code)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _timed(client, code: str) -> tuple[float, float]:
    began = time.perf_counter()
    sent, first = client.execute(code), 0.0
    while True:
        message = client.get_iopub_msg(timeout=180)
        if message["parent_header"].get("msg_id") != sent:
            continue
        if not first and message["msg_type"] in OUTPUTS:
            first = time.perf_counter() - began
        if message["content"].get("execution_state") == "idle":
            return first, time.perf_counter() - began


def main() -> None:
    """Print the medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    for code in (OURS, THEIRS):
        firsts, alls = zip(*(times(code) for _ in range(runs)), strict=True)
        print(
            f"{code:50} first output {statistics.median(firsts):.3f} s (worst {max(firsts):.3f}), "
            f"all {statistics.median(alls):.2f} s"
        )


if __name__ == "__main__":
    main()
