"""A magic's line, read into its flags and values."""

from __future__ import annotations

import re
import shlex
from typing import Any

from IPython.core.error import UsageError

from fastmagic.errors import BadInput, did_you_mean


def read_line(parser: Any, line: str) -> Any:
    """Read a magic's line by its parser; None where help was asked for, and given.

    Quotes hold blanks together, backslashes are ordinary characters (Windows paths), and a trailing
    semicolon is dropped.

    Raises
    ------
    BadInput
        For a flag or a value that is not known, with the nearest that is.
    """
    words = split_line(line)
    if any(word in ("-h", "--help") for word in words):
        print(parser.format_help())  # noqa: T201 - help is asked for to be read
        return None
    flags = sorted(flag for flag in parser._option_string_actions if flag.startswith("--"))
    command = f"%{parser.prog.lstrip('%:')}"
    try:
        args, unknown = parser.parse_known_args(words)
    except UsageError as error:
        raise BadInput(f"{command}: {error}.", f"{command} -h shows what it takes.") from None
    if unknown and not unknown[0].startswith("-"):
        raise BadInput(
            f"{command} does not know what to do with {unknown[0]!r}.",
            _meant(command, unknown, flags, args)
            or f'A path with blanks goes into quotes: "my pictures", "{{path}}". {command} -h '
            "shows what it takes.",
        )
    if unknown:
        near = did_you_mean(unknown[0].split("=")[0], flags)
        known = near or f"{command} takes {', '.join(flags)}."
        raise BadInput(f"{command} does not know {unknown[0]!r}.", known)
    return args


def _meant(command: str, words: list[str], flags: list[str], args: Any) -> str:
    """Say what a single word without a flag was meant for; empty where that is not clear."""
    word = words[0]
    if len(words) > 1 or getattr(args, "data", "") is not None:
        return ""
    data = f'"{word}"' if re.search(r"\s", word) else word
    meant = f"--{word}" if f"--{word}" in flags else f"--data {data}"
    return f"Did you mean {command} {meant}?"


def split_line(line: str) -> list[str]:
    """Split a magic's line into words.

    Examples
    --------
    >>> split_line('"my pictures" --dest=C:\\\\data;')
    ['my pictures', '--dest=C:\\\\data']
    """
    lexer = shlex.shlex(re.sub(r"[\s;]+$", "", line), posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        raise BadInput("A quote is opened and not closed.", "Close it, or leave it out.") from None
