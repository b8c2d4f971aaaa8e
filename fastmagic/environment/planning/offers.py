"""Lines that a plan offers besides, or instead, about PyTorch: pure data in and out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastmagic.environment.inventory import Inventory
from fastmagic.environment.planning import torch_builds
from fastmagic.environment.planning.torch_tables import (
    CPU,
    CPU_SIZE,
    CUDA_BUILDS,
    LABELS,
    LAST_FOR_INTEL_MACS,
    NEWEST,
    PYTHONS,
    REGISTRY_SIZE,
)
from fastmagic.environment.planning.wishes import TorchWish, Wishes
from fastmagic.gpu.drivers import DRIVER_FLOORS
from fastmagic.platforms import GPU_OFFERS

T4 = (7, 5)  # the compute capability of the card that Colab and Kaggle offer


@dataclass(frozen=True)
class Offer:
    """Another line that the person may run, and what it does; or a step in a menu."""

    line: str
    does: str

    def __str__(self) -> str:
        return f"{self.line} {self.does}".strip()


def choose_for(here: Inventory, version: str) -> torch_builds.Choice | None:
    """Choose the build for this machine; see `torch_builds.choose`."""
    return torch_builds.choose(
        here.system, here.machine, here.python, here.driver, here.capability, version
    )


def from_registry(here: Inventory, line: str) -> Offer:
    """Offer pip's own build of PyTorch, with its size."""
    if here.system.startswith("linux"):
        return Offer(line, f"takes PyTorch from pip's own index, with CUDA: {REGISTRY_SIZE}.")
    return Offer(line, f"takes PyTorch from pip's own index, for the CPU: {CPU_SIZE}.")


def same_from_registry(here: Inventory, label: str) -> Iterator[Offer]:
    """Offer the pair of pip's own index: for a CPU build always, for CUDA where it runs here."""
    base = here.installed["torch"].partition("+")[0]
    runs = torch_builds.driver_branch(here.driver) >= DRIVER_FLOORS[13]
    if label == CPU or (label and runs and (here.capability or (9, 0)) >= (7, 5)):
        line = f"%fastai_setup --torch {base} --torch-index registry"
        size = REGISTRY_SIZE if here.system.startswith("linux") else CPU_SIZE
        yield Offer(line, f"replaces PyTorch by the matching pair of pip's own index: {size}.")


def replacements(here: Inventory) -> Iterator[Offer]:
    """Offer another build for this machine: of the same version, else the newest."""
    base = re.match(r"\d+\.\d+(\.\d+)?", here.installed["torch"])
    wanted = [f"=={base[0]}", ""] if base else [""]
    for spec in wanted:
        choice = choose_for(here, spec)
        if choice is None or (here.driver and choice[1] == CPU):
            continue
        label = choice[1] or (CUDA_BUILDS[0].label if here.driver else CPU)
        version = f"{spec.lstrip('=')}+" if spec else ""
        yield Offer(f"%fastai_setup --torch {version}{label}", _replaces(label))
        return


def _replaces(label: str) -> str:
    return f"replaces PyTorch by a build for {named(label)}."


def named(label: str) -> str:
    """Name a build by its label, in words.

    Examples
    --------
    >>> named("cu126"), named("cpu")
    ('CUDA 12.6', 'the CPU')
    """
    cuda = torch_builds.cuda_of(label)
    return f"CUDA {cuda}" if cuda else "the CPU" if label == CPU else label


def instead(here: Inventory, wishes: Wishes, asked: TorchWish | None = None) -> Offer:
    """Offer the build that this machine can have, where what is asked for does not exist.

    Of the version that is asked for where there is one, else the newest.

    Examples
    --------
    >>> str(instead(Inventory({}), Wishes(), TorchWish("9.9")))
    '%fastai_setup --torch 2.15 takes the newest PyTorch that fits this machine.'
    """
    index = " --torch-index registry" if wishes.from_registry else ""
    if asked and asked.version and choose_for(here, asked.spec):
        line = f"%fastai_setup --torch {asked.version}{index}"
        return Offer(line, "takes the build of it that fits this machine.")
    choice = choose_for(here, "")
    if choice is None:
        return another_python(here)
    since = LABELS.get(choice[1], ("2.0", ""))[0]
    spec = ",".join(filter(None, (choice[0], f">={since}")))
    major, minor = torch_builds.newest_for(here.python, spec) or NEWEST
    line = f"%fastai_setup --torch {major}.{minor}{index}"
    return Offer(line, "takes the newest PyTorch that fits this machine.")


def another_python(here: Inventory) -> Offer:
    """Offer an environment with a Python that PyTorch has wheels for.

    Examples
    --------
    >>> another_python(Inventory({}, python="3.13.1", system="darwin")).line
    'python3.12 -m venv lesson'
    """
    intel_mac = here.system == "darwin" and here.machine != "arm64"
    last = torch_builds.minor_of(LAST_FOR_INTEL_MACS) if intel_mac else NEWEST
    major, minor = PYTHONS[last][1]
    return Offer(
        f"python{major}.{minor} -m venv lesson",
        "in a terminal makes an environment with the newest Python that PyTorch has wheels for.",
    )


def better_card(here: Inventory) -> Iterator[Offer]:
    """Offer the platform's better card, where this one is older than the one it gives."""
    if here.capability is not None and here.capability < T4 and here.place in GPU_OFFERS:
        yield Offer(GPU_OFFERS[here.place], "")


def mirror(wishes: Wishes) -> Offer:
    """Offer to name a mirror of PyTorch's index, with what was asked for.

    Examples
    --------
    >>> mirror(Wishes(torch="cu126")).line
    '%fastai_setup --torch cu126 --torch-index ADDRESS'
    """
    asked = f" --torch {wishes.torch}" if wishes.torch else ""
    line = f"%fastai_setup{asked} --torch-index ADDRESS"
    return Offer(line, "takes PyTorch from a mirror that you name; or try again later.")
