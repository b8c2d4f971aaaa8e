"""What a lesson is asked to do: `%train_lesson1`'s flags, filled up from the data set's own."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.errors import BadInput
from fastmagic.lesson import kinds
from fastmagic.lesson.precision import check_word

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's pictures, as torchvision's weights expect them."""

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""What many of timm's weights expect."""

Stats = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run of the lesson computes.

    Attributes
    ----------
    data
        The data set as it was asked for: a name, an address or a path.
    label_pattern
        A regular expression with one group, applied to file names; empty where folders are classes.
    recipe
        The recipe's name, or `own` for the person's own cell body.
    arch
        A torchvision name (`resnet34`), or a timm one where timm is installed.
    weights
        `imagenet`, `none` or the path of a state dict.
    normalize
        `imagenet`, `half`, `MEAN,STD`, or empty for what the weights expect.
    size, bs
        Side of the pictures in pixels; pictures in a batch.
    epochs, lr
        Of the recipe's main fit; None for the recipe's own.
    progressive
        Whether the recipe's first epochs see smaller pictures.
    seed, valid_pct
        From which all randomness follows; the share kept for validation where the set has no split.
    workers
        Processes that load pictures; None to choose.
    precision
        `fp32`, `fp16`, `bf16` or `auto`; None is `auto`.
    freeze_bn
        Whether the body's batch norms stay as they are, also where it is unfrozen.
    no_precompute
        Whether `learn.precomputed()` trains on the whole frozen network, as plain fastai does.
    no_cache, no_gpu_cache, no_channels_last, no_allocator
        Switch off what makes the same training quicker: small copies of the pictures, that these
        lie in a GPU's memory, the order of the weights in memory, and that freed memory is kept.
    augment
        `standard` or `mirror`, as the catalogue explains.
    """

    data: str
    label_pattern: str = ""
    recipe: str = "classic"
    arch: str = "resnet34"
    weights: str = "imagenet"
    normalize: str = ""
    size: int = 224
    bs: int = 64
    epochs: int | None = None
    lr: float | None = None
    progressive: bool = False
    seed: int = 42
    valid_pct: float = 0.2
    workers: int | None = None
    precision: str | None = None
    freeze_bn: bool = False
    no_precompute: bool = False
    no_cache: bool = False
    no_gpu_cache: bool = False
    no_channels_last: bool = False
    no_allocator: bool = False
    augment: str = "standard"

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain data."""
        return asdict(self)


def settle(
    data: str,
    defaults: Any,
    asked: Mapping[str, Any],
    *,
    own_body: bool,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Fill what was not asked for from the data set's defaults, and refuse what makes no sense.

    Parameters
    ----------
    data
        The data set as it was asked for.
    defaults
        The catalogue's `LessonDefaults` for it.
    asked
        Setting names to values; None means not asked for.
    own_body
        Whether the cell has a body of its own; then a recipe's settings are refused.
    env
        `FASTMAGIC_WEIGHTS` stands in for `--weights` where that is not given.

    Raises
    ------
    BadInput
        For a value of another kind or out of its range, or a combination that cannot be.
    """
    env = os.environ if env is None else env
    wanted = {name: value for name, value in asked.items() if value is not None}
    if own_body:
        _refuse_recipe_flags(wanted)
    wanted = {name: kinds.plain(name, value) for name, value in wanted.items()}
    filled: dict[str, Any] = {
        "recipe": "own" if own_body else defaults.recipe,
        "arch": defaults.arch,
        "weights": env.get("FASTMAGIC_WEIGHTS") or defaults.weights,
        "size": defaults.size,
        "bs": defaults.bs,
        "augment": defaults.augment,
    }
    recipe = wanted.get("recipe", filled["recipe"])
    if recipe == defaults.recipe:
        filled.update(epochs=defaults.epochs, lr=defaults.lr)
    filled.update(wanted)
    if filled["weights"] not in ("imagenet", "none"):
        filled["weights"] = str(platforms.expanded(filled["weights"]))
    settings = Settings(data=data, **filled)
    _check(settings)
    _check_progressive(settings)
    return settings


def _refuse_recipe_flags(wanted: Mapping[str, Any]) -> None:
    for name in ("recipe", "epochs", "lr", "progressive"):
        if name in wanted:
            raise BadInput(
                f"--{name} sets a recipe, and this cell has a body of its own.",
                f"Write it in the body, or leave the body out: %train_lesson1 --{name} …",
            )


def _check_progressive(settings: Settings) -> None:
    if settings.progressive and settings.recipe != "classic":
        raise BadInput(
            f"Recipe {settings.recipe} has no epochs on smaller pictures: --progressive is for "
            "classic.",
            "Leave --progressive out, or give --recipe classic.",
        )


def _check(settings: Settings) -> None:
    least = 1 if settings.recipe == "own" else 2  # batch norm learns nothing from one picture
    ranges: list[tuple[str, float, float]] = [
        ("size", 16, 4096),
        ("bs", least, 65536),
        ("epochs", 1, 10_000),
        ("lr", 1e-12, 100),
        ("seed", 0, 2**63),
        ("valid_pct", 0.01, 0.9),
        ("workers", 0, 256),
    ]
    for name, low, high in ranges:
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            flag = name.replace("_", "-")
            raise BadInput(f"--{flag} {value} is out of range.", kinds.to_give(name))
    normalization(settings.normalize)
    check_word(settings.precision or "auto")
    if settings.weights not in ("imagenet", "none") and not Path(settings.weights).is_file():
        raise BadInput(
            f"There is no weights file {settings.weights!r}.",
            "Give --weights imagenet, --weights none, or the path of a file with a state dict.",
        )


def normalization(words: str) -> Stats | None:
    """Read `--normalize`: None where it is left to the weights.

    Examples
    --------
    >>> normalization("half")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> normalization("0.4,0.25")
    ((0.4, 0.4, 0.4), (0.25, 0.25, 0.25))
    """
    known = {"": None, "imagenet": IMAGENET, "half": HALF}
    if words in known:
        return known[words]
    try:
        mean, deviation = (float(part) for part in words.split(","))
        if not (math.isfinite(mean) and 0 < deviation < math.inf):
            raise ValueError
    except ValueError:
        raise BadInput(
            f"--normalize {words!r} cannot be read.",
            "Give imagenet, half, or two numbers such as 0.5,0.25 (mean, deviation).",
        ) from None
    return ((mean,) * 3, (deviation,) * 3)
