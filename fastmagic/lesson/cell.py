"""The body of a lesson's cell: ordinary Python that runs in the person's own namespace.

It is compiled under a name of its own, with the line numbers it has in the notebook's cell, so that
an error points at the person's line. What goes wrong keeps its own type (a `NameError` stays one);
only how IPython shows it is made short, by the `_render_traceback_` that IPython looks for.

A top-level `await` works as in any cell of a notebook. The kernel's own event loop is running while
a magic runs, and cannot be entered a second time: so the body gets a loop of its own.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import io
import linecache
import re
import sysconfig
import tokenize
import traceback
import types
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmagic import errors
from fastmagic.lesson.hints import next_step

CONTEXT = 2
"""Lines shown before the one that failed."""


@dataclass(frozen=True)
class Cell:
    """A parsed body.

    Attributes
    ----------
    source
        The text as it was written.
    filename
        The name that stands for it in tracebacks.
    tree
        What it was parsed to.
    quiet
        Whether a trailing semicolon keeps the last value from being shown.
    first_line
        The line that the text begins at in the notebook's cell.
    """

    source: str
    filename: str
    tree: ast.Module
    quiet: bool
    first_line: int = 1

    @property
    def names(self) -> set[str]:
        """Every name that the body reads or assigns."""
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}


def is_empty(source: str | None) -> bool:
    """Say whether a body has nothing to run: no text, blanks or comments only.

    Examples
    --------
    >>> is_empty(None), is_empty("  # learn.fit(1)"), is_empty("learn.fit(1)")
    (True, True, False)
    """
    lines = (line.strip() for line in (source or "").splitlines())
    return all(not line or line.startswith("#") for line in lines)


def parse(
    source: str, *, first_line: int = 1, transform: Callable[[str], str] | None = None
) -> Cell:
    """Parse a body.

    Parameters
    ----------
    source
        The body's text.
    first_line
        The line that it begins at in the cell: 2 where a `%%` line stands above it.
    transform
        Turns IPython's own syntax into Python; None where the body is plain Python.

    Raises
    ------
    SyntaxError
        As Python says it; IPython shows it short, with the person's line.

    Examples
    --------
    >>> sorted(parse("learn.fit(epochs)").names)
    ['epochs', 'learn']
    """
    filename = f"<lesson cell {hashlib.sha256(source.encode()).hexdigest()[:8]}>"
    lines = _remember(source, filename, first_line)
    blank = re.match(r"(?:[ \t\f]*\r?\n)*", source)  # lines at the top, which IPython leaves out
    begin = blank.end() if blank else 0
    above = first_line - 1 + source[:begin].count("\n")
    text = transform(source[begin:]) if transform else source[begin:]
    try:
        tree = ast.parse("\n" * above + text, filename)
    except SyntaxError as error:
        _make_short(error, lines)
        raise
    return Cell(source, filename, tree, _ends_quietly(source), first_line)


def remember(cell: Cell) -> None:
    """Let tracebacks find the lines of a body that was parsed in another process."""
    _remember(cell.source, cell.filename, cell.first_line)


def _remember(source: str, filename: str, first_line: int) -> list[str]:
    shown = "\n" * (first_line - 1) + source
    lines = [line + "\n" for line in shown.splitlines()]
    linecache.cache[filename] = (len(shown), None, lines, filename)
    return lines


def check(cell: Cell) -> None:
    """Make sure that a body can be compiled: a `return` outside a function, say, can be parsed.

    Raises
    ------
    SyntaxError
        As `parse` raises it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are given when it runs
            compiled(cell.tree, cell.filename)
    except SyntaxError as error:
        _make_short(error, linecache.getlines(cell.filename))
        raise


def _make_short(error: SyntaxError, lines: list[str]) -> None:
    errors.make_short(error, [f"SyntaxError: {error.msg}", *_syntax_place(error, lines)])


def _ends_quietly(source: str) -> bool:
    """Say whether the last thing that is no comment is a semicolon."""
    passed_over = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER}
    passed_over |= {tokenize.INDENT, tokenize.DEDENT}
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            last = last if token.type in passed_over else token.string
    except (tokenize.TokenError, SyntaxError):  # IPython's own syntax
        return source.rstrip().endswith(";")
    return last == ";"


def run(
    cell: Cell, namespace: dict[str, Any], display: Callable[[Any], object] | None = None
) -> None:
    """Run a body in a namespace, and show the value of its last expression.

    Parameters
    ----------
    cell
        The parsed body.
    namespace
        Where its names are looked up and assigned.
    display
        What shows the last expression's value; None shows nothing.

    Raises
    ------
    Exception
        Whatever the body raises, of its own type.

    Examples
    --------
    >>> run(parse("n = 20 + 1\\n2 * n"), {}, print)
    42
    """
    statements = list(cell.tree.body)
    last = None
    if display and not cell.quiet and statements and isinstance(statements[-1], ast.Expr):
        last = ast.Expression(statements.pop().value)  # type: ignore[attr-defined]
    try:
        with closing(_OwnLoop()) as loop:
            _evaluate(compiled(ast.Module(statements, []), cell.filename), namespace, loop)
            if last is not None and display is not None:
                value = _evaluate(compiled(last, cell.filename), namespace, loop)
                if value is not None:
                    display(value)
    except Exception as error:
        if not hasattr(error, "_render_traceback_"):
            errors.make_short(error, _short_traceback(error))
        raise


def compiled(tree: ast.Module | ast.Expression, filename: str) -> types.CodeType:
    """Compile a body or its last expression; one that awaits becomes a coroutine's code."""
    mode = "exec" if isinstance(tree, ast.Module) else "eval"
    awaits = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    # not by this file's own `from __future__`
    return compile(tree, filename, mode, flags=awaits, dont_inherit=True)


def _evaluate(code: types.CodeType, namespace: dict[str, Any], loop: _OwnLoop) -> Any:
    value = eval(code, namespace)  # noqa: S307 - the person's own code
    return loop.run(value) if code.co_flags & inspect.CO_COROUTINE else value


class _OwnLoop:
    """An event loop for one body, made at its first await; the kernel's goes on afterwards."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, in this thread; an error or Ctrl-C passes through."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        with _no_loop_running():
            return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Cancel what the body left running, and close the loop."""
        if self._loop is None:
            return
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        try:
            with _no_loop_running():
                ending = asyncio.gather(*tasks, return_exceptions=True) if tasks else None
                if ending is not None:
                    self._loop.run_until_complete(ending)
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


@contextmanager
def _no_loop_running() -> Iterator[None]:
    """Let asyncio believe that this thread runs no event loop, as within the block it does not.

    A loop refuses to start while another runs in the same thread, and since Python 3.14 also while
    a task of another is under way. Both are only marks, and are put back.
    """
    outer = asyncio._get_running_loop()
    task = asyncio.current_task(outer) if outer is not None else None
    swap = getattr(asyncio.tasks, "_swap_current_task", None)  # Python 3.12 and later
    if task is not None and swap is not None:
        swap(outer, None)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None and swap is not None:
            swap(outer, task)


def _syntax_place(error: SyntaxError, lines: list[str]) -> list[str]:
    number = error.lineno or 0
    if not 0 < number <= len(lines):
        return []
    caret = " " * (9 + max((error.offset or 1) - 1, 0)) + "^"
    return [*_lines_around(lines, number), caret]


def _short_traceback(error: BaseException) -> list[str]:
    lines = _what_and_where(error)
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:  # fastai may lose what happened: of `assert False` in a callback, say
        first, *others = _what_and_where(before)
        lines += [f"after {first}", *(line for line in others if line not in lines)]
    lines.append(f"Next: {next_step(error)}")
    lines.append("%config FastMagics.debug = True shows the whole traceback.")
    return lines


def _what_and_where(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if _is_the_persons(frame.filename)]
    lines = [f"{type(error).__name__}: {error}"]
    for frame in mine:
        where = "" if frame.name == "<module>" else f", in {frame.name}"
        lines.append(f"in {_place(frame.filename)}, line {frame.lineno}{where}:")
        lines += _lines_around(linecache.getlines(frame.filename), frame.lineno or 0)
    if frames and frames[-1] not in mine:
        end = frames[-1]
        lines.append(f"raised by {'/'.join(Path(end.filename).parts[-2:])}, line {end.lineno}")
    return lines


def _place(filename: str) -> str:
    """Say where a line stands: IPython calls its cells by names, or files, that mean nothing."""
    if filename.startswith("<lesson cell"):
        return "the cell"
    return "an earlier cell" if re.search(r"<ipython-input|ipykernel_\d", filename) else filename


def _is_the_persons(filename: str) -> bool:
    places = [sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")]
    ours = str(Path(__file__).parents[1])
    return not filename.startswith((ours, *places, "<frozen"))


def _lines_around(lines: list[str], number: int) -> list[str]:
    shown = []
    for n in range(max(1, number - CONTEXT), number + 1):
        text = lines[n - 1].rstrip() if n <= len(lines) else ""
        if text or n == number:
            shown.append(f"{'-->' if n == number else '   '} {n:4d} {text}")
    return shown
