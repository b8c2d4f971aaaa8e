"""A lesson as a script for a launcher: `--export-job`. It needs fastmagic and goes on by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastmagic.data.catalogue import LessonDefaults
from fastmagic.errors import BadInput
from fastmagic.lesson import cell as cells
from fastmagic.lesson import export
from fastmagic.lesson.carried import Carrier
from fastmagic.lesson.names import needed_names, used_names
from fastmagic.lesson.settings import Settings
from fastmagic.lesson.show import differing

IMPORTS = {
    "Path": "from pathlib import Path",
    "display": "from IPython.display import display",
}
"""What a notebook has by itself, or a path is written by; imported where it is used."""


def write(
    file: str | Path,
    source: str,
    settings: Settings,
    defaults: LessonDefaults,
    cell: cells.Cell,
    namespace: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
) -> Path:
    """Write a lesson as a script that torchrun or accelerate starts, on one machine or many.

    Parameters
    ----------
    file
        Where to; it has to end in `.py`.
    source
        The data set.
    settings, cell
        The lesson.
    defaults
        The catalogue's for its data set.
    namespace
        The notebook's names; what the body uses of them is written along, as source.
    others
        What else `ranks.train` is given, such as the time limit; None where one was not.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    BadInput
        For a file that cannot be written, or a name that cannot be written as source.
    LessonError
        Where the disk is full or refuses.
    """
    target = export.check_target(file, "--export-job")
    if target.suffix != ".py":
        raise BadInput(f"--export-job {file} is no script.", "Give a file that ends in .py.")
    export.check_body(cell)
    own = {name: value for name, value in (others or {}).items() if value is not None}
    given = {**differing(settings, defaults), **own}
    text = text_of(target, source, given, cell, namespace)
    return export.write_text(target, text, "--export-job")


def text_of(
    target: Path,
    source: str,
    given: Mapping[str, Any],
    cell: cells.Cell,
    namespace: Mapping[str, Any],
) -> str:
    """Give the script's text; `given` is what `ranks.train` gets beside data and body."""
    bound, folder = export.set_in(cell), target.parent
    carrier = Carrier(namespace, given={"Path": Path}, bound=bound, folder=folder)
    export.carry_all(carrier, cell)
    flags = "".join(f"        {name}={value!r},\n" for name, value in given.items())
    plain = _imports(cell, namespace, carrier.texts)
    imports = "\n".join(["from fastmagic import ranks", *plain, *carrier.imports])
    own = "".join(f"\n\n{text.strip()}\n" for text in carrier.texts)
    return f"""{export.MARKS["--export-job"]}
# A job for one machine or many; started again, it goes on where it stopped. It needs fastmagic.
#
#     torchrun --standalone --nproc-per-node 2 {target.name}
#     accelerate launch --multi_gpu --num_processes 2 {target.name}

{imports}
{own}
BODY = {_as_literal(cell.source)}

if __name__ == "__main__":
    ranks.train(
        {source!r},
        BODY,
        globals(),
{flags}    )
"""


def _imports(cell: cells.Cell, namespace: Mapping[str, Any], texts: Iterable[str]) -> list[str]:
    """Give those of `IMPORTS` that the body uses, or what is carried for it."""
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= needed_names(cell, used_names(cell, namespace))
    return [line for name, line in IMPORTS.items() if name in used]


def _as_literal(text: str) -> str:
    """Write a text as Python, over several lines where its own quotes allow that.

    Examples
    --------
    >>> print(_as_literal("learn.fit(1)"))
    \"\"\"
    learn.fit(1)
    \"\"\"
    """
    body = text.strip("\n")
    quotes = next((one for one in ('"' * 3, "'" * 3) if one not in body), "")
    escaped = body.replace("\\", "\\\\")
    return f"{quotes}\n{escaped}\n{quotes}" if quotes else repr(f"\n{body}\n")
