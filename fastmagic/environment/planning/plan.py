"""What to install and why: plain data in, a plan out; nothing here touches the machine.

The rule of the house: what works is kept. A torch that is there is never replaced unless a flag
asks for it, and fastai is chosen to fit it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fastmagic.environment.inventory import FAMILY, PINNED, Inventory, read_requirement
from fastmagic.environment.planning.known_bad import (
    BadPair,
    cap_of,
    first_fastai_for,
    known_bad,
)
from fastmagic.environment.planning.offers import Offer, mirror
from fastmagic.environment.planning.torch_builds import fits
from fastmagic.environment.planning.torch_plan import TorchPlan, Want, index_for, plan_torch
from fastmagic.environment.planning.wishes import (
    OLDEST_FASTAI,
    TORCH_PARTS,
    Wishes,
    read_allowed,
    read_fastai,
    read_torch,
)

__all__ = ["TORCH_PARTS", "Offer", "Plan", "Row", "Wishes", "known_bad", "make_plan", "remedy_for"]

# Whatever is installed, these hold: fastai's own newest releases declare the same.
ALWAYS = ("plum-dispatch<2.10",)
BEFORE_OLDEST = "2.7.19"  # the last fastai that the lesson cannot use
# Kaggle's own list of packages asks for it: https://github.com/Kaggle/docker-python, file
# kaggle_requirements.txt.
KAGGLE = ("fastcore<2",)


@dataclass(frozen=True)
class Row:
    """One line of a plan: a package, what it is now, what it will be, and why.

    `size` is the download in bytes; None before pip has resolved the plan, or where it is not told.
    """

    package: str
    now: str | None
    then: str
    why: str
    size: int | None = None


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
    free
        Protected packages that may change, because a flag asks for it.
    blocked
        Why nothing can be planned; empty where something can. `offers` says what may be run.
    warnings
        What is not well and is left as it is.
    offers
        Lines that the person may run instead, or besides.
    why_index
        Why `index` is needed.
    otherwise
        Lines that may be run where `index` cannot be reached.
    """

    sentence: str
    rows: tuple[Row, ...] = ()
    requirements: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    friends: tuple[str, ...] = ()
    index: str | None = None
    label: str = ""
    free: tuple[str, ...] = ()
    blocked: str = ""
    warnings: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    why_index: str = ""
    otherwise: tuple[Offer, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything is there already."""
        return not self.requirements and not self.blocked


def make_plan(here: Inventory, wishes: Wishes | str | None = None) -> Plan:
    """Decide what to install.

    Parameters
    ----------
    here
        What is there.
    wishes
        What is asked for by flags; nothing by default. A text alone is its `torch_index`.

    Returns
    -------
    Plan
        With `blocked` where nothing can be done without breaking what is there.

    Raises
    ------
    BadInput
        When a wish cannot be read.

    Examples
    --------
    >>> plan = make_plan(Inventory({}))
    >>> plan.requirements, plan.label
    (('torch', 'torchvision', 'fastai>=2.8'), 'cpu')
    >>> make_plan(Inventory({"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128"})).pins[:2]
    ('torch==2.11.0+cu128', 'torchvision==0.26.0+cu128')
    """
    if not isinstance(wishes, Wishes):
        wishes = Wishes(torch_index=wishes)
    asked, allowed = read_torch(wishes.torch, here.system), read_allowed(wishes.allow_change)
    spec = read_fastai(wishes.fastai)
    torch = plan_torch(here, wishes, asked, allowed)
    blocked = torch.blocked or _fastai_against_torch(here, torch, spec)
    if blocked:
        offers = torch.offers if torch.blocked else _other_fastai(here)
        return Plan("Nothing can be done.", blocked=blocked, offers=offers)
    wants = [*torch.wants, *_fastai_wants(here, wishes, spec)]
    if not wants:
        warnings = (*torch.warnings, *_allowed_alone(wishes, allowed))
        return Plan(_all_is_well(here), warnings=warnings, offers=torch.offers)
    return _assemble(here, wishes, torch, wants, allowed)


def _assemble(
    here: Inventory, wishes: Wishes, torch: TorchPlan, wants: list[Want], allowed: Collection[str]
) -> Plan:
    names = {_name(want.need) for want in wants}
    free = {*torch.free, *allowed}
    label = torch.label if index_for(torch.label, wishes) else ""
    # An upgrade moves the friends along; otherwise they stay where that is possible.
    friends = () if wishes.upgrade else _constraints(here, FAMILY, names)
    return Plan(
        sentence=_sentence(here, wants),
        rows=tuple(_row(here, want) for want in wants),
        requirements=tuple(want.need for want in wants),
        pins=(*_constraints(here, PINNED, free), *ALWAYS, *(KAGGLE if _old_fastcore(here) else ())),
        friends=friends,
        index=index_for(torch.label, wishes),
        label=label,
        free=tuple(name for name in PINNED if name in free),
        warnings=torch.warnings,
        offers=torch.offers,
        why_index=torch.why_index if label else "",
        otherwise=(torch.otherwise or (mirror(wishes),)) if label else (),
    )


def _allowed_alone(wishes: Wishes, allowed: Collection[str]) -> tuple[str, ...]:
    """Say that a change was allowed and nothing asks for one."""
    if "torch" in allowed and wishes.torch is None:
        return ("--allow-change torch asks for no other PyTorch: name it by --torch SPEC.",)
    if allowed:
        return ("--allow-change only allows a change; nothing here needs one.",)
    return ()


def _all_is_well(here: Inventory) -> str:
    fastai, torch = here.installed.get("fastai"), here.installed.get("torch")
    return f"Nothing to do: fastai {fastai} and PyTorch {torch} fit together."


def _fastai_against_torch(here: Inventory, torch: TorchPlan, spec: str) -> str:
    """Say why the fastai that is asked for cannot go with the torch that stays; else empty."""
    now = here.installed.get("torch")
    if not spec.startswith("==") or now is None or "torch" in torch.free:
        return ""
    version = spec.lstrip("=")
    cap = cap_of(version)
    if cap is None or fits(now, f"<{cap}"):
        return ""
    return f"fastai {version} takes PyTorch before {cap} only, and {now} is here and stays."


def _other_fastai(here: Inventory) -> tuple[Offer, ...]:
    first = first_fastai_for(here.installed["torch"])
    line = f'%fastai_setup --fastai ">={first}"' if first else "%fastai_setup"
    return (Offer(line, "takes a fastai that goes with the PyTorch that is here."),)


def _old_fastcore(here: Inventory) -> bool:
    """Whether fastcore has to stay below 2: on Kaggle, unless all was moved on by hand."""
    moved_on = fits(here.installed.get("fastai", "0"), ">=2.8.8") and fits(
        here.installed.get("fastcore", "0"), ">=2"
    )
    return here.place == "kaggle" and not moved_on


def _fastai_wants(here: Inventory, wishes: Wishes, spec: str) -> list[Want]:
    now = here.installed.get("fastai")
    if spec and (now is None or not fits(now, spec)):
        floor = f">={OLDEST_FASTAI}," if fits(BEFORE_OLDEST, spec) else ""
        return [Want(f"fastai{floor}{spec}", "as asked"), *_companions(spec)]
    if wishes.upgrade:
        return [Want(f"fastai>={OLDEST_FASTAI}{_and(spec)}", "the newest that fits, as asked")]
    if now is None:
        return [Want(f"fastai>={OLDEST_FASTAI}", "the lesson is written with it")]
    if not fits(now, f">={OLDEST_FASTAI}"):
        need = f"fastai>={OLDEST_FASTAI}{_and(spec)}"
        return [Want(need, "the lesson needs fastai 2.8 or newer")]
    wants = _mend(here, known_bad(here.installed), spec)
    mended = {_name(want.need) for want in wants}
    return wants + [want for want in _unmet(here, mended) if _name(want.need) not in mended]


def _and(spec: str) -> str:
    return f",{spec}" if spec else ""


def _companions(spec: str) -> list[Want]:
    """What an older fastai that is asked for needs and does not declare."""
    version = spec.lstrip("=")
    if not spec.startswith("==") or not fits(version, "<2.8.8"):
        return []
    why = f"fastai {version} fails with newer ones"
    return [Want(need, why) for need in ("fastcore<2", "python-fasthtml<0.14.6")]


def remedy_for(here: Inventory, bad: BadPair, spec: str = "") -> tuple[str, ...]:
    """Give what mends a bad combination here.

    Parameters
    ----------
    here
        What is there: on Kaggle fastcore has to stay below 2.
    bad
        The combination.
    spec
        The fastai that is asked for, as a specifier: one before 2.8.8 needs the old fastcore too.
    """
    newer = [v for v in (here.installed.get("fastai", "0"), "2.8.8", "2.99") if fits(v, ">=2.8.8")]
    asks_old = bool(spec) and not any(fits(version, spec) for version in newer)
    return ((_old_fastcore(here) or asks_old) and bad.with_old_fastcore) or bad.remedy


def _mend(here: Inventory, rows: Iterable[BadPair], spec: str) -> list[Want]:
    wants: dict[str, Want] = {}
    for bad in rows:
        for need in remedy_for(here, bad, spec):
            read = Requirement(need)
            if read.name in wants or fits(here.installed.get(read.name, "0"), str(read.specifier)):
                continue
            wants[read.name] = Want(need, bad.why)
    return list(wants.values())


def _unmet(here: Inventory, replaced: Collection[str]) -> list[Want]:
    """What fastai's family declares and does not find; a torch it refuses asks another fastai."""
    wants: dict[str, Want] = {}
    for owner in _relatives(here):
        if owner in replaced:
            continue
        for need in filter(None, map(read_requirement, here.requires.get(owner, ()))):
            want = _unmet_one(here, owner, need)
            if want is not None:
                name = _name(want.need)
                wants[name] = _joined(wants[name], want) if name in wants else want
    return list(wants.values())


def _relatives(here: Inventory) -> list[str]:
    """The part of the family that this fastai needs: an old fastprogress has no python-fasthtml."""
    found = ["fastai"]
    for owner in found:
        needs = filter(None, map(read_requirement, here.requires.get(owner, ())))
        names = [canonicalize_name(need.name) for need in needs]
        found += [name for name in names if name in FAMILY and name not in found]
    return [name for name in found if name in here.installed]


def _unmet_one(here: Inventory, owner: str, need: Requirement) -> Want | None:
    name = canonicalize_name(need.name)
    now = here.installed.get(name)
    if now is None and name in TORCH_PARTS:
        return None  # planned already, for the build that fits
    if now is not None and need.specifier.contains(now, prereleases=True):
        return None
    if now is not None and name in PINNED:
        return _instead(here, owner, name)
    return Want(f"{name}{need.specifier}", f"{owner} {here.installed[owner]} needs it")


def _joined(one: Want, other: Want) -> Want:
    """Two requirements of one package as one."""
    name = _name(one.need)
    specs = [want.need.removeprefix(name) for want in (one, other)]
    return Want(name + ",".join(dict.fromkeys(filter(None, specs))), one.why)


def _instead(here: Inventory, owner: str, name: str) -> Want:
    """Another release of a package that does not take a protected one."""
    now, pinned = here.installed[owner], here.installed[name]
    why = f"{owner} {now} does not take {name} {pinned}"
    first = first_fastai_for(pinned) if (owner, name) == ("fastai", "torch") else None
    if first is not None and fits(first, f">{now}"):
        return Want(f"fastai>={first}", why)
    return Want(f"{owner}!={now}", why)


def _name(need: str) -> str:
    return canonicalize_name(Requirement(need).name)


def _constraints(here: Inventory, names: Iterable[str], free: Collection[str]) -> tuple[str, ...]:
    kept = [name for name in names if name in here.installed and name not in free]
    return tuple(f"{name}=={here.installed[name]}" for name in kept)


def _row(here: Inventory, want: Want) -> Row:
    name = _name(want.need)
    then = want.need.removeprefix(name) or "newest that fits"
    return Row(name, here.installed.get(name), then, want.why)


def _sentence(here: Inventory, wants: Iterable[Want]) -> str:
    names: Mapping[str, None] = dict.fromkeys(_name(want.need) for want in wants)
    *most, last = names
    listed = f"{', '.join(most)} and {last}" if most else last
    torch = here.installed.get("torch")
    if torch is None:
        return f"Install {listed}."
    if "torch" in names:
        return f"Replace PyTorch {torch}, as asked: install {listed}."
    return f"Install {listed}; PyTorch {torch} is kept as it is."
