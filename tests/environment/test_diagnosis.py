from __future__ import annotations

import pytest

from fastmagic.environment.diagnosis import SIGNATURES, diagnose
from fastmagic.environment.system_libraries import PACKAGES

MENDS = "Run %fastai_setup; it mends this pair."
# The texts as they were seen, each with a word of its cause and one of its remedy.
SEEN = [
    ("AttributeError: 'list' object has no attribute 'starmap'", "is older than", MENDS),
    ("NameError: name 'star' is not defined", "newer than the fastcore", MENDS),
    (
        "AttributeError: 'Function' object attribute '__doc__' is read-only",
        "plum-dispatch 2.10.0",
        MENDS,
    ),
    ("__doc__ is read-only", "plum-dispatch 2.10.0", MENDS),
    ("TypeError: cannot pickle '_thread.RLock' object", "exported", MENDS),
    (
        "TypeError: mtime_policy() got an unexpected keyword argument 'arg'",
        "wants a newer fastcore",
        MENDS,
    ),
    (
        "RuntimeError: operator torchvision::nms does not exist",
        "another build",
        "--allow-change torchvision",
    ),
    (
        "RuntimeError: Detected that PyTorch and torchvision were compiled with different CUDA "
        "major versions. PyTorch has CUDA Version=13.0 and torchvision has CUDA Version=12.8.",
        "another CUDA",
        "--allow-change torchvision",
    ),
    (
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 "
        "from C header, got 88 from PyObject",
        "another numpy",
        "new session",
    ),
    (
        "ERROR: torchtext 0.9.0 has requirement torch==1.8.0, but you'll have torch 1.7.1 which is "
        "incompatible.",
        "torchtext 0.9.0 was made for PyTorch ==1.8.0, and 1.7.1 is installed",
        "%pip uninstall",
    ),
    (
        "torchvision 0.26.0 requires torch==2.11.0, but you have torch 2.15.0 which is "
        "incompatible.",
        "torchvision 0.26.0",
        "new session",
    ),
    ("ModuleNotFoundError: No module named 'fastai.callback.all'", "an old fastai 1", "--upgrade"),
    (
        "error: File not found: `/backend-container/containers/requirements.constraints`",
        "/backend-container/containers/requirements.constraints",
        "UV_CONSTRAINT",
    ),
    (
        "File not found: /backend-container/containers/requirements.constraints",
        "requirements.constraints",
        "UV_BUILD_CONSTRAINT",
    ),
    (
        "ImportError: libSM.so.6: cannot open shared object file: No such file or directory",
        "libSM.so.6",
        "libsm6",
    ),
    *(
        (f"ImportError: {library}: cannot open shared object file", library, package)
        for library, (package, *_) in PACKAGES.items()
    ),
    (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the "
        "device",
        "no kernels for this GPU",
        "%gpu_check",
    ),
    (
        "Tesla P100-PCIE-16GB with CUDA capability sm_60 is not compatible with the current "
        "PyTorch installation.",
        "sm_60",
        "T4",
    ),
    (
        "Found GPU0 NVIDIA GeForce GTX 1080 which is of compute capability (CC) 6.0.",
        "capability 6.0",
        "%gpu_check",
    ),
    (
        "Found GPU0 Tesla P100-PCIE-16GB which is of cuda capability 6.0.",
        "capability 6.0",
        "%gpu_check",
    ),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "GPU's memory", "restart"),
    ("RuntimeError: CUDA error: out of memory", "GPU's memory", "restart"),
    ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "GPU's memory", "restart"),
    ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "GPU's memory", "restart"),
    (
        "[enforce fail at alloc_cpu.cpp:73] . DefaultCPUAllocator: can't allocate memory: you",
        "computer's memory",
        "smaller batches",
    ),
    (
        "RuntimeError: DataLoader worker (pid 38) is killed by signal: Bus error. ",
        "shared memory",
        "num_workers=0",
    ),
    ("OSError: [Errno 28] No space left on device", "disk is full", "Free some"),
    ("ModuleNotFoundError: No module named 'fastcore'", "missing: fastcore", "%fastai_setup"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "cause", "remedy"), SEEN, ids=[seen[0][:40] for seen in SEEN])
def test_a_known_text_has_its_cause_and_a_remedy(text, cause, remedy):
    found = diagnose(f"noise before\n{text}\nnoise after")
    assert found is not None
    assert cause in found[0]
    assert remedy in found[1]
    assert "{" not in "".join(found)


def test_every_signature_is_met_by_a_text_that_was_seen_and_names_its_source():
    for signature in SIGNATURES:
        first = [diagnose(text) for text, *_ in SEEN]
        words = signature.cause.partition("{")[0]
        assert any(found and found[0].startswith(words) for found in first), signature.pattern
        assert signature.source.startswith("https://")


@pytest.mark.parametrize("text", ["", "something else entirely", "ValueError: starmap", "star"])
def test_an_unknown_text_has_none(text):
    assert diagnose(text) is None
