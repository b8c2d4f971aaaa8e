"""The images as inventories: the condensed lists and what the packages in them declare.

    python -m tests.environment.images

prints for each image, for an empty environment and for each known breakage the plan in one line,
then for each text of a failure that was seen what it means and what to do.
"""

from __future__ import annotations

import json
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fastmagic.environment.diagnosis import diagnose
from fastmagic.environment.inventory import Inventory
from fastmagic.environment.planning import torch_builds
from fastmagic.environment.planning.plan import Plan, Wishes, make_plan

from .test_diagnosis import SEEN

LISTS = Path(__file__).with_name("runtimes")
NAMES = sorted(path.stem for path in LISTS.glob("*.json"))
KAGGLE_REQUIREMENTS = LISTS / "kaggle-requirements.txt"

FASTAI = (
    "torchvision>=0.11", "matplotlib", "pandas", "requests", "pyyaml", "fastprogress>=0.2.4",
    "pillow>=9.0.0", "scikit-learn", "scipy", "spacy<4", "packaging", "cloudpickle",
)  # fmt: skip
EARLY = (*FASTAI, "fastdownload<2,>=0.0.5", "fasttransform>=0.0.2", "plum-dispatch")
LATE = (*FASTAI, "fastdownload<2,>=0.0.8", "fasttransform>=0.0.3", "plum-dispatch<2.10")
# From the packages' own metadata in the registry.
DECLARED: dict[tuple[str, str], tuple[str, ...]] = {
    ("fastai", "2.7.19"): (*FASTAI, "fastcore<1.8,>=1.5.29", "torch<2.7,>=1.10"),
    ("fastai", "2.8.2"): (*EARLY, "fastcore<1.9,>=1.8.0", "torch<2.8,>=1.10"),
    ("fastai", "2.8.5"): (*EARLY, "fastcore<1.9,>=1.8.0", "torch<2.10,>=1.10"),
    ("fastai", "2.8.7"): (*EARLY, "fastcore>=1.8.0", "torch<3,>=1.10"),
    ("fastai", "2.8.8"): (*EARLY, "fastcore>=1.14.6", "torch<3,>=1.10"),
    ("fastai", "2.8.9"): (*EARLY, "fastcore>=2.2.21", "torch<3,>=1.10"),
    ("fastai", "2.8.12"): (*LATE, "fastcore>=2.2.22", "torch<3,>=1.10"),
    ("fasttransform", "0.0.2"): ("fastcore", "plum-dispatch"),
    ("fasttransform", "0.0.5"): ("fastcore>=2.2.22", "plum-dispatch<2.10"),
    ("fastdownload", "0.0.7"): ("fastprogress", "fastcore>=1.3.26"),
    ("fastdownload", "0.0.8"): ("fastprogress", "fastcore>=1.3.26"),
    ("fastprogress", "1.1.5"): ("fastcore>=1.10.0", "python-fasthtml>=0.12.34"),
    ("fastprogress", "1.1.6"): ("fastcore>=1.10.0", "python-fasthtml>=0.12.34"),
    ("python-fasthtml", "0.12.50"): ("fastcore>=1.12.16",),
    ("python-fasthtml", "0.14.5"): ("fastcore>=1.14.2",),
    ("python-fasthtml", "0.14.6"): ("fastcore>=2.0.4",),
    ("python-fasthtml", "0.14.11"): ("fastcore>=2.1.2",),
    ("python-fasthtml", "0.14.14"): ("fastcore>=2.2.7",),
    ("torchvision", "0.24.0"): ("numpy", "torch==2.9.0"),
    ("torchvision", "0.25.0"): ("numpy", "torch==2.10.0"),
    ("torchvision", "0.26.0"): ("numpy", "torch==2.11.0"),
    ("torchvision", "0.28.0"): ("numpy", "torch==2.13.0"),
    ("torchvision", "0.29.2"): ("numpy", "torch>=2.14.0"),
}  # fmt: skip

T4 = (7, 5)
PYTHONS = {"colab-2026-08": "3.13.15"}


def packages(name: str) -> dict[str, str]:
    """Read one list."""
    found: dict[str, str] = json.loads((LISTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def inventory(installed: dict[str, str], driver: str | None = None, **more: object) -> Inventory:
    """Make an inventory of names and versions, with what they declare."""
    requires = {
        name: DECLARED[name, public]
        for name, version in installed.items()
        if (name, public := version.partition("+")[0]) in DECLARED
    }
    label = installed.get("torch", "").partition("+")[2]
    more.setdefault("torch_cuda", torch_builds.cuda_of(label) or None)
    return Inventory(installed, requires, driver=driver, **more)  # type: ignore[arg-type]


def image(name: str, installed: dict[str, str] | None = None, **more: object) -> Inventory:
    """Make an inventory of one image, or of other packages on its machine."""
    on_gpu = name.endswith("gpu")
    more.setdefault("capability", T4 if on_gpu else None)
    more.setdefault("python", PYTHONS.get(name[:13], "3.12.12"))
    more.setdefault("place", name.partition("-")[0])
    driver = "550.54.15" if on_gpu else None
    return inventory(packages(name) if installed is None else installed, driver, **more)


def kaggle() -> dict[str, str]:
    """Apply Kaggle's requirements over its base: only what does not meet them yet changes."""
    installed = packages("kaggle-base-2026-05-gpu")
    for line in KAGGLE_REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        need = Requirement(line)
        name = canonicalize_name(need.name)
        exact = [one.version for one in need.specifier if one.operator == "=="]
        if name in installed and exact and not need.specifier.contains(installed[name]):
            installed[name] = exact[0]
        assert name not in installed or need.specifier.contains(installed[name])
    return installed


def cases() -> dict[str, tuple[Inventory, Wishes]]:
    """Every case of the table: its name, what is there, and what is asked for."""
    august, july = packages("colab-2026-08-gpu"), packages("colab-2026-07-gpu")
    base = packages("kaggle-base-2026-05-gpu")

    def colab(**changes: str) -> Inventory:
        changed = {name.replace("_", "-"): version for name, version in changes.items()}
        return image("colab-2026-08-gpu", {**august, **changed})

    pair_of_cuda = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    nothing: dict[str, str] = {}
    found = {name: image(name) for name in NAMES}
    found |= {
        "kaggle: its requirements over its base": image("kaggle-base-2026-05-gpu", kaggle()),
        "kaggle with a P100": image("kaggle-base-2026-05-gpu", capability=(6, 0)),
        "empty, no driver": inventory(nothing),
        "empty, driver 580, T4": inventory(nothing, "580.65", capability=T4),
        "empty, driver 550, T4": inventory(nothing, "550.54", capability=T4),
        "empty, driver 580, P100": inventory(nothing, "580.65", capability=(6, 0)),
        "empty, driver 580, V100": inventory(nothing, "580.65", capability=(7, 0)),
        "empty, driver 570, RTX 5090": inventory(nothing, "570.86", capability=(12, 0)),
        "empty, driver 470, T4": inventory(nothing, "470.82", capability=T4),
        "empty, K80, Python 3.12": inventory(
            nothing, "470.82", capability=(3, 7), python="3.12.3"
        ),
        "empty, K80, Python 3.13": inventory(
            nothing, "470.82", capability=(3, 7), python="3.13.15"
        ),
        "empty, driver 390": inventory(nothing, "390.157", capability=(6, 1)),
        "empty, a Mac with Apple's GPU": inventory(nothing, system="darwin", machine="arm64"),
        "empty, an Intel Mac, Python 3.11": inventory(nothing, system="darwin"),
        "empty, Windows, no driver": inventory(nothing, system="win32", machine="AMD64"),
        "empty, Windows, driver 580, T4": inventory(
            nothing, "580.88", capability=T4, system="win32", machine="AMD64"
        ),
        "empty, Python 3.16": inventory(nothing, python="3.16.0"),
        "fastai 2.8.7 and fastcore 2": image("colab-2026-07-gpu", july),
        "the same on Kaggle": image("kaggle-base-2026-05-gpu", {**base, "fastcore": "2.0.5"}),
        "fastai 2.8.9 and plum-dispatch 2.10.0": colab(
            fastai="2.8.9", fastcore="2.2.22", plum_dispatch="2.10.0"
        ),
        "fastai 2.8.8 and plum-dispatch 2.10.1": colab(plum_dispatch="2.10.1"),
        "fastcore 1 and python-fasthtml 0.14.14": colab(
            fastai="2.8.7", fastcore="1.14.5", python_fasthtml="0.14.14"
        ),
        "fastai 2.8.8 and fastcore 1": colab(fastcore="1.14.5", python_fasthtml="0.14.5"),
        "fastai 2.7.19, which takes torch<2.7": colab(fastai="2.7.19", fastcore="1.7.29"),
        "fastai 2.8.2, which takes torch<2.8": colab(
            fastai="2.8.2", fastcore="1.8.18", fastprogress="1.0.5"
        ),
        "fastai 2.8.5, which takes torch<2.10": colab(
            fastai="2.8.5", fastcore="1.8.18", fastprogress="1.0.5"
        ),
        "torch 2.13.0+cpu and nothing else": inventory({"torch": "2.13.0+cpu"}),
        "torch 2.13.0 built for the CPU, no label": inventory({"torch": "2.13.0"}),
        "torch 2.13.0+cpu with the registry's torchvision": inventory(
            pair_of_cuda, builds={"torchvision": "0.28.0+cu130"}
        ),
        "torch 2.15.0 over torchvision 0.26.0": inventory(
            {**august, "torch": "2.15.0"}, "580.65", torch_cuda="13.2"
        ),
    }  # fmt: skip
    asked = {
        "fastai 2.8.5 asked for on today's Colab": (colab(), Wishes(fastai="2.8.5")),
        "torch 2.13.0+cpu, --torch 2.13.0 --torch-index registry": (
            inventory({"torch": "2.13.0+cpu"}),
            Wishes(torch="2.13.0", torch_index="registry"),
        ),
        "P100 on Kaggle, --torch cu126": (
            image("kaggle-base-2026-05-gpu", capability=(6, 0)),
            Wishes(torch="cu126"),
        ),
    }  # fmt: skip
    return {**{name: (here, Wishes()) for name, here in found.items()}, **asked}


def one_line(plan: Plan) -> str:
    """Put a plan on one line."""
    if plan.blocked:
        return f"nothing: {plan.blocked} Offered: {'; '.join(each.line for each in plan.offers)}"
    parts = [plan.sentence if plan.nothing_to_do else ", ".join(plan.requirements)]
    if plan.index:
        parts.append(f"from {plan.index.rpartition('/')[2]}")
    parts += [row.why for row in plan.rows[:1]]
    parts += [f"warns: {words}" for words in plan.warnings]
    parts += [f"offers: {offer.line}" for offer in plan.offers]
    parts += [f"index unreachable: {offer.line}" for offer in plan.otherwise]
    return "; ".join(parts)


if __name__ == "__main__":
    print("| case | plan |\n|---|---|")
    for title, (here, wishes) in cases().items():
        print(f"| {title} | {one_line(make_plan(here, wishes))} |")
    print("\n| text | cause | remedy |\n|---|---|---|")
    for text, *_ in SEEN:
        print(f"| {text} | {' | '.join(diagnose(text) or ('not known', ''))} |")
