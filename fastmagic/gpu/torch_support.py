"""Which torch is installed and what it can do here, without importing it into this process."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from fastmagic import child

PROBE = Path(__file__).with_name("probe.py")
PROBE_SECONDS = 120.0


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
    """

    version: str
    cuda: str | None = None
    hip: str | None = None
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A small training step on one device, and torch's own words where it failed."""

    device: str
    ok: bool
    words: str = ""


@dataclass(frozen=True)
class Probe:
    """What the separate process found out.

    Attributes
    ----------
    fault
        Empty, or "crashed", "hung", "garbage", "not_started": then the rest is empty.
    words
        The fault, or torch's own words about a CUDA that does not start.
    tried
        Whether training steps were asked for.
    """

    fault: str = ""
    words: str = ""
    tried: bool = False
    cuda_available: bool = False
    mps_available: bool = False
    cuda_names: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    seconds: float = 0.0

    def ran_on(self, kind: str) -> bool:
        """Say whether a training step worked on a device of this kind (cuda, mps, cpu)."""
        return any(run.ok for run in self.runs if run.device.split(":")[0] == kind)


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


def ask(
    probe: bool = True,
    command: Sequence[str] | None = None,
    limit: float = PROBE_SECONDS,
    tick: Callable[[float], None] | None = None,
) -> tuple[Probe, tuple[str, ...]]:
    """Ask torch in a separate process.

    Parameters
    ----------
    probe
        Also run a small training step on each device.
    command
        The process to ask; this Python with `probe.py` by default.
    limit
        Seconds after which it is ended.
    tick
        Called now and then with the seconds passed.

    Returns
    -------
    Probe and tuple of str
        What it found, and the GPU architectures that this torch has kernels for.
    """
    if command is None:
        command = (sys.executable, str(PROBE), "probe" if probe else "ask")
    answer = child.ask(command, limit, tick)
    if answer.fault:
        return Probe(answer.fault, answer.words, probe, seconds=answer.seconds), ()
    try:
        return _decode(answer, probe)
    except (KeyError, TypeError, AttributeError) as error:
        words = f"It gave no readable answer ({type(error).__name__}: {error})."
        return Probe("garbage", words, probe, seconds=answer.seconds), ()


def _decode(answer: child.Answer, probe: bool) -> tuple[Probe, tuple[str, ...]]:
    data = answer.data
    runs = tuple(Run(run["device"], run["ok"] is True, str(run["words"])) for run in data["runs"])
    found = Probe(
        words=str(data["cuda_words"]),
        tried=probe,
        cuda_available=data["cuda_available"] is True,
        mps_available=data["mps_available"] is True,
        cuda_names=tuple(str(name) for name in data["cuda_names"]),
        runs=runs,
        seconds=answer.seconds,
    )
    return found, tuple(str(name) for name in data["architectures"])


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
