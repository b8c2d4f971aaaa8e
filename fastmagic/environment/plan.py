"""What to install and why: plain data in, a plan out; nothing here touches the machine.

The rule of the house: what works is kept. A torch that is there is never replaced, and fastai is
chosen to fit it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fastmagic.environment.inventory import FAMILY, PINNED, Inventory, read_requirement

TORCH_WHEELS = "https://download.pytorch.org/whl"
REGISTRY = "registry"
OLDEST_FASTAI = "fastai>=2.8"


@dataclass(frozen=True)
class Row:
    """One line of a plan: a package, what it is now, what it will be, and why."""

    package: str
    now: str | None
    then: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What to install.

    Attributes
    ----------
    sentence
        The plan in one sentence.
    rows
        One line for each package.
    requirements
        What pip is asked for; empty where there is nothing to do.
    pins
        Constraints that always hold: torch, numpy, the Jupyter stack as they are.
    friends
        Constraints that are tried first, so that as little as possible changes.
    index
        The additional wheel index, or None.
    label
        The build label that torch and torchvision must have ("cpu", "cu126"), or empty.
    """

    sentence: str
    rows: tuple[Row, ...] = ()
    requirements: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    friends: tuple[str, ...] = ()
    index: str | None = None
    label: str = ""

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything is there already."""
        return not self.requirements


@dataclass(frozen=True)
class BadPair:
    """A combination known not to work; `when` maps names to version ranges."""

    when: Mapping[str, str]
    remedy: tuple[str, ...]
    why: str
    source: str


KNOWN_BAD = (
    BadPair(
        {"fastai": "<2.8.8", "fastcore": ">=2"},
        # Colab's image of 2026-08 runs fastai 2.8.8 with fastcore 2.2.12.
        ("fastai>=2.8.8", "fastcore>=2.2.12"),
        "fastai before 2.8.8 fails with fastcore 2: 'list' object has no attribute 'starmap'",
        "https://github.com/fastai/fastai/issues/4154",
    ),
    BadPair(
        {"fastai": ">=2", "plum-dispatch": "==2.10.0"},
        ("plum-dispatch<2.10",),
        "fastai cannot be imported with plum-dispatch 2.10.0: __doc__ is read-only",
        "https://github.com/fastai/fastai/pull/4166",
    ),
)


def make_plan(here: Inventory, torch_index: str | None = None) -> Plan:
    """Decide what to install.

    Parameters
    ----------
    here
        What is there.
    torch_index
        Where torch's builds come from: an index's address, "registry" for pip's own default, or
        None for the one that fits.

    Examples
    --------
    >>> plan = make_plan(Inventory({}))
    >>> plan.requirements, plan.label
    (('torch', 'torchvision', 'fastai>=2.8'), 'cpu')
    >>> make_plan(Inventory({"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128"})).pins
    ('torch==2.11.0+cu128', 'torchvision==0.26.0+cu128')
    """
    wants = _torch_wants(here, torch_index == REGISTRY) + _fastai_wants(here)
    if not wants:
        version = here.installed.get("fastai")
        torch = here.installed.get("torch")
        return Plan(f"Nothing to do: fastai {version} and PyTorch {torch} fit together.")
    label = _label(here) if any(_name(need) in TORCH_PARTS for need, _ in wants) else ""
    index = None if torch_index == REGISTRY or not label else torch_index
    if index is None and label and torch_index != REGISTRY:
        index = f"{TORCH_WHEELS}/{label}"
    names = {_name(need) for need, _ in wants}
    kept = "torch" in here.installed
    return Plan(
        sentence=_sentence(wants, kept),
        rows=tuple(_row(here, need, why) for need, why in wants),
        requirements=tuple(need for need, _ in wants),
        pins=_constraints(here, PINNED, ()),
        friends=_constraints(here, FAMILY, names),
        index=index,
        label=label if index else "",
    )


TORCH_PARTS = ("torch", "torchvision", "torchaudio")

Wants = list[tuple[str, str]]  # a requirement for pip, and why


def _torch_wants(here: Inventory, from_registry: bool) -> Wants:
    wants: Wants = []
    if "torch" not in here.installed:
        need, _, why = _torch_build(here)
        wants.append(("torch", "pip's own build, as asked") if from_registry else (need, why))
    if "torchvision" not in here.installed:
        wants.append(("torchvision", "fastai's pictures need it"))
    return wants


def _torch_build(here: Inventory) -> tuple[str, str, str]:
    """Choose torch's requirement, its build label (empty: pip's default) and the reason.

    The builds of https://download.pytorch.org/whl: those for CUDA 12.6 end with torch 2.13 and are
    the last with kernels for capability 5.0 to 7.0; the default ones need driver 580.
    """
    if here.driver is None:
        is_linux = here.system.startswith("linux")
        # Elsewhere than on Linux pip's own default is no CUDA build.
        return "torch", "cpu" if is_linux else "", "no NVIDIA driver here: the build for the CPU"
    branch = int(here.driver.split(".")[0]) if here.driver.split(".")[0].isdigit() else 0
    if here.capability is not None and here.capability < (5, 0):
        return "torch", "cpu", "the GPU is too old for today's PyTorch: the build for the CPU"
    if branch < 525:
        return "torch", "cpu", f"driver {here.driver} is too old for CUDA 12: the CPU build"
    if branch < 580 or (here.capability or (9, 0)) < (7, 5):
        return "torch<2.14", "cu126", "the newest build that fits this driver and GPU"
    return "torch", "", f"the GPU build for driver {here.driver}"


def _label(here: Inventory) -> str:
    version = here.installed.get("torch")
    if version is None:
        return _torch_build(here)[1]
    local = version.partition("+")[2]
    if local:
        return local
    is_cpu_build = here.torch_cuda is None and here.system.startswith("linux")
    return "cpu" if is_cpu_build else ""


def _fastai_wants(here: Inventory) -> Wants:
    if "fastai" not in here.installed:
        return [(OLDEST_FASTAI, "the lesson is written with it")]
    if not _fits(here.installed["fastai"], OLDEST_FASTAI.removeprefix("fastai")):
        return [(OLDEST_FASTAI, "the lesson needs fastai 2.8 or newer")]
    wants: Wants = []
    for bad in known_bad(here.installed):
        wants += [(need, bad.why) for need in bad.remedy]
    handled = {_name(need) for need, _ in wants} | set(TORCH_PARTS)
    return wants + [(need, why) for need, why in _unmet(here) if _name(need) not in handled]


def known_bad(installed: Mapping[str, str]) -> list[BadPair]:
    """Give the rows of the table of bad combinations that apply.

    Examples
    --------
    >>> [bad.remedy[0] for bad in known_bad({"fastai": "2.8.7", "fastcore": "2.0.5"})]
    ['fastai>=2.8.8']
    >>> known_bad({"fastai": "2.8.8", "fastcore": "2.2.12"})
    []
    """
    return [
        bad
        for bad in KNOWN_BAD
        if all(
            name in installed and _fits(installed[name], span) for name, span in bad.when.items()
        )
    ]


def _unmet(here: Inventory) -> Wants:
    """What fastai's family declares and does not find; a torch it refuses asks another fastai."""
    wants: dict[str, str] = {}
    for owner, texts in here.requires.items():
        for need in filter(None, map(read_requirement, texts)):
            name = canonicalize_name(need.name)
            now = here.installed.get(name)
            if now is not None and need.specifier.contains(now, prereleases=True):
                continue
            if name in PINNED and now is not None:
                wants.setdefault(
                    f"{owner}!={here.installed[owner]}", f"this {owner} does not take {name} {now}"
                )
            else:
                wants.setdefault(_plain(need), f"{owner} {here.installed[owner]} needs it")
    return list(wants.items())


def _plain(need: Requirement) -> str:
    return f"{canonicalize_name(need.name)}{need.specifier}"


def _fits(version: str, span: str) -> bool:
    try:
        return Version(version) in SpecifierSet(span, prereleases=True)
    except InvalidVersion:
        return False


def _name(need: str) -> str:
    return canonicalize_name(Requirement(need).name)


def _constraints(here: Inventory, names: Iterable[str], free: Iterable[str]) -> tuple[str, ...]:
    kept = [name for name in names if name in here.installed and name not in set(free)]
    return tuple(f"{name}=={here.installed[name]}" for name in kept)


def _row(here: Inventory, need: str, why: str) -> Row:
    name = _name(need)
    return Row(name, here.installed.get(name), need.removeprefix(name) or "newest that fits", why)


def _sentence(wants: Wants, kept: bool) -> str:
    *most, last = dict.fromkeys(_name(need) for need, _ in wants)
    names = f"{', '.join(most)} and {last}" if most else last
    held = "; the PyTorch that is here is kept as it is" if kept else ""
    return f"Install {names}{held}."
