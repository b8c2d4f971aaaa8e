"""Train the head of a frozen network on features that are computed once.

A frozen body gives the same features for the same picture in every epoch. So they are computed
once, without augmentation, and the head trains on them: an epoch takes a second or so instead of
a pass of all pictures through the network. fastai 0.7 had this as `precompute=True`.
"""

import errno
import math
import os
import random
import shutil
import tempfile
from collections import OrderedDict, defaultdict
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.layers import AdaptiveConcatPool2d
from fastai.torch_core import norm_bias_params
from fastcore.foundation import L
from torch import nn

FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # a disk, or a share
IN_MEMORY = 2**30  # bytes of features that may lie in memory, where the disk has no room
ALLOCATE = getattr(os, "posix_fallocate", None)  # macOS and Windows have none
POOLS = (AdaptiveConcatPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@contextmanager
def precomputed(learn, most=None, seed=42):  # type: ignore[no-untyped-def]  # as fastai writes them
    """Within the block, `learn` is the head alone, and its pictures are the frozen body's features.

    with learn.precomputed():
        learn.fit(2, 1e-2)

    `most` takes at most so many training pictures: as many of each class, chosen by `seed`.

    The pictures are not augmented, and the body's batch norms keep their running averages, as in
    fastai 0.7. Afterwards `learn` is the whole network again, with the trained head and a new
    optimizer. `learn.save`, `learn.export` and predictions belong after the block, not in it.
    """
    body, head = body_and_head(learn)
    network, loaders, splitter, optimizer = learn.model, learn.dls, learn.splitter, learn.opt
    frozen_to = optimizer.frozen_idx if optimizer is not None else 0
    groups = parameter_groups(learn)
    needs_gradient = [(p, p.requires_grad) for p in network.parameters()]
    pool, rest = split_off_pool(head)
    with tempfile.TemporaryFile() as train_file, tempfile.TemporaryFile() as valid_file:
        look = partial(features_of, nn.Sequential(body, pool), half_precision_of(learn))
        train = look(loaders.train, train_file, balanced(loaders.train, most, seed))
        valid = look(loaders.valid, valid_file, range(loaders.valid.n))
        try:
            # The names stay as in the whole network ("1.2.weight"), so weights can be exchanged.
            learn.model = nn.Sequential(OrderedDict(zip("01", (nn.Identity(), rest), strict=True)))
            learn.dls = DataLoaders(train, valid, path=loaders.path, device=loaders.train.device)
            # As many groups as the whole network has, so that rates are given alike. But only
            # what belongs to the head is still in them.
            learn.splitter = partial(only_within, groups)
            renew_optimizer(learn, optimizer, frozen_to)
            yield learn
        finally:
            learn.model, learn.dls, learn.splitter = network, loaders, splitter
            renew_optimizer(learn, optimizer, frozen_to)
            for parameter, needed in needs_gradient:
                parameter.requires_grad_(needed)


def body_and_head(learn: Any) -> tuple[nn.Module, nn.Module]:
    """Take the network apart, and make sure that its body is frozen."""
    if not isinstance(learn.model, nn.Sequential) or len(learn.model) != 2:
        raise ValueError(
            "precomputed needs a network of a body and a head, nn.Sequential(body, head), as "
            "vision_learner makes it."
        )
    body, head = learn.model
    norms = {id(p) for p in norm_bias_params(body, with_bias=False)}  # fastai trains these always
    if any(p.requires_grad and id(p) not in norms for p in body.parameters()):
        raise ValueError(
            "The body is not frozen, so its features change in every step. Call learn.freeze() "
            "first."
        )
    return body, head


def split_off_pool(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Take a pool at the head's beginning off: what it gives is far smaller to keep."""
    layers = OrderedDict(head.named_children())
    first = next(iter(layers), "")
    if type(head) is not nn.Sequential or not isinstance(layers.get(first), POOLS):
        return nn.Identity(), head
    pool, layers[first] = layers[first], nn.Identity()
    return pool, nn.Sequential(layers)


def parameter_groups(learn: Any) -> list[list[nn.Parameter]]:
    """Give the optimizer's groups of parameters, from the first layers to the last."""
    groups = list(learn.splitter(learn.model))
    return [list(g) for g in groups] if isinstance(groups[0], (list, L)) else [groups]


def only_within(groups: list[list[nn.Parameter]], model: nn.Module) -> list[list[nn.Parameter]]:
    """Split a part of the network as the whole is split; groups without a parameter stay, empty."""
    own = {id(p) for p in model.parameters()}
    return [[p for p in group if id(p) in own] for group in groups]


def renew_optimizer(learn: Any, before: Any, frozen_to: int) -> None:
    """Make the optimizer anew for what `learn.model` is now, frozen as it was before."""
    learn.opt = None
    if before is not None:
        learn.create_opt()
        learn.opt.freeze_to(frozen_to)


def half_precision_of(learn: Any) -> torch.dtype | None:
    """Give the half precision that `learn.to_fp16()` or `learn.to_bf16()` trains in."""
    mode = getattr(getattr(learn, "mixed_precision", None), "amp_mode", None)
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(getattr(mode, "value", ""))


def balanced(loader: Any, most: int | None, seed: int) -> list[int]:
    """Choose pictures by their numbers: all, or `most` of them and as many of each class."""
    numbers = list(range(loader.n))
    if most is None or most >= loader.n:
        return numbers
    of_class: dict[int, list[int]] = defaultdict(list)
    labels = [int(label) for label in loader.dataset.tls[-1]]
    for number in random.Random(seed).sample(numbers, loader.n):  # noqa: S311 - not a secret
        of_class[labels[number]].append(number)
    in_turn = chain.from_iterable(zip_longest(*of_class.values()))
    return sorted([number for number in in_turn if number is not None][:most])


def features_of(
    body: nn.Module, half: torch.dtype | None, loader: Any, file: Any, numbers: Any
) -> TfmdDL:
    """Run the body over these of a loader's pictures, once; load the features instead."""
    features: Any = None
    targets: list[list[torch.Tensor]] = []
    done = 0
    for x, y in batches(body, half, loader, numbers):
        if features is None:
            features = room_for((len(numbers), *x.shape[1:]), file)
        features[done : done + len(x)] = x
        targets.append(y)
        done += len(x)
    vocab = getattr(loader.dataset, "vocab", None)
    data = Features(features, [torch.cat(each) for each in zip(*targets, strict=True)], vocab)
    return FeatureDL(
        data,
        bs=loader.bs,
        shuffle=loader.shuffle,
        drop_last=loader.drop_last,
        n=len(numbers),
        device=loader.device,
        num_workers=0,
    )


def room_for(shape: tuple[int, ...], file: Any, memory: Any = None) -> Any:
    """Give an array that lies in a file; in memory where the disk is full and it is small.

    The disk is asked for all of it now: where a page of a mapped file finds no room later, the
    system kills the process.
    """
    size = 4 * math.prod(shape)
    try:
        reserve(file, size)
    except OSError as error:
        if error.errno not in FULL:
            raise
        file.truncate(0)
        if size <= min((free_memory() if memory is None else memory) / 2, IN_MEMORY):
            return np.zeros(shape, np.float32)
        folder = tempfile.gettempdir()
        raise OSError(
            errno.ENOSPC,
            f"The features of {shape[0]:,} pictures take {size / 1e6:,.0f} MB, and {folder} has "
            f"{shutil.disk_usage(folder).free / 1e6:,.0f} MB free. Free some, or take a folder "
            'with room: import tempfile; tempfile.tempdir = "FOLDER" (or TMPDIR=FOLDER before '
            "Python starts)",
        ) from error
    return np.memmap(file, np.float32, "r+", shape=shape)


def reserve(file: Any, size: int, allocate: Any = ALLOCATE) -> None:
    """Take so many bytes of the disk for a new file; by writing zeros where nothing else does."""
    if allocate is not None:
        try:
            allocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno in FULL:
                raise
    while size:
        size -= os.write(file.fileno(), bytes(min(size, 2**20)))


def free_memory() -> int:
    """Give the bytes of memory that nobody uses; 0 where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return 0


def batches(body: nn.Module, half: torch.dtype | None, loader: Any, numbers: Any) -> Any:
    """Give features and targets batch by batch, from pictures as in validation: not augmented."""
    chosen: Any = partial(list, numbers)
    pictures = loader.new(
        cls=TfmdDL, shuffle=False, drop_last=False, n=len(numbers), get_idxs=chosen
    )
    as_valid = getattr(loader.dataset, "set_split_idx", nullcontext)
    modes = [(module, module.training) for module in body.modules()]
    body.to(loader.device).eval()
    try:
        with as_valid(1), torch.no_grad():
            for x, *y in pictures:
                on = half is not None and (x.is_cuda or half is torch.bfloat16)
                with torch.autocast(x.device.type, half) if on else nullcontext():
                    found = body(x)
                yield found.float().cpu().numpy(), [target.cpu() for target in y]
    finally:
        for module, training in modes:
            module.training = training


class Features:
    """The features of a part of the pictures, with what each picture is."""

    def __init__(self, features: Any, targets: list[torch.Tensor], vocab: Any) -> None:
        self.features, self.targets = features, targets
        if vocab is not None:
            self.vocab = vocab

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, i: Any) -> tuple[torch.Tensor, ...]:
        """Give one picture's, or those of a list of numbers as a batch."""
        return (torch.from_numpy(np.array(self.features[i])), *(each[i] for each in self.targets))


class FeatureDL(TfmdDL):
    """Takes a whole batch of features at once: one by one, that is most of an epoch's time."""

    def create_batches(self, samps: Any) -> Any:
        return map(self.dataset.__getitem__, map(list, self.chunkify(samps)))
