"""Ordinary fastai code of many kinds, as the body of a lesson."""

from __future__ import annotations

import pytest

import fastmagic
from fastmagic.errors import LessonError

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16}


@pytest.fixture
def run(small_folder, tmp_path):
    def run(code, **options):
        code = f"from fastai.vision.all import *\n{code}"
        return fastmagic.train_lesson1(
            small_folder, code, runs_folder=tmp_path, **{**SMALL, **options}
        )

    return run


OWN_LOADERS = """
x = torch.randn(32, 4)
pairs = list(zip(x, (x.sum(1) > 0).long()))
"""


@pytest.mark.parametrize("loader", ["DataLoader", "torch.utils.data.DataLoader"])
def test_loaders_that_know_no_files_may_be_trained_with(run, loader):
    result = run(
        f"{OWN_LOADERS}loader = {loader}(pairs, batch_size=8)\n"
        "net = nn.Linear(4, 2)\n"
        "learn = Learner(DataLoaders(loader, loader), net, loss_func=nn.CrossEntropyLoss(), "
        "metrics=accuracy)\nlearn.fit(1)"
    )
    assert result.status == "finished" and result.judged is None
    assert result.stages[0].accuracy is not None


def test_a_network_may_keep_state_that_is_no_tensor(run):
    result = run(
        f"""{OWN_LOADERS}
class Net(nn.Linear):
    def get_extra_state(self): return {{"seen": 1}}
    def set_extra_state(self, state): pass
loader = DataLoader(pairs, batch_size=8)
learn = Learner(DataLoaders(loader, loader), Net(4, 2), loss_func=CrossEntropyLossFlat())
learn.lr_find(num_it=6, show_plot=False)
learn.fit(1)"""
    )
    assert len(result.weights_sha256) == 64


def test_a_metric_may_give_more_than_a_number(run):
    result = run(
        "def of_each_class(said, is_): return np.array([0.25, 0.75])\n"
        "learn.metrics = [accuracy, AccumMetric(of_each_class, flatten=False, to_np=True)]\n"
        "learn.fit(1)"
    )
    assert result.stages[0].epochs[0].values["of_each_class"] is None
    assert result.incidents == ()


def test_fit_takes_what_fastais_takes(run):
    result = run(
        "learn.fit(1, 1e-3, None, None, True)\n"
        "learn.fit(np.int64(1))\n"
        "learn.fit(2, start_epoch=1)\n"
        "learn.fit(1, cbs=ShowGraphCallback())"
    )
    assert [len(stage.epochs) for stage in result.stages] == [1, 1, 2, 1]
    assert result.stages[2].epochs[0].values == {} and result.stages[2].epochs[1].accuracy
    assert result.incidents == ()


def test_pictures_with_several_classes_each_cannot_be_shown_as_right_or_wrong(run):
    code = """
several = DataBlock(
    (ImageBlock, MultiCategoryBlock), get_items=get_image_files, get_y=lambda f: [parent_label(f)],
    splitter=RandomSplitter(seed=1), item_tfms=Resize(32),
).dataloaders(path, bs=8)
learn = vision_learner(several, resnet18, pretrained=False)
learn.show_confusion()"""
    with pytest.raises(ValueError, match="one of several classes"):
        run(code)


def test_a_weighted_loader_draws_the_same_whatever_the_workers(run):
    code = """
block = DataBlock(
    (ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
    splitter=GrandparentSplitter(), item_tfms=RandomResizedCrop(32),
)
weights = np.arange(1, len(get_image_files(path)) + 1)
loaders = block.weighted_dataloaders(path, weights, bs=8, num_workers=WORKERS)
set_seed(1)
learn = vision_learner(loaders, squeezenet1_1, pretrained=False, metrics=accuracy)
learn.fit(2)"""
    digests = {run(code.replace("WORKERS", str(n))).weights_sha256 for n in (0, 2)}
    assert len(digests) == 1


def test_weights_from_before_batch_norms_counted_are_taken(run, tmp_path):
    import torch
    from torchvision.models import resnet18

    state = resnet18(weights=None).state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth")
    result = run(
        "first = learn.model[0][0].weight.clone()",
        arch="resnet18",
        weights=str(tmp_path / "old.pth"),
    )
    assert torch.equal(result.learn.model[0][0].weight.cpu(), state["conv1.weight"])


def test_a_network_of_the_persons_own_takes_weights_of_a_file(small_folder, tmp_path):
    import torch
    from torch import nn

    def mine(pretrained=False):
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    file = tmp_path / "mine.pth"
    torch.save(mine().state_dict(), file)
    options = {**SMALL, "arch": "mine", "runs_folder": tmp_path, "namespace": {"mine": mine}}
    result = fastmagic.train_lesson1(small_folder, "learn", **{**options, "weights": str(file)})
    assert torch.equal(result.learn.model[0][0].weight.cpu(), torch.load(file)["0.weight"])
    torch.save({"0.weight": torch.zeros(1)}, file)
    with pytest.raises(LessonError, match=r"mine\.pth does not fit mine"):
        fastmagic.train_lesson1(small_folder, "learn", **{**options, "weights": str(file)})


BLOCK = """
def loaders(*blocks, get_y, item=Resize(32), make="dataloaders", **options):
    block = DataBlock(blocks=(ImageBlock, *blocks), splitter=GrandparentSplitter(), get_y=get_y,
        item_tfms=item)
    return getattr(block, make)(get_image_files(path), bs=8, num_workers=0, **options)
"""


def test_pictures_that_were_validated_in_another_order_are_told_by_their_own_names(run):
    result = run(
        f"""{BLOCK}
dls = loaders(CategoryBlock, get_y=parent_label, val_shuffle=True)
learn = vision_learner(dls, squeezenet1_1, pretrained=False, metrics=accuracy)
learn.fit(1)
learn.show_rights_and_wrongs()"""
    )
    judged = result.judged
    assert len(judged.files) == 16
    assert [file.parent.name for file in judged.files] == [
        judged.classes[target] for target in judged.targets
    ]
    again = result.learn.get_preds()[0].numpy()
    assert abs(again - judged.probabilities).max() < 0.05  # small copies are nearly the pictures


@pytest.mark.parametrize(
    ("given", "learnt"),
    [
        ('MultiCategoryBlock, get_y=lambda file: [file.parent.name, "animal"]', ""),
        (
            "RegressionBlock, get_y=lambda file: float(len(file.name) % 2)",
            ", n_out=1, loss_func=MSELossFlat()",
        ),
    ],
    ids=["several classes each", "a number each"],
)
def test_only_of_one_class_each_test_time_augmentation_has_an_accuracy(run, given, learnt):
    result = run(
        f"""{BLOCK}
learn = vision_learner(loaders({given}), squeezenet1_1, pretrained=False{learnt})
learn.fit(1)
said, targets = learn.tta(n=1)"""
    )
    assert result.status == "finished"
    assert result.accuracy is None and result.accuracy_tta is None


def test_a_picture_that_is_drawn_twice_in_an_epoch_is_cut_anew(run):
    body = f"""{BLOCK}
class Seen(Callback):
    def before_batch(self):
        if self.training:
            seen.extend(hash(one.numpy().tobytes()) for one in self.xb[0])
seen = []
dls = loaders(CategoryBlock, get_y=parent_label, item=RandomResizedCrop(24, min_scale=0.2),
    make="weighted_dataloaders", wgts=[1.0 if number % 8 == 0 else 0.001 for number in range(48)])
learn = vision_learner(dls, squeezenet1_1, pretrained=False, cbs=Seen())
learn.fit(1)
(path.parent / "seen.txt").write_text(" ".join(map(str, seen)))"""
    result = run(body)
    seen = (result.path.parent / "seen.txt").read_text().split()
    assert len(seen) == 32 and len(set(seen)) > 24
