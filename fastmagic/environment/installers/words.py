"""What an installer's failure means, in plain words with the next step.

The texts are pip's (22.2 to 26.3) and uv's (0.13) own, as they were seen when both were driven
against servers and folders that fail on purpose; `tests/environment/test_pip.py` does it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastmagic.child import last_lines
from fastmagic.environment.redaction import redacted

SILENCE = "fastmagic: no line for too long, so the installer was ended\n"
AGAIN = "then run %fastai_setup again."
OWN_PLACE = (
    "Make an environment of your own (python -m venv lesson), activate it, install fastmagic there "
    "and run %fastai_setup again."
)
INTERNET = f"Check the internet connection (Kaggle: Settings > Internet > on), {AGAIN}"
PROXY = f"Check the proxy's address in HTTPS_PROXY and pip's settings, {AGAIN}"
ADDRESS = (
    "Check the index's address (--index-url, or %pip config list) and its name and password, "
    f"{AGAIN}"
)
MANY = 4

Found = tuple[str, str]
Find = Callable[[str], "Found | None"]


@dataclass(frozen=True)
class Text:
    """A text that a failure is known by, what happened, and what to do next.

    Attributes
    ----------
    pattern
        Its named groups may stand in `what`.
    what, remedy
        Two plain sentences.
    """

    pattern: str
    what: str
    remedy: str

    def find(self, text: str) -> Found | None:
        """Give both sentences where the text is there."""
        match = re.search(self.pattern, text)
        if not match:
            return None
        return self.what.format(**{key: value or "" for key, value in match.groupdict().items()}), (
            self.remedy
        )


MACHINE = (
    Text(
        r"fastmagic: no line for too long",
        "It said nothing for minutes, so it was ended; the index or the way to it hangs.",
        INTERNET,
    ),
    Text(
        r"externally[- ]managed",
        "This Python belongs to the operating system, which does not let pip change it (PEP 668).",
        OWN_PLACE,
    ),
    Text(
        r"No module named '?pip\b",
        "This Python has no pip.",
        f"Run python -m ensurepip --upgrade in a terminal, {AGAIN}",
    ),
    Text(
        r"no such option: --(report|dry-run)",
        "This pip is too old to say beforehand what it would change.",
        f"Run %pip install --upgrade pip, {AGAIN}",
    ),
    # Some notebook images set UV_CONSTRAINT to a file that only their build had.
    Text(
        r"error: File not found: `?(?P<file>[^`\n]+)",
        "A setting of uv names a file that is not there: {file}.",
        "Unset uv's variables: import os; [os.environ.pop(name) for name in list(os.environ) if "
        f"name.startswith('UV_')], {AGAIN}",
    ),
    Text(
        r"Could not open (requirements|constraint) file: \[Errno 2\][^']*'(?P<file>[^']*)'",
        "A setting of pip names a file that is not there: {file}.",
        f"Unset PIP_CONSTRAINT (import os; os.environ.pop('PIP_CONSTRAINT')), {AGAIN}",
    ),
    Text(
        r"No space left on device|Errno 28\b|os error 28\b",
        "The disk is full.",
        f"Free some gigabytes (%pip cache purge frees pip's own), {AGAIN}",
    ),
    Text(
        r"Permission denied|Read-only file system|(Errno|os error) (13|30)\b",
        "The folder of this Python's packages cannot be written.",
        OWN_PLACE,
    ),
)

TRANSFER = (
    Text(
        r"(?s)DO NOT MATCH THE HASHES.*?\n\s+(?P<name>[\w.\[\]-]+)[^\n]* from ",
        "What was downloaded as {name} is not what the index promised; the transfer broke off or "
        "the file was changed.",
        f"Run %pip cache purge, {AGAIN} If it stays, tell the index's owner.",
    ),
    Text(
        r"Hash mismatch for `(?P<name>[^`]*)`",
        "What was downloaded as {name} is not what the index promised; the transfer broke off or "
        "the file was changed.",
        f"Run uv cache clean, {AGAIN} If it stays, tell the index's owner.",
    ),
    Text(
        r"incomplete-download|IncompleteRead|Connection broken|end of file before message length",
        "A download broke off again and again.",
        INTERNET,
    ),
    Text(
        r"Wheel '(?P<name>[^']*)' located at \S+ is invalid|"
        r"(?P<package>\S+) has an invalid package format",
        "The file of {name}{package} is no readable wheel; its download may have broken off.",
        f"Run %pip cache purge, {AGAIN} If it stays, tell the index's owner.",
    ),
)

CONNECTION = (
    Text(
        r"407 Proxy Authentication|proxy authorization required|\b407\b[^\n]*[Pp]roxy",
        "The proxy on the way to the package index wants a name and a password (it answers 407).",
        PROXY,
    ),
    Text(
        r"ProxyError|proxy connection error|Cannot connect to proxy|tunnel error",
        "The proxy on the way to the package index does not answer as it should.",
        PROXY,
    ),
    Text(
        r"CERTIFICATE_VERIFY_FAILED|SSLError|invalid peer certificate|SSLCertVerification",
        "The package index shows a certificate that is not trusted here.",
        f"Name the file of the network's own certificates in PIP_CERT (uv: SSL_CERT_FILE), {AGAIN}",
    ),
    Text(
        r"too many 5\d\d error responses|\b5\d\d Server Error|HTTP status server error",
        "The package index has a fault of its own (it answers with a status of 500 or more).",
        "Wait some minutes, or name another index (--index-url), then run %fastai_setup again.",
    ),
    Text(
        r"Temporary failure in name resolution|getaddrinfo failed|Name or service not known|"
        r"NameResolutionError|nodename nor servname|dns error|Failed to resolve",
        "The package index could not be reached: its name is not known here.",
        INTERNET,
    ),
    Text(
        r"ReadTimeoutError|ConnectTimeoutError|Read timed out|operation timed out|"
        r"didn't respond within|TimeoutError",
        "The package index could not be reached in time.",
        INTERNET,
    ),
    Text(
        r"NewConnectionError|Failed to establish a new connection|Connection refused|"
        r"Network is unreachable|No route to host|Connection reset|ConnectionError|connect error",
        "The package index could not be reached.",
        INTERNET,
    ),
)

INDEX = (
    Text(
        r"The repository located at (?P<host>\S+) is not a trusted",
        "pip does not trust {host}, because its address begins with http:// and not with https://.",
        "Give the index's https address (--index-url), then run %fastai_setup again.",
    ),
    Text(
        r"got Content-Type: (?P<kind>[^\s;]+?)\.?\s|Unsupported `Content-Type` \"(?P<uv>[^\"]*)\"",
        "What answers at the index's address is no package index; it sends {kind}{uv}.",
        ADDRESS,
    ),
)


def explain(lines: Iterable[str]) -> Found:
    """Say what an installer's output means.

    Parameters
    ----------
    lines
        What pip or uv wrote.

    Returns
    -------
    tuple
        What happened, and what to do next. Of an unknown failure the installer's own last words.

    Examples
    --------
    >>> explain(["ERROR: Could not install packages: [Errno 28] No space left on device"])[0]
    'The disk is full.'
    >>> explain(["ERROR: something new"])
    ('it says: ERROR: something new', 'Read the log, then run %fastai_setup again.')
    """
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    for find in _FINDS:
        found = find(text)
        if found:
            return found
    errors = [line for line in text.splitlines() if re.match(r"\s*(ERROR|error)\b", line)]
    return (
        f"it says: {redacted(last_lines(chr(10).join(errors) or text))}",
        f"Read the log, {AGAIN}",
    )


def is_conflict(lines: Iterable[str]) -> bool:
    """Say whether looser constraints may help: no solution, and not for want of a network.

    Examples
    --------
    >>> is_conflict(["ERROR: ResolutionImpossible: for help visit ..."])
    True
    >>> is_conflict(["ERROR: No matching distribution found for beta", "Connection refused"])
    False
    """
    text = "".join(lines)
    words = ("ResolutionImpossible", "conflict", "No matching distribution", "No solution found")
    return any(word in text for word in words) and not _first(CONNECTION)(text)


def _first(table: tuple[Text, ...]) -> Find:
    return lambda text: next(filter(None, (row.find(text) for row in table)), None)


def _build(text: str) -> Found | None:
    """A package that has to be built, and cannot be."""
    known = r"Failed to build `?|Failed building wheel|subprocess-exited-with|metadata-generation"
    where = re.search(f"{known}|backend-unavailable", text)
    if not where:
        return None
    named = re.search(r"Failed (?:to build|building wheel for) `?([\w.-]+)", text)
    begun = re.findall(
        r"^ *(?:Collecting|Processing) (?:\S*/)?([\w.]+)", text[: where.start()], re.M
    )
    name = named[1] if named else (begun[-1] if begun else "a package")
    output = re.split(r"\[end of output\]|hint:", text[where.start() :])[0]
    raised = re.findall(r"^\s*(?:╰─> )?((?:\w+\.)*\w+(?:Error|Exception): .+)", output, re.M)
    raised = raised or re.findall(r"^\s*(ERROR: .+)", output, re.M)
    last = f": {raised[-1].strip()}" if raised else ""
    return (
        f"There is no ready wheel of {name} for this Python, and building it here failed{last}.",
        "Use a Python that has wheels (3.10 to 3.13), in a new environment.",
    )


def _conflict(text: str) -> Found | None:
    """Packages that cannot be had together: name those that quarrel."""
    if "ResolutionImpossible" in text:
        block = re.search(r"The conflict is caused by:\n((?:[ \t]+\S.*\n)+)", text)
        why = [line.strip() for line in block[1].splitlines()] if block else []
    elif "No solution found" in text and "incompatible" in text:
        said = re.search(r"(?s)Because (.*?)(?:\n\n|\Z)", text)
        why = [" ".join(said[1].split())[:300]] if said else []
    else:
        return None
    named = f" ({'; '.join(dict.fromkeys(why[:MANY]))})" if why else ""
    return (
        "No version of the wanted packages fits what is installed here, and what is installed is "
        f"not changed{named}.",
        "Try it in a new environment (python -m venv lesson), or on Colab.",
    )


def _missing(text: str) -> Found | None:
    """A package that the index does not have, at all or for this Python."""
    found = re.search(r"No matching distribution found for (?P<need>[^\s(]+)", text) or re.search(
        r"Because (?:there are no versions of |only )?(?P<need>[\w.-]+)[^\n]* (?:not found|is "
        r"available|and you require|are available)",
        text,
    )
    if not found:
        return None
    need = found["need"]
    name = re.split(r"[<>=!~\[;]", need)[0]
    python = re.search(r"require a different python version: (.*)", text)
    refused = re.search(rf"/{re.escape(name)}/?: (40\d) |index .* returned a (40\d) ", text)
    more = ""
    if python:
        more = f" Those that it has are for another Python ({python[1].split(';')[0].strip()})."
    elif refused:
        more = f" It answers {refused[1] or refused[2]} for {name}: {_STATUS}"
    elif "from versions: none" in text or "no versions of" in text or "not found in" in text:
        more = f" It names no version of {name} at all: its address may be wrong."
    return (
        f"The package index has no version that fits this Python of {need}.{more}",
        "Check that this Python is one that PyTorch supports (3.10 to 3.13) and the index's "
        f"address (--index-url, or %pip config list), {AGAIN}",
    )


_STATUS = "it may want a name and a password, or be no package index."

# The first that finds something counts: what the machine lacks before what the network does, that
# before what the resolver makes of it; a page of one index that is missing matters only at the end.
_FINDS: tuple[Find, ...] = (
    _first(MACHINE),
    _first(TRANSFER),
    _build,
    _first(CONNECTION),
    _conflict,
    _first(INDEX),
    _missing,
)
