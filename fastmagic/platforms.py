"""Where am I, what is offered here, and where may files live.

The order of the questions matters: Kaggle's images are built from Colab's and carry its
`COLAB_RELEASE_TAG`, so Kaggle is asked first, and Colab is known by its shell's class, not by that
variable. Everything comes in as arguments (the environment, the shell), so that a test hands in
its own.
"""

from __future__ import annotations

import configparser
import contextlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastmagic import cgroup

Name = Literal["kaggle", "colab", "vscode", "jupyter", "terminal", "script"]
Front = Literal["notebook", "terminal", "log"]


@dataclass(frozen=True)
class Platform:
    """The place this process runs in.

    Attributes
    ----------
    name
        `kaggle`, `colab`, `vscode`, `jupyter`, `terminal` (IPython in one) or `script`
        (no IPython).
    front
        What can be shown: a `notebook`'s outputs, a `terminal`'s moving line, or a `log`'s lines.
    """

    name: Name
    front: Front


# The menus as many public notebooks of 2025 and 2026 name them, word for word (the live menus could
# not be seen). On the P100: https://github.com/Kaggle/kaggle-cli/issues/1151, "Use T4 (or L4)".
GPU_OFFERS: dict[str, str] = {
    "colab": "Runtime menu > Change runtime type > T4 GPU > Save, then run the notebook again "
    "from the top.",
    "kaggle": "Settings > Accelerator > GPU T4 x2 (needs a phone-verified account and quota left "
    "this week), then run the notebook again from the top. Do not pick P100: today's "
    "PyTorch no longer supports it.",
}


CONTENT = Path("/content")
"""Colab's folder, in which a Drive is mounted: `drive.mount("/content/drive")`."""

RUNS = "fastmagic-runs"
"""What the folder of all runs is called."""

WORKERS_MOST = 8
"""Processes that load pictures, at most, where the number is chosen and not asked for."""


def where(
    shell: Any = None,
    env: Mapping[str, str] | None = None,
    stdout: Any = None,
) -> Platform:
    """Say which platform this is and what it can show.

    Parameters
    ----------
    shell
        The running IPython shell; found by itself where IPython runs, None in a plain script.
    env
        Environment variables; the process's own by default.
    stdout
        The stream whose `isatty` decides between a terminal and a log; `sys.stdout` by default.

    Examples
    --------
    >>> where(shell=False, env={}, stdout=None).name
    'script'
    """
    env = os.environ if env is None else env
    shell = running_shell() if shell is None else shell
    family = {(c.__module__, c.__name__) for c in type(shell).__mro__} if shell else set()
    in_kernel = any(name == "ZMQInteractiveShell" for _, name in family)
    front: Front = "notebook" if in_kernel else _stream_front(stdout)
    return Platform(_name(shell, family, in_kernel, env), front)


def _name(
    shell: Any, family: set[tuple[str, str]], in_kernel: bool, env: Mapping[str, str]
) -> Name:
    if "KAGGLE_KERNEL_RUN_TYPE" in env:
        return "kaggle"
    if any(module == "google.colab._shell" for module, _ in family):
        return "colab"
    if not shell:
        return "script"
    if in_kernel:
        in_vscode = "__vsc_ipynb_file__" in shell.user_ns or "VSCODE_PID" in env
        return "vscode" if in_vscode else "jupyter"
    return "terminal"


def _stream_front(stdout: Any) -> Front:
    stream = sys.stdout if stdout is None else stdout
    is_terminal = bool(getattr(stream, "isatty", lambda: False)())
    return "terminal" if is_terminal else "log"


def running_shell() -> Any:
    """Give the IPython shell that runs this code, or None; imports nothing."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def terminal_columns() -> int:
    """Give the width of the terminal, in characters."""
    return shutil.get_terminal_size((80, 24)).columns


def terminal_rows() -> int:
    """Give the height of the terminal, in lines."""
    return shutil.get_terminal_size((80, 24)).lines


def data_folder(env: Mapping[str, str] | None = None) -> Path:
    """Say where data sets live: fastai's own configured folder.

    So that what fastai's `untar_data` fetched is found here, and the other way round. The folder is
    read from fastai's `config.ini` without importing fastai.

    Parameters
    ----------
    env
        `FASTAI_HOME` moves the whole of it, as it does for fastai.
    """
    return _fastai_folder("data", "data", env)


def archive_folder(env: Mapping[str, str] | None = None) -> Path:
    """Say where downloaded archives live: fastai's own configured folder."""
    return _fastai_folder("archive", "archive", env)


def _fastai_folder(key: str, default: str, env: Mapping[str, str] | None) -> Path:
    env = os.environ if env is None else env
    home = expanded(env.get("FASTAI_HOME") or "~/.fastai")
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(home / "config.ini", encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return home / default
    value = config.get("DEFAULT", key, fallback=default)
    return home / expanded(value)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Put the home folder for `~`; the `~` of a user who is not known stays as it is.

    Examples
    --------
    >>> expanded("~there-is-no-such-user/data").as_posix()
    '~there-is-no-such-user/data'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises for an unknown user


def runs_folder(place: Platform) -> Path:
    """Say where runs of the lesson are kept: where the platform keeps files, else here."""
    kaggle = Path("/kaggle/working")
    root = kaggle if place.name == "kaggle" and kaggle.is_dir() else Path.cwd()
    return root / RUNS


def cache_folder() -> Path:
    """Say where lies what can be made again, and what is kept of installations.

    The person's cache folder, as the system has it; where that cannot be written, a temporary one.
    """
    import platformdirs

    own = Path(platformdirs.user_cache_dir("fastmagic"))
    other = Path(tempfile.gettempdir()) / "fastmagic"
    return own if _can_be_written(own) or not _can_be_written(other) else other


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"fastmagic")
            file.flush()
    except OSError:
        return False
    return True


def drive_folder(place: Platform, content: Path = CONTENT) -> Path | None:
    """Give the Google Drive that is mounted on Colab, wherever the person mounted it.

    Parameters
    ----------
    place
        The platform; anywhere but on Colab there is none.
    content
        Colab's folder.

    Examples
    --------
    >>> drive_folder(Platform("terminal", "terminal")) is None
    True
    """
    if place.name != "colab":
        return None
    for mount in sorted(content.glob("*")):
        with contextlib.suppress(OSError):  # a Drive that was disconnected
            if (mount / "MyDrive").is_dir():
                return mount / "MyDrive"
    return None


def run_folders(
    place: Platform,
    asked: str | Path | None = None,
    copies: str | Path | None = None,
    content: Path = CONTENT,
) -> tuple[Path, Path | None]:
    """Say where runs are kept, and where a copy of them.

    Runs are written to the machine's own disk; a mounted Drive, which is slow and may be
    disconnected, has the copy, also where it was asked for.

    Parameters
    ----------
    place
        The platform.
    asked
        The folder that was asked for runs; None for the platform's own.
    copies
        The folder that was asked for copies; None for a mounted Drive's, where there is one.
    content
        Colab's folder.

    Returns
    -------
    runs, copies
        `copies` is None where there are none.

    Examples
    --------
    >>> place = Platform("script", "log")
    >>> runs, copies = run_folders(place, "/tmp/runs", "/backed-up")
    >>> runs.name, copies.name
    ('runs', 'backed-up')
    """
    drive = drive_folder(place, content)
    runs = (expanded(asked) if asked else runs_folder(place)).absolute()
    copy = expanded(copies).absolute() if copies else drive and drive / RUNS
    if drive and runs.is_relative_to(drive):
        runs, copy = content / RUNS, runs
    return runs, None if copy == runs else copy


def usable_cores(root: Path = cgroup.ROOT) -> int:
    """Count the processor cores that this process may use.

    A container or `taskset` may allow fewer than the machine has: the smaller of the two counts,
    part of a core as a whole one. Where the operating system cannot say (macOS, Windows), it is the
    machine's own count.

    Parameters
    ----------
    root
        The folder in which `proc` and `sys` lie; tests hand in a tree of their own.
    """
    ask = getattr(os, "sched_getaffinity", None)
    cores = len(ask(0)) if ask else os.cpu_count() or 1
    quota = cgroup.cpu_quota(root)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))
