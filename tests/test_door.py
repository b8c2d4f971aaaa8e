"""The package's front door: what it exports, and what it does not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastmagic


def test_the_public_names_are_sorted_and_all_there():
    assert sorted(fastmagic.__all__) == fastmagic.__all__
    for name in fastmagic.__all__:
        assert getattr(fastmagic, name) is not None


def test_what_the_docstring_of_get_data_names_is_at_the_door():
    assert "`list_data()` shows them" in fastmagic.get_data.__doc__
    assert "dogscats" in str(fastmagic.list_data())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'train_lesson2'"):
        fastmagic.train_lesson2  # noqa: B018


def test_loading_the_extension_imports_nothing_heavy():
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "fastmagic")
new = set(sys.modules) - before
heavy = {"torch", "torchvision", "fastai", "fastcore", "requests", "pynvml", "numpy", "PIL",
         "pooch", "matplotlib", "pandas", "tqdm", "psutil", "filelock"}
print(sorted(heavy & {name.split(".")[0] for name in new}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_only_the_files_that_contributing_names_import_ipython():
    root = Path(__file__).parents[1]
    rules = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rule = re.search(r"Only ([^.]+\.py.*?) import IPython", rules, re.DOTALL)
    assert rule
    found = {
        file.name
        for file in (root / "fastmagic").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("IPython")
        and node.module != "IPython.display"
    }
    assert found == set(re.findall(r"`(\w+\.py)`", rule[1]))
