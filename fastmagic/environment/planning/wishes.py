"""What the person asks for by flags: read, checked, and as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from fastmagic.environment.inventory import PINNED
from fastmagic.environment.planning.torch_builds import fits, has_index
from fastmagic.environment.planning.torch_tables import CPU, LABELS, REGISTRY
from fastmagic.errors import BadInput, did_you_mean

OLDEST_FASTAI = "2.8"
TORCH_PARTS = ("torch", "torchvision", "torchaudio")

TORCH_HELP = (
    "Name a version (--torch 2.13.0, or --torch 2.13 for its newest patch), a build "
    "(--torch cpu, --torch cu126) or both (--torch 2.13.0+cpu)."
)


@dataclass(frozen=True)
class Wishes:
    """What is asked for by flags.

    Attributes
    ----------
    torch_index
        Where torch's builds come from: an index's address, "registry" for pip's own default, or
        None for the one that fits.
    torch
        The PyTorch to have, though another one is there: "2.13.0", "2.13", "cu126", "2.13.0+cpu".
    fastai
        The fastai to have: "2.8.8" or ">=2.8.8".
    upgrade
        Take the newest fastai that fits, though the one that is there works.
    allow_change
        Names of protected packages that may be changed.
    """

    torch_index: str | None = None
    torch: str | None = None
    fastai: str | None = None
    upgrade: bool = False
    allow_change: tuple[str, ...] = ()

    @property
    def from_registry(self) -> bool:
        """Whether PyTorch shall come from pip's own index."""
        return self.torch_index == REGISTRY


@dataclass(frozen=True)
class TorchWish:
    """A PyTorch that is asked for: a version ("2.13.0", "2.13", or empty) and a label, or empty."""

    version: str = ""
    label: str = ""

    @property
    def spec(self) -> str:
        """The versions that meet it, as a specifier; empty for any.

        Examples
        --------
        >>> TorchWish("2.13.0").spec, TorchWish("2.13").spec, TorchWish(label="cpu").spec
        ('==2.13.0', '==2.13.*', '')
        """
        if not self.version:
            return ""
        return f"=={self.version}" if self.version.count(".") > 1 else f"=={self.version}.*"


def read_torch(text: str | None, system: str = "linux") -> TorchWish | None:
    """Read `--torch`: a version, a build's label, or VERSION+LABEL.

    Parameters
    ----------
    text
        As it was given.
    system
        As `sys.platform` gives it: a Mac has one build of each version, without a label.

    Raises
    ------
    BadInput
        When it is none of these, or names a build that there is not.

    Examples
    --------
    >>> read_torch("2.13.0+cpu")
    TorchWish(version='2.13.0', label='cpu')
    >>> read_torch("cu126"), read_torch("torch==2.11")
    (TorchWish(version='', label='cu126'), TorchWish(version='2.11', label=''))
    """
    if text is None:
        return None
    words = text.strip().lower().removeprefix("torch").removeprefix("==").strip()
    if has_index(words):
        return TorchWish(label=_label_for(words, system))
    found = re.fullmatch(r"(?P<version>\d+\.\d+(?:\.\d+)?)(?:\+(?P<label>[a-z0-9.]+))?", words)
    if not found and re.fullmatch(r"[a-z]+[a-z0-9.]*", words):
        raise _no_builds(words)
    if not found:
        raise BadInput(f"--torch {text!r} is not a PyTorch.", TORCH_HELP)
    return TorchWish(found["version"], _label_for(found["label"] or "", system))


def _label_for(label: str, system: str) -> str:
    if label and not has_index(label):
        raise _no_builds(label)
    if system != "darwin":
        return label
    if label not in ("", CPU):
        raise BadInput(
            f"PyTorch has no builds called {label!r} for Macs.",
            "Leave it out: the one build for Macs trains on Apple's GPU where there is one.",
        )
    return ""


def _no_builds(label: str) -> BadInput:
    near = did_you_mean(label, (*LABELS, CPU, "xpu"))
    return BadInput(f"PyTorch has no builds called {label!r}.", f"{near} {TORCH_HELP}".strip())


def read_fastai(text: str | None) -> str:
    """Read `--fastai` as a specifier; empty where nothing is asked for.

    Raises
    ------
    BadInput
        When it cannot be read, or names a fastai that the lesson cannot use.

    Examples
    --------
    >>> read_fastai("2.8.8"), read_fastai("fastai>=2.8.8"), read_fastai(None)
    ('==2.8.8', '>=2.8.8', '')
    """
    if text is None:
        return ""
    words = text.strip().removeprefix("fastai").strip()
    spec = words
    if words[:1].isdigit():
        spec = f"=={words}" if words.count(".") > 1 else f"=={words}.*"
    try:
        read = Requirement(f"fastai{spec}")
    except InvalidRequirement:
        read = None
    if not read or not read.specifier or read.extras or read.url or read.marker:
        raise BadInput(
            f"--fastai {text!r} is not a version.", 'Name one like --fastai 2.8.8 or ">=2.8.8".'
        )
    if not _admits_new(read.specifier):
        raise BadInput(
            f"fastmagic needs fastai {OLDEST_FASTAI} or newer, and --fastai {text!r} is older.",
            f"Name {OLDEST_FASTAI} or newer, or leave --fastai out.",
        )
    return str(read.specifier)


def _admits_new(spec: SpecifierSet) -> bool:
    """Whether some fastai from 2.8 on is meant: tried at the ends of the range and beside."""
    ends = [one.version.removesuffix(".*") for one in spec]
    tried = [OLDEST_FASTAI, "2.8.1", "99", *ends, *(f"{end}.1" for end in ends)]
    return any(fits(one, f">={OLDEST_FASTAI}") and fits(one, str(spec)) for one in tried)


def read_allowed(names: Iterable[str]) -> frozenset[str]:
    """Read `--allow-change`: protected packages that may be changed.

    torch, torchvision and torchaudio belong together: torch stands for all three.

    Raises
    ------
    BadInput
        When a name is not a protected package.

    Examples
    --------
    >>> sorted(read_allowed(["NumPy", "torch"]))
    ['numpy', 'torch', 'torchaudio', 'torchvision']
    """
    allowed: set[str] = set()
    for name in names:
        known = canonicalize_name(name.strip())
        if known not in PINNED:
            hint = did_you_mean(known, PINNED) or f"Protected are: {', '.join(PINNED)}."
            raise BadInput(f"--allow-change {name!r} is not a protected package.", hint)
        allowed.update(TORCH_PARTS if known == "torch" else (known,))
    return frozenset(allowed)
