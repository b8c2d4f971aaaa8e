"""What a cell starts from: plain fastai loaders and a plain fastai learner.

Only fastai's own functions go into them, so that an exported model loads where fastmagic is not
installed.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.data.survey.pictures import Layout
from fastmagic.errors import BadInput, LessonError, did_you_mean, first_line
from fastmagic.lesson import precision
from fastmagic.lesson.precision import Precision
from fastmagic.lesson.settings import IMAGENET, Settings, Stats, normalization

THREE_WAYS = (
    "Three ways out: (1) switch the internet on and run the cell again; (2) --weights FILE with a "
    "state dict that you have; (3) --weights none, which starts from nothing and needs far more "
    "epochs."
)


def find_architecture(name: str, namespace: Mapping[str, Any] | None = None) -> Any:
    """Give the person's or torchvision's function of that name, or the name where it is timm's.

    Parameters
    ----------
    name
        What `--arch` was given.
    namespace
        The notebook's names: a function there that makes a network, called with `pretrained=`.

    Raises
    ------
    BadInput
        Where neither knows it.
    """
    models = _quietly("torchvision.models")
    if callable((namespace or {}).get(name)):
        return (namespace or {})[name]
    known = models.list_models(module=models)
    if name in known:
        return getattr(models, name)
    try:
        timm = _quietly("timm")
    except ImportError:
        raise BadInput(
            f"torchvision has no network called {name!r}.",
            did_you_mean(name, known) or 'For timm\'s networks: pip install "timm".',
        ) from None
    if name in timm.list_models():
        return name
    hint = did_you_mean(name, [*known, *timm.list_models()])
    raise BadInput(f"Neither torchvision nor timm has a network called {name!r}.", hint)


def _quietly(module: str) -> Any:
    """Import a module without what libraries warn one another of: the first import may show it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def choose_device(default: Any = None) -> tuple[Any, str]:
    """Choose where to train, and say why if a GPU that is there cannot be used.

    A card may be announced as available and still fail at its first kernel (a Kaggle P100 with
    today's wheels; a Mac whose torch is only built for MPS), so one small convolution is run on it,
    and the next card is tried where it fails.

    Parameters
    ----------
    default
        The `torch.device` that is tried first; fastai's by default.

    Returns
    -------
    device, trouble
        A `torch.device`, and what is wrong with the GPU; empty where nothing is.
    """
    import torch
    from fastai.torch_core import default_device

    default = default_device() if default is None else default
    if default.type == "cpu":
        return default, ""
    cards = torch.cuda.device_count() if default.type == "cuda" else 0
    others = [torch.device("cuda", number) for number in range(cards)]
    troubles = []
    for device in (default, *(other for other in others if other != default)):
        trouble = _trouble_of(device)
        if not trouble:
            return device, ""
        troubles.append(trouble)
    return torch.device("cpu"), troubles[0]


def _trouble_of(device: Any) -> str:
    import torch

    try:
        layer = torch.nn.Conv2d(3, 4, 3).to(device)
        layer(torch.zeros(1, 3, 8, 8, device=device)).sum().backward()
        _wait_for(device)
    except NotImplementedError as error:  # torch goes on with a list of all that it was built for
        return first_line(error).partition(". ")[0]
    except RuntimeError as error:
        return first_line(error)
    return ""


def _wait_for(device: Any) -> None:
    """Wait until a device has done all that it was told; what failed there is raised here."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def make_loaders(
    settings: Settings, layout: Layout, device: Any, namespace: Mapping[str, Any] | None = None
) -> Any:
    """Make fastai's DataLoaders for a laid-out folder.

    Parameters
    ----------
    settings
        Size, batch size, workers and normalisation.
    layout
        The pictures and how their names carry the class.
    device
        Where the batches go.
    namespace
        As in `find_architecture`.
    """
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import (
        IndexSplitter,
        Normalize,
        RegexLabeller,
        parent_label,
        using_attr,
    )
    from fastai.vision.augment import Resize
    from fastai.vision.data import ImageBlock

    items = [*layout.train, *layout.valid]
    normalize = Normalize.from_stats(*statistics(settings, namespace))
    on_folders = layout_pattern(layout)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(layout.classes))),
        get_items=lambda _: items,
        splitter=IndexSplitter(range(len(layout.train), len(items))),
        get_y=(
            using_attr(RegexLabeller(layout.label_pattern), "name")
            if layout.label_pattern
            else RegexLabeller(on_folders)
            if on_folders
            else parent_label
        ),
        item_tfms=Resize(settings.size),
        batch_tfms=[*augmentation(settings), normalize],
    )
    return block.dataloaders(
        layout.path,
        path=layout.path,
        bs=min(settings.bs, len(layout.train)),
        num_workers=choose_workers(settings, len(layout.train), device),
        device=device,
    )


def layout_pattern(layout: Layout) -> str:
    """Give the regular expression that finds the class in a picture's path; often none is needed.

    Where a class folder has folders of its own, the class is not the folder that a picture lies in,
    which is what fastai's `parent_label` gives. Empty where that is right for every picture, or
    where file names carry the class. fastai's `RegexLabeller` looks at paths with slashes, also on
    Windows.

    Examples
    --------
    >>> cat = Path("/d/cats/indoor/1.jpg")
    >>> layout = Layout(Path("/d"), "class folders", (cat,), (), ("cats", "dogs"), "", ())
    >>> re.search(layout_pattern(layout), cat.as_posix()).group(1)
    'cats'
    """
    pictures = (*layout.train, *layout.valid)
    if layout.label_pattern or all(layout.label(file) == file.parent.name for file in pictures):
        return ""
    split = r"[^/\\\\]+[/\\\\]" if layout.kind == "train/valid folders" else ""
    return rf"^{re.escape(layout.path.as_posix())}[/\\]{split}([^/\\]+)[/\\]"


def augmentation(settings: Settings) -> list[Any]:
    """Give the transforms that vary the training pictures."""
    from fastai.vision.augment import aug_transforms

    if settings.augment == "mirror":
        return list(aug_transforms(max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0))
    return list(aug_transforms())


def choose_workers(settings: Settings, pictures: int, device: Any) -> int:
    """Choose how many processes load pictures.

    On a CPU the network needs every core itself, and for few pictures starting processes at every
    epoch costs more than it brings. On macOS and Windows a notebook's loader processes are started
    afresh and slowly.
    """
    if settings.workers is not None:
        return settings.workers
    if device.type == "cpu" or pictures < 1000 or sys.platform != "linux":
        return 0
    return min(platforms.usable_cores(), platforms.WORKERS_MOST)


def choose_precision(settings: Settings, device: Any) -> Precision:
    """Choose in which precision to train on a device."""
    import torch

    if device.type != "cuda":
        from fastmagic.speed import half

        return precision.choose(settings.precision, device, None, units=half.is_supported())
    capability = torch.cuda.get_device_capability(device)
    card = torch.cuda.get_device_name(device)
    return precision.choose(settings.precision, device, capability, card)


def statistics(settings: Settings, namespace: Mapping[str, Any] | None = None) -> Stats:
    """Say by which mean and deviation the pictures are normalised: asked for, or the weights'."""
    asked = normalization(settings.normalize)
    if asked is not None:
        return asked
    if isinstance(find_architecture(settings.arch, namespace), str) and settings.weights != "none":
        config = _quietly("timm").get_pretrained_cfg(settings.arch)
        if config is not None:
            return tuple(config.mean), tuple(config.std)
    return IMAGENET


def make_learner(
    settings: Settings,
    dls: Any,
    folder: Path,
    chosen: str = "fp32",
    namespace: Mapping[str, Any] | None = None,
) -> Any:
    """Make fastai's `vision_learner` with the weights that were asked for.

    Parameters
    ----------
    settings
        Architecture and weights.
    dls
        The loaders; their vocabulary gives the number of classes.
    folder
        Where `learn.save()` and `learn.export()` write: the run's folder, for the data set's own
        may be read-only.
    chosen
        The precision: `fp32`, `fp16` or `bf16`.
    namespace
        As in `find_architecture`.

    Raises
    ------
    LessonError
        Where the weights cannot be had or do not fit.
    """
    from fastai.metrics import accuracy
    from fastai.vision.learner import vision_learner

    arch = find_architecture(settings.arch, namespace)
    pretrained = settings.weights == "imagenet"
    options = {"normalize": False, "metrics": accuracy, "path": folder}
    with warnings.catch_warnings():
        # fastai passes `pretrained=` to networks whose metadata it lacks; torchvision warns of it.
        warnings.filterwarnings("ignore", message="The parameter 'pretrained'")
        warnings.filterwarnings("ignore", message="Arguments other than a weight enum")
        try:
            learn = vision_learner(dls, arch, pretrained=pretrained, **options)
        except (
            Exception
        ) as error:  # torch, timm and their hubs raise a dozen kinds for "no network"
            if not pretrained:
                raise LessonError(
                    f"fastai cannot make a learner of {settings.arch} ({error}).",
                    "Try another --arch, such as resnet34.",
                ) from error
            raise LessonError(
                f"The ImageNet weights of {settings.arch} cannot be had ({first_line(error)}).",
                THREE_WAYS,
            ) from error
    if settings.weights not in ("imagenet", "none"):
        _load_body(learn, arch, Path(settings.weights))
        learn.freeze()
    precision.apply(learn, chosen)
    return learn


def _load_body(learn: Any, arch: Any, file: Path) -> None:
    """Put a state dict with torchvision's or timm's names into the learner's body."""
    from fastai.vision.learner import create_body, model_meta

    weights = _read_weights(file)
    if isinstance(arch, str):
        network = _quietly("timm").create_model(arch, pretrained=False)
        _load_exactly(network, weights, arch, file)
        body = learn.model[0].model
        wanted = body.state_dict().keys()
        body.load_state_dict({k: v for k, v in network.state_dict().items() if k in wanted})
        return
    network = arch(weights=None) if of_torchvision(arch) else arch(pretrained=False)
    _load_exactly(network, weights, getattr(arch, "__name__", "this --arch"), file)
    cut = model_meta.get(arch, {"cut": None})["cut"]
    learn.model[0].load_state_dict(create_body(network, 3, False, cut).state_dict())


def of_torchvision(arch: Any) -> bool:
    """Say whether a function that makes a network is torchvision's, and so takes `weights=`."""
    return str(getattr(arch, "__module__", "")).startswith("torchvision.")


def _read_weights(file: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch errors alike mean: not a state dict
        raise LessonError(
            f"{file} is not a state dict that can be read safely ({first_line(error)}).",
            "Save one with torch.save(model.state_dict(), FILE).",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise LessonError(f"{file} holds no state dict.", "Save model.state_dict(), not the model.")
    return content


def _load_exactly(network: Any, weights: dict[str, Any], arch: str, file: Path) -> None:
    own = network.state_dict()
    # Batch norms count their batches since torch 0.4.1; files from before have no such counts.
    counts = {key: count for key, count in own.items() if key.endswith("num_batches_tracked")}
    weights = {**counts, **weights}
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    said = [f"{kind}: {_some(keys)}" for kind, keys in faults.items() if keys]
    if said:
        raise LessonError(
            f"{file} does not fit {arch}. {'; '.join(said)}.",
            "Give the --arch that the file was saved from.",
        )
    network.load_state_dict(weights)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + more
