from __future__ import annotations

import pytest

from fastmagic.environment.planning import wishes
from fastmagic.errors import BadInput


@pytest.mark.parametrize(
    ("text", "version", "label"),
    [
        ("2.13.0", "2.13.0", ""),
        ("2.11", "2.11", ""),
        (" torch==2.13.0 ", "2.13.0", ""),
        ("2.13.0+cpu", "2.13.0", "cpu"),
        ("cu126", "", "cu126"),
        ("CPU", "", "cpu"),
        ("rocm6.4", "", "rocm6.4"),
    ],
)
def test_a_torch_is_a_version_or_a_build_or_both(text, version, label):
    assert wishes.read_torch(text) == wishes.TorchWish(version, label)


@pytest.mark.parametrize("text", ["newest", "2", ">=2.11", "2.13.0+", "2.13.0+mine", "", "cuda"])
def test_anything_else_is_told_with_examples(text):
    with pytest.raises(BadInput) as caught:
        wishes.read_torch(text)
    assert "--torch 2.13.0+cpu" in caught.value.next_step


@pytest.mark.parametrize(("text", "near"), [("cu999", ""), ("cu127", "cu126"), ("2.9+cup", "cpu")])
def test_a_build_that_nobody_publishes_is_told_with_the_nearest(text, near):
    with pytest.raises(BadInput, match="PyTorch has no builds called") as caught:
        wishes.read_torch(text)
    assert near in caught.value.next_step
    assert "--torch 2.13.0+cpu" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("2.8.8", "==2.8.8"),
        ("2.8", "==2.8.*"),
        (">=2.8.8", ">=2.8.8"),
        ("> 2.8.7", ">2.8.7"),
        ("<2.9", "<2.9"),
        ("~=2.8.20", "~=2.8.20"),
        ("fastai==2.8.8", "==2.8.8"),
        ("fastai>=2.8,<2.8.8", "<2.8.8,>=2.8"),
    ],
)
def test_a_fastai_is_a_version_or_a_range(text, spec):
    assert wishes.read_fastai(text) == spec


FURTHER = ["[dev]==2.8.8", "<2.5", ">=2.5,<2.8", "@ https://x", "==2.8.8; python_version<'4'"]


@pytest.mark.parametrize("text", ["newest", "2.7.19", "==1.0.61", "", "git+https://x", *FURTHER])
def test_a_fastai_that_cannot_be_used_is_told(text):
    with pytest.raises(BadInput):
        wishes.read_fastai(text)


def test_a_name_that_is_not_protected_is_told_with_the_nearest():
    with pytest.raises(BadInput) as caught:
        wishes.read_allowed(["nunpy"])
    assert "'numpy'" in caught.value.next_step
    with pytest.raises(BadInput) as caught:
        wishes.read_allowed(["pandas-profiling"])
    assert "Protected are: torch" in caught.value.next_step
