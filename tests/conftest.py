"""What several tests share: a shell, small data sets, and a place where no test meets another."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

# As many processes test as there are cores; with more threads in each they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

COLLECT_EVERY = 10
_ended = 0


def pytest_sessionstart():
    """Let garbage be collected between tests only.

    What is collected may warn, and pytest formats the traceback of that, for which Python 3.11
    parses the line. In the middle of another `ast.parse` this ends in "AST constructor recursion
    depth mismatch": its counter is shared (https://github.com/python/cpython/issues/106905).
    """
    gc.disable()


def pytest_runtest_teardown():
    """Collect, now and then."""
    global _ended
    _ended += 1
    if _ended % COLLECT_EVERY == 0:
        gc.collect()


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory, monkeypatch):
    """Give every test a home of its own for data, runs and weights."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FASTAI_HOME", str(home / "fastai"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    for name in ("FASTMAGIC_CATALOGUE", "FASTMAGIC_WEIGHTS", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(work)


@pytest.fixture
def shell():
    """Give a fresh IPython shell without history; it re-raises what a line magic raises."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    InteractiveShell.clear_instance()
    config = Config()
    config.HistoryManager.enabled = False
    running = InteractiveShell.instance(config=config)
    yield running
    if running.magics_manager.registry.get("FastMagics"):
        running.extension_manager.unload_extension("fastmagic")
    InteractiveShell.clear_instance()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory) -> Path:
    """Draw a few pictures in lesson 1's layout: enough for a learner to run, not to learn."""
    from fastmagic.data.drawn.sample import draw_sample

    return draw_sample(tmp_path_factory.mktemp("data") / "few", train=32, valid=16, side=32)
