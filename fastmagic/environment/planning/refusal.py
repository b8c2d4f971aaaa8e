"""What would do harm in a solution of the resolver's: plain data in, refusals out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastmagic.environment.inventory import PINNED, Inventory
from fastmagic.environment.planning.known_bad import BadPair, known_bad
from fastmagic.environment.planning.plan import Plan, make_plan, remedy_for
from fastmagic.environment.planning.wishes import TORCH_PARTS
from fastmagic.environment.redaction import redacted

ELSEWHERE = "Or try it in a new environment (python -m venv lesson)."


@dataclass(frozen=True)
class Refusal:
    """Why a solution is not installed, and what to do instead."""

    what: str
    next_step: str


def harm(plan: Plan, here: Inventory, chosen: Mapping[str, str]) -> tuple[Refusal, ...]:
    """Say what speaks against a solution; empty where it may be installed.

    Parameters
    ----------
    plan
        What was asked of the resolver.
    here
        What is there.
    chosen
        Canonical name to version, of all that would be installed or changed.

    Returns
    -------
    tuple of Refusal
        The gravest first.

    Examples
    --------
    >>> here = Inventory({"torch": "2.11.0+cu128", "numpy": "2.1.3"})
    >>> plan = Plan("Install fastai.", requirements=("fastai",))
    >>> for refusal in harm(plan, here, {"torch": "2.15.0", "fastai": "2.8.12"}):
    ...     print(refusal.what)
    This would replace torch 2.11.0+cu128 by 2.15.0.
    >>> harm(plan, here, {"fastai": "2.8.12"})
    ()
    """
    return (
        *_replaced(plan, here, chosen),
        *_wrong_builds(plan, chosen),
        *_bad_pairs(plan, here, chosen),
    )


def _replaced(plan: Plan, here: Inventory, chosen: Mapping[str, str]) -> Iterator[Refusal]:
    for name in PINNED:
        now, then = here.installed.get(name), chosen.get(name)
        if now is None or then in (None, now) or name in plan.free:
            continue
        flag = f"--torch {then}" if name == "torch" else f"--allow-change {name}"
        yield Refusal(
            f"This would replace {name} {now} by {then}.",
            f"If that is wanted, run %fastai_setup {flag}. {ELSEWHERE}",
        )


def _wrong_builds(plan: Plan, chosen: Mapping[str, str]) -> Iterator[Refusal]:
    if not plan.label:
        return
    for name in TORCH_PARTS:
        then = chosen.get(name)
        if then is None or then.partition("+")[2] == plan.label:
            continue
        lines = " ".join(map(str, plan.otherwise))
        what = f"Without an index pip has no {name} that fits; it would take {then}."
        if plan.index:
            where = redacted(plan.index)
            what = f"{where} has no {name} that fits; pip would take {then} from elsewhere."
        yield Refusal(f"{what} {plan.why_index}".strip(), lines)


def _bad_pairs(plan: Plan, here: Inventory, chosen: Mapping[str, str]) -> Iterator[Refusal]:
    for bad in known_bad({**here.installed, **chosen}):
        yield Refusal(
            f"The solution that was found would not work: {bad.why}.",
            f"{_mend_line(plan, here, bad)} {ELSEWHERE}",
        )


def _mend_line(plan: Plan, here: Inventory, bad: BadPair) -> str:
    """What mends a pair: our own line where it plans that, since pip alone minds no pins."""
    remedy = remedy_for(here, bad)
    own = make_plan(here).requirements
    if own != plan.requirements and set(remedy) & set(own):
        return "Run %fastai_setup; it mends this pair."
    asked = remedy[0].removeprefix("fastai")
    if len(remedy) == 1 and asked != remedy[0] and remedy[0] not in plan.requirements:
        return f'Run %fastai_setup --fastai "{asked}"; it mends this pair.'
    need = " ".join(f'"{need}"' for need in remedy)
    return f"Run %pip install {need}, then %fastai_setup again."
