"""A lesson as the text of a cell, ready to edit and to run: `%train_lesson1 --show`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fastmagic.data.catalogue import LessonDefaults
from fastmagic.lesson.settings import Settings, settle

IN_THE_BODY = {"recipe", "epochs", "lr", "progressive"}
"""What a recipe's flags set; the body that is shown holds it already."""

NOT_FLAGS = {"data", "augment"}
"""The data set is always named; how it is augmented belongs to the data set."""


def cell_text(
    settings: Settings,
    defaults: LessonDefaults,
    body: str,
    *,
    others: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Write a lesson as the cell that does the same.

    Its first line holds only the flags that differ from what is settled without them.

    Parameters
    ----------
    settings
        What was settled for the lesson.
    defaults
        The catalogue's for its data set.
    body
        The recipe's text, with its epochs and rate in it.
    others
        Flags that are no settings, such as the run's name; None where one was not given.
    env
        Where `FASTMAGIC_WEIGHTS` may stand in for `--weights`.

    Examples
    --------
    >>> from fastmagic.data.catalogue import OWN_PICTURES
    >>> asked = {"arch": "resnet18", "epochs": 5}
    >>> settings = settle("my cats", OWN_PICTURES, asked, own_body=False, env={})
    >>> print(cell_text(settings, OWN_PICTURES, "learn.fit(5)", env={}))
    %%train_lesson1 --data "my cats" --arch resnet18
    learn.fit(5)
    <BLANKLINE>
    """
    given = differing(settings, defaults, env)
    words = [_flag("data", settings.data), *(_flag(name, value) for name, value in given.items())]
    words += [_flag(name, value) for name, value in (others or {}).items() if value is not None]
    return f"%%train_lesson1 {_unexpanded(' '.join(words))}\n{body.rstrip()}\n"


def differing(
    settings: Settings, defaults: LessonDefaults, env: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Give the settings that a body of its own, on the same data set, would not have by itself.

    Parameters
    ----------
    settings, defaults, env
        As in `cell_text`.
    """
    stand_in = (os.environ if env is None else env).get("FASTMAGIC_WEIGHTS")
    without = settle(settings.data, defaults, {}, own_body=True, env={}).to_dict()
    found: dict[str, object] = {}
    for name, value in settings.to_dict().items():
        if name in IN_THE_BODY | NOT_FLAGS or value is None:
            continue
        overruled = name == "weights" and stand_in and stand_in != value
        if value != without.get(name) or overruled:
            found[name] = value
    return found


def _flag(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return flag
    word = _quoted(str(value))
    return f"{flag}={word}" if word.startswith("-") else f"{flag} {word}"


def _quoted(word: str) -> str:
    """Quote a word as the magics read it: quotes hold it together, backslashes are ordinary.

    Examples
    --------
    >>> print(_quoted("cats"), _quoted("my cats"), _quoted('say "a b"'), _quoted("it's \\"x\\""))
    cats "my cats" 'say "a b"' "it's "'"x"'
    """
    if word and not re.search(r"[\s\"';]", word):
        return word
    if '"' not in word:
        return f'"{word}"'
    if "'" not in word:
        return f"'{word}'"
    parts = re.findall(r"[^\"]+|\"[^']*", word)
    return "".join(f"'{part}'" if '"' in part else f'"{part}"' for part in parts)


def _unexpanded(line: str) -> str:
    """Double what IPython would take for one of its variables in a magic's line.

    Examples
    --------
    >>> _unexpanded(r"^(.*)_\\d{2}$ $x")
    '^(.*)_\\\\d{{2}}$ $$x'
    """
    line = line.replace("{", "{{").replace("}", "}}")
    # between single quotes IPython leaves a $ alone: its own pattern, from `DollarFormatter`
    return re.sub(r"\$(?=\$?[\w.]+([^']*'[^']*')*[^']*$)", "$$", line)
