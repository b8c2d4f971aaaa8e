"""Exact copies among the pictures: wasted within a part, and a leak from training to validation.

A picture that is trained on and validated on tells nothing about pictures never seen. Copies are
found by the SHA-256 of the whole file, which the check of the pictures takes in passing and
remembers; a picture that was saved again or resized is not an exact copy and is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = 3
"""Groups of copies that are kept to be shown."""


@dataclass(frozen=True)
class Duplicates:
    """How many pictures are there more than once.

    Attributes
    ----------
    train, valid
        Pictures that are copies of another one of the same part: what could be left out.
    leaked
        Validation pictures that are training pictures too.
    mixed
        Groups of copies that lie in more than one class: at least one label is wrong.
    examples
        Some groups of copies, leaks first, at most three pictures of each.
    """

    train: int = 0
    valid: int = 0
    leaked: int = 0
    mixed: int = 0
    examples: tuple[tuple[Path, ...], ...] = ()


def find(
    train: Iterable[Path],
    valid: Iterable[Path],
    digests: Mapping[Path, str],
    label: Callable[[Path], str],
) -> Duplicates:
    """Find the pictures with the same bytes.

    Parameters
    ----------
    train, valid
        The pictures of the two parts.
    digests
        The checksum of each; a picture without one has no copies.
    label
        Gives the class of a picture; asked only for copies.

    Examples
    --------
    >>> one, two, three = Path("train/a/1"), Path("valid/a/2"), Path("train/b/3")
    >>> find([one, three], [two], {one: "x", two: "x", three: "y"}, lambda file: file.parent.name)
    Duplicates(train=0, valid=0, leaked=1, mixed=0, examples=(...))
    """
    groups: dict[str, tuple[list[Path], list[Path]]] = {}
    for part, files in enumerate((train, valid)):
        for file in files:
            if digest := digests.get(file):
                groups.setdefault(digest, ([], []))[part].append(file)
    copies = [group for group in groups.values() if len(group[0]) + len(group[1]) > 1]
    copies.sort(key=lambda group: not (group[0] and group[1]))  # stable: leaks first
    return Duplicates(
        train=sum(max(0, len(group[0]) - 1) for group in copies),
        valid=sum(max(0, len(group[1]) - 1) for group in copies),
        leaked=sum(len(group[1]) for group in copies if group[0]),
        mixed=sum(len({label(file) for part in group for file in part}) > 1 for group in copies),
        examples=tuple(_few(*group) for group in copies[:EXAMPLES]),
    )


def _few(train: list[Path], valid: list[Path]) -> tuple[Path, ...]:
    """Choose up to three of a group, one of them of each part."""
    return (*train[:2], *valid[: 3 - len(train[:2])])
