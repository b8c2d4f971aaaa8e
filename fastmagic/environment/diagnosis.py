"""Known failures of pip and of a broken installation, in plain words with a remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """A text that a failure is known by, its cause, and what to do."""

    pattern: str
    cause: str
    remedy: str


AGAIN = "Run %fastai_setup again."

# The texts are pip's own (https://github.com/pypa/pip, src/pip/_internal/exceptions.py and
# wheel_builder.py) and those of the issues named beside them. The first that matches counts.
SIGNATURES = (
    Signature(
        r"externally-managed-environment",
        "This Python belongs to the operating system, which does not let pip change it (PEP 668).",
        "Make an environment of your own (python -m venv lesson), activate it, install fastmagic "
        "there and run %fastai_setup again.",
    ),
    Signature(
        r"No module named pip",
        "This Python has no pip.",
        "Run python -m ensurepip --upgrade in a terminal, then %fastai_setup again.",
    ),
    Signature(
        r"no such option: --(report|dry-run)",
        "This pip is too old to say beforehand what it would change.",
        "Run %pip install --upgrade pip, then %fastai_setup again.",
    ),
    Signature(
        r"No space left on device|Errno 28",
        "The disk is full.",
        "Free some gigabytes (pip cache purge frees pip's own), then run %fastai_setup again.",
    ),
    Signature(
        r"ResolutionImpossible|conflicting dependencies|The user requested \(constraint\)",
        "No version of the wanted packages fits what is installed here, and what is installed is "
        "not changed.",
        "Try it in a new environment (python -m venv lesson), or on Colab.",
    ),
    Signature(
        r"THESE PACKAGES DO NOT MATCH THE HASHES",
        "A downloaded package is not what the index promised.",
        "Run %pip cache purge, then %fastai_setup again; if it stays, tell the index's owner.",
    ),
    Signature(
        r"Temporary failure in name resolution|getaddrinfo failed|NewConnectionError|"
        r"Name or service not known|Network is unreachable|ConnectTimeoutError|ReadTimeoutError|"
        r"Failed to establish a new connection|ProxyError",
        "The package index could not be reached.",
        "Check the internet connection (Kaggle: Settings > Internet > on), then run %fastai_setup "
        "again.",
    ),
    Signature(
        r"No matching distribution found",
        "The package index has no version that fits this Python.",
        "Check the internet connection and that this Python is one that PyTorch supports.",
    ),
    Signature(
        r"Permission denied|Read-only file system|Errno 13|Errno 30",
        "The folder of this Python's packages cannot be written.",
        "Make an environment of your own (python -m venv lesson), activate it, install fastmagic "
        "there and run %fastai_setup again.",
    ),
    Signature(
        r"Failed building wheel|subprocess-exited-with-error|metadata-generation-failed",
        "A package had to be built here and that failed; there is no ready wheel for this Python.",
        "Use a Python that has wheels (3.10 to 3.13), in a new environment.",
    ),
    Signature(
        r"operator torchvision::nms does not exist",
        "torchvision belongs to another build of PyTorch than the one that is installed.",
        "Remove it with %pip uninstall -y torchvision and run %fastai_setup again: it takes the "
        "matching one.",
    ),
    Signature(  # https://github.com/fastai/fastai/issues/4154
        r"'list' object has no attribute 'starmap'",
        "This fastai is older than the fastcore beside it.",
        "Run %pip install --upgrade fastai, then %fastai_setup again.",
    ),
    Signature(  # https://github.com/beartype/plum/issues/317
        r"__doc__'? is read-only",
        "fastai cannot be imported with plum-dispatch 2.10.0.",
        'Run %pip install "plum-dispatch<2.10", then %fastai_setup again.',
    ),
    Signature(  # https://github.com/numpy/numpy/issues/18709
        r"numpy\.dtype size changed|compiled using NumPy 1\.x",
        "A package was built for another numpy than the one that is installed.",
        "On Colab and Kaggle start a new session; elsewhere make a new environment.",
    ),
    Signature(
        r"libSM\.so\.6|libGL\.so\.1",
        "OpenCV (cv2) misses a library of the operating system.",
        "Run !apt-get install -y libsm6 libgl1, or %pip install opencv-python-headless.",
    ),
    Signature(
        r"No module named '(?P<module>[\w.]+)'",
        "A package that fastai needs is missing: {module}.",
        AGAIN,
    ),
)


def diagnose(text: str) -> tuple[str, str] | None:
    """Give cause and remedy of a failure that is known, or None.

    Parameters
    ----------
    text
        What pip or the failing program wrote.

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
            return signature.cause.format(**match.groupdict()), signature.remedy
    return None
