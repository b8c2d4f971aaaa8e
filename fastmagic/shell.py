"""What hangs in the running IPython shell besides the magics themselves, and its removal.

Small things that IPython has no setting for:

An empty `%%` cell. IPython refuses a cell magic with nothing below it before the magic is asked,
so `%%train_lesson1 …` alone is turned into `%train_lesson1 …` when the cell comes in.

Each result once. A magic has shown its result when it returns it, live, in place; IPython would
show the returned value again as `Out[n]`. So that value is filed (`Out`, `_`) but not shown, where
the cell's last line is the magic itself. `x = %gpu_check` and a later `x` are not touched. What is
filed of a lesson has no learner, which nobody could free from there.

TAB. IPython from 8.6 on asks matchers, which say what they replace; older ones, Colab's among them,
ask a hook for what goes on from the last part of a word, cut at `:` and `=`.
"""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastmagic.completion import offer


class EmptyCell:
    """Turns a cell magic without a body into the line magic of the same name.

    Parameters
    ----------
    names
        The magics that take a body but can do without one.

    Examples
    --------
    >>> EmptyCell({"train_lesson1"})(["%%train_lesson1 --data sample\\n", "  \\n"])
    ['%train_lesson1 --data sample\\n']
    """

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def __call__(self, lines: list[str]) -> list[str]:
        written = [i for i, line in enumerate(lines) if line.strip()]
        if not written or not lines[written[0]].startswith("%%"):
            return lines
        first = lines[written[0]]
        words = first[2:].split(maxsplit=1)
        below = [lines[i].strip() for i in written[1:]]
        if words and words[0] in self.names and all(line.startswith("#") for line in below):
            return [first[1:]]
        return lines


class ShownOnce:
    """Stands before IPython's display hook and lets a result that was shown pass unseen.

    It is at once the display hook and an AST transformer that only looks: whether the cell's last
    line is a magic, whose value IPython is about to show.
    """

    def __init__(self, hook: Any) -> None:
        self.hook = hook
        self._shown: list[Any] = []
        self._filed: list[tuple[Any, Any]] = []
        self._ends_in_magic = False

    def shown(self, value: Any) -> None:
        """Remember a value that a magic has just shown and is about to return."""
        self._shown.append(value)

    def file(self, value: Any, instead: Any) -> None:
        """Let `Out` and `_` have something else instead of a value that a magic returns."""
        self._filed.append((value, instead))

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Let a magic work: code that it runs in turn, by `%time` say, is not the cell."""
        before = self._ends_in_magic
        try:
            yield
        finally:
            self._ends_in_magic = before

    def visit(self, tree: ast.AST) -> ast.AST:
        """Look at a cell before it runs; give it back unchanged."""
        self._shown.clear()
        self._filed.clear()
        body = getattr(tree, "body", None)
        last = body[-1] if isinstance(body, list) and body else None
        call = last.value if isinstance(last, ast.Expr) else None
        self._ends_in_magic = (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in ("run_line_magic", "run_cell_magic")
        )
        return tree

    def __call__(self, value: Any = None) -> None:
        if not self._ends_in_magic:
            self.hook(value)
            return
        filed = next((instead for one, instead in self._filed if value is one), value)
        if any(value is one for one in self._shown):
            self.hook.update_user_ns(filed)
            self.hook.fill_exec_result(filed)
        else:
            self.hook(filed)


def attach(shell: Any, may_be_empty: set[str]) -> ShownOnce:
    """Hang both into the shell, and give back what the magics report their results to."""
    once = ShownOnce(shell.displayhook)
    shell.input_transformers_cleanup.append(EmptyCell(may_be_empty))
    shell.ast_transformers.append(once)
    shell.display_trap.hook = once
    _follow(shell.displayhook, once)
    _look_at_running_cell(shell, once)
    return once


def _look_at_running_cell(shell: Any, once: ShownOnce) -> None:
    """Let it see the cell that loads us, which was read before we came."""
    result = getattr(once.hook, "exec_result", None)  # not in the history: `ipython -c` has none
    text = shell.transform_cell(result.info.raw_cell or "") if result is not None else ""
    with contextlib.suppress(SyntaxError):  # such as a cell that awaits
        once.visit(ast.parse(text))


def detach(shell: Any, once: ShownOnce) -> None:
    """Take both out of the shell again."""
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [one for one in cleanup if not isinstance(one, EmptyCell)]
    shell.ast_transformers[:] = [one for one in shell.ast_transformers if one is not once]
    shell.display_trap.hook = once.hook
    _follow(once, once.hook)


def _follow(before: Any, after: Any) -> None:
    """Change the hook of the cell that is running now: the one that loads or unloads us."""
    if sys.displayhook is before:
        sys.displayhook = after


def attach_completion(shell: Any, parsers: Mapping[str, Any]) -> Callable[[], None]:
    """Let TAB complete the lines of these magics, and give back what ends it.

    Parameters
    ----------
    shell
        The running IPython shell.
    parsers
        Each magic's name, without `%`, and its argument parser.
    """
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:  # before 8.6
        return _hook_completion(shell, parsers)

    @context_matcher(identifier="fastmagic")
    def matcher(context: Any) -> dict[str, Any]:
        found = offer(context.text_until_cursor, parsers)
        if found is None:
            return {"completions": [], "suppress": False}
        return {
            "completions": [SimpleCompletion(text=word, type=_kind(word)) for word in found.words],
            "matched_fragment": found.fragment,
            "suppress": bool(found.words),
        }

    shell.Completer.custom_matchers.append(matcher)
    return lambda: _remove(shell.Completer.custom_matchers, matcher)


def _kind(word: str) -> str:
    """Give what a front end writes beside an offer."""
    return "flag" if word.startswith("-") else "value"


def _hook_completion(shell: Any, parsers: Mapping[str, Any]) -> Callable[[], None]:
    def complete(_shell: Any, event: Any) -> list[str]:
        found = offer(event.text_until_cursor, parsers)
        if found is None:
            return []
        known = max(0, len(found.fragment) - len(event.symbol))  # IPython cuts at : and =
        return [word[known:] for word in found.words]

    pattern = re.compile(rf".*%({'|'.join(map(re.escape, parsers))})\s", re.DOTALL)
    shell.set_hook("complete_command", complete, re_key=pattern)
    regexs = shell.strdispatchers["complete_command"].regexs
    return lambda: regexs.pop(pattern, None) and None


def _remove(every: list[Any], one: Any) -> None:
    if one in every:
        every.remove(one)
