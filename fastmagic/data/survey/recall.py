"""A result that is remembered for as long as the folder it was made of stays the same.

One small JSON file an answer, beside the memory of checked pictures; whatever is damaged, missing
or of another version is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fastmagic import whole

VERSION = 4
"""Of what is kept; raised whenever the same folder would give another card."""


class Recall:
    """Remembers one answer about one folder.

    Parameters
    ----------
    memory
        The folder in which answers are kept.
    folder
        What the answer is about.
    question
        What else it depends on.
    """

    def __init__(self, memory: Path, folder: Path, *question: str) -> None:
        key = b"\0".join(map(os.fsencode, (str(folder.resolve()), str(folder), *question)))
        self._file = memory / f"card-{hashlib.sha256(key).hexdigest()[:16]}.json"

    def find(self, fingerprint: str) -> dict[str, Any] | None:
        """Give the answer that was kept while the folder had this fingerprint, else None."""
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            same = kept["version"] == VERSION and kept["fingerprint"] == fingerprint
            return dict(kept["answer"]) if same else None
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def keep(self, fingerprint: str, answer: dict[str, Any]) -> None:
        """Keep an answer, in the place of the one before."""
        kept = {"version": VERSION, "fingerprint": fingerprint, "answer": answer}
        whole.remember(self._file, json.dumps(kept))
