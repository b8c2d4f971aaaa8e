"""What fastai 2 lacks and the lesson needs: small additions to its Learner.

Each file beside this one is plain fastai code that knows nothing of fastmagic, for the exporter
writes it into the script that it makes. In a lesson's cell the functions are methods of `learn`;
the first parameter of each is the learner.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from importlib import resources
from typing import Any

NAMES = {
    "precomputed": "precomputed",
    "fit_cycles": "cycles",
    "keep_batch_norm": "batch_norm",
    "show_rights_and_wrongs": "looking",
    "show_confusion": "looking",
}
"""The additions' names, and the file of each."""


def mixin() -> type:
    """Give a class whose methods are the additions, to be mixed into a learner's own class.

    Only this call imports torch and fastai.

    Examples
    --------
    >>> sorted(name for name in vars(mixin()) if name in NAMES)  # doctest: +SKIP
    ['fit_cycles', 'keep_batch_norm', 'precomputed', 'show_confusion', 'show_rights_and_wrongs']
    """
    methods: dict[str, Any] = {
        name: getattr(importlib.import_module(f"{__name__}.{module}"), name)
        for name, module in NAMES.items()
    }
    return type("Additions", (), {**methods, "__doc__": "The lesson's additions to a Learner."})


def sources(names: set[str]) -> str:
    """Give the additions as text for a script: imports, functions, and `Learner.NAME = NAME`.

    Parameters
    ----------
    names
        The names that the script uses; others than the additions' are passed over.

    Examples
    --------
    >>> print(sources({"fit_cycles", "fit"}).splitlines()[-1])
    Learner.fit_cycles = fit_cycles
    >>> sources({"fit"})
    ''
    """
    used = [name for name in NAMES if name in names]
    if not used:
        return ""
    imports, texts = {"from fastai.learner import Learner"}, []
    for module in dict.fromkeys(NAMES[name] for name in used):
        needed, text = _apart(module)
        imports |= needed
        texts.append(text)
    attached = "\n".join(f"Learner.{name} = {name}" for name in used)
    return "\n".join(sorted(imports)) + "\n\n\n" + "\n\n\n".join([*texts, attached]) + "\n"


def _apart(module: str) -> tuple[set[str], str]:
    """Take a file apart into its import lines, and the rest with its docstring as a comment."""
    text = resources.files(__name__).joinpath(f"{module}.py").read_text(encoding="utf-8")
    text = re.sub(r" *# (type: ignore|noqa).*", "", text)  # what our own checkers are told
    tree, lines = ast.parse(text), text.splitlines()
    needed = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    begin = max(node.end_lineno or 0 for node in needed)
    told = (ast.get_docstring(tree) or "").splitlines()
    comment = "\n".join(f"# {line}".rstrip() for line in told)
    code = _with_private_names("\n".join(lines[begin:]).strip(), _helpers(tree))
    return {ast.unparse(node) for node in needed}, f"{comment}\n\n{code}"


def _helpers(tree: ast.Module) -> set[str]:
    """Name what a file sets beside the additions."""
    named = {getattr(node, "name", "") for node in tree.body}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return (named | assigned) - {""} - NAMES.keys()


def _with_private_names(code: str, names: set[str]) -> str:
    """Put `_` before names, so that the person's own variables do not replace them."""
    tokens, before = [], ""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        renamed = token.type == tokenize.NAME and token.string in names and before != "."
        tokens.append((token, renamed))
        before = token.string
    lines = code.splitlines()
    for token, renamed in reversed(tokens):
        if renamed:
            row, column = token.start
            lines[row - 1] = f"{lines[row - 1][:column]}_{lines[row - 1][column:]}"
    return "\n".join(lines)
