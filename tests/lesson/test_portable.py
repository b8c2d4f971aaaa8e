"""What a lesson does alike on Linux, macOS and Windows."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import pytest

from fastmagic.data.survey.pictures import Layout
from fastmagic.lesson import learner, sameness

pytestmark = pytest.mark.train


class Posix(PurePosixPath):
    """Stands for a file on Linux or macOS."""

    def stat(self):
        return SimpleNamespace(st_size=7)


class Windows(PureWindowsPath):
    """Stands for a file on Windows."""

    def stat(self):
        return SimpleNamespace(st_size=7)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("class folders", r"cats\indoor\1.jpg"),
        ("train/valid folders", r"train\cats\indoor\1.jpg"),
    ],
)
@pytest.mark.parametrize("folder", [r"C:\Users\me\my pets (2)", r"\\server\share\pets"])
def test_class_folders_with_folders_in_them_are_found_on_windows(folder, kind, file):
    path = PureWindowsPath(folder)
    layout = Layout(path, kind, (path / file,), (), ("cats", "dogs"), "", ())
    seen = str(path / file).replace("\\", "/")  # as fastai's RegexLabeller does it there
    assert re.search(learner.layout_pattern(layout), seen).group(1) == "cats"


def test_a_pattern_on_linux_is_what_it_was():
    path = PurePosixPath("/d/my pets (2)")
    layout = Layout(path, "class folders", (path / "cats/in/1.jpg",), (), ("cats", "dogs"), "", ())
    assert learner.layout_pattern(layout) == rf"^{re.escape(str(path))}[/\\]([^/\\]+)[/\\]"


def test_a_device_that_is_announced_and_not_there_is_not_trained_on():
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    device, trouble = learner.choose_device(torch.device("mps", 0))
    assert device == torch.device("cpu")
    assert "MPS" in trouble
    assert len(trouble) < 200


def test_the_processor_is_taken_untried():
    import torch

    assert learner.choose_device(torch.device("cpu")) == (torch.device("cpu"), "")


def test_precomputed_features_in_full_precision_do_not_ask_for_autocast():
    import torch
    from torch import nn

    from fastmagic.lesson.additions import precomputed

    class Body(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 2)

    class Loader:
        device, dataset = "cpu", None

        def new(self, **_):
            return [(torch.zeros(3, 4, device="meta"), torch.arange(3))]  # autocast knows no "meta"

    [(features, [targets])] = precomputed.batches(Body(), None, Loader(), range(3))
    assert features.tolist() == [[1, 1]] * 3
    assert targets.tolist() == [0, 1, 2]


def test_a_run_that_was_begun_on_linux_is_the_same_on_windows():
    def parts(path):
        layout = SimpleNamespace(path=path, train=[path / "cats" / "1.jpg"], valid=[])
        return sameness.parts(
            SimpleNamespace(
                layout=layout,
                after=None,
                settings=SimpleNamespace(to_dict=dict),
                cell=SimpleNamespace(source="learn.fit(1)"),
            )
        )

    assert parts(Windows(r"C:\pets")) == parts(Posix("/content/pets"))
