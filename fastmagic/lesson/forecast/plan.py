"""What a lesson's body will do, read without running it (pure).

The reader walks the statements with what it knows of the names, and follows what is frozen. Where
it meets something about the learner that only running would tell, the plan is not complete: what it
lists is right as far as it goes, and no total is made of it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from fastmagic.lesson.forecast.calls import Unread, Work, features_of
from fastmagic.lesson.forecast.constants import UNKNOWN, value_of
from fastmagic.lesson.forecast.reading import Reader

MOST_ROUNDS = 1000  # of a loop; a longer one is not read


@dataclass(frozen=True)
class Plan:
    """What a body will do, in order.

    Attributes
    ----------
    works
        What takes time.
    complete
        Whether that is all of it.
    unread
        What could not be known beforehand, with its line; empty where the plan is complete.
    """

    works: tuple[Work, ...]
    complete: bool
    unread: str = ""


def read_plan(
    body: ast.Module | str,
    *,
    frozen: bool = True,
    known: Mapping[str, object] | None = None,
    learner: str = "learn",
    precomputes: bool = True,
) -> Plan:
    """Read what a lesson's body will do.

    Parameters
    ----------
    body
        The body, or what it was parsed to.
    frozen
        Whether the learner starts with its body frozen, as a pretrained one does.
    known
        Values of names from before the body, such as numbers in the notebook.
    learner
        The name that the learner has.
    precomputes
        Whether `learn.precomputed()` does; otherwise it does nothing.

    Returns
    -------
    Plan
        Complete, or with what could not be read.

    Raises
    ------
    SyntaxError
        Where a text is no Python.

    Examples
    --------
    >>> plan = read_plan("epochs = 3\\nlearn.fit_one_cycle(epochs, 3e-3)\\nlearn.unfreeze()\\n"
    ...                  "learn.fit_sgdr(3, 1)")
    >>> [(work.kind, work.amount) for work in plan.works]
    [('frozen', 3), ('whole', 7)]
    >>> read_plan("train(learn)").unread
    'what `train` does with the learner (line 1)'
    """
    reader = _Statements({learner}, "frozen" if frozen else "whole", dict(known or {}))
    reader.precomputes = precomputes
    tree = ast.parse(body) if isinstance(body, str) else body
    try:
        reader.read(tree.body)
    except Unread as unread:
        return Plan(tuple(reader.works), False, f"{unread} (line {reader.line})")
    return Plan(tuple(reader.works), True)


@dataclass
class _Statements(Reader):
    """Walks statements."""

    line: int = 1
    precomputes: bool = True

    def read(self, statements: list[ast.stmt]) -> None:
        """Follow statements in their order."""
        for statement in statements:
            self.line = statement.lineno
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Expr):
            self.value(node.value)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            self._assign(node)
        elif isinstance(node, ast.For):
            self._loop(node)
        elif isinstance(node, ast.If):
            self._branch(node)
        elif isinstance(node, ast.With):
            self._with(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._define(node)
        elif isinstance(node, ast.Assert):
            self.expression(node.test)
        elif not isinstance(node, ast.Pass):
            self._pass_over(node)

    def _pass_over(self, node: ast.stmt) -> None:
        """Leave out a statement that has nothing to do with the learner; forget what it sets."""
        if isinstance(node, (ast.Raise, ast.Break, ast.Continue, ast.Return)):
            raise Unread("where the body ends")
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        if self.mentions(node) or (isinstance(node, (ast.For, ast.While)) and "dls" in names):
            raise Unread(f"what `{ast.unparse(node).splitlines()[0]}` comes to")
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                self.other(part)
            if isinstance(part, ast.Name) and isinstance(part.ctx, (ast.Store, ast.Del)):
                self.bind(part, UNKNOWN)

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        self.value(node.value)
        if self.is_learner(node.value):
            for target in targets:
                self._name_learner(target)
            return
        value = value_of(node.value, self.names)
        if isinstance(node, ast.AugAssign):
            before = ast.Name(getattr(node.target, "id", ""), ast.Load())
            value = value_of(ast.BinOp(before, node.op, node.value), self.names)
        for target in targets:
            self.bind(target, value)

    def _name_learner(self, target: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            raise Unread(f"what `{ast.unparse(target)}` does with the learner")
        self.learners.add(target.id)

    def _loop(self, node: ast.For) -> None:
        rounds = self._rounds(node.iter) if self.mentions(node) and not node.orelse else None
        if rounds is None or len(rounds) > MOST_ROUNDS:
            self._pass_over(node)
            return
        for value in rounds:
            self.bind(node.target, value)
            self.read(node.body)

    def _rounds(self, over: ast.expr) -> list[object] | None:
        """Give what a loop goes over, where that is known."""
        if isinstance(over, ast.Call) and getattr(over.func, "id", "") == "range":
            bounds = [value_of(one, self.names) for one in over.args]
            if over.keywords or not all(isinstance(bound, int) for bound in bounds):
                return None
            try:
                return list(range(*bounds)[: MOST_ROUNDS + 1])
            except (TypeError, ValueError):
                return None
        values = value_of(over, self.names)
        return values if isinstance(values, list) else None

    def _branch(self, node: ast.If) -> None:
        test = value_of(node.test, self.names)
        if test is UNKNOWN:
            self._pass_over(node)
        else:
            self.read(node.body if test else node.orelse)

    def _with(self, node: ast.With) -> None:
        before = self.layers
        for item in node.items:
            given = item.context_expr
            precompute = isinstance(given, ast.Call) and self.method(given) == "precomputed"
            if precompute and isinstance(given, ast.Call):
                if self.precomputes:
                    self._precompute(given)
            else:
                self.value(given)
            if item.optional_vars is None:
                continue
            if precompute or self.is_learner(item.context_expr):
                self._name_learner(item.optional_vars)
            else:
                self.bind(item.optional_vars, UNKNOWN)
        self.read(node.body)
        if self.layers == "precomputed":
            self.layers = before

    def _precompute(self, call: ast.Call) -> None:
        features = features_of(call, self.names, self.layers)
        self.works.append(features)
        self.layers, self.most = "precomputed", features.most

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = (alias.asname or alias.name).split(".")[0]
            if name == "*":
                self.any_function = True
                continue
            self.bind(ast.Name(name), UNKNOWN)
            self.functions.add(name)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        if self.mentions(node):
            raise Unread(f"what `{node.name}` does with the learner")
        self.bind(ast.Name(node.name), UNKNOWN)
        self.functions.add(node.name)
        for part in ast.walk(node):
            if isinstance(part, ast.Global):
                self.names.update(dict.fromkeys(part.names, UNKNOWN))
