"""What is worth knowing about the cards though it decides nothing: errors, heat, cards left out."""

from __future__ import annotations

from fastmagic.gpu.cards import Card
from fastmagic.gpu.evidence import FAULTS, Evidence


def of(evidence: Evidence) -> tuple[str, ...]:
    """Say what is worth knowing about the cards.

    Parameters
    ----------
    evidence
        What was found out, with torch's numbers of the cards.

    Returns
    -------
    tuple of str
        Each remark once, however many cards it holds for.

    Examples
    --------
    >>> from fastmagic.gpu.nvml import NvmlLook
    >>> hot = Card("Tesla T4", index=0, throttled=("power limit reached",))
    >>> of(Evidence(NvmlLook("answered", cards=(hot,)), None))
    ('This GPU is held down at the moment: power limit reached.',)
    """
    remarks = [r for card in evidence.nvml.cards for r in _card_remarks(evidence, card)]
    return tuple(dict.fromkeys([*remarks, *_probe_remarks(evidence)]))


def _card_remarks(evidence: Evidence, card: Card) -> list[str]:
    name = "This GPU" if len(evidence.nvml.cards) == 1 else f"GPU {card.index}"
    remarks = []
    if card.ecc_errors:
        remarks.append(
            f"{name} has had {card.ecc_errors:,} memory errors that could not be corrected since "
            "it was started: results on it may be wrong. Use another machine."
        )
    if card.throttled:
        remarks.append(f"{name} is held down at the moment: {', '.join(card.throttled)}.")
    if _is_left_out(evidence, card):
        remarks.append(f"{card.title} is too old for this PyTorch and will not be used.")
    elif evidence.cuda_ran and evidence.numbers_known and card.cuda is None and not card.lost:
        remarks.append(f"{name} ({card.name or 'unnamed'}) is hidden by CUDA_VISIBLE_DEVICES.")
    return remarks


def _is_left_out(evidence: Evidence, card: Card) -> bool:
    """Say whether a card is too old for this torch, which trains on another one."""
    if card not in evidence.unsupported:
        return False
    if evidence.cuda_ran:
        return card.cuda not in evidence.ran
    tried = evidence.probe is not None and evidence.probe.tried
    return not tried and evidence.torch is not None and card.cuda not in (None, 0)


def _probe_remarks(evidence: Evidence) -> tuple[str, ...]:
    runs = evidence.probe.runs if evidence.probe else ()
    works = {run.device for run in runs if run.ok and run.precision == "fp32"}
    fails = [r for r in runs if not r.ok and r.precision != "fp32" and r.device in works]
    remarks = [f"On {run.device} {run.precision} does not work: {run.words}" for run in fails]
    if evidence.probe and evidence.probe.fault and evidence.cuda_ran:
        remarks.append(f"{FAULTS[evidence.probe.fault]} {evidence.probe.words}")
    return tuple(remarks)
