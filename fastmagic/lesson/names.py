"""Which names a lesson's body uses: its own, and those that the person's functions use for it.

A body `train()` that calls a function of an earlier cell uses `learn` where that function does, so
`learn` has to be ready. Names are read from compiled code, which knows what is local to a function
and what is not.
"""

from __future__ import annotations

import ast
import dis
import functools
import itertools
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from fastmagic.lesson import cell as cells

GLOBAL = {
    *("LOAD_NAME", "STORE_NAME", "DELETE_NAME", "LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
    *("LOAD_FROM_DICT_OR_GLOBALS",),
}
"""The instructions that look a name up in the namespace, or may."""

MAGICS = {"run_line_magic", "run_cell_magic"}
SHELLS = {"system", "getoutput"}
"""What IPython's transform calls, with the person's words as text: for `%`, `%%` and `?`; `!`."""


MADE_BY_A_CLASS_STATEMENT = 1 << 9  # Py_TPFLAGS_HEAPTYPE
LOOKED_AT = 1000  # of a collection: callbacks are few, and numbers name nothing


def used_names(cell: cells.Cell, namespace: Mapping[str, Any]) -> set[str]:
    """Name all that a body reads or assigns in the namespace, by whatever way.

    Parameters
    ----------
    cell
        The parsed body.
    namespace
        The person's; functions and classes that live there are followed.

    Examples
    --------
    >>> namespace = {}
    >>> exec("def train(): learn.fit(1)", namespace)
    >>> sorted(used_names(cells.parse("n = train()"), namespace))
    ['learn', 'n', 'train']
    """
    names = own_names(cell)
    waiting, seen = list(names), set[int]()
    while waiting:
        value = namespace.get(waiting.pop())
        for code in codes_of(value, namespace):
            if id(code) not in seen:
                seen.add(id(code))
                found = names_in(code) - names
                names |= found
                waiting += found
    return names


def own_names(cell: cells.Cell) -> set[str]:
    """Name what the body's own text reads or assigns, in Python and in IPython's syntax.

    Examples
    --------
    >>> cell = cells.parse("get_ipython().run_line_magic('time', 'learn.fit(1)')")
    >>> "learn" in own_names(cell)
    True
    """
    try:
        names = names_in(cells.compiled(cell.tree, cell.filename))
    except SyntaxError:  # a `return` outside a function, say: it is told when the body runs
        names = set(cell.names)
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names |= _names_in_words(node.func.attr, node.args)
    return names


def _names_in_words(called: str, arguments: list[ast.expr]) -> set[str]:
    """Name what the text handed to a magic or to the system's shell may use."""
    words = [one.value for one in arguments if isinstance(one, ast.Constant)]
    text = "\n".join(word for word in words if isinstance(word, str))
    if called in SHELLS:  # only `{name}` and `$name` are Python's
        text = " ".join(match.group() for match in re.finditer(r"\{[^}]*\}|\$\w+", text))
    elif called not in MAGICS:
        return set()
    return set(re.findall(r"(?<![\w.])[^\W\d]\w*", text))


def names_in(code: types.CodeType) -> set[str]:
    """Name what compiled code, and all code within it, looks up outside its functions.

    Examples
    --------
    >>> sorted(names_in(compile("def f(x): return x + y", "", "exec")))
    ['f', 'y']
    """
    names = {one.argval for one in dis.get_instructions(code) if one.opname in GLOBAL}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
    return names - {"__name__", "__module__", "__qualname__", "__firstlineno__"}


def codes_of(value: Any, namespace: Mapping[str, Any]) -> Iterator[types.CodeType]:
    """Give the code of what was defined in the namespace: a function, a class, an object of one."""
    for function in _functions(value, set()):
        if function.__globals__ is namespace:
            yield function.__code__


def _functions(value: Any, seen: set[int]) -> Iterator[types.FunctionType]:
    """Find the functions that a value is made of: wrapped, bound, in a class or a collection."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        yield value
    for part in _parts(value):
        yield from _functions(part, seen)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, types.FunctionType):
        yield from (cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell))
        yield from (*(value.__defaults__ or ()), getattr(value, "__wrapped__", None))
    elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
        yield value.__func__
    elif isinstance(value, property):
        yield from (value.fget, value.fset)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, dict):
        yield from itertools.islice(value.values(), LOOKED_AT)
    elif isinstance(value, (list, tuple, set)):
        yield from itertools.islice(value, LOOKED_AT)
    elif isinstance(value, type) and not _is_a_librarys(value):
        yield from (*vars(value).values(), *value.__bases__)
    elif not isinstance(value, type) and not _is_a_librarys(type(value)):
        yield type(value)


def _is_a_librarys(kind: type) -> bool:
    """Say whether a class is built in or comes from a file: it knows nothing of the namespace."""
    module = sys.modules.get(kind.__module__)
    from_a_file = hasattr(module, "__file__") and kind.__module__ != "__main__"
    return from_a_file or not kind.__flags__ & MADE_BY_A_CLASS_STATEMENT


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - empty ones raise
    except ValueError:
        return False
    return True
