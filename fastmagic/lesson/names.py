"""Which names a lesson's body uses: its own, and those that the person's functions use for it.

A body `train()` that calls a function of an earlier cell uses `learn` where that function does, so
`learn` has to be ready. Names are read from compiled code, which knows what is local to a function
and what is not. `outside_names` tells further which of them must be there before the body begins.
"""

from __future__ import annotations

import ast
import copy
import dis
import functools
import inspect
import itertools
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from fastmagic.lesson import cell as cells

LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "DELETE_GLOBAL"}
STORES = {"STORE_NAME", "STORE_GLOBAL"}
"""The instructions that look a name up in the namespace, or may; and those that set one there."""

IMPLICIT = {"__name__", "__module__", "__qualname__", "__firstlineno__"}
"""What the compiler itself reads and sets, for a class."""

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


def needed_names(cell: cells.Cell, used: set[str]) -> set[str]:
    """Name what a body needs to find there: of the names it uses, those it does not set first.

    Parameters
    ----------
    cell
        The parsed body.
    used
        What `used_names` gave for it.

    Examples
    --------
    >>> cell = cells.parse("learn = vision_learner(dls, resnet18)\\nlearn.fit(1)")
    >>> sorted(needed_names(cell, {"learn", "dls"}))
    ['dls']
    """
    try:
        surely, perhaps = outside_names(cell.tree, cell.filename)
    except SyntaxError:  # it is told when the body runs
        return used
    return used - (cell.names - surely - perhaps)


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


def leaves_learner_behind(tree: ast.Module) -> bool:
    """Say whether a body sets `dls`, and gives it to no learner.

    Examples
    --------
    >>> leaves_learner_behind(ast.parse("dls = dls.new(bs=8)\\nlearn.fit(1)"))
    True
    >>> leaves_learner_behind(ast.parse("learn.dls = dls = dls.new(bs=8)\\nlearn.fit(1)"))
    False
    """
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    given = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    handed = any(
        isinstance(one, ast.Name) and one.id == "dls"
        for node in nodes
        if isinstance(node, ast.Call)
        for one in (*node.args, *(keyword.value for keyword in node.keywords))
    )
    return "dls" in made and "learn" not in made and "dls" not in given and not handed


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
    return _of(code, LOADS | STORES).union(*(names_in(inner) for inner in _within(code)))


def _of(code: types.CodeType, instructions: set[str]) -> set[str]:
    found = {one.argval for one in dis.get_instructions(code) if one.opname in instructions}
    return found - IMPLICIT


def _within(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


def codes_of(value: Any, namespace: Mapping[str, Any]) -> Iterator[types.CodeType]:
    """Give the code of what was defined in the namespace: a function, a class, an object of one."""
    for function in functions_of(value):
        if function.__globals__ is namespace:
            yield function.__code__


def functions_of(value: Any) -> Iterator[types.FunctionType]:
    """Find the functions that a value is made of: wrapped, bound, in a class or a collection.

    Examples
    --------
    >>> from functools import partial
    >>> [found.__name__ for found in functions_of([partial(functions_of)])]
    ['functions_of']
    """
    return _functions(value, set())


def _functions(value: Any, seen: set[int]) -> Iterator[types.FunctionType]:
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


def outside_names(tree: ast.Module, filename: str = "<body>") -> tuple[set[str], set[str]]:
    """Name what code reads that it has not set itself by then.

    Parameters
    ----------
    tree
        The parsed code.
    filename
        Its name, for the compiler.

    Returns
    -------
    surely, perhaps
        The names that have to be there before it runs, and those that may have to: set before only
        in a branch or a loop, or read by a function that may be called before they are set.

    Examples
    --------
    >>> body = "n = lr\\nfor i in range(n):\\n    x = i\\nprint(x)"
    >>> [sorted(names) for names in outside_names(ast.parse(body))]
    [['lr', 'print', 'range'], ['x']]
    """
    flow = _Flow(filename)
    flow.block(tree.body, set())
    late = flow.late - flow.surely
    return flow.surely | (late - flow.bound), (flow.perhaps | late & flow.bound) - flow.surely


class _Flow:
    """Follows statements in their order, with what is set by then."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.surely: set[str] = set()
        self.perhaps: set[str] = set()
        self.late: set[str] = set()  # read in functions
        self.bound: set[str] = set()  # set anywhere

    def block(self, statements: list[ast.stmt], known: set[str]) -> None:
        """Follow a block; `known` is what is set before it, and afterwards what it sets."""
        for statement in statements:
            blocks = _blocks(statement)
            header_sets = self._header(statement, known)
            if not blocks or isinstance(statement, (ast.With, ast.AsyncWith)):
                known |= header_sets
            for inner in blocks:  # only a `with` surely runs its block, and to its end
                always = isinstance(statement, (ast.With, ast.AsyncWith))
                self.block(inner, known if always else known | header_sets)

    def _header(self, statement: ast.stmt, known: set[str]) -> set[str]:
        """Note what a statement reads, without its blocks; give what it sets."""
        code = cells.compiled(ast.Module(_without_blocks(statement), []), self.filename)
        now, late = _reads(code)
        for handler in getattr(statement, "handlers", []):
            now.discard(handler.name)  # deleted at its end, which is no use of it
        self.late |= late - known
        self.perhaps |= now & self.bound - known
        self.surely |= now - self.bound - known
        sets = names_set(code)
        self.bound |= sets
        return sets


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Give the blocks of a compound statement in their order; a definition is none."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return []
    names = ("body", "handlers", "cases", "orelse", "finalbody")
    parts = [getattr(statement, name, []) for name in names]
    blocks: list[list[ast.stmt]] = []
    for part in filter(None, parts):
        inner = [one.body for one in part if isinstance(one, (ast.ExceptHandler, ast.match_case))]
        blocks += inner or [part]
    return blocks


def _without_blocks(statement: ast.stmt) -> list[ast.stmt]:
    """Copy a statement with its blocks emptied, so that only its own first line is left."""
    if isinstance(statement, (ast.Break, ast.Continue)):  # cannot be compiled alone
        return []
    if not _blocks(statement):
        return [statement]
    bare = copy.copy(statement)
    for name in ("body", "orelse", "finalbody"):
        if getattr(bare, name, None):
            setattr(bare, name, [ast.copy_location(ast.Pass(), statement)])
    for name in ("handlers", "cases"):
        if getattr(bare, name, None):
            setattr(bare, name, [_bare(one) for one in getattr(bare, name)])
    return [bare]


def _bare(part: ast.ExceptHandler | ast.match_case) -> Any:
    bare = copy.copy(part)
    bare.body = [ast.copy_location(ast.Pass(), part.body[0])]
    return bare


def _reads(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Name what code looks up when it runs, and what its functions look up when they are called."""
    now, late = _of(code, LOADS), set[str]()
    for inner in _within(code):
        in_a_class = not inner.co_flags & inspect.CO_OPTIMIZED
        inner_now, inner_late = _reads(inner)
        late |= inner_late
        if in_a_class:
            now |= inner_now - _of(inner, STORES)
        elif inner.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
            now |= inner_now
        else:
            late |= inner_now
    return now, late


def names_set(code: types.CodeType) -> set[str]:
    """Name what code sets in the namespace, its functions included.

    Examples
    --------
    >>> sorted(names_set(compile("n = 1\\ndef f():\\n    global m\\n    m = x = n", "", "exec")))
    ['f', 'm', 'n']
    """
    return _of(code, STORES).union(*(_globals_set(inner) for inner in _within(code)))


def _globals_set(code: types.CodeType) -> set[str]:
    return _of(code, {"STORE_GLOBAL"}).union(*(_globals_set(inner) for inner in _within(code)))
