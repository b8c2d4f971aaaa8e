"""Which torch is installed and what it can do here, without importing it into this process."""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from fastmagic import child

PROBE = Path(__file__).with_name("probe.py")
PROBE_SECONDS = 120.0
MIB = 2**20


@dataclass(frozen=True)
class TorchBuild:
    """An installed torch.

    Attributes
    ----------
    version
        With its build label, for example "2.11.0+cu128".
    cuda
        The CUDA it was built for; None for a CPU build.
    hip
        The ROCm (AMD) it was built for, or None.
    architectures
        The GPU architectures it has kernels for ("sm_75"), empty while it was not asked.
    cudnn
        The cuDNN it loads ("9.10.2"); None without one or while it was not asked.
    """

    version: str
    cuda: str | None = None
    hip: str | None = None
    architectures: tuple[str, ...] = ()
    cudnn: str | None = None


@dataclass(frozen=True)
class Run:
    """A small training step on one device in one precision.

    Attributes
    ----------
    device
        As torch names it: "cuda:0".
    ok
        Whether the gradient came out, and right.
    words
        torch's own where it failed; where it worked, why it could not be timed.
    precision
        "fp32", "fp16" or "bf16"; the half ones mixed with fp32, as training does.
    gflops
        Thousands of millions of operations a second in training a block of resnet34, or None.
    """

    device: str
    ok: bool
    words: str = ""
    precision: str = "fp32"
    gflops: float | None = None


@dataclass(frozen=True)
class Device:
    """A GPU as torch's CUDA counts it, which need not be NVML's order.

    Attributes
    ----------
    index
        Its number in this process: "cuda:0" is 0.
    uuid
        As torch spells it, without NVML's "GPU-"; empty where torch does not tell.
    pci
        Domain, bus and device, as "0000:00:04.0"; empty where torch does not tell.
    capability
        Compute capability.
    memory
        MiB in all.
    """

    index: int
    name: str
    uuid: str = ""
    pci: str = ""
    capability: tuple[int, int] | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Probe:
    """What the separate process found out.

    Attributes
    ----------
    fault
        Empty, or "crashed", "hung", "garbage", "not_started": then the rest is what was known by
        then, which may be nothing.
    words
        The fault, or torch's own words about a CUDA that does not start.
    tried
        Whether training steps were asked for.
    cuda_names, devices
        The GPUs that CUDA gives this process, in its order.
    cudnn
        The version of cuDNN, or None.
    runs
        What was tried, in the order of trying; the trial that ended the process is among them, and
        failed.
    died_at
        The device and precision that were being tried when the process ended ("cuda:1 fp32").
    """

    fault: str = ""
    words: str = ""
    tried: bool = False
    cuda_available: bool = False
    mps_available: bool = False
    cuda_names: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    cudnn: str | None = None
    runs: tuple[Run, ...] = ()
    died_at: str = ""
    seconds: float = 0.0

    def ran_on(self, kind: str) -> bool:
        """Say whether a training step in fp32 worked on a device of this kind (cuda, mps, cpu)."""
        good = (run.device for run in self.runs if run.ok and run.precision == "fp32")
        return any(device.split(":")[0] == kind for device in good)


def installed(paths: Sequence[str] | None = None) -> TorchBuild | None:
    """Read which torch is installed from its own `version.py`, without importing it.

    Parameters
    ----------
    paths
        Folders to look in; `sys.path` by default.

    Examples
    --------
    >>> installed(paths=[]) is None
    True
    """
    spec = PathFinder.find_spec("torch", paths)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        try:
            source = (Path(folder) / "version.py").read_text(encoding="utf-8")
            values = _constants(source)
        except (OSError, SyntaxError, ValueError):
            continue
        return TorchBuild(
            str(values.get("__version__", "unknown")), values.get("cuda"), values.get("hip")
        )
    return None


def _constants(source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant):
            found.update({t.id: value.value for t in targets if isinstance(t, ast.Name)})
    return found


def held_here(modules: Mapping[str, Any] | None = None) -> int | None:
    """Say how much GPU memory this very process's torch holds, without importing or starting it.

    Memory that freed tensors left in torch's cache counts; CUDA's own context, some hundred MiB
    more, does not.

    Parameters
    ----------
    modules
        The modules that are loaded; `sys.modules` by default.

    Returns
    -------
    int or None
        MiB on all GPUs together; None where torch has not started CUDA in this process.

    Examples
    --------
    >>> held_here({}) is None
    True
    """
    torch = (sys.modules if modules is None else modules).get("torch")
    cuda = getattr(torch, "cuda", None)
    try:
        if cuda is None or not cuda.is_initialized():
            return None
        held = sum(cuda.memory_reserved(index) for index in range(cuda.device_count()))
    except (AttributeError, RuntimeError):  # half imported, or a GPU that was lost
        return None
    return int(held) // MIB


def ask(
    build: TorchBuild | None = None,
    probe: bool = True,
    command: Sequence[str] | None = None,
    limit: float = PROBE_SECONDS,
    tick: Callable[[float], None] | None = None,
) -> tuple[Probe, TorchBuild | None]:
    """Ask torch in a separate process.

    Where the process crashes in a trial, another one tries the devices that were still to come,
    so that one broken GPU does not hide the others.

    Parameters
    ----------
    build
        What `installed` found.
    probe
        Also run a small training step on each device.
    command
        The process to ask; this Python with `probe.py` by default. Devices to try may be added.
    limit
        Seconds after which it is ended, all trials together.
    tick
        Called now and then with the seconds passed.

    Returns
    -------
    Probe and TorchBuild
        What it found, and the build with its GPU architectures and cuDNN filled in.
    """
    if command is None:
        command = (sys.executable, str(PROBE), "probe" if probe else "ask")
    start = time.monotonic()
    answer = first = child.ask(command, limit, tick)
    found, rest = _decode(answer), _rest(answer)
    while rest and (passed := time.monotonic() - start) < limit:
        answer = child.ask((*command, *rest), limit - passed, _later(tick, passed))
        found = _and_then(found, rest, _decode(answer))
        left = _rest(answer)
        rest = left if len(left) < len(rest) else ()
    found = replace(found, tried=probe, seconds=time.monotonic() - start)
    return found, build and _known_better(build, first.data)


def _known_better(build: TorchBuild, data: Mapping[str, Any]) -> TorchBuild:
    names, cudnn = data.get("architectures"), data.get("cudnn")
    if not isinstance(names, list):
        return build
    return replace(build, architectures=tuple(map(str, names)), cudnn=cudnn and str(cudnn))


def _rest(answer: child.Answer) -> tuple[str, ...]:
    """Give the devices that a process which crashed in a trial did not come to."""
    rest = answer.data.get("to_try")
    known = answer.fault == "crashed" and answer.data.get("trying") and isinstance(rest, list)
    return tuple(map(str, rest)) if rest and known else ()


def _and_then(found: Probe, rest: Sequence[str], after: Probe) -> Probe:
    """Add what the next process found out about the devices that were still to come."""
    words = found.words
    if not after.runs:
        words += f" Then {', '.join(rest)} could not be tried: {after.words}"
    return replace(found, runs=found.runs + after.runs, words=words)


def _later(tick: Callable[[float], None] | None, passed: float) -> Callable[[float], None] | None:
    return None if tick is None else lambda seconds: tick(passed + seconds)


def _decode(answer: child.Answer) -> Probe:
    if answer.fault and not answer.data:
        return Probe(answer.fault, answer.words)
    try:
        found = _read(answer.data)
        trying = str(answer.data.get("trying", ""))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        words = f"It gave no readable answer ({type(error).__name__}: {error})."
        return Probe(answer.fault or "garbage", answer.words or words)
    return _died(found, answer, trying) if answer.fault else found


def _read(data: Mapping[str, Any]) -> Probe:
    return Probe(
        words=str(data["cuda_words"]),
        cuda_available=data["cuda_available"] is True,
        mps_available=data["mps_available"] is True,
        cuda_names=tuple(str(name) for name in data["cuda_names"]),
        devices=tuple(map(_read_device, data.get("devices", ()))),
        cudnn=data.get("cudnn"),
        runs=tuple(map(_read_run, data["runs"])),
    )


def _read_run(run: Mapping[str, Any]) -> Run:
    gflops = run.get("gflops")
    return Run(
        run["device"],
        run["ok"] is True,
        str(run["words"]),
        str(run.get("precision", "fp32")),
        None if gflops is None else float(gflops),
    )


def _read_device(card: Mapping[str, Any]) -> Device:
    major, minor = card["capability"]
    names = (str(card["name"]), str(card["uuid"]), str(card["pci"]))
    return Device(int(card["index"]), *names, (int(major), int(minor)), int(card["memory"]))


def _died(found: Probe, answer: child.Answer, trying: str) -> Probe:
    """Count the trial that ended the process among those that failed."""
    if not trying:
        return replace(found, fault=answer.fault, words=answer.words)
    device, _, precision = trying.partition(" ")
    words = f"While trying {device} in {precision}: {answer.words}"
    runs = [run for run in found.runs if (run.device, run.precision) != (device, precision)]
    runs.append(Run(device, False, answer.words, precision))
    return replace(found, fault=answer.fault, words=words, runs=tuple(runs), died_at=trying)


def supports(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Say whether a torch built for these architectures has kernels for a card.

    Parameters
    ----------
    architectures
        As `torch.cuda.get_arch_list()` gives them.
    capability
        The card's compute capability.

    Notes
    -----
    Machine code (sm) runs on cards of the same major version and the same or a later minor one;
    intermediate code (compute) on any later card: CUDA C++ Programming Guide, "Application
    compatibility". A trailing letter ties the code to that very architecture.

    Examples
    --------
    >>> supports(["sm_75", "sm_80", "sm_90"], (8, 6)), supports(["sm_75", "sm_80"], (6, 0))
    (True, False)
    """
    return any(_runs(name, capability) for name in architectures)


def _runs(architecture: str, capability: tuple[int, int]) -> bool:
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
    if match is None:
        return False
    kind, major, minor, letter = match.groups()
    built = (int(major), int(minor))
    if letter == "a":
        return built == capability
    if kind == "compute" and not letter:
        return built <= capability
    return built[0] == capability[0] and built[1] <= capability[1]
