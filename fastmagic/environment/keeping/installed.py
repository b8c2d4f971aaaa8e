"""The files of installed distributions: which they are by RECORD, and where they may lie.

A RECORD is only a text file that anyone may have written: what it names outside of its own Python
is left out, and said.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name, canonicalize_version

from fastmagic import child
from fastmagic.environment.inventory import Interpreter
from fastmagic.errors import SetupError

ASK = (
    "import json, sys, sysconfig; print('fastmagic-answer:' + json.dumps("
    "{**sysconfig.get_paths(), 'virtual': sys.prefix != sys.base_prefix}))"
)
ASK_SECONDS = 60.0  # a first start of Python on a slow disk

Status = tuple[int, int, int]
"""A file's size in bytes, and the times of its last writing and last change in nanoseconds."""


@dataclass(frozen=True)
class Layout:
    """Where one Python keeps its packages.

    Attributes
    ----------
    sites
        Its own folders of packages (purelib and platlib; mostly one and the same).
    scripts
        The folder of the programs that packages bring.
    data
        What the files of packages lie beneath; `sys.prefix`, and /usr/local on Debian and Colab.
    virtual
        Whether it is a virtual environment: there pip leaves alone what lies outside.
    """

    sites: tuple[Path, ...]
    scripts: Path
    data: Path
    virtual: bool = True

    def contains(self, path: Path) -> bool:
        """Say whether a file may belong to a package of this Python.

        Examples
        --------
        >>> layout = Layout((Path("/v/lib/site-packages"),), Path("/v/bin"), Path("/v"))
        >>> layout.contains(Path("/v/share/man/x")), layout.contains(Path("/etc/passwd"))
        (True, False)
        """
        return str(path).startswith(self._roots)

    def lists(self, path: str) -> bool:
        """Say whether `everything` lists a file.

        Examples
        --------
        >>> layout = Layout((Path("/v/lib/site-packages"),), Path("/v/bin"), Path("/v"))
        >>> layout.lists("/v/lib/site-packages/x/y.py"), layout.lists("/v/share/man/x")
        (True, False)
        """
        folder = path.rpartition(os.sep)[0]
        return folder == str(self.scripts) or path.startswith(_beneath(self.sites))

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        return _beneath((*self.sites, self.scripts, self.data))


def _beneath(folders: Iterable[Path]) -> tuple[str, ...]:
    """How the paths of all that lies in these folders begin: as text, for there are thousands."""
    return tuple(f"{str(folder).rstrip(os.sep)}{os.sep}" for folder in folders)


def layout_of(interpreter: Interpreter) -> Layout:
    """Ask a Python where its packages lie.

    Raises
    ------
    SetupError
        When it does not answer.
    """
    answer = child.ask((interpreter.executable, "-I", "-c", ASK), ASK_SECONDS)
    paths = answer.data
    if not {"purelib", "platlib", "scripts", "data"} <= paths.keys():
        raise SetupError(
            f"{interpreter.executable} does not say where its packages are. {answer.words}".strip(),
            "Restart the kernel, then run it again.",
        )
    sites = dict.fromkeys(Path(paths[key]).resolve() for key in ("purelib", "platlib"))
    return Layout(
        tuple(sites),
        Path(paths["scripts"]).resolve(),
        Path(paths["data"]).resolve(),
        bool(paths.get("virtual")),
    )


def installed(layout: Layout) -> dict[str, list[Path]]:
    """Find the `.dist-info` folders of every distribution; two of one after a broken installation.

    The names of the folders are read, not what is in them: a half removed one counts as well, an
    empty folder does not.
    """
    found: dict[str, list[Path]] = {}
    for site in layout.sites:
        for info in sorted(site.glob("*.dist-info")):
            if not info.name.startswith("~") and _has_files(info):
                found.setdefault(name_of(info), []).append(info)
    return found


def _has_files(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(entries)
    return False


def name_of(info: Path) -> str:
    """Read the canonical name from the name of a `.dist-info` folder; empty for another folder.

    Examples
    --------
    >>> name_of(Path("python_fasthtml-0.14.5.dist-info"))
    'python-fasthtml'
    """
    if info.suffix != ".dist-info":
        return ""
    return canonicalize_name(info.name.removesuffix(".dist-info").rpartition("-")[0])


def version_of(info: Path) -> str:
    """Read the version from the name of a `.dist-info` folder.

    Examples
    --------
    >>> version_of(Path("torch-2.11.0+cu128.dist-info"))
    '2.11.0+cu128'
    """
    return info.name.removesuffix(".dist-info").rpartition("-")[2]


def same_version(one: str | None, other: str | None) -> bool:
    """Compare two versions as Python's packaging does; None is "not there".

    Examples
    --------
    >>> same_version("2.0", "2.0.0"), same_version("2.0", None)
    (True, False)
    """
    if one is None or other is None:
        return one is other
    return canonicalize_version(one) == canonicalize_version(other)


@dataclass(frozen=True)
class Claims:
    """The files that a distribution calls its own.

    Attributes
    ----------
    files
        Those within its Python; they need not exist.
    hashes
        What RECORD says of their contents, as "sha256=…".
    strange
        Entries that point outside of its Python; never followed.
    """

    files: tuple[Path, ...]
    hashes: Mapping[Path, str] = field(default_factory=dict)
    strange: tuple[str, ...] = ()


def claims(info: Path, layout: Layout) -> Claims | None:
    """Read a distribution's RECORD, and what else is its own: all in `.dist-info`, its programs.

    Parameters
    ----------
    info
        Its `.dist-info` folder.
    layout
        Where its Python keeps packages.

    Returns
    -------
    Claims or None
        None where there is no RECORD that can be read.
    """
    try:
        text = (info / "RECORD").read_text(encoding="utf-8")
        rows = [row for row in csv.reader(text.splitlines()) if row and row[0]]
    except (OSError, ValueError, csv.Error):
        return None
    if not rows:
        return None
    folders: dict[str, Path | None] = {}
    hashes: dict[Path, str] = {}
    strange = []
    for entry, *rest in rows:
        path = _place(entry, info.parent, layout, folders)
        if path is None:
            strange.append(entry)
        else:
            hashes.setdefault(path, rest[0] if rest else "")
    return Claims(tuple({**hashes, **dict.fromkeys(_own(info, layout))}), hashes, tuple(strange))


def _place(entry: str, site: Path, layout: Layout, folders: dict[str, Path | None]) -> Path | None:
    """Say where a line of RECORD points; None where that is outside, also by way of a link."""
    if "\0" in entry:
        return None
    # A half installed wheel still has its own RECORD, with "x-1.0.data/scripts/x" for bin/x:
    # https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    first, _, rest = entry.partition("/")
    scheme, _, name = rest.partition("/")
    base = {"scripts": layout.scripts, "data": layout.data, "purelib": site, "platlib": site}
    if first.endswith(".data") and scheme in base and name:
        path = os.path.normpath(base[scheme] / name)
    else:
        path = os.path.normpath(os.path.join(site, entry))  # noqa: PTH118 - thousands of them
    folder, _, name = path.rpartition(os.sep)
    if folder not in folders:
        real = Path(folder).resolve()
        folders[folder] = real if layout.contains(real / "any") else None
    within = folders[folder]
    place = within / name if within else None
    return None if place in layout.sites else place


def _own(info: Path, layout: Layout) -> Iterator[Path]:
    for folder, _, names in os.walk(info):
        yield from (Path(folder, name) for name in names)
    with contextlib.suppress(Exception):  # somebody's entry_points.txt
        for point in metadata.PathDistribution(info).entry_points:
            if point.group in ("console_scripts", "gui_scripts"):
                programs = (point.name, f"{point.name}.exe")
                paths = (Path(os.path.normpath(layout.scripts / name)) for name in programs)
                yield from (path for path in paths if path.parent == layout.scripts)


def status(path: Path | str) -> Status | None:
    """Read what tells whether a file was touched; None where it is not there."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def everything(layout: Layout) -> dict[str, Status | None]:
    """List all that lies in the folders of packages and programs; None for a folder.

    44,000 files take 0.2 s. Compiled files (`__pycache__`) do not count.
    """
    found: dict[str, Status | None] = {}
    for site in layout.sites:
        _walk(str(site), found, deep=True)
    _walk(str(layout.scripts), found, deep=False)
    return found


def _walk(folder: str, found: dict[str, Status | None], deep: bool) -> None:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                found[entry.path] = status(entry.path)
            elif deep and entry.name != "__pycache__":
                found[entry.path] = None
                _walk(entry.path, found, deep)
