"""IPython in a terminal of 80 and of 120 columns, with and without colour, and piped to a file."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys

import pytest

fcntl = pytest.importorskip("fcntl")  # Windows has no terminals of this kind
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

LESSON = "%train_lesson1 --data sample --epochs 1"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def ipython(*lines: str) -> list[str]:
    commands = "; ".join(f"_ran = get_ipython().run_cell({line!r})" for line in lines)
    own = "--no-term-title"  # IPython 7 sets the window's title by an escape code, piped too
    return [sys.executable, "-m", "IPython", own, "--ext=fastmagic", "-c", commands]


def in_a_terminal(columns: int, *lines: str, **env: str) -> str:
    """Run lines in IPython whose output is a terminal of so many columns; give all it wrote."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    child = subprocess.Popen(
        ipython(*lines),
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=inner,
        env={**variables, "TERM": "xterm-256color", **env},
    )
    os.close(inner)
    written = b""
    while True:
        try:
            chunk = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(outer)
    assert child.wait(60) == 0
    return written.decode("utf-8").replace("\r\n", "\n")


def piped(*lines: str, **env: str) -> str:
    found = subprocess.run(
        ipython(*lines), capture_output=True, text=True, env={**os.environ, **env}, check=True
    )
    return found.stdout


def too_wide(written: str, columns: int) -> list[str]:
    """Give the lines that a terminal breaks in two; an address or a path may be too long."""
    pieces = [ESCAPE.sub("", piece) for piece in re.split(r"[\n\r]", written)]
    return [piece for piece in pieces if len(piece.rstrip()) > columns and " " in piece.strip()]


@pytest.mark.train
@pytest.mark.parametrize("columns", [80, 120])
def test_a_lesson_in_a_terminal(columns):
    written = in_a_terminal(columns, LESSON)
    assert "Finished: accuracy" in written
    assert not too_wide(written, columns)
    assert "<div" not in written
    assert not COLOUR.search(written.partition("fastmagic-runs")[0])


@pytest.mark.train
def test_a_lesson_piped_to_a_file():
    written = piped(LESSON)
    assert "Finished: accuracy" in written
    assert not set("\x1b\r\x08") & set(written)
    assert "<div" not in written


@pytest.mark.parametrize(
    "line", ["%gpu_check --no-probe", "%get_data dogcats", "%fastai_setup --no"]
)
def test_no_color_means_no_colour(line):
    assert not ESCAPE.search(in_a_terminal(80, line, NO_COLOR="1"))
    assert not ESCAPE.search(piped(line, NO_COLOR="1"))
