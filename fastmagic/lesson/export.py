"""A lesson as a plain fastai script or notebook, which runs without fastmagic: `--export`.

It holds what the lesson adds to fastai as source, the pictures' division, the loaders and the
learner as fastai code, what the body uses of the notebook, and the body. What cannot be written is
refused before anything is.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import faces, platforms, whole
from fastmagic.data.survey.pictures import Layout
from fastmagic.errors import BadInput, LessonError
from fastmagic.lesson import additions, learner, plain
from fastmagic.lesson import cell as cells
from fastmagic.lesson.carried import PROVIDED, Carrier, from_fastai
from fastmagic.lesson.names import names_set, needed_names, outside_names, used_names
from fastmagic.lesson.settings import Settings

MARKS = {
    flag: f"# A lesson written by fastmagic's {flag}, which overwrites this file while this line "
    "stands."
    for flag in ("--export", "--export-job")
}
"""The first line of what was written by each flag; what one has written the other may overwrite."""

UNFIT = "This lesson cannot be exported"
"""How the refusal of a body begins."""

SHOWS = ("show", "plot", "lr_find", "plt")
"""How names begin that make figures."""


@dataclass(frozen=True)
class Part:
    """A part of the script: a heading, and its code."""

    heading: str
    code: str


def write(
    file: str | Path,
    settings: Settings,
    layout: Layout,
    cell: cells.Cell,
    namespace: Mapping[str, Any],
) -> Path:
    """Write a lesson as a plain fastai script, or as a notebook.

    Parameters
    ----------
    file
        Where to; its ending decides, `.py` or `.ipynb`.
    settings, layout, cell
        The lesson: how it was settled, its pictures, its body.
    namespace
        The notebook's names, of which the body may use some.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    BadInput
        For a file that cannot be written or is not ours, and for a body that is no plain Python or
        uses what cannot be written; nothing is written then.
    LessonError
        Where the disk is full or refuses.
    """
    target = check_target(file)
    check_body(cell)
    parts = list(_parts(settings, layout, cell, namespace, target.parent))
    text = _as_notebook(parts) if target.suffix == ".ipynb" else _as_script(parts)
    return write_text(target, text, "--export")


def write_text(target: Path, text: str, flag: str) -> Path:
    """Write a file whole or not at all; `flag` is what the person gave it by.

    Raises
    ------
    LessonError
        Where the disk is full or refuses.
    """
    try:
        whole.write_text(target, text)
    except OSError as error:
        raise LessonError(
            f"{target} cannot be written ({error.strerror or error}).",
            f"Give {flag} a file in a folder that is yours and has room.",
        ) from error
    return target


def check_target(file: str | Path, flag: str = "--export") -> Path:
    """Make sure that a file may be written: of a kind we know, and not somebody's work.

    `flag` is what the person gave it by.

    Raises
    ------
    BadInput
        Where it may not.
    """
    target = platforms.expanded(file).absolute()
    if target.suffix not in (".py", ".ipynb"):
        raise BadInput(
            f"{flag} {file} is neither a script nor a notebook.",
            "Give a file that ends in .py or .ipynb.",
        )
    if not target.parent.is_dir():
        raise BadInput(f"There is no folder {target.parent}.", "Make it, or give another file.")
    if target.is_dir() or (target.exists() and not _is_ours(target)):
        raise BadInput(
            f"{target} is there already, and {flag} did not write it.",
            "Give another name, or move that file away.",
        )
    if not os.access(target.parent, os.W_OK):
        raise BadInput(f"{target.parent} cannot be written to.", "Give a file in another folder.")
    return target


def _is_ours(target: Path) -> bool:
    try:
        text = target.read_text(encoding="utf-8")
        if target.suffix == ".ipynb":
            text = "".join(json.loads(text)["cells"][0]["source"])
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return text.startswith(tuple(MARKS.values()))


def check_body(cell: cells.Cell) -> None:
    """Make sure that a body is Python that a script can run.

    Raises
    ------
    BadInput
        Where a line of it is IPython's, or awaits outside a function.
    """
    for statement in check_python(cell).body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            raise _refused_line(cell, statement.lineno, "must be the first of a file")
        code = cells.compiled(ast.Module([statement], []), cell.filename)
        if code.co_flags & inspect.CO_COROUTINE:
            raise _refused_line(
                cell,
                statement.lineno,
                "awaits outside a function, which only a notebook can",
                "Put it into `async def main():` and call asyncio.run(main()).",
            )


def check_python(cell: cells.Cell, unfit: str = UNFIT) -> ast.Module:
    """Make sure that no line of a body is IPython's, and give what it says in Python.

    Parameters
    ----------
    cell
        The parsed body.
    unfit
        How the refusal begins.

    Raises
    ------
    BadInput
        With the first line that is.
    """
    try:
        tree = ast.parse(_dedented(cell))
    except SyntaxError as error:
        why = "is IPython's, not Python's"
        raise _refused_line(cell, error.lineno or 1, why, unfit=unfit) from None
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Name) and node.id == "get_ipython":
            line = node.lineno - cell.first_line + 1
            raise _refused_line(cell, line, "needs IPython", unfit=unfit)
    return tree


def _refused_line(
    cell: cells.Cell, number: int, why: str, next_step: str = "", unfit: str = UNFIT
) -> BadInput:
    lines = cell.source.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return BadInput(
        f"{unfit}: line {number + cell.first_line - 1} of the cell {why}: {text}",
        next_step or "Say it in Python, or leave it out; `subprocess` runs what `!` runs.",
    )


def _dedented(cell: cells.Cell) -> str:
    return textwrap.dedent(cell.source)


def _parts(
    settings: Settings,
    layout: Layout,
    cell: cells.Cell,
    namespace: Mapping[str, Any],
    folder: Path,
) -> Iterator[Part]:
    """Give the script's parts in their order."""
    used = used_names(cell, namespace)
    made = PROVIDED & needed_names(cell, used)
    given = from_fastai()
    carrier = Carrier(namespace, given=given, bound=set_in(cell), folder=folder)
    if "learn" in made:
        carrier.carry({settings.arch}, needed=True)
    of_the_network = list(carrier.texts)
    carry_all(carrier, cell)
    own = carrier.texts[len(of_the_network) :]
    attributes = _attributes(cell.tree, *(ast.parse(text) for text in carrier.texts))
    device, _ = learner.choose_device()
    network, imported = plain.network(settings, device, namespace) if "learn" in made else ("", "")
    from_ipython = "from IPython.display import display" if "display" in used else ""
    imports = ["from fastai.vision.all import *", imported, from_ipython, *carrier.imports]
    yield Part("", _lines(imports))
    seed = f"set_seed({settings.seed}, True)"
    yield Part("All randomness comes from this seed", _lines([seed, plain.device_choice(device)]))
    yield Part("What fastai lacks and this lesson uses", additions.sources(attributes))
    yield Part("The person's own network", _apart(of_the_network))
    if made & {"dls", "learn"}:
        yield Part("The pictures", plain.pictures(settings, layout, given))
        yield Part("How they are loaded", plain.loaders(settings, layout, device, namespace))
    elif "path" in made:
        yield Part("The pictures", plain.folder(layout))
    yield Part("The network", network)
    yield Part("What the lesson uses of the notebook", _apart(own))
    yield Part("The lesson", _dedented(cell))
    if any(name.startswith(SHOWS) for name in attributes | used):
        yield Part("", "plt.show()")


def _lines(lines: list[str]) -> str:
    return "\n".join(dict.fromkeys(line.strip("\n") for line in lines if line))


def _apart(definitions: list[str]) -> str:
    return "\n\n\n".join(definitions)


def set_in(cell: cells.Cell) -> set[str]:
    """Name what a body sets itself."""
    return names_set(cells.compiled(cell.tree, cell.filename))


def carry_all(carrier: Carrier, cell: cells.Cell) -> None:
    """Carry what the body uses of the notebook.

    Raises
    ------
    BadInput
        Where something cannot be written; it names each and says why.
    """
    surely, perhaps = outside_names(cell.tree, cell.filename)
    carrier.carry(surely, needed=True)
    carrier.carry(perhaps, needed=False)
    if not carrier.refused:
        return
    said = "\n".join(f"  `{name}`: {why}" for name, why in carrier.refused.items())
    raise BadInput(
        f"This lesson cannot be exported, for it uses what cannot be written as source:\n{said}.",
        "Change the cell as it is said beside each, or run it without --export.",
    )


def _attributes(*trees: ast.AST) -> set[str]:
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def _as_script(parts: list[Part]) -> str:
    """Put the parts together as a file for Python."""
    text = f"{MARKS['--export']}\n# It needs fastai, and nothing of fastmagic.\n"
    for part in filter(lambda part: part.code, parts):
        heading = f"# {part.heading}.\n\n" if part.heading else ""
        text += f"\n{heading}{part.code.strip(chr(10))}\n"
    return text


def _as_notebook(parts: list[Part]) -> str:
    """Put the parts together as a notebook, nbformat 4.4: a heading and a cell for each."""
    cells_of_it = [_markdown(f"{MARKS['--export']}\n\nIt needs fastai, and nothing of fastmagic.")]
    for part in filter(lambda part: part.code, parts):
        if part.heading:
            cells_of_it.append(_markdown(f"## {part.heading}"))
        code: dict[str, Any] = {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
        }
        cells_of_it.append({**code, "source": part.code.strip("\n")})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells_of_it,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    return faces.as_json(notebook, 1) + "\n"


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}
