"""What a cell starts from, `path`, `dls` and `learn`, as the text of plain fastai code.

Equal in effect to `learner.make_loaders` and `learner.make_learner`. The text that finds and
divides the pictures is tried while it is written: what fastai finds and the lesson leaves out (an
unreadable picture, a stray one beside the class folders) is named in it, and where the division by
seed would come out otherwise, the validation pictures are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.data.survey.pictures import Layout
from fastmagic.lesson import learner
from fastmagic.lesson.settings import Settings

BY_FOLDERS = "train/valid folders"


def pictures(settings: Settings, layout: Layout, given: Mapping[str, Any]) -> str:
    """Write the code that sets `path`, `files` and, where no folder tells them, `valid`.

    Parameters
    ----------
    settings, layout
        The lesson's.
    given
        What fastai's star import brings; the code is tried with it.
    """
    head = _listing(layout, given)
    tail = _without("unreadable", layout.unreadable, layout)
    if layout.kind == BY_FOLDERS:
        top = f"file.relative_to(path).parts[0] == {_parts(layout)[1]!r}"
        divide = f"valid = {{file for file in files if {top}}}\n"
    else:
        divide = SPLIT.format(label=_label(layout), seed=settings.seed, share=settings.valid_pct)
    found = _tried(head + divide + tail, given)
    valid, files = set(found["valid"]), set(found["files"])
    if (files - valid, files & valid) != (set(layout.train), set(layout.valid)):
        divide = f"valid = {{path / name for name in {_written(layout.valid, layout)}}}\n"
    return head + divide + tail


SPLIT = """\
label = {label}

# For validation, {share:.0%} of each class: chosen by the seed, always the same.
of_class = {{}}
for file in files:
    of_class.setdefault(label(file), []).append(file)
valid = set()
for name in sorted(of_class):
    own = of_class[name]
    random.Random({seed}).shuffle(own)
    valid.update(own[: max(1, round(len(own) * {share})) if len(own) > 1 else 0])
"""


def folder(layout: Layout) -> str:
    """Write the code that sets `path`."""
    return f"path = Path({str(layout.path)!r})\n"


def _listing(layout: Layout, given: Mapping[str, Any]) -> str:
    """Write the code that lists every picture that the lesson looks at."""
    text = folder(layout)
    within = f", folders={_parts(layout)}" if layout.kind == BY_FOLDERS else ""
    text += f"files = sorted(get_image_files(path{within}))\n"
    found = set(_tried(text, given)["files"])
    wanted = {*layout.train, *layout.valid, *layout.unreadable}
    text += _without("strays", found - wanted, layout)
    if wanted - found:
        text += f"files += [path / name for name in {_written(wanted - found, layout)}]\n"
        text += "files.sort()\n"
    return text


def _without(what: str, files: Iterable[Path], layout: Layout) -> str:
    files = set(files)
    if not files:
        return ""
    return (
        f"{what} = {{path / name for name in {_written(files, layout)}}}\n"
        f"files = [file for file in files if file not in {what}]\n"
    )


def _written(files: Iterable[Path], layout: Layout) -> str:
    names = sorted(file.relative_to(layout.path).as_posix() for file in files)
    return "[\n" + "".join(f"    {name!r},\n" for name in names) + "]"


def _tried(code: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run code that only lists files, with what fastai gives."""
    namespace = dict(given)
    exec(code, namespace)  # noqa: S102 - written above
    return namespace


def _parts(layout: Layout) -> list[str]:
    """Name the folders of training and of validation pictures, as this data set calls them."""
    return [part[0].relative_to(layout.path).parts[0] for part in (layout.train, layout.valid)]


def _label(layout: Layout) -> str:
    """Write what tells the class of a picture."""
    if layout.label_pattern:
        return f'using_attr(RegexLabeller({layout.label_pattern!r}), "name")'
    if pattern := learner.layout_pattern(layout):
        return f"RegexLabeller({pattern!r})"
    return "parent_label"


def loaders(settings: Settings, layout: Layout, device: Any, namespace: Mapping[str, Any]) -> str:
    """Write the code that sets `dls`, after `pictures`."""
    workers = learner.choose_workers(settings, len(layout.train), device)
    mean, deviation = learner.statistics(settings, namespace)
    label = "label" if layout.kind != BY_FOLDERS else _label(layout)
    start = FORK if workers else ""
    return f"""\
{start}dls = DataBlock(
    blocks=(ImageBlock, CategoryBlock),
    splitter=FuncSplitter(lambda file: file in valid),
    get_y={label},
    item_tfms=Resize({settings.size}),
    batch_tfms=[
        *{_augmentation(settings)},
        Normalize.from_stats({mean}, {deviation}),
    ],
).dataloaders(files, path=path, bs={min(settings.bs, len(layout.train))}, num_workers={workers})
"""


FORK = """\
if sys.platform == "linux":  # newer Pythons would run this file again in each of the processes
    torch.multiprocessing.set_start_method("fork", force=True)

"""


def _augmentation(settings: Settings) -> str:
    if settings.augment == "mirror":
        return "aug_transforms(max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0)"
    return "aug_transforms()"


def network(settings: Settings, device: Any, namespace: Mapping[str, Any]) -> tuple[str, str]:
    """Write the code that sets `learn`, after `loaders`, and the import that it needs.

    Parameters
    ----------
    settings
        The lesson's.
    device
        Where it trains, which decides the precision.
    namespace
        The person's, which may hold the architecture.
    """
    own = callable(namespace.get(settings.arch))
    found = learner.find_architecture(settings.arch, namespace)
    of_timm = isinstance(found, str)
    arch = repr(found) if of_timm else settings.arch
    imported = "" if own or of_timm else f"from torchvision.models import {arch}"
    chosen = learner.choose_precision(settings, device).name
    half = "" if chosen == "fp32" else f".to_{chosen}()"
    pretrained = settings.weights == "imagenet"
    text = (
        "learn = vision_learner(\n"
        f"    dls, {arch}, pretrained={pretrained}, normalize=False, metrics=accuracy,\n"
        f"    path=Path(),\n){half}\n"
    )
    if settings.weights in ("imagenet", "none"):
        return text, imported
    file = platforms.expanded(settings.weights).absolute()
    if of_timm:
        return text + READ.format(file=str(file)) + TIMM.format(arch=arch), "import timm"
    bare = "weights=None" if learner.of_torchvision(found) else "pretrained=False"
    return text + READ.format(file=str(file)) + TORCHVISION.format(arch=arch, bare=bare), imported


READ = """
# The body's weights come from a file, and only the head is trained at first.
weights = torch.load({file!r}, map_location="cpu", weights_only=True)
for key in ("state_dict", "model"):
    weights = weights.get(key, weights)
"""

TORCHVISION = """\
network = {arch}({bare})
network.load_state_dict(weights)
cut = model_meta.get({arch}, {{"cut": None}})["cut"]
learn.model[0].load_state_dict(create_body(network, 3, False, cut).state_dict())
learn.freeze()
"""

TIMM = """\
network = timm.create_model({arch}, pretrained=False)
network.load_state_dict(weights)
wanted = learn.model[0].model.state_dict()
body = {{name: value for name, value in network.state_dict().items() if name in wanted}}
learn.model[0].model.load_state_dict(body)
learn.freeze()
"""


def device_choice(device: Any) -> str:
    """Write the code that trains where the lesson trains, if that is not fastai's own choice."""
    import torch

    if device.type == "cpu" and torch.cuda.is_available():
        return "default_device(False)  # this torch cannot use the GPU that is here\n"
    if device.type == "cuda" and device.index not in (None, torch.cuda.current_device()):
        return f"torch.cuda.set_device({device.index})  # the first one cannot be used\n"
    return ""
