"""What an expression of a lesson's body does with the learner, read without running it (pure)."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass, field, replace

from fastmagic.lesson.forecast.calls import (
    GIVES_IT_BACK,
    PARAMETERS,
    Layers,
    Unread,
    Work,
    works_of,
)
from fastmagic.lesson.forecast.constants import UNKNOWN, value_of

TAKES_TIME = frozenset(PARAMETERS)
MAY_TAKE_A_LEARNER = frozenset({"print", "type", "id", "repr", "str", "display", "isinstance"})
RUNS_TEXT = frozenset({"exec", "eval", "run_line_magic", "run_cell_magic", "run_cell"})
KNOWN_FUNCTIONS = frozenset({"display", "untar_data", "get_image_files", "set_seed", "get_ipython"})
KNOWN_MAGICS = frozenset({"matplotlib", "config", "load_ext", "reload_ext", "pip", "gpu_check"})
MAYBE = (
    *(ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.IfExp, ast.BoolOp),
)
"""Expressions whose parts are done once, never or often."""

CHANGES_THE_WORK = frozenset({"dls", "model", "opt", "splitter", "bs"})
"""Attributes of a learner or its loaders on which the time of an epoch depends."""


@dataclass
class Reader:
    """What is known at one place of a body; each method raises `Unread` where it cannot follow.

    Attributes
    ----------
    learners
        Names that stand for the learner.
    layers
        What would train now.
    names
        Values of names, as far as they are known.
    works
        What has been found to do.
    functions
        Names of functions that cannot reach the learner unless it is handed to them.
    any_function
        Whether every unknown function is taken for one: after `from … import *`.
    most
        Training pictures that kept features are of, at most; 0 for all.
    """

    learners: set[str]
    layers: Layers
    names: dict[str, object]
    works: list[Work] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    any_function: bool = False
    most: int = 0

    def value(self, node: ast.expr) -> None:
        """Follow an expression that may be the learner itself."""
        if not isinstance(node, ast.Name):
            self.expression(node)

    def expression(self, node: ast.expr) -> None:
        """Follow the calls in an expression; those within come before those around them."""
        if isinstance(node, MAYBE) and self.mentions(node):
            raise Unread(f"how often `{ast.unparse(node)}` is done")
        if isinstance(node, ast.Name):
            if node.id in self.learners:
                raise Unread(f"what is done with `{node.id}`")
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Attribute):
            if self.is_learner(node.value) and node.attr in TAKES_TIME:
                raise Unread(f"when `{ast.unparse(node)}` is called")
            self.value(node.value)
        else:
            self._parts(node)

    def _parts(self, node: ast.AST) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                self.expression(part)
            elif isinstance(part, (ast.comprehension, ast.keyword)):
                self._parts(part)
        if isinstance(node, ast.NamedExpr):
            self.bind(node.target, value_of(node.value, self.names))

    def bind(self, target: ast.expr, value: object) -> None:
        """Let a target stand for a value from now on."""
        if isinstance(target, ast.Name):
            if target.id in self.learners:
                raise Unread(f"what the new `{target.id}` is")
            self.names[target.id] = value
            self.functions.discard(target.id)
        elif isinstance(target, (ast.Tuple, ast.List)):
            known = isinstance(value, list) and len(value) == len(target.elts)
            values = value if known and isinstance(value, list) else [UNKNOWN] * len(target.elts)
            for part, one in zip(target.elts, values, strict=True):
                self.bind(part, one)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, UNKNOWN)
        elif self._changes_the_work(target):
            raise Unread(f"what a new `{ast.unparse(target)}` changes")

    def _changes_the_work(self, target: ast.expr) -> bool:
        names = {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
        attributes = {one.attr for one in ast.walk(target) if isinstance(one, ast.Attribute)}
        return "dls" in names or bool(names & self.learners and attributes & CHANGES_THE_WORK)

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            self.value(node.func.value)
        elif not isinstance(node.func, ast.Name):
            self.expression(node.func)
        handed_over = 0
        for given in (*node.args, *(keyword.value for keyword in node.keywords)):
            if self.is_learner(given):
                handed_over += 1
                self.value(given)
            else:
                self.expression(given)
        method = self.method(node)
        if method:
            self._own(method, node)
        else:
            self.other(node, handed_over)

    def _own(self, method: str, node: ast.Call) -> None:
        """Follow the call of a learner's method."""
        works = works_of(method, node, self.names, self.layers)
        if self.layers == "precomputed":
            works = [replace(work, most=self.most) for work in works]
        self.works += works
        if method == "fine_tune":
            self.layers = "whole"
        elif method == "keep_batch_norm" and self.layers == "frozen":
            self.layers = "kept"
        elif method in ("freeze", "unfreeze", "freeze_to") and self.layers != "precomputed":
            self._freeze(method, node)

    def _freeze(self, method: str, node: ast.Call) -> None:
        """Follow what is frozen; where some groups train, a step costs at most a whole one.

        fastai trains the batch norms again after each of these.
        """
        groups: object = {"freeze": -1, "unfreeze": 0}.get(method)
        if method == "freeze_to":
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            groups = value_of(given[0], self.names) if len(given) == 1 else UNKNOWN
        if not isinstance(groups, int):
            raise Unread("how many groups are frozen")
        self.layers = "frozen" if groups == -1 else "whole"

    def other(self, node: ast.Call, handed_over: int = 0) -> None:
        """Follow the call of something that is not a learner's method."""
        own = isinstance(node.func, ast.Name)
        name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
        if name in RUNS_TEXT and not self._is_known_magic(node):
            raise Unread(f"what `{name}` runs")
        if handed_over:
            if name == "from_learner" and len(node.args) == 1 and not node.keywords:
                self.works += works_of("get_preds", ast.Call(node.func, [], []), {}, self.layers)
            elif name not in MAY_TAKE_A_LEARNER:
                raise Unread(f"what `{name}` does with the learner")
        elif own and not self._cannot_reach_the_learner(name):
            raise Unread(f"what `{name}` does")
        elif not own and name in TAKES_TIME:
            raise Unread(f"how long `{ast.unparse(node.func)}` takes")

    def _is_known_magic(self, node: ast.Call) -> bool:
        return bool(node.args) and value_of(node.args[0], {}) in KNOWN_MAGICS

    def _cannot_reach_the_learner(self, name: str) -> bool:
        known = hasattr(builtins, name) or name in KNOWN_FUNCTIONS or name[:1].isupper()
        return known or self.any_function or name in self.functions

    def method(self, node: ast.expr) -> str:
        """Give the name of the learner's method that is called; empty where none is."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr if self.is_learner(node.func.value) else ""
        return ""

    def is_learner(self, node: ast.expr) -> bool:
        """Whether an expression is the learner, or a method of it that gives it back."""
        if isinstance(node, ast.Name):
            return node.id in self.learners
        return self.method(node) in GIVES_IT_BACK

    def mentions(self, node: ast.AST) -> bool:
        """Whether the learner's name stands anywhere in it."""
        return any(isinstance(one, ast.Name) and one.id in self.learners for one in ast.walk(node))
