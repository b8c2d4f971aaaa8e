"""The part of a plan that concerns PyTorch, torchvision and torchaudio: pure data in and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement

from fastmagic.environment.inventory import Inventory, read_requirement
from fastmagic.environment.planning import torch_builds
from fastmagic.environment.planning.offers import (
    Offer,
    another_python,
    better_card,
    choose_for,
    from_registry,
    instead,
    named,
    replacements,
    same_from_registry,
)
from fastmagic.environment.planning.torch_tables import (
    CPU,
    FIRST_WITH_NUMPY_2,
    NEWEST,
    WHEELS,
    Minor,
)
from fastmagic.environment.planning.wishes import TORCH_PARTS, TorchWish, Wishes
from fastmagic.gpu.drivers import DRIVER_FLOORS


@dataclass(frozen=True)
class Want:
    """A requirement for pip, and why."""

    need: str
    why: str


@dataclass(frozen=True)
class TorchPlan:
    """What is to be done about PyTorch.

    Attributes
    ----------
    wants
        What is to be installed.
    label
        The label that it must have; empty where pip's own build is right.
    free
        Which of torch, torchvision and torchaudio may change.
    blocked
        Why nothing can be planned; empty where something can.
    offers
        Lines that the person may run instead, or besides.
    why_index
        Why pip's own index will not do; empty where it does.
    otherwise
        What may be run where PyTorch's own index cannot be reached.
    warnings
        What is not well and is left as it is.
    """

    wants: tuple[Want, ...] = ()
    label: str = ""
    free: frozenset[str] = frozenset()
    blocked: str = ""
    offers: tuple[Offer, ...] = ()
    why_index: str = ""
    otherwise: tuple[Offer, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_torch(
    here: Inventory, wishes: Wishes, asked: TorchWish | None, allowed: Collection[str]
) -> TorchPlan:
    """Decide about PyTorch: a flag counts, else what is there is kept.

    Parameters
    ----------
    here
        What is there.
    wishes, asked, allowed
        What is asked for by flags; `asked` and `allowed` are two of the wishes, read.

    Examples
    --------
    >>> plan_torch(Inventory({"torch": "2.13.0+cpu"}), Wishes(), None, ()).wants[0].need
    'torchvision==0.28.*'
    """
    if asked is not None and not _has(here, asked, wishes):
        return _mind_numpy(here, wishes, _asked(here, wishes, asked), allowed)
    if "torch" not in here.installed:
        return _mind_numpy(here, wishes, _fresh(here, wishes), allowed)
    if "torchvision" not in here.installed:
        return _without_torchvision(here, wishes)
    return _mind_numpy(here, wishes, _kept(here, wishes, allowed), allowed)


def _has(here: Inventory, asked: TorchWish, wishes: Wishes) -> bool:
    now = here.installed.get("torch")
    if now is None or (asked.spec and not torch_builds.fits(now, asked.spec)):
        return False
    label = torch_builds.label_of(now, here.torch_cuda, here.system)
    if wishes.from_registry:
        return label == ""
    own = f"cu{(here.torch_cuda or '').replace('.', '')}"  # pip's own build is for this CUDA
    return not asked.label or asked.label in (label, own)


def _asked(here: Inventory, wishes: Wishes, asked: TorchWish) -> TorchPlan:
    found = _find(here, wishes, asked)
    if found is None:
        return TorchPlan(blocked=_no_such(here, asked), offers=(instead(here, wishes, asked),))
    spec, label = found
    wants = tuple(_other_build(here, want, label) for want in _set_of_three(here, spec, "as asked"))
    return TorchPlan(
        wants=wants,
        label=label,
        free=frozenset(TORCH_PARTS),
        why_index=_why_index(label),
        warnings=tuple(_asked_warnings(here, asked, label)),
    )


def _no_such(here: Inventory, asked: TorchWish) -> str:
    if torch_builds.minor_of(asked.version) > NEWEST:
        return f"fastmagic knows PyTorch up to {NEWEST[0]}.{NEWEST[1]}."
    build = f" for {named(asked.label)}" if asked.label else ""
    return _no_wheel(here, f"PyTorch {asked.version}".strip() + build)


def _find(here: Inventory, wishes: Wishes, asked: TorchWish) -> tuple[str, str] | None:
    """Give the specifier and the label of what is asked for; None where it does not exist."""
    if wishes.from_registry:
        exists = torch_builds.newest_for(here.python, asked.spec) is not None
        return (asked.spec, "") if exists else None
    if asked.label:
        spec = torch_builds.with_label(asked.label, asked.spec, here.python)
        return None if spec is None else (spec, asked.label)
    choice = choose_for(here, asked.spec)
    return None if choice is None else choice[:2]


def _other_build(here: Inventory, want: Want, label: str) -> Want:
    """Ask for a build that is not the one that is there, though that one may have the number.

    `torch==2.13.0` is met by 2.13.0+cpu, so that pip would keep it. `!=2.13.0` rules out every
    build of that number, `!=2.13.0+cpu` and `===2.13.0` only what they say (PEP 440).
    """
    need = Requirement(want.need)
    now, spec = here.installed.get(need.name), str(need.specifier)
    if now is None or _label_in(now) == label or not torch_builds.fits(now, spec):
        return want
    base = now.partition("+")[0]
    if spec == f"=={base}" or "+" not in now:
        return Want(f"{need.name}=={base}+{label}" if label else f"{need.name}==={base}", want.why)
    return Want(f"{need.name}{spec}{',' * bool(spec)}!={now}", want.why)


def _asked_warnings(here: Inventory, asked: TorchWish, label: str) -> Iterator[str]:
    now = here.installed.get("torch")
    if now is not None and "torchvision" in here.installed:
        yield f"What was built for PyTorch {now} besides torchvision may not work with another one."
    cuda = torch_builds.cuda_of(label)
    floor = DRIVER_FLOORS.get(int(cuda.split(".")[0])) if cuda else None
    if floor and torch_builds.driver_branch(here.driver) < floor:
        has = f"this one is {here.driver}" if here.driver else "there is none here"
        yield f"A build for CUDA {cuda} needs NVIDIA's driver {floor} or newer; {has}."
    lacks_audio = asked.version and torch_builds.torchaudio_for(asked.version) is None
    if lacks_audio and "torchaudio" in here.installed:
        yield f"There is no torchaudio for PyTorch {asked.version}; the one here stays."


def _fresh(here: Inventory, wishes: Wishes) -> TorchPlan:
    if wishes.from_registry:
        wants = _set_of_three(here, "", "pip's own build, as asked")
        return TorchPlan(wants=wants, free=frozenset(TORCH_PARTS))
    choice = choose_for(here, "")
    if choice is None:
        return TorchPlan(blocked=_no_wheel(here, "PyTorch"), offers=(another_python(here),))
    spec, label, why = choice
    otherwise: tuple[Offer, ...] = ()
    if label == CPU or (label and not here.system.startswith("linux")):
        otherwise = (from_registry(here, "%fastai_setup --torch-index registry"),)
    return TorchPlan(
        wants=_set_of_three(here, spec, why),
        label=label,
        free=frozenset(TORCH_PARTS),
        why_index=_why_index(label),
        otherwise=otherwise,
    )


def _without_torchvision(here: Inventory, wishes: Wishes) -> TorchPlan:
    torch = here.installed["torch"]
    label = torch_builds.label_of(torch, here.torch_cuda, here.system)
    if label and not torch_builds.has_index(label):
        return TorchPlan(
            blocked=f"There is no torchvision here, and none is published for PyTorch {torch}.",
            offers=tuple(replacements(here)) or (instead(here, wishes),),
        )
    spec = torch_builds.torchvision_for(torch) or ""
    return TorchPlan(
        wants=(Want(f"torchvision{spec}", f"fastai's pictures need the one for PyTorch {torch}"),),
        label="" if wishes.from_registry else label,
        why_index=_why_not_own(here, label),
        otherwise=tuple(same_from_registry(here, label)),
        warnings=_gpu_warnings(here),
        offers=_card_offers(here),
    )


def _why_index(label: str) -> str:
    return f"PyTorch for {named(label)} is only in PyTorch's own index." if label else ""


def _why_not_own(here: Inventory, label: str) -> str:
    if not label:
        return ""
    return (
        f"pip's own torchvision is for another build than PyTorch {here.installed['torch']} and "
        "would fail with it: operator torchvision::nms does not exist."
    )


def _kept(here: Inventory, wishes: Wishes, allowed: Collection[str]) -> TorchPlan:
    trouble = _mismatch(here)
    if not trouble:
        return TorchPlan(
            free=frozenset(allowed), warnings=_gpu_warnings(here), offers=_card_offers(here)
        )
    torch = here.installed["torch"]
    label = torch_builds.label_of(torch, here.torch_cuda, here.system)
    if "torchvision" not in allowed:
        line = "%fastai_setup --allow-change torchvision"
        mend = Offer(line, "takes the torchvision that belongs to the PyTorch that is here.")
        pair = same_from_registry(here, label)
        return TorchPlan(blocked=trouble, offers=(mend, *pair))
    spec = torch_builds.torchvision_for(torch) or ""
    return TorchPlan(
        wants=(_other_build(here, Want(f"torchvision{spec}", trouble), label),),
        label="" if wishes.from_registry else label,
        free=frozenset(allowed),
        why_index=_why_not_own(here, label),
        otherwise=tuple(same_from_registry(here, label)),
    )


def _mismatch(here: Inventory) -> str:
    """Say why torchvision cannot work with this torch; empty where nothing speaks against it."""
    torch, vision = here.installed["torch"], here.installed["torchvision"]
    needs = filter(None, map(read_requirement, here.requires.get("torchvision", ())))
    for need in needs:
        if need.name == "torch" and not need.specifier.contains(torch, prereleases=True):
            one = str(need.specifier).lstrip("=")
            return f"torchvision {vision} is made for PyTorch {one}, and {torch} is here."
    built = torch_builds.cuda_of(_label_in(here.builds.get("torchvision", vision)))
    if built and torch_builds.label_of(torch, here.torch_cuda, here.system) == CPU:
        return (
            f"torchvision {vision} is a build for CUDA {built} and PyTorch {torch} one for the CPU:"
            " operator torchvision::nms does not exist."
        )
    if built and here.torch_cuda and built.split(".")[0] != here.torch_cuda.split(".")[0]:
        return f"torchvision {vision} is for CUDA {built}, PyTorch {torch} for {here.torch_cuda}."
    return ""


def _label_in(version: str) -> str:
    return version.partition("+")[2]


def _gpu_warnings(here: Inventory) -> tuple[str, ...]:
    """What keeps the PyTorch that is there from using the card that is there."""
    torch = here.installed["torch"]
    cuda = here.torch_cuda or torch_builds.cuda_of(_label_in(torch))
    if here.driver is None or here.capability is None or "rocm" in torch:
        return ()
    if not cuda:
        return (f"There is an NVIDIA GPU, but PyTorch {torch} is a build for the CPU.",)
    floor = DRIVER_FLOORS.get(int(cuda.split(".")[0]), 0)
    if torch_builds.driver_branch(here.driver) < floor:
        return (f"PyTorch {torch} needs NVIDIA's driver {floor}; this one is {here.driver}.",)
    if not torch_builds.has_kernels(torch, cuda, here.capability):
        major, minor = here.capability
        return (
            f"PyTorch {torch} has no kernels for this GPU (compute capability {major}.{minor}): it "
            "cannot train on it.",
        )
    return ()


def _card_offers(here: Inventory) -> tuple[Offer, ...]:
    """Another card where the platform gives one, then another build."""
    if not _gpu_warnings(here):
        return ()
    return (*better_card(here), *replacements(here))


def _set_of_three(here: Inventory, spec: str, why: str) -> tuple[Want, ...]:
    """torch, the torchvision that belongs to it, and torchaudio where it is there already."""
    newest = torch_builds.newest_for(here.python, spec)
    version = f"{newest[0]}.{newest[1]}" if newest and spec else ""
    vision = torch_builds.torchvision_for(version) or "" if version else ""
    audio = torch_builds.torchaudio_for(version) if version else None
    wants = [Want(f"torch{spec}", why), Want(f"torchvision{vision}", "fastai's pictures need it")]
    if "torchaudio" in here.installed and audio:
        wants.append(Want(f"torchaudio{audio}", "it belongs to PyTorch's version"))
    return tuple(wants)


def _mind_numpy(
    here: Inventory, wishes: Wishes, plan: TorchPlan, allowed: Collection[str]
) -> TorchPlan:
    """A PyTorch from before numpy 2 cannot work with it: `RuntimeError: Numpy is not available`."""
    newest = None if plan.blocked else _torch_of(here, plan)
    numpy = here.installed.get("numpy")
    if newest is None or newest >= FIRST_WITH_NUMPY_2 or (numpy and torch_builds.fits(numpy, "<2")):
        return plan
    if numpy is None or "numpy" in allowed:
        older = Want("numpy<2", "this PyTorch was built before numpy 2")
        return dataclasses.replace(plan, wants=(*plan.wants, older))
    asked = f" --torch {wishes.torch}" if wishes.torch else ""
    return TorchPlan(
        blocked=f"PyTorch {newest[0]}.{newest[1]} works with numpy 1 only, and {numpy} is here.",
        offers=(Offer(f"%fastai_setup{asked} --allow-change numpy", "takes numpy 1 with it."),),
    )


def _torch_of(here: Inventory, plan: TorchPlan) -> Minor | None:
    """Give the PyTorch that there will be: the newest of what is wanted, else what is here."""
    wanted = [want.need[5:] for want in plan.wants if Requirement(want.need).name == "torch"]
    if wanted:
        return torch_builds.newest_for(here.python, wanted[0])
    now = here.installed.get("torch")
    return torch_builds.minor_of(now) if now and torch_builds.fits(now, ">=1") else None


def _no_wheel(here: Inventory, what: str) -> str:
    return f"{what} has no wheel for Python {here.python} on this machine."


def index_for(label: str, wishes: Wishes) -> str | None:
    """Give the additional wheel index for a label; None where pip's own is right.

    Examples
    --------
    >>> index_for("cpu", Wishes())
    'https://download.pytorch.org/whl/cpu'
    >>> index_for("", Wishes()) is None
    True
    """
    if wishes.from_registry or not label:
        return None
    return wishes.torch_index or f"{WHEELS}/{label}"
