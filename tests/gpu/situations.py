"""Machines and faults as `%gpu_check` may meet them, and the table of its verdicts.

    python -m tests.gpu.situations

prints, for each, the verdict, every reason and the first line of advice. Each has a fake NVML
library beneath the real pynvml and a real process that answers (or crashes, or hangs) for torch.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pynvml

from fastmagic import platforms
from fastmagic.gpu.check import Surroundings, gpu_check
from fastmagic.gpu.host import Host
from fastmagic.gpu.processes import FIRST_NAMESPACE, Neighbours

from . import fake_nvml
from .fake_nvml import T4, Failure, FakeCard, FakeLibrary

TODAY = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040)."
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
LOCAL = platforms.Platform("jupyter", "log")
COLAB = platforms.Platform("colab", "log")
KAGGLE = platforms.Platform("kaggle", "log")
ROOMY = Host(2, 2, 13005, 11000, shm_total=6500, shm_free=6500, disk_free=70000)


def answer(cuda: Sequence[str] = (), **more: object) -> dict[str, Any]:
    """What torch says: for each GPU "ok" or the words of its failure."""
    runs = [run("cpu")] + [run(f"cuda:{n}", words) for n, words in enumerate(cuda)]
    return {
        "architectures": TODAY,
        "cuda_available": bool(cuda),
        "cuda_words": "",
        "cuda_names": [f"GPU {n}" for n in range(len(cuda))],
        "mps_available": False,
        "runs": runs,
        **more,
    }


def run(device: str, words: str = "ok", precision: str = "fp32", gflops: float | None = None):
    """One trial on one device."""
    ok = words == "ok"
    said = "" if ok else words
    return {"device": device, "ok": ok, "words": said, "precision": precision, "gflops": gflops}


def devices(library: FakeLibrary) -> list[dict[str, Any]]:
    """The cards of a library as torch sees them."""
    return [
        {
            "index": n,
            "name": card.name,
            "uuid": (card.uuid or "").removeprefix("GPU-"),
            "pci": (card.pci or "").removeprefix("0000"),
            "capability": list(card.capability or (7, 5)),
            "memory": (card.memory or (0, 0))[0],
        }
        for n, card in enumerate(library.cards)
    ]


def process(data: dict[str, Any]) -> list[str]:
    """A process that answers so."""
    return [sys.executable, "-c", f"print('fastmagic-answer:' + {json.dumps(data)!r})"]


@dataclass(frozen=True)
class Situation:
    """A machine, its fault, and the reasons that the check must find, the verdict first.

    `says` are the key words of the first line of advice.
    """

    name: str
    reasons: tuple[str, ...]
    library: FakeLibrary | None = None
    torch: str | None = "12.8"
    probe: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    place: platforms.Platform = LOCAL
    slot: bool | None = None
    env: tuple[tuple[str, str], ...] = ()
    held: int | None = None
    limit: float = 60.0
    package: bool = True
    apple: bool = False
    says: str = ""

    def said(self) -> dict[str, Any]:
        """What this machine's torch says."""
        known = devices(self.library) if self.library and self.probe else []
        return answer(self.probe, devices=known[: len(self.probe)])

    def surroundings(self, folder: Path) -> Surroundings:
        """Everything that the check may ask; `folder` gets a torch's `version.py`."""
        if self.torch:
            (folder / "torch").mkdir()
            (folder / "torch" / "__init__.py").touch()
            cuda = None if self.torch == "cpu" else self.torch
            text = f"__version__ = '2.11.0'\ncuda = {cuda!r}\n"
            (folder / "torch" / "version.py").write_text(text)
        return Surroundings(
            pynvml=pynvml if self.package else _NoPackage(),
            neighbours=neighbours(folder / "proc"),
            card_in_slot=lambda: self.library is not None if self.slot is None else self.slot,
            torch_paths=[str(folder)],
            probe_command=list(self.command) or process(self.said()),
            probe_limit=self.limit,
            held_here=lambda: self.held,
            host=lambda: ROOMY,
            place=self.place,
            env=dict(self.env),
            apple=self.apple,
        )


def neighbours(proc: Path) -> Neighbours:
    """Processes outside any container, every one a python3, this one with number 4242."""
    for name in ("ns", "fd"):
        (proc / "self" / name).mkdir(parents=True, exist_ok=True)
    space = proc / "self" / "ns" / "pid"
    if not space.is_symlink():
        space.symlink_to(FIRST_NAMESPACE)
    return Neighbours(4242, proc, lambda pid: "python3", windows=False)


class _NoPackage:
    """Stands for a pynvml that is too old to have anything, its errors included."""


def python(code: str) -> tuple[str, ...]:
    """A process that runs this code."""
    return (sys.executable, "-c", code)


FULL_T4 = replace(T4, memory=(15360, 14000), processes=())
OTHERS = replace(FULL_T4, processes=((812, 13900),))


def failing(code: int, question: str = "", start: int = 1) -> FakeLibrary:
    """A T4 whose library refuses a question, or to start."""
    if not question:
        return FakeLibrary([T4], init=code)
    return FakeLibrary([T4], errors={question: Failure(code, start)})


def everything_refused(code: int) -> FakeLibrary:
    """A T4 that refuses every single question about it."""
    questions = [name for name in dir(FakeLibrary) if name.startswith("_nvmlDevice")]
    kept = ("Count", "HandleByIndex")
    return FakeLibrary(
        [T4],
        errors={n[1:]: Failure(code) for n in questions if not any(k in n for k in kept)},
    )


SITUATIONS = (
    Situation("T4, today's torch", (), fake_nvml.colab_t4(), probe=("ok",)),
    Situation(
        "two K80 dies, driver 470",
        ("arch_unsupported", "driver_too_old", "probe_failed"),
        fake_nvml.two_k80(),
        probe=(NO_KERNEL, NO_KERNEL),
    ),
    Situation("K80, no torch", ("arch_unsupported", "torch_missing"), fake_nvml.two_k80(), None),
    Situation(
        "P100",
        ("arch_unsupported", "probe_failed"),
        fake_nvml.kaggle_p100(),
        probe=(NO_KERNEL,),
        says="%fastai_setup --torch cu126",
    ),
    Situation(
        "P100 on Kaggle",
        ("arch_unsupported", "probe_failed"),
        fake_nvml.kaggle_p100(),
        probe=(NO_KERNEL,),
        place=KAGGLE,
        says="GPU T4 x2",
    ),
    Situation(
        "P100 beside a T4, the T4 second",
        (),
        FakeLibrary([fake_nvml.P100, replace(T4, pci="00000000:00:05.0")]),
        probe=(NO_KERNEL, "ok"),
    ),
    Situation("H100 with MIG", (), fake_nvml.split_h100(), probe=("ok",)),
    Situation(
        "H100, MIG on, no instance",
        ("no_gpu",),
        FakeLibrary([replace(fake_nvml.H100, mig=True)], driver="580.65.06"),
        says="MIG instance",
    ),
    Situation("a card that tells nothing but its name", (), fake_nvml.bare_card(), probe=("ok",)),
    Situation("16 V100 on cu126", (), fake_nvml.sixteen_v100(), probe=("ok",) * 16),
    Situation(
        "an NVML without a card",
        ("no_gpu",),
        FakeLibrary([]),
        slot=False,
        says="docker run --gpus all",
    ),
    Situation(
        "Colab without a GPU",
        ("no_gpu",),
        place=COLAB,
        slot=False,
        says="Change runtime type > T4 GPU",
    ),
    Situation("Kaggle without a GPU", ("no_gpu",), place=KAGGLE, slot=False, says="GPU T4 x2"),
    Situation("Colab, no GPU and no torch", ("no_gpu", "torch_missing"), None, None, place=COLAB),
    Situation(
        "a CUDA container without its GPU",
        ("no_gpu",),
        env=(("NVIDIA_VISIBLE_DEVICES", "all"),),
        slot=False,
    ),
    Situation(
        "CUDA_VISIBLE_DEVICES=-1",
        ("no_gpu",),
        fake_nvml.colab_t4(),
        env=(("CUDA_VISIBLE_DEVICES", "-1"),),
        says="'-1'",
    ),
    Situation("a laptop without an NVIDIA card", ("cpu_only",), slot=False),
    Situation(
        "a laptop, no torch",
        ("torch_missing", "cpu_only"),
        None,
        None,
        slot=False,
        says="%fastai_setup",
    ),
    Situation(
        "a Mac with Apple's GPU",
        ("mps",),
        slot=None,
        apple=True,
        command=tuple(process(answer(mps_available=True, runs=[run("cpu"), run("mps")]))),
    ),
    Situation(
        "NVML library missing: an NVIDIA card, no driver",
        ("no_driver",),
        slot=True,
        says="Install the driver",
    ),
    Situation("NVML library missing, the GPU works", (), slot=False, probe=("ok",)),
    Situation("nvidia-ml-py missing or too old, the GPU works", (), package=False, probe=("ok",)),
    Situation(
        "driver not loaded",
        ("no_driver",),
        failing(pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        says="Restart the computer",
    ),
    Situation(
        "driver not loaded, on Colab",
        ("no_driver",),
        failing(pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        place=COLAB,
        says="Disconnect and delete runtime",
    ),
    Situation(
        "driver and library of different versions",
        ("no_driver",),
        failing(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH),
        says="Restart the computer",
    ),
    Situation(
        "one question: no permission",
        (),
        failing(pynvml.NVML_ERROR_NO_PERMISSION, "nvmlDeviceGetPowerUsage"),
        probe=("ok",),
    ),
    Situation(
        "no permission",
        ("no_driver",),
        failing(pynvml.NVML_ERROR_NO_PERMISSION),
        says="/dev/nvidia",
    ),
    Situation(
        "NVML: unknown error",
        ("no_driver",),
        failing(pynvml.NVML_ERROR_UNKNOWN),
        says="in a container, start a new one",
    ),
    Situation(
        "nvidia-ml-py missing or too old",
        ("no_driver",),
        FakeLibrary([T4]),
        package=False,
        says="%pip install -U nvidia-ml-py",
    ),
    Situation(
        "NVML too old: _v2 and newer functions missing",
        (),
        FakeLibrary([T4], missing=(*fake_nvml.BEFORE_510, *fake_nvml.BEFORE_535)),
        probe=("ok",),
    ),
    Situation(
        "every question: NotSupported",
        (),
        everything_refused(pynvml.NVML_ERROR_NOT_SUPPORTED),
        probe=("ok",),
    ),
    Situation(
        "every question: FunctionNotFound",
        (),
        everything_refused(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        probe=("ok",),
    ),
    Situation(
        "every question: Unknown",
        (),
        everything_refused(pynvml.NVML_ERROR_UNKNOWN),
        probe=("ok",),
    ),
    Situation(
        "driver 470, torch for CUDA 12.8",
        ("driver_too_old", "probe_failed"),
        FakeLibrary([T4], driver="470.256.02"),
        command=tuple(process(answer(cuda_words=TOO_OLD))),
        says="Install driver 525",
    ),
    Situation(
        "driver 550, torch for CUDA 13.0, on Colab",
        ("driver_too_old", "probe_failed"),
        FakeLibrary([T4]),
        "13.0",
        command=tuple(process(answer(cuda_words=TOO_OLD))),
        place=COLAB,
        says="Disconnect and delete runtime",
    ),
    Situation("a GPU, no torch", ("torch_missing",), FakeLibrary([T4]), None),
    Situation(
        "a GPU, torch for the CPU",
        ("torch_cpu_build",),
        FakeLibrary([T4]),
        "cpu",
        says="%fastai_setup --torch cu126",
    ),
    Situation(
        "a GPU on Colab, torch for the CPU",
        ("torch_cpu_build",),
        FakeLibrary([T4]),
        "cpu",
        place=COLAB,
        says="new session with the GPU",
    ),
    Situation(
        "memory held by this kernel",
        ("gpu_busy",),
        FakeLibrary([FULL_T4]),
        probe=("ok",),
        held=13000,
        says="Restart the kernel",
    ),
    Situation(
        "memory held by others",
        ("gpu_busy",),
        FakeLibrary([OTHERS]),
        probe=("ok",),
        says="python3, process 812",
    ),
    Situation(
        "the first T4 full, the second free",
        ("gpu_busy",),
        FakeLibrary([FULL_T4, replace(T4, uuid="GPU-f4ee", pci="00000000:00:05.0")]),
        probe=("ok", "ok"),
        says="CUDA_VISIBLE_DEVICES=GPU-f4ee",
    ),
    Situation(
        "the GPU lost before",
        ("gpu_lost",),
        FakeLibrary([FakeCard(lost=True)]),
    ),
    Situation(
        "the GPU lost between two calls",
        ("gpu_lost",),
        failing(pynvml.NVML_ERROR_GPU_IS_LOST, "nvmlDeviceGetTemperature"),
        place=COLAB,
        says="Disconnect and delete runtime",
    ),
    Situation(
        "torch fails to import",
        ("probe_failed",),
        FakeLibrary([T4]),
        command=python("raise ImportError('libcudnn.so.9: cannot open shared object file')"),
    ),
    Situation(
        "the probe crashes with a signal",
        ("probe_failed",),
        FakeLibrary([T4]),
        command=python("import os; os.kill(os.getpid(), 11)"),
    ),
    Situation(
        "the probe hangs",
        ("probe_failed",),
        FakeLibrary([T4]),
        command=python("import time; time.sleep(60)"),
        limit=0.5,
        says="%gpu_check again",
    ),
    Situation(
        "the probe prints garbage",
        ("probe_failed",),
        FakeLibrary([T4]),
        command=python("print('hello')"),
    ),
    Situation(
        "CUDA does not start",
        ("probe_failed",),
        FakeLibrary([T4]),
        command=tuple(process(answer(cuda_words="CUDA unknown error"))),
    ),
)


@contextlib.contextmanager
def beneath_pynvml(library: FakeLibrary | None) -> Iterator[None]:
    """Put a fake library (None: none at all) where pynvml loads the real one."""

    def no_library(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    names = ("CDLL", "nvmlLib", "_nvmlGetFunctionPointer_cache")
    before = {name: getattr(pynvml, name) for name in names}
    pynvml.CDLL, pynvml.nvmlLib = no_library, library
    pynvml._nvmlGetFunctionPointer_cache = {}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(pynvml, name, value)


def main() -> None:
    """Print the table."""
    print("| machine or fault | verdict and reasons | first line of advice |\n|---|---|---|")
    for case in SITUATIONS:
        with tempfile.TemporaryDirectory() as folder, beneath_pynvml(case.library):
            report = gpu_check(surroundings=case.surroundings(Path(folder)))
        found = [reason.code for reason in report.reasons] or [report.verdict]
        first = report.advice[0] if report.advice else report.sentence
        print(f"| {case.name} | {', '.join(found)} | {first} |")


if __name__ == "__main__":
    main()
