from __future__ import annotations

import asyncio

import pytest

from fastmagic import errors
from fastmagic.lesson import cell


@pytest.mark.parametrize("text", [None, "", "  \n\t\n", "# only\n  # comments", "\n\n#x"])
def test_blanks_and_comments_are_an_empty_body(text):
    assert cell.is_empty(text)


@pytest.mark.parametrize("text", ["learn.fit(1)", "'a docstring'", "# first\nx = 1", "x = ("])
def test_anything_else_is_a_body(text):
    assert not cell.is_empty(text)


def test_assigned_names_stay_and_the_persons_names_are_there():
    namespace = {"mine": 20}
    cell.run(cell.parse("theirs = mine + 1"), namespace)
    assert namespace["theirs"] == 21


def test_the_last_expression_is_shown_unless_a_semicolon_says_not_to():
    shown: list[object] = []
    cell.run(cell.parse("x = 6\nx * 7"), {}, shown.append)
    cell.run(cell.parse("x = 6\nx * 7;"), {}, shown.append)
    cell.run(cell.parse("None"), {}, shown.append)
    cell.run(cell.parse("x = 6"), {}, shown.append)
    assert shown == [42]


def lines_of(error: BaseException) -> list[str]:
    return error._render_traceback_()


def test_an_error_keeps_its_type_and_shows_the_persons_line_with_its_number_in_the_cell():
    body = "a = 1\n\nb = a + lern\n"
    with pytest.raises(NameError) as caught:
        cell.run(cell.parse(body, first_line=2), {})
    lines = lines_of(caught.value)
    assert lines[0] == "NameError: name 'lern' is not defined"
    assert "in the cell, line 4:" in lines
    assert "-->    4 b = a + lern" in lines
    assert not any("fastmagic/" in line for line in lines)


def test_an_error_below_a_function_of_the_persons_shows_both_lines():
    body = "def half(n):\n    return 1 / n\n\nhalf(0)\n"
    with pytest.raises(ZeroDivisionError) as caught:
        cell.run(cell.parse(body), {})
    lines = lines_of(caught.value)
    assert "in the cell, line 4:" in lines
    assert "in the cell, line 2, in half:" in lines


def test_an_error_inside_a_library_says_where_it_was_raised_but_not_how_it_got_there():
    with pytest.raises(ValueError, match="Expecting value") as caught:
        cell.run(cell.parse("import json\njson.loads('')"), {})
    lines = lines_of(caught.value)
    assert "-->    2 json.loads('')" in lines
    assert any(line.startswith("raised by json/decoder.py") for line in lines)


def test_a_syntax_error_points_at_the_place():
    with pytest.raises(SyntaxError) as caught:
        cell.parse("x = 1\ny = (2\n", first_line=2)
    lines = lines_of(caught.value)
    assert lines[0].startswith("SyntaxError: ")
    assert any("3 y = (2" in line for line in lines)


def test_the_whole_traceback_can_be_had_back():
    with pytest.raises(NameError) as caught:
        cell.run(cell.parse("lern"), {})
    errors.make_whole(caught.value)
    assert not hasattr(caught.value, "_render_traceback_")


def test_ipythons_own_syntax_is_handed_to_ipython():
    namespace: dict = {}
    cell.run(
        cell.parse("!ls\nx = 1", transform=lambda text: text.replace("!ls", "y = 2")), namespace
    )
    assert (namespace["x"], namespace["y"]) == (1, 2)


def test_the_names_that_a_body_uses_are_known():
    assert "learn" in cell.parse("for i in range(2):\n    learn.fit(1)").names
    assert "learn" not in cell.parse("x = 'learn'").names


AWAITS = """
import asyncio
async def half(n):
    await asyncio.sleep(0)
    return 1 / n
x = await half(2)
task = asyncio.ensure_future(half(4))
await task
"""


def run_here(body, namespace=None, display=None):
    cell.run(cell.parse(body), {} if namespace is None else namespace, display)


def run_in_a_task(body, namespace=None, display=None):
    """Run a body as a kernel does: from a task of a loop that is running; it must go on."""

    async def kernel():
        beside = asyncio.ensure_future(asyncio.sleep(0, "alive"))
        me = asyncio.current_task()
        try:
            run_here(body, namespace, display)
        finally:
            assert asyncio.current_task() is me
            assert await beside == "alive"

    asyncio.run(kernel())


@pytest.fixture(params=[run_here, run_in_a_task], ids=["in a script", "in a running loop"])
def run_body(request):
    return request.param


def test_a_body_may_await_and_its_last_value_is_shown(run_body):
    namespace, shown = {}, []
    run_body(AWAITS, namespace, shown.append)
    assert namespace["x"] == 0.5
    assert shown == [0.25]


def test_async_for_and_async_with_work_at_the_top(run_body):
    body = (
        "from contextlib import asynccontextmanager\n"
        "async def numbers():\n    yield 1\n    yield 2\n"
        "@asynccontextmanager\nasync def three():\n    yield 3\n"
        "async with three() as n:\n    found = [m async for m in numbers()] + [n]"
    )
    namespace: dict = {}
    run_body(body, namespace)
    assert namespace["found"] == [1, 2, 3]


def test_an_error_that_was_awaited_points_at_the_persons_lines(run_body):
    with pytest.raises(ZeroDivisionError) as caught:
        run_body(AWAITS + "await half(0)")
    lines = lines_of(caught.value)
    assert "in the cell, line 9:" in lines
    assert "in the cell, line 5, in half:" in lines
    assert "raised by" not in "".join(lines)


def test_a_stop_while_it_awaits_passes_through_and_leaves_no_loop(run_body):
    body = (
        AWAITS + "async def stop(): raise KeyboardInterrupt\nloop = task.get_loop()\nawait stop()"
    )
    namespace: dict = {}
    with pytest.raises(KeyboardInterrupt):
        run_body(body, namespace)
    assert namespace["loop"].is_closed()


def test_what_was_left_running_is_cancelled(run_body):
    namespace: dict = {}
    run_body(AWAITS + "left = asyncio.ensure_future(asyncio.sleep(60))\nawait half(1)", namespace)
    assert namespace["left"].cancelled()


def test_the_bodys_annotations_are_read_as_the_person_wrote_them():
    namespace: dict = {}
    run_here("def f(n: int): pass", namespace)
    assert namespace["f"].__annotations__ == {"n": int}


def test_a_semicolon_counts_before_a_comment_and_not_in_one():
    shown: list[object] = []
    cell.run(cell.parse("6 * 7;  # quiet"), {}, shown.append)
    assert shown == []
    cell.run(cell.parse("6 * 7  # loud;"), {}, shown.append)
    assert shown == [42]


def test_blank_lines_at_the_top_count_though_ipython_leaves_them_out():
    with pytest.raises(NameError) as caught:
        cell.run(cell.parse("\n  \nlern", first_line=2, transform=str.lstrip), {})
    assert "in the cell, line 4:" in lines_of(caught.value)


def test_what_only_the_compiler_refuses_is_told_before_anything_runs():
    with pytest.raises(SyntaxError) as caught:
        cell.check(cell.parse("x = 1\nreturn x", first_line=2))
    assert any("3 return x" in line for line in lines_of(caught.value))


def test_an_error_that_hides_another_shows_the_persons_line_of_both():
    body = "try:\n    assert False\nexcept AssertionError as error:\n    error.args[0]"
    with pytest.raises(IndexError) as caught:
        cell.run(cell.parse(body), {})
    lines = lines_of(caught.value)
    assert "-->    4     error.args[0]" in lines
    assert "after AssertionError: " in lines
    assert "-->    2     assert False" in lines


def next_step_of(body):
    with pytest.raises(Exception) as caught:
        cell.run(cell.parse(body), {})
    return " ".join(lines_of(caught.value)).partition("Next: ")[2]


def test_a_name_of_fastais_that_is_missing_is_told_with_the_line_that_brings_it():
    pytest.importorskip("fastai.vision.all")
    assert "from fastai.vision.all import *" in next_step_of("class Mine(Callback): pass")
    assert "mend the line" in next_step_of("lern.fit(1)")


@pytest.mark.parametrize(
    "body",
    [
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/weights.pth')",
        "import requests\nrequests.get('http://127.0.0.1:9/weights.pth')",
    ],
)
def test_what_cannot_be_fetched_is_no_line_to_be_mended(body):
    assert "it could not be fetched" in next_step_of(body)
    assert "internet" in next_step_of(body)


DELEGATES = """
class Network: pass
class Learner:
    model = Network()
    def fit(self): pass
    def __getattr__(self, name): return getattr(self.model, name)
class Odd:
    def __dir__(self): raise ValueError
learn, odd = Learner(), Odd()
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("learn.fitt(1)", "`learn` has no `fitt`. Did you mean 'fit'?"),
        ("learn.fit(), learn.fitt", "`learn` has no `fitt`. Did you mean 'fit'?"),
        ("def go(it):\n    it.fitt()\ngo(learn)", "`it` has no `fitt`. Did you mean 'fit'?"),
        ("learn.zebra", "`learn` has no `zebra`."),
        ("learn.model.fitt", "mend the line"),
        ("getattr(learn, 'fitt')", "mend the line"),
        ("odd.fitt", "mend the line"),
        ("raise AttributeError('no')", "mend the line"),
    ],
)
def test_what_a_learner_lacks_is_said_of_the_learner_not_of_its_network(line, said):
    assert next_step_of(DELEGATES + line).startswith(said)
