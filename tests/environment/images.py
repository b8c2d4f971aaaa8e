"""The images as inventories: the condensed lists and what fastai's family declares in them."""

from __future__ import annotations

import json
from pathlib import Path

from fastmagic.environment.inventory import Inventory

LISTS = Path(__file__).with_name("runtimes")
NAMES = sorted(path.stem for path in LISTS.glob("*.json"))

FASTAI = (
    "torchvision>=0.11", "matplotlib", "pandas", "requests", "pyyaml", "fastprogress>=0.2.4",
    "pillow>=9.0.0", "scikit-learn", "scipy", "spacy<4", "packaging", "cloudpickle",
    "torch<3,>=1.10",
)  # fmt: skip
# From the packages' own metadata in the registry.
DECLARED: dict[tuple[str, str], tuple[str, ...]] = {
    ("fastai", "2.8.7"): (
        *FASTAI, "fastdownload<2,>=0.0.5", "fastcore>=1.8.0", "fasttransform>=0.0.2",
        "plum-dispatch",
    ),
    ("fastai", "2.8.8"): (
        *FASTAI, "fastdownload<2,>=0.0.5", "fastcore>=1.14.6", "fasttransform>=0.0.2",
        "plum-dispatch",
    ),
    ("fastai", "2.8.9"): (
        *FASTAI, "fastdownload<2,>=0.0.5", "fastcore>=2.2.21", "fasttransform>=0.0.2",
        "plum-dispatch",
    ),
    ("fastai", "2.8.12"): (
        *FASTAI, "fastdownload<2,>=0.0.8", "fastcore>=2.2.22", "fasttransform>=0.0.3",
        "plum-dispatch<2.10",
    ),
    ("fasttransform", "0.0.2"): ("fastcore", "plum-dispatch"),
    ("fastdownload", "0.0.7"): ("fastprogress", "fastcore>=1.3.26"),
    ("fastprogress", "1.1.5"): ("fastcore>=1.10.0", "python-fasthtml>=0.12.34"),
    ("fastprogress", "1.1.6"): ("fastcore>=1.10.0", "python-fasthtml>=0.12.34"),
    ("python-fasthtml", "0.12.50"): ("fastcore>=1.12.16",),
    ("python-fasthtml", "0.14.6"): ("fastcore>=2.0.4",),
    ("python-fasthtml", "0.14.11"): ("fastcore>=2.1.2",),
    ("python-fasthtml", "0.14.14"): ("fastcore>=2.2.7",),
}  # fmt: skip


def packages(name: str) -> dict[str, str]:
    """Read one list."""
    found: dict[str, str] = json.loads((LISTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def inventory(installed: dict[str, str], driver: str | None = None, **more: object) -> Inventory:
    """Make an inventory of names and versions, with what they declare."""
    requires = {
        name: DECLARED[name, version]
        for name, version in installed.items()
        if (name, version) in DECLARED
    }
    return Inventory(installed, requires, driver=driver, **more)  # type: ignore[arg-type]


def image(name: str) -> Inventory:
    """Make an inventory of one image."""
    driver = "550.54.15" if name.endswith("gpu") else None
    return inventory(packages(name), driver)
