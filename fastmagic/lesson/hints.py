"""What to do next where a person's own code has raised an error."""

from __future__ import annotations

import socket
import sys
import urllib.error

FASTAI = "fastai.vision.all"
"""What fastai's tutorials begin with."""

MEND = "mend the line and run the cell again."

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
    return FETCH if _is_network(error) else MEND


def _is_network(error: BaseException) -> bool:
    """Say whether a request has failed: Python's own, or of `requests`, which the hubs use."""
    if isinstance(error, (urllib.error.URLError, socket.gaierror)):
        return True
    requests = sys.modules.get("requests")
    return requests is not None and isinstance(error, requests.exceptions.RequestException)
