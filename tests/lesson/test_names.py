from __future__ import annotations

import ast
import functools

import pytest

from fastmagic.lesson import cell
from fastmagic.lesson.names import outside_names, own_names, used_names

EARLIER_CELLS = """
import ast
import functools

def fit(): learn.fit(1)
def twice(): fit(), fit()
def by_hand(learn): learn.fit(1)
def outer():
    def inner(): return dls
    return inner
def around(f):
    @functools.wraps(f)
    def wrapped(): return f()
    return wrapped
@around
def decorated(): return learn
closure = outer()
part = functools.partial(fit)
short = lambda: learn
class Base:
    @property
    def look(self): return dls.vocab
class Mine(Base):
    @staticmethod
    def go(): return learn
mine = Mine()
several = [mine]
def ping(): return pong()
def pong(): return ping()
number, text = 3, "learn"
"""


@pytest.fixture
def namespace():
    found: dict = {"__name__": "__main__"}
    exec(EARLIER_CELLS, found)
    return found


def names(body, namespace=None, transform=None):
    return used_names(cell.parse(body, transform=transform), namespace or {})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("for i in range(2):\n    learn.fit(1)", {"i", "range", "learn"}),
        ("import os.path\nfrom x import y as z", {"os", "z"}),
        ("def f(learn): return learn.opt", {"f"}),
        ("x = 'learn'", {"x"}),
        ("x.learn", {"x"}),
        ("del dls", {"dls"}),
        ("def f():\n    global learn\n    learn = 1", {"f", "learn"}),
        ("class A:\n    b = dls", {"A", "b", "dls"}),
        ("[learn for _ in range(2)]", {"learn", "range"}),
        ("await learn", {"learn"}),
        ("return learn", {"learn"}),
    ],
)
def test_the_bodys_own_names_are_those_that_it_reads_or_assigns(body, wanted):
    assert names(body) - {"_"} == wanted


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ("%time learn.fit(1)", True),
        ("%timeit -n 1 n = learn.fit(1)", True),
        ("learn?", True),
        ("learn.fit??", True),
        ("!ls {learn.path}", True),
        ("x = !echo $learn", True),
        ("!ls learn", False),
        ("%time dls.learn", False),
        ("%%time\nlearn.fit(1)", True),
    ],
)
def test_names_in_ipythons_syntax_count(shell, body, used):
    assert ("learn" in names(body, transform=shell.transform_cell)) is used


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("fit()", {"learn"}),
        ("twice()", {"learn", "fit"}),
        ("closure()", {"dls"}),
        ("part()", {"learn"}),
        ("short()", {"learn"}),
        ("decorated()", {"learn"}),
        ("Mine()", {"learn", "dls"}),
        ("mine.go()", {"learn", "dls"}),
        ("print(several)", {"learn", "dls"}),
        ("ping()", {"pong"}),
        ("%time fit()", {"learn"}),
    ],
)
def test_what_the_persons_functions_and_classes_use_counts(namespace, shell, body, wanted):
    assert wanted <= names(body, namespace, transform=shell.transform_cell)


@pytest.mark.parametrize("body", ["by_hand(other)", "number", "text", "functools.reduce"])
def test_what_uses_no_learner_does_not_ask_for_one(namespace, body):
    assert not names(body, namespace) & {"learn", "dls"}


def test_a_librarys_functions_are_not_followed():
    assert names("reduce(x)", {"reduce": functools.reduce, "wraps": functools.wraps}) == {
        "reduce",
        "x",
    }


def test_great_collections_and_cycles_do_no_harm():
    loop: list = [list(range(1_000_000))]
    loop.append(loop)
    assert names("loop", {"loop": loop}) == {"loop"}


def test_a_body_that_cannot_be_compiled_has_names_all_the_same():
    assert "learn" in own_names(cell.parse("return learn"))


@pytest.mark.parametrize(
    ("body", "surely", "perhaps"),
    [
        ("x = y", "y", ""),
        ("x = 1\ny = x", "", ""),
        ("x += 1", "x", ""),
        ("preds, targets = f()\nprint(preds)", "f print", ""),
        ("for i in a:\n    x = i\n    z = x\nz", "a", "z"),
        ("if a:\n    x = 1\nelse:\n    y = x", "a", "x"),
        ("with a as b:\n    x = b\nx", "a", ""),
        ("try:\n    x = a\nexcept E as e:\n    e\nfinally:\n    b", "a E b", ""),
        ("while a:\n    break", "a", ""),
        ("def f(n=a): return x + n\nx = 1", "a", "x"),
        ("def f(): return x", "x", ""),
        ("class A(B):\n    n = 1\n    m = n + a\n    def f(self): return b", "B a b", ""),
        ("[x for x in a if x < b]", "a b", ""),
        ("f = lambda x: x + a", "a", ""),
        ("import os.path\nos", "", ""),
        ("match a:\n    case [x, y]:\n        x\n    case _:\n        b", "a b", ""),
        ("x = await a", "a", ""),
        ("async with a as b:\n    c", "a c", ""),
        ("def f():\n    global n\n    n = 1\nf()\nn", "", ""),
        ("del a", "a", ""),
        ("x[i].y = z", "x i z", ""),
    ],
)
def test_what_must_be_there_before_a_body_runs_is_known(body, surely, perhaps):
    found = outside_names(ast.parse(body))
    assert [set(surely.split()), set(perhaps.split())] == list(found)
