"""Does the installation work: tried in a fresh process, and remembered for these versions."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmagic import child, whole
from fastmagic.environment import diagnosis
from fastmagic.environment.inventory import Interpreter, Inventory
from fastmagic.gpu import torch_support

TRIAL = Path(__file__).with_name("trial.py")
TRIAL_SECONDS = 300.0  # importing fastai for the first time on a slow disk takes a minute
REMEMBERED = 50


@dataclass(frozen=True)
class Trial:
    """What trying the installation showed.

    Attributes
    ----------
    good
        What worked.
    failure
        What did not, in its own words; empty where all is well.
    cause, remedy
        What is known about such a failure; empty where nothing is.
    seconds
        How long it took.
    """

    good: tuple[str, ...] = ()
    failure: str = ""
    cause: str = ""
    remedy: str = ""
    seconds: float = 0.0


def try_out(
    interpreter: Interpreter,
    command: Sequence[str] | None = None,
    limit: float = TRIAL_SECONDS,
    tick: Callable[[float], None] | None = None,
) -> Trial:
    """Import fastai, run an operator of torchvision and a training step, in a fresh process.

    Parameters
    ----------
    interpreter
        The Python to try.
    command
        The process that tries; `trial.py` by default.
    limit
        Seconds after which it is ended.
    tick
        Called now and then with the seconds passed.
    """
    if command is None:
        command = (interpreter.executable, str(TRIAL), str(torch_support.PROBE))
    # Colab and Jupyter set a backend that a process without a notebook may not have.
    answer = child.ask(command, limit, tick, env={"MPLBACKEND": "Agg"})
    good = answer.data.get("good")
    failure = answer.words or str(answer.data.get("failure", "It gave no readable answer."))
    cause, remedy = (diagnosis.diagnose(failure) or ("", "")) if failure else ("", "")
    names = tuple(map(str, good)) if isinstance(good, list) else ()
    return Trial(names, failure, cause, remedy, answer.seconds)


def fingerprint(interpreter: Interpreter, here: Inventory) -> str:
    """Name these very versions in this very Python with this driver.

    Examples
    --------
    >>> one = fingerprint(Interpreter("python"), Inventory({"fastai": "2.8.8"}))
    >>> one == fingerprint(Interpreter("python"), Inventory({"fastai": "2.8.9"}))
    False
    """
    what = [interpreter.executable, here.python, here.driver, here.torch_cuda]
    text = json.dumps([what, sorted(here.installed.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Memory:
    """Which versions were verified, in a small JSON file; a broken file is an empty memory."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "verified.json"

    def when(self, name: str) -> str | None:
        """Say when these versions were verified, or None."""
        return self._read().get(name)

    def remember(self, name: str) -> None:
        """Note that they were verified now; where that cannot be written, it is tried again."""
        known = self._read()
        known.pop(name, None)
        known[name] = time.strftime("%Y-%m-%d %H:%M")
        kept = dict(list(known.items())[-REMEMBERED:])
        whole.remember(self._file, json.dumps(kept, indent=1))

    def _read(self) -> dict[str, str]:
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        is_ours = isinstance(data, dict)
        return {str(k): str(v) for k, v in data.items()} if is_ours else {}
