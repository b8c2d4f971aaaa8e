"""Try to import cv2, and name the libraries that it lacks; run in a process of its own.

Stands alone: the Python that runs it need not have fastmagic. The loader's own error names one
library at a time; where ldd is there, it names them all.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path


def main() -> None:
    """Print one marked line: {"error": text, "lacking": [sonames]}."""
    error = ""
    try:
        importlib.import_module("cv2")
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    named = re.findall(r"(\S+\.so[\w.]*): cannot open shared object file", error)
    answer = {"error": error, "lacking": sorted({*named, *_not_found()} if named else {})}
    print("fastmagic-answer:" + json.dumps(answer))  # noqa: T201


def _not_found() -> list[str]:
    ldd = shutil.which("ldd")
    spec = importlib.util.find_spec("cv2")
    if not ldd or spec is None or not spec.submodule_search_locations:
        return []
    modules = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.so"))
    if not modules:
        return []
    done = subprocess.run([ldd, str(modules[0])], capture_output=True, text=True, check=False)
    return re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)


if __name__ == "__main__":
    main()
