"""What to do next where a person's own code has raised an error."""

from __future__ import annotations

import linecache
import re
import socket
import sys
import traceback
import urllib.error
from contextlib import suppress

from fastmagic.errors import did_you_mean

FASTAI = "fastai.vision.all"
"""What fastai's tutorials begin with."""

MEND = "mend the line and run the cell again."

VIEW = "view size is not compatible with input tensor's size and stride"
RESHAPE = (
    "write `.reshape` in place of `.view`, or give --no-channels-last: the network's weights lie "
    "with the channels last, and so do its maps. Then run the cell again."
)

FETCH = (
    "it could not be fetched. Switch the internet on (Kaggle: Settings > Internet) and run the "
    "cell again. Where it is a network's weights: `pretrained=False` starts from nothing; the "
    "`learn` that is ready in the cell takes --weights FILE."
)


def next_step(error: BaseException) -> str:
    """Say what to do about an error of the body.

    Parameters
    ----------
    error
        Whatever it has raised.

    Returns
    -------
    str
        A sentence that goes on after "Next: ".

    Examples
    --------
    >>> next_step(ValueError("no"))
    'mend the line and run the cell again.'
    """
    if isinstance(error, NameError) and error.name in vars(sys.modules.get(FASTAI, sys)):
        return f"put `from {FASTAI} import *` at the top of the cell, which knows {error.name}."
    if isinstance(error, AttributeError) and error.name:
        with suppress(Exception):  # of a `__dir__` of the person's: the error itself goes first
            return _lacking(error, error.name) or MEND
    if isinstance(error, RuntimeError) and VIEW in str(error):
        return RESHAPE
    return FETCH if _is_network(error) else MEND


def _lacking(error: AttributeError, missing: str) -> str:
    """Say what lacks an attribute by the name in the person's line, and what is near to it.

    A learner asks its network for what it does not have, and the error speaks of that alone.
    """
    steps = [
        (frame, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith("<lesson cell")
    ]
    for frame, number in reversed(steps):
        line = linecache.getline(frame.f_code.co_filename, number)
        for name in re.findall(rf"(?<![\w.])(\w+)\.{re.escape(missing)}\b", line):
            known = {**frame.f_globals, **frame.f_locals}
            has = dir(known[name]) if name in known else [missing]
            if missing not in has:
                return f"`{name}` has no `{missing}`. {did_you_mean(missing, has)}".rstrip()
    return ""


def _is_network(error: BaseException) -> bool:
    """Say whether a request has failed: Python's own, or of `requests`, which the hubs use."""
    if isinstance(error, (urllib.error.URLError, socket.gaierror)):
        return True
    requests = sys.modules.get("requests")
    return requests is not None and isinstance(error, requests.exceptions.RequestException)
