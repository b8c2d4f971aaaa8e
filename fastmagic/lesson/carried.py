"""What a script needs of a notebook: the names that a lesson's body uses, written as source.

    a function or class of the notebook    its source, with what it uses in turn
    a module                               import x as y
    what an installed module holds         from x import y
    plain data of moderate length          name = …

Anything else cannot be written, and is named with the reason.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import linecache
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from fastmagic.lesson.names import outside_names

PROVIDED = {"path", "dls", "learn"}
"""What the script makes itself."""

LONGEST = 10_000
"""Characters of data that are written into a script; more belongs into a file."""

MAKE_IT = "make it in the cell"


class Unwritable(Exception):
    """A value that cannot be written as source; the message says why, and what to do."""


class Carrier:
    """Collects what a script needs of a namespace.

    Parameters
    ----------
    namespace
        The person's.
    given
        The names that the script has by its own imports, and their values.
    bound
        The names that the body sets itself: a function that uses them finds them there.
    folder
        Where the script will lie.

    Attributes
    ----------
    imports, texts
        The lines and sources to write, each after what it needs.
    refused
        The names that cannot be carried, and why.
    """

    def __init__(
        self,
        namespace: Mapping[str, Any],
        *,
        given: Mapping[str, Any],
        bound: Iterable[str] = (),
        folder: Path,
    ) -> None:
        self.namespace, self.given, self.bound, self.folder = namespace, given, set(bound), folder
        self.imports: list[str] = []
        self.texts: list[str] = []
        self.refused: dict[str, str] = {}
        self._done: set[str] = set(PROVIDED)

    def carry(self, names: Iterable[str], *, needed: bool, used_by: str = "") -> None:
        """Carry names; one that is not `needed` is left out where it cannot be written."""
        for name in sorted(set(names) - self._done):
            if name not in self.namespace or name.startswith("__"):
                continue
            value = self.namespace[name]
            self._done.add(name)
            if any(known.get(name, self) is value for known in (self.given, vars(builtins))):
                continue
            try:
                self._write(name, value)
            except Unwritable as error:
                if not needed:
                    self._done.discard(name)  # another may need it
                else:
                    self.refused[name] = f"{error}{f' (`{used_by}` uses it)' if used_by else ''}"

    def _write(self, name: str, value: Any) -> None:
        origin = source_of(name, value, self.namespace)
        if origin:
            tree = ast.parse(origin)
            surely, perhaps = outside_names(tree)
            self.carry(surely - self.bound - {name}, needed=True, used_by=name)
            self.carry((surely & self.bound | perhaps) - {name}, needed=False)
            self.texts.append(origin)
        elif line := import_of(name, value, self.folder):
            self.imports.append(line)
        else:
            text = f"{name} = {literal(value)}"
            if len(text) > LONGEST:
                raise Unwritable(f"more than {LONGEST:,} characters of data: load it from a file")
            self.texts.append(text)


def literal(value: Any) -> str:
    """Write plain data as Python.

    Raises
    ------
    Unwritable
        For any other kind of value.

    Examples
    --------
    >>> literal({"rates": [1e-3, slice(1e-5, 1e-3)], "to": Path("x"), "nothing": set()})
    "{'rates': [0.001, slice(1e-05, 0.001, None)], 'to': Path('x'), 'nothing': set()}"
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes, complex, range):
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, PurePath):
        return f"Path({str(value)!r})"
    if kind is slice:
        return f"slice({', '.join(literal(v) for v in (value.start, value.stop, value.step))})"
    if kind in (list, tuple, set, frozenset, dict):
        try:
            return _collection(value)
        except RecursionError:
            raise Unwritable(f"it holds itself: {MAKE_IT}") from None
    raise Unwritable(_why_not(value))


def _collection(value: Any) -> str:
    if len(value) > LONGEST:
        raise Unwritable(f"{len(value):,} values: load them from a file")
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    inner = ", ".join(literal(one) for one in value)
    if type(value) is list:
        return f"[{inner}]"
    if type(value) is tuple:
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is set:
        return f"{{{inner}}}" if value else "set()"
    return f"frozenset([{inner}])"


def _why_not(value: Any) -> str:
    """Say what kind of value this is, and what to do instead of carrying it."""
    kinds = {one.__name__ for one in type(value).__mro__}
    if "Learner" in kinds:
        return "a learner with its weights: learn.save() it, and load it in the cell"
    if kinds & {"ndarray", "Tensor", "DataFrame", "Series"}:
        return (
            f"data of the kind {type(value).__name__}: save it to a file, and load it in the cell"
        )
    if "IOBase" in kinds or "_IOBase" in kinds:
        return "an open file: open it in the cell"
    if isinstance(value, (types.FunctionType, type)):
        return "its source is not to be found: define it in the cell, by `def` or `class`"
    return f"an object of the kind {type(value).__name__}: {MAKE_IT}"


def source_of(name: str, value: Any, namespace: Mapping[str, Any]) -> str:
    """Give the source of what was defined in the namespace under this name; empty for all else.

    Raises
    ------
    Unwritable
        Where it was defined there, and its source alone does not make it.
    """
    inner = inspect.unwrap(value) if callable(value) else value
    if isinstance(inner, types.FunctionType) and inner.__globals__ is namespace:
        if inner.__closure__:
            raise Unwritable("a function with variables of the function around it: define it alone")
        lines = linecache.getlines(inner.__code__.co_filename)
        text, real = _block(lines, inner.__code__.co_firstlineno), inner.__name__
    elif isinstance(value, type) and value.__module__ == namespace.get("__name__", "builtins"):
        text, real = _class_source(value, namespace), value.__name__
    else:
        return ""
    return _only(text, name, real)


def _only(text: str, name: str, real: str) -> str:
    """Make sure that a source sets this name and nothing else."""
    try:
        [statement] = ast.parse(text).body
    except (SyntaxError, ValueError):
        raise Unwritable("its source cannot be taken out alone: define it in the cell") from None
    if isinstance(statement, ast.Assign) and real == "<lambda>":
        targets = [one.id for one in statement.targets if isinstance(one, ast.Name)]
        if targets == [name] and isinstance(statement.value, ast.Lambda):
            return text
        raise Unwritable("a lambda within other code: write it as a `def`")
    if getattr(statement, "name", None) != real:
        raise Unwritable("its source is not to be found: define it in the cell")
    return text if name == real else f"{text}\n\n\n{name} = {real}"


def _block(lines: list[str], first: int) -> str:
    """Cut the definition that begins in this line out of a cell's text."""
    if not 0 < first <= len(lines):
        return ""
    return textwrap.dedent("".join(inspect.getblock(lines[first - 1 :]))).strip()


def _class_source(value: type, namespace: Mapping[str, Any]) -> str:
    """Find a class in the cell that defined it: Python keeps no place for it before 3.13."""
    functions = [f for f in vars(value).values() if isinstance(f, types.FunctionType)]
    files = dict.fromkeys(f.__code__.co_filename for f in functions)
    texts = ["".join(linecache.getlines(file)) for file in files]
    earlier = [text for text in namespace.get("In", []) if isinstance(text, str)]
    for text in [*texts, *reversed(earlier)]:
        lines = text.splitlines(keepends=True)
        places = [n for n, line in enumerate(lines) if re.match(rf"class {value.__name__}\b", line)]
        if places:
            first = places[-1]
            while first and lines[first - 1].startswith("@"):
                first -= 1
            return _block(lines, first + 1)
    return ""


def import_of(name: str, value: Any, folder: Path) -> str:
    """Write the import that gives a value under this name; empty where no module holds it.

    Examples
    --------
    >>> import json, os.path
    >>> import_of("js", json, Path()), import_of("os", os, Path())
    ('import json as js', 'import os')
    >>> import_of("read", json.loads, Path())
    'from json import loads as read'
    """
    if isinstance(value, types.ModuleType):
        _importable(value.__name__, folder)
        return f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else "")
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or module in ("__main__", "builtins"):
        return ""
    for attribute in (name, getattr(value, "__name__", ""), getattr(value, "_name", "")):
        if attribute and getattr(sys.modules.get(module), str(attribute), None) is value:
            _importable(module, folder)
            return f"from {module} import {attribute}" + (
                f" as {name}" if name != attribute else ""
            )
    return ""


def _importable(module: str, folder: Path) -> None:
    """Make sure that the script will find a module."""
    top = module.split(".")[0]
    if top == "fastmagic":
        raise Unwritable("a part of fastmagic, which the script does without: leave it out")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise Unwritable(f"of the module {module}, which is in no file: define it in the cell")
    here = Path.cwd().resolve()
    file = Path(spec.origin).resolve() if spec.origin and Path(spec.origin).is_file() else None
    local = file is not None and file.parent in (here, here / top)
    if local and folder.resolve() != here:
        raise Unwritable(f"of {top}, which lies in {here}: export into that folder")


def from_fastai() -> Mapping[str, Any]:
    """Give what `from fastai.vision.all import *` brings."""
    names = vars(importlib.import_module("fastai.vision.all"))
    return {name: value for name, value in names.items() if not name.startswith("_")}
