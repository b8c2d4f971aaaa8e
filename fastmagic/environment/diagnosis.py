"""Known texts of a broken installation: what each means, and what to do.

What pip and uv themselves say when they fail is in `words.py`; here is what Python, torch, fastai
and their friends say when they are imported and tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastmagic.environment.system_libraries import HEADLESS, PACKAGES


@dataclass(frozen=True)
class Signature:
    """A text that a failure is known by, its cause, what to do, and where it is reported.

    The named groups of the pattern may stand in the cause and the remedy.
    """

    pattern: str
    cause: str
    remedy: str
    source: str


MEND = "Run %fastai_setup; it mends this pair."  # rows of planning/known_bad.py

FASTAI = (
    Signature(
        r"'list' object has no attribute 'starmap'",
        "This fastai is older than the fastcore beside it: before 2.8.8 it needs fastcore 1.",
        MEND,
        "https://github.com/fastai/fastai/issues/4154",
    ),
    Signature(
        r"NameError: name 'star' is not defined",
        "This fastai is newer than the fastcore beside it: since 2.8.8 it needs fastcore 2.",
        MEND,
        "https://github.com/fastai/fastai/issues/4154",
    ),
    Signature(
        r"__doc__'? is read-only|__doc__[^\n]{0,40}read-only",
        "fastai cannot be imported with plum-dispatch 2.10.0.",
        MEND,
        "https://github.com/beartype/plum/issues/317",
    ),
    Signature(
        r"cannot pickle '_thread\.RLock' object",
        "A learner cannot be exported with plum-dispatch 2.10.1.",
        MEND,
        "https://github.com/beartype/plum/issues/322",
    ),
    Signature(
        r"mtime_policy\(\)",
        "This python-fasthtml, which fastai's progress bar needs, wants a newer fastcore.",
        MEND,
        "https://github.com/AnswerDotAI/fastcore/issues/850",
    ),
    Signature(
        r"No module named 'fastai\.(?P<part>[\w.]+)'",
        "fastai here is incomplete or of an old fastai 1: it has no fastai.{part}.",
        "Run %fastai_setup --upgrade.",
        "https://github.com/fastai/fastbook/issues/460",
    ),
)

TORCH = (
    Signature(
        r"operator torchvision::nms does not exist|Couldn't load custom C\+\+ ops",
        "torchvision belongs to another build of PyTorch than the one that is installed.",
        "Run %fastai_setup --allow-change torchvision: it takes the one that belongs to it.",
        "https://github.com/pytorch/vision/issues/8985",
    ),
    Signature(
        r"compiled with different CUDA major versions",
        "torchvision is built for another CUDA than the PyTorch that is installed.",
        "Run %fastai_setup --allow-change torchvision: it takes the one that belongs to it.",
        # torchvision/extension.py, _check_cuda_version
        "https://github.com/pytorch/vision/blob/main/torchvision/extension.py",
    ),
    Signature(
        r"no kernel image is available for execution on the device|cudaErrorNoKernelImageForDevice",
        "This PyTorch has no kernels for this GPU: the card is too old or too new for the build.",
        "Run %gpu_check: it names the card and a build that has them. On Kaggle take GPU T4 x2.",
        "https://github.com/Kaggle/docker-python/issues/1546",
    ),
    Signature(
        r"CUDA capability (?P<sm>sm_\d+) is not compatible with the current PyTorch",
        "This PyTorch has no kernels for this GPU ({sm}).",
        "Run %gpu_check: it names the card and a build that has them. On Kaggle take GPU T4 x2.",
        "https://github.com/Kaggle/docker-python/issues/1546",
    ),
    Signature(
        r"which is of (?:compute|cuda) capability (?:\(CC\) )?(?P<cc>\d+\.\d+)",
        "This PyTorch has no kernels for this GPU (compute capability {cc}).",
        "Run %gpu_check: it names the card and a build that has them. On Kaggle take GPU T4 x2.",
        "https://github.com/Kaggle/docker-python/issues/1546",
    ),
    Signature(
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|"
        r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        "The GPU's memory is full, often with what another notebook still holds.",
        "Run %gpu_check to see who holds it; shut down other notebooks and restart this kernel.",
        "https://github.com/pytorch/pytorch/issues/20123",
    ),
    Signature(
        r"DefaultCPUAllocator: (?:can't allocate|not enough) memory",
        "The computer's memory is full.",
        "Close other notebooks and programs and restart this kernel; smaller batches need less.",
        "https://github.com/pytorch/pytorch/pull/20618",
    ),
    Signature(
        r"DataLoader worker \(pid[^)]*\)[^\n]* killed by signal: Bus error",
        "A worker that loads pictures ran out of shared memory (/dev/shm).",
        "Make the DataLoaders with num_workers=0, or start the container with --shm-size=2g.",
        "https://github.com/fastai/fastai/issues/931",
    ),
)

AROUND = (
    Signature(
        r"numpy\.(?:dtype|ndarray) size changed|compiled using NumPy 1\.x",
        "A package was built for another numpy than the one that is installed.",
        "On Colab and Kaggle start a new session; elsewhere make a new environment "
        "(python -m venv lesson).",
        "https://github.com/numpy/numpy/issues/11628",
    ),
    Signature(
        r"(?P<owner>[\w.-]+ \S+) (?:has requirement|requires) torch(?P<spec>\S*), "
        r"but you(?:'ll)? have torch (?P<torch>\S+)",
        "{owner} was made for PyTorch {spec}, and {torch} is installed; fastai does not need it.",
        "If you do not use it, remove it with %pip uninstall; else start a new session, which has "
        "the old pair again.",
        "https://github.com/fastai/fastbook/issues/424",
    ),
    Signature(
        r"File not found: `?(?P<file>/backend-container/[^\s`]+)",
        "Colab tells uv about a file that is not there: {file}.",
        "Run %env UV_CONSTRAINT= and %env UV_BUILD_CONSTRAINT=, or use pip: "
        "%fastai_setup --installer pip.",
        "https://github.com/googlecolab/colabtools/issues/5237",
    ),
    *(
        Signature(
            rf"{re.escape(library)}: cannot open shared object",
            f"OpenCV (cv2) misses a library of the operating system: {library}.",
            f"Run !apt-get install -y {debian}, or do without: {HEADLESS}.",
            "https://github.com/opencv/opencv-python/issues/370",
        )
        for library, (debian, *_) in PACKAGES.items()
    ),
    Signature(
        r"No space left on device|Errno 28\b",
        "The disk is full.",
        "Free some gigabytes (%pip cache purge frees pip's own), then try again.",
        "https://docs.python.org/3/library/errno.html#errno.ENOSPC",
    ),
    Signature(
        r"No module named '(?P<module>[\w.]+)'",
        "A package that fastai needs is missing: {module}.",
        "Run %fastai_setup again; if it stays, install it with %pip install and tell fastmagic.",
        "https://docs.python.org/3/library/exceptions.html#ModuleNotFoundError",
    ),
)

SIGNATURES = (*FASTAI, *TORCH, *AROUND)  # the first that matches counts


def diagnose(text: str) -> tuple[str, str] | None:
    """Give cause and remedy of a failure that is known, or None.

    Parameters
    ----------
    text
        What the failing program wrote.

    Examples
    --------
    >>> diagnose("ModuleNotFoundError: No module named 'fastcore'")[0]
    'A package that fastai needs is missing: fastcore.'
    >>> diagnose("all is well") is None
    True
    """
    for signature in SIGNATURES:
        match = re.search(signature.pattern, text)
        if match:
            found = {name: words or "" for name, words in match.groupdict().items()}
            return signature.cause.format(**found), signature.remedy.format(**found)
    return None
