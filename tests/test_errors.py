from __future__ import annotations

import contextlib
import io

import pytest

from fastmagic import errors


def test_every_error_says_what_happened_and_what_to_do_next():
    error = errors.DownloadError("The server said no.", "Try again in a minute.")
    assert str(error) == "The server said no.\nNext: Try again in a minute."


def test_ipython_is_given_a_few_lines_and_the_whole_traceback_only_on_request():
    try:
        raise errors.BadInput("No such flag.", "See -h.")
    except errors.BadInput as caught:
        error = caught
    assert error._render_traceback_() == ["BadInput: No such flag.", "Next: See -h."]
    error.debug = True
    assert any("Traceback" in line for line in error._render_traceback_())


def test_stopped_is_a_keyboard_interrupt_and_one_of_ours():
    with pytest.raises(KeyboardInterrupt):
        raise errors.Stopped("Stopped.", "Run the cell again.")
    assert issubclass(errors.Stopped, errors.FastMagicError)


def test_every_error_of_the_tree_is_drawn_in_the_docstring():
    tree = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FastMagicError)
    ]
    assert all(name in errors.__doc__ for name in tree)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_are_broken_between_words_in_a_terminal_and_whole_elsewhere(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    folder = "/a/very/long/folder/that/nobody/can/copy/in/two/pieces"
    error = errors.DataError(f"It is kept in {folder}.", "Go on.")
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(error._render_traceback_()) == 2
    with contextlib.redirect_stdout(Terminal()):
        first, second, last = error._render_traceback_()
    assert first == "DataError: It is kept in"
    assert second == f"  {folder}."
    assert last == "Next: Go on."


def test_a_stop_is_said_once():
    stop = errors.Stopped("Stopped by hand. It is kept.", "Run it again.")
    assert stop._render_traceback_() == ["Stopped by hand. It is kept.", "Next: Run it again."]
