from __future__ import annotations

import pytest

from fastmagic.environment.diagnosis import diagnose


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("error: externally-managed-environment", "operating system"),
        ("/usr/bin/python3: No module named pip", "no pip"),
        ("no such option: --report", "too old"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: ResolutionImpossible: for help visit", "fits what is installed"),
        ("NewConnectionError: getaddrinfo failed", "could not be reached"),
        ("ERROR: No matching distribution found for torch", "no version"),
        ("PermissionError: [Errno 13] Permission denied", "cannot be written"),
        ("error: subprocess-exited-with-error", "had to be built"),
        ("RuntimeError: operator torchvision::nms does not exist", "another build"),
        ("AttributeError: 'list' object has no attribute 'starmap'", "older than the fastcore"),
        ("'Function' object attribute '__doc__' is read-only", "plum-dispatch 2.10.0"),
        ("numpy.dtype size changed, may indicate binary incompatibility", "another numpy"),
        ("libSM.so.6: cannot open shared object file", "OpenCV"),
        ("No module named 'fastai.callback.all'", "fastai.callback.all"),
    ],
)
def test_a_known_text_has_its_cause_and_a_remedy(text, word):
    found = diagnose(f"noise before\n{text}\nnoise after")
    assert found is not None
    assert word in found[0]
    assert found[1]


def test_an_unknown_text_has_none():
    assert diagnose("something else entirely") is None
