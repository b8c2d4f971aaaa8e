"""Kaggle: data sets attached to a notebook, and the same ones asked for from elsewhere.

`kaggle:COMPETITION` and `kaggle:OWNER/DATASET` are fetched from Kaggle's public API by our own
downloader, which goes on after a stop; Kaggle's clients do not. The API answers with a redirect to
a signed address of Google's storage, and requests leaves the credentials behind when it follows one
to another host. Kaggle's packages are not imported: `import kaggle` ends the process where it finds
no credentials. The credentials are looked for where both packages look (kagglesdk 0.1's
`kaggle_env`, kagglehub 1.0's `config`), and are neither shown nor written anywhere.

Addresses: kagglesdk, `ApiDownloadDatasetRequest` and `ApiDownloadDataFilesRequest`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmagic import platforms
from fastmagic.data.archives.archive import split_name
from fastmagic.data.survey import split, tree
from fastmagic.errors import BadInput, DownloadError

INPUT = Path("/kaggle/input")
"""Where Kaggle puts the data sets that are attached to a notebook."""

SITE = "https://www.kaggle.com"

PREFIX = "kaggle:"

_SLUG = r"[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class Handle:
    """What stands behind `kaggle:`.

    Attributes
    ----------
    owner
        Who made the data set; empty for a competition.
    name
        The data set's or the competition's name in its address.
    """

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.owner}/{self.name}" if self.owner else f"{PREFIX}{self.name}"

    def archive_url(self, site: str = SITE) -> str:
        """Give the address of the zip of all its files."""
        tail = (
            f"datasets/download/{self.owner}/{self.name}"
            if self.owner
            else f"competitions/data/download-all/{self.name}"
        )
        return f"{site.rstrip('/')}/api/v1/{tail}"

    def page(self, site: str = SITE) -> str:
        """Give the address of the page that a person can look at."""
        tail = f"datasets/{self.owner}/{self.name}" if self.owner else f"c/{self.name}/rules"
        return f"{site.rstrip('/')}/{tail}"


def handle(text: str) -> Handle | None:
    """Read `kaggle:COMPETITION` or `kaggle:OWNER/DATASET`; None where it is no such thing.

    Raises
    ------
    BadInput
        When it begins with `kaggle:` and goes on otherwise.

    Examples
    --------
    >>> handle("kaggle:dogs-vs-cats")
    Handle(owner='', name='dogs-vs-cats')
    >>> handle("kaggle:someone/birds").page()
    'https://www.kaggle.com/datasets/someone/birds'
    >>> handle("dogscats") is None
    True
    """
    if not text.startswith(PREFIX):
        return None
    match = re.fullmatch(rf"(?:(?P<owner>{_SLUG})/)?(?P<name>{_SLUG})", text[len(PREFIX) :])
    if not match:
        msg = f"{text!r} names no data set on Kaggle."
        raise BadInput(msg, "Write kaggle:COMPETITION or kaggle:OWNER/DATASET, as in its address.")
    return Handle(match["owner"] or "", match["name"])


@dataclass(frozen=True)
class Credentials:
    """The reader's Kaggle credentials; never shown."""

    user: str = field(repr=False)
    key: str = field(repr=False)

    def __call__(self, request: Any) -> Any:
        """Sign a request of `requests`: a token by itself, or a user with a key."""
        if self.user:
            from requests.auth import HTTPBasicAuth

            return HTTPBasicAuth(self.user, self.key)(request)
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def credentials(env: Mapping[str, str] | None = None) -> Credentials | None:
    """Find the reader's credentials, in the order in which Kaggle's own clients look.

    Parameters
    ----------
    env
        `KAGGLE_API_TOKEN`, `KAGGLE_USERNAME` with `KAGGLE_KEY`, or `KAGGLE_CONFIG_DIR` for another
        folder than `~/.kaggle`, in which `access_token` or `kaggle.json` lies.
    """
    env = os.environ if env is None else env
    folder = platforms.expanded(env.get("KAGGLE_CONFIG_DIR") or "~/.kaggle")
    token = env.get("KAGGLE_API_TOKEN", "")
    if token and os.path.isfile(token):  # noqa: PTH113 - Path() fails on what is no path
        token = _text(Path(token))
    token = token or _text(folder / "access_token") or _text(folder / "access_token.txt")
    if token.strip():
        return Credentials("", token.strip())
    user, key = env.get("KAGGLE_USERNAME", ""), env.get("KAGGLE_KEY", "")
    if not (user and key):
        user, key = _kaggle_json(folder / "kaggle.json")
    return Credentials(user, key) if user and key else None


def _kaggle_json(file: Path) -> tuple[str, str]:
    try:
        known = json.loads(_text(file))
        return str(known["username"]), str(known["key"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError):
        return ""


class Door:
    """The way in: makes the session that signs its requests, and keeps what was answered last.

    Parameters
    ----------
    signed
        The reader's credentials; None to ask without any.
    """

    def __init__(self, signed: Credentials | None) -> None:
        self.signed = signed
        self.status = 0

    def session(self) -> Any:
        """Make a `requests.Session`."""
        import requests

        made = requests.Session()
        made.auth = self.signed
        made.hooks["response"].append(self._look)
        return made

    def _look(self, answer: Any, *_: Any, **__: Any) -> None:
        self.status = answer.status_code


def refused(
    wanted: Handle, door: Door, error: DownloadError, *, root: Path, site: str
) -> DownloadError:
    """Say what Kaggle's refusal means, and what to do about it.

    Parameters
    ----------
    wanted
        What was asked for.
    door
        How it was asked, and the HTTP status of the last answer.
    error
        What the downloader said; given back where the status tells nothing more.
    root
        Where attached data sets lie; where it exists, that way is named too.
    site
        Kaggle's address.
    """
    status = door.status
    if status not in (401, 403, 404):
        return error
    attach = " Or attach it to this notebook: Add Input, beside it." if root.is_dir() else ""
    if door.signed is None:
        what = f"Kaggle gives {wanted} only to those who log in, and no credentials were found."
        return DownloadError(what, f"{STEPS}{attach}")
    if status == 401:
        what = f"Kaggle did not accept the credentials that were found (HTTP {status})."
        return DownloadError(what, f"Make new ones. {STEPS}{attach}")
    if status == 403:
        what = f"Kaggle refuses to give {wanted} (HTTP {status})."
        rules = "accept the competition's rules" if not wanted.owner else "look at its conditions"
        step = f"Log in, {rules} at {wanted.page(site)}, then run the same line again."
        return DownloadError(what, f"{step}{attach}")
    return DownloadError(
        f"There is no {wanted} on Kaggle (HTTP {status}), or it is private.",
        f"Check the name as it stands in the address of its page: {wanted.page(site)}",
    )


STEPS = (
    "(1) On https://www.kaggle.com/settings, under API, create a token or a legacy key "
    "(kaggle.json). (2) Put it into ~/.kaggle as access_token or kaggle.json, or set "
    "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY. (3) Run the same line again."
)
"""How to get and where to put Kaggle's credentials."""


def attached(names: tuple[str, ...], root: Path = INPUT) -> Path | None:
    """Find an attached data set's folder by its name; newer images put it below datasets/OWNER.

    Parameters
    ----------
    names
        What it may be called.
    root
        Where attached data sets lie.
    """
    folders = {one.name: one for one in reversed(_folders(root))}
    return next((folders[name] for name in names if name in folders), None)


def attached_names(root: Path = INPUT) -> list[str]:
    """Name the attached data sets, sorted; empty elsewhere than on Kaggle."""
    return sorted({one.name for one in _folders(root)})


def _folders(root: Path) -> list[Path]:
    groups = ("", "competitions", "datasets/*")
    return [
        one
        for group in groups
        for above in ([root] if not group else sorted(root.glob(group)))
        for one in (sorted(above.iterdir()) if above.is_dir() else ())
        if one.is_dir() and one.name not in ("competitions", "datasets")
    ]


def archives_in(folder: Path) -> list[Path]:
    """List the archives that lie in a folder."""
    return [
        one
        for one in sorted(folder.iterdir())
        if split_name(one.name)[1] and one.is_file() and not tree.is_junk(one.name)
    ]


def archive_in(folder: Path) -> Path | None:
    """Find the archive that holds a folder's training pictures: `train.zip`, or the only one.

    Kaggle's dogs vs cats is such a folder: `train.zip`, `test1.zip` and a table.
    """
    found = archives_in(folder)
    train = [one for one in found if split.train_of([split_name(one.name)[0]])]
    chosen = train or found
    return chosen[0] if len(chosen) == 1 else None


def packed_pictures(folder: Path) -> Path | None:
    """Give the archive in a folder that holds no picture itself; None where there are pictures."""
    return None if tree.has_pictures(folder) else archive_in(folder)


def unpacked_name(folder: Path, archive: Path, beside: Path | None = None) -> str:
    """Name the folder for the contents of an archive, or two, that lie in a folder.

    Examples
    --------
    >>> unpacked_name(Path("/kaggle/input/dogs-vs-cats"), Path("train.zip"))
    'dogs-vs-cats-train'
    >>> unpacked_name(Path("pets"), Path("train.zip"), Path("valid.zip"))
    'pets-train-valid'
    """
    return "-".join([folder.name, *(split_name(one.name)[0] for one in (archive, beside) if one)])
