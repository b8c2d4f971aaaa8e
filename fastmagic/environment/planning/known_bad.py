"""Combinations of packages that are known not to work, and how they are mended: data, a look-up.

Each row was tried in November 2026 (fastai's import, a training, predictions, export and load of a
learner) beside the source that it names; so were the ends of its ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastmagic.environment.planning.torch_builds import fits


@dataclass(frozen=True)
class BadPair:
    """A combination known not to work.

    Attributes
    ----------
    when
        Names to version ranges; all must apply.
    remedy
        What pip is asked for to mend it, with the least change.
    why
        What goes wrong, with the text it is known by.
    source
        Where it is reported.
    with_old_fastcore
        The remedy where fastcore has to stay below 2, as on Kaggle; empty where it is the same.
    """

    when: Mapping[str, str]
    remedy: tuple[str, ...]
    why: str
    source: str
    with_old_fastcore: tuple[str, ...] = ()


# Only fastprogress since 1.1 uses python-fasthtml.
FASTHTML = {"python-fasthtml": ">=0.14.6", "fastprogress": ">=1.1"}

# fastai 2.8.8 takes every fastcore 2 (tried with 2.0.0, 2.0.5, 2.2.12 and 2.2.39), so that it alone
# has to change. fastcore 1.14.6, which it declares to be enough, was never published.
KNOWN_BAD = (
    BadPair(
        {"fastai": "<2.8.8", "fastcore": ">=2"},
        ("fastai>=2.8.8",),
        "fastai before 2.8.8 fails with fastcore 2: 'list' object has no attribute 'starmap'",
        "https://github.com/fastai/fastai/issues/4154",
        with_old_fastcore=("fastcore<2", "python-fasthtml<0.14.6"),
    ),
    BadPair(
        {"fastai": ">=2.8.8", "fastcore": "<2"},
        ("fastcore>=2.2.22",),
        "fastai since 2.8.8 fails with fastcore 1: name 'star' is not defined",
        "https://github.com/fastai/fastai/issues/4154",
        with_old_fastcore=("fastai>=2.8.7,<2.8.8", "python-fasthtml<0.14.6"),
    ),
    BadPair(
        {"fastai": ">=2.8", "plum-dispatch": "==2.10.0"},
        ("plum-dispatch<2.10",),
        "fastai cannot be imported with plum-dispatch 2.10.0: __doc__ is read-only",
        "https://github.com/beartype/plum/issues/317",
    ),
    BadPair(
        {"fastai": ">=2.8", "plum-dispatch": ">2.10.0"},
        ("plum-dispatch<2.10",),
        "a learner cannot be exported with plum-dispatch 2.10: cannot pickle '_thread.RLock'",
        "https://github.com/beartype/plum/issues/322",
    ),
    BadPair(
        {"fastai": "<2.8.8", "fastcore": "<2.0.4", **FASTHTML},
        ("python-fasthtml<0.14.6",),
        "python-fasthtml since 0.14.6 fails with fastcore 1: TypeError: mtime_policy() got an "
        "unexpected keyword argument",
        # The change of mtime_policy in fastcore; python-fasthtml 0.14.6 declares fastcore>=2.0.4.
        "https://github.com/AnswerDotAI/fastcore/issues/850",
    ),
    BadPair(
        {"fastai": ">=2.8.8", "fastcore": "<2.0.4", **FASTHTML},
        ("fastcore>=2.0.4",),
        "python-fasthtml since 0.14.6 fails with this fastcore: TypeError: mtime_policy() got an "
        "unexpected keyword argument",
        "https://github.com/AnswerDotAI/fastcore/issues/850",
        with_old_fastcore=("fastai>=2.8.7,<2.8.8", "python-fasthtml<0.14.6"),
    ),
)

# The first PyTorch that each fastai does not take any more; those between take what the one before
# takes. Source: Requires-Dist of the wheels in https://pypi.org/simple/fastai/.
FASTAI_CAPS = {
    "2.7.12": "2.1",
    "2.7.18": "2.6",
    "2.7.19": "2.7",
    "2.8.1": "2.7",
    "2.8.2": "2.8",
    "2.8.3": "2.9",
    "2.8.5": "2.10",
    "2.8.7": "3",
}


def known_bad(installed: Mapping[str, str]) -> list[BadPair]:
    """Give the rows of the table of bad combinations that apply.

    Examples
    --------
    >>> [bad.remedy for bad in known_bad({"fastai": "2.8.7", "fastcore": "2.0.5"})]
    [('fastai>=2.8.8',)]
    >>> known_bad({"fastai": "2.8.8", "fastcore": "2.2.12"})
    []
    """
    return [
        bad
        for bad in KNOWN_BAD
        if all(name in installed and fits(installed[name], span) for name, span in bad.when.items())
    ]


def first_fastai_for(torch: str) -> str | None:
    """Give the first fastai 2.8 that takes a PyTorch, or None where none does.

    Examples
    --------
    >>> first_fastai_for("2.11.0+cu128"), first_fastai_for("2.3.1+cu118"), first_fastai_for("3.0.0")
    ('2.8.7', '2.8.1', None)
    """
    caps = {fastai: cap for fastai, cap in FASTAI_CAPS.items() if fits(fastai, ">=2.8")}
    return next((fastai for fastai, cap in caps.items() if fits(torch, f"<{cap}")), None)


def cap_of(fastai: str) -> str | None:
    """Give the first PyTorch that a fastai does not take, or None where that is not known.

    Examples
    --------
    >>> cap_of("2.8.4"), cap_of("2.8.12"), cap_of("1.0.61")
    ('2.9', '3', None)
    """
    below = [cap for first, cap in FASTAI_CAPS.items() if fits(fastai, f">={first}")]
    return below[-1] if below else None
