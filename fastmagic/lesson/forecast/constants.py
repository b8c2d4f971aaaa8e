"""The value of an expression, where it can be known without running anything (pure)."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final


class Unknown:
    """Stands for a value that only running would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()

MOST = 10**12
"""Larger numbers than this are left unknown: no lesson has them, and `9**9**9` never ends."""

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
CALLS: dict[str, Callable[..., Any]] = {
    **{"int": int, "float": float, "round": round, "abs": abs},
    **{"min": min, "max": max, "len": len, "sum": sum, "slice": slice, "bool": bool},
}

Names = Mapping[str, object]


def value_of(node: ast.expr | None, names: Names) -> Any:
    """Work out an expression of constants, or say that it is not known.

    Parameters
    ----------
    node
        Numbers, words, names, arithmetic, comparisons, tuples, and a few harmless functions.
    names
        What the names stand for, as far as it is known.

    Returns
    -------
    Any
        The value, or `UNKNOWN`; nothing is ever raised or run.

    Examples
    --------
    >>> value_of(ast.parse("2 * epochs + 1", mode="eval").body, {"epochs": 3})
    7
    >>> value_of(ast.parse("len(dls)", mode="eval").body, {})
    UNKNOWN
    """
    try:
        found = _value(node, names)
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        return UNKNOWN
    return UNKNOWN if _is_number(found) and abs(found) > MOST else found


def _value(node: ast.expr | None, names: Names) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, UNKNOWN)
    if isinstance(node, (ast.Tuple, ast.List)):
        values = [value_of(item, names) for item in node.elts]
        return UNKNOWN if UNKNOWN in values else values
    if isinstance(node, ast.UnaryOp):
        return _applied(UNARY.get(type(node.op)), value_of(node.operand, names))
    if isinstance(node, ast.BinOp):
        return _arithmetic(node, names)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        both = value_of(node.left, names), value_of(node.comparators[0], names)
        return _applied(COMPARE.get(type(node.ops[0])), *both)
    if isinstance(node, ast.Call):
        return _called(node, names)
    return UNKNOWN


def _applied(function: Callable[..., Any] | None, *values: Any) -> Any:
    if function is None or any(value is UNKNOWN for value in values):
        return UNKNOWN
    return function(*values)


def _arithmetic(node: ast.BinOp, names: Names) -> Any:
    left, right = value_of(node.left, names), value_of(node.right, names)
    if not (_is_number(left) and _is_number(right)):
        return UNKNOWN
    if isinstance(node.op, ast.Pow) and (abs(left) > 1000 or abs(right) > 30):
        return UNKNOWN
    return _applied(BINARY.get(type(node.op)), left, right)


def _called(node: ast.Call, names: Names) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if node.keywords or name in names or name not in CALLS:
        return UNKNOWN
    return _applied(CALLS[name], *(value_of(argument, names) for argument in node.args))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
