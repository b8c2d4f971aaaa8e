"""What is installed and what surrounds it, as plain data; read, never changed.

Only the packages that matter are looked up by name: reading all the seven hundred of a Colab image
would cost half a second.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from fastmagic import platforms
from fastmagic.gpu import nvml, torch_support

FAMILY = (
    "fastai",
    "fastcore",
    "fasttransform",
    "plum-dispatch",
    "fastprogress",
    "fastdownload",
    "python-fasthtml",
)
"""fastai and the packages of its own house, whose versions must fit together."""

PINNED = (
    "torch",
    "torchvision",
    "torchaudio",
    "numpy",
    "ipython",
    "ipykernel",
    "traitlets",
    "jupyter-client",
    "jupyter-core",
    "jupyter-server",
    "jupyterlab",
    "notebook",
    "ipywidgets",
    "pyzmq",
    "tornado",
)
"""What an installation never changes where it is there: the torch that works, and the kernel."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that is set up.

    Attributes
    ----------
    executable
        Its program, which runs pip.
    paths
        The folders of its packages; `sys.path` where it is the one that runs this code.
    """

    executable: str = field(default_factory=lambda: sys.executable)
    paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Inventory:
    """What a plan is made from.

    Attributes
    ----------
    installed
        Canonical name to version, of the packages that matter.
    requires
        Canonical name to declared requirements, of fastai's family and torchvision.
    builds
        What torch and torchvision call themselves in their `version.py`: pip's own builds have
        their label only there ("0.29.2+cu132").
    torch_cuda
        The CUDA that torch was built for; None for a CPU build or without torch.
    driver
        The version of NVIDIA's driver, or None.
    capability
        The lowest compute capability of the cards, or None.
    system, machine
        As `sys.platform` and `platform.machine()` give them.
    place
        The platform's name.
    """

    installed: Mapping[str, str]
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    torch_cuda: str | None = None
    driver: str | None = None
    capability: tuple[int, int] | None = None
    python: str = "3.11"
    system: str = "linux"
    machine: str = "x86_64"
    place: str = "script"


def look(interpreter: Interpreter, place: platforms.Platform | None = None) -> Inventory:
    """Read what is there.

    Parameters
    ----------
    interpreter
        The Python to look at.
    place
        The platform; found by itself by default.
    """
    found = {name: _find(name, interpreter.paths) for name in (*FAMILY, *PINNED)}
    here = {name: dist for name, dist in found.items() if dist is not None}
    family = {name: tuple(here[name].requires or ()) for name in FAMILY if name in here}
    for name in _named_in(family):
        if name not in found and (dist := _find(name, interpreter.paths)) is not None:
            here[name] = dist
    if "torchvision" in here:
        family["torchvision"] = tuple(here["torchvision"].requires or ())
    torch = torch_support.installed(interpreter.paths)
    cards = nvml.look(processes=False)
    capabilities = [card.capability for card in cards.cards if card.capability]
    return Inventory(
        installed={name: dist.version for name, dist in here.items()},
        requires=family,
        builds=_builds(here),
        torch_cuda=torch.cuda if torch else None,
        driver=cards.driver,
        capability=min(capabilities, default=None),
        python=platform.python_version(),
        system=sys.platform,
        machine=platform.machine(),
        place=(place or platforms.where()).name,
    )


def _builds(here: Mapping[str, metadata.Distribution]) -> dict[str, str]:
    """Read `version.py` of torch and torchvision as text: importing them takes seconds."""
    found = {}
    for name in ("torch", "torchvision"):
        if name not in here:
            continue
        try:
            source = Path(str(here[name].locate_file(f"{name}/version.py"))).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        said = re.search(r"^__version__\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", source, re.MULTILINE)
        if said:
            found[name] = said[1]
    return found


def _find(name: str, paths: Sequence[str] | None) -> metadata.Distribution | None:
    folders = sys.path if paths is None else list(paths)
    return next(iter(metadata.distributions(name=name, path=folders)), None)


def _named_in(requires: Mapping[str, Iterable[str]]) -> set[str]:
    names = set()
    for texts in requires.values():
        names |= {need.name for text in texts if (need := read_requirement(text))}
    return {canonicalize_name(name) for name in names}


def read_requirement(text: str) -> Requirement | None:
    """Read a requirement that applies here; None where it does not, or cannot be read.

    Examples
    --------
    >>> read_requirement("fastcore>=2.2.22").name
    'fastcore'
    >>> read_requirement('nbdev; extra == "dev"') is None
    True
    """
    try:
        need = Requirement(text)
    except InvalidRequirement:
        return None
    applies = need.marker is None or need.marker.evaluate({"extra": ""})
    return need if applies else None


def snapshot(interpreter: Interpreter) -> dict[str, str]:
    """Read every installed distribution, to tell afterwards what has changed."""
    folders = sys.path if interpreter.paths is None else list(interpreter.paths)
    found: dict[str, str] = {}
    for dist in metadata.distributions(path=folders):
        name = dist.metadata["Name"]
        if name:
            found.setdefault(canonicalize_name(name), dist.version)
    return found


MODULES = {  # for packages that are not installed, or in place, without a list of their files
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "python-fasthtml": "fasthtml",
    "plum-dispatch": "plum",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "python-dateutil": "dateutil",
    "beautifulsoup4": "bs4",
    "ipython": "IPython",
    "pyzmq": "zmq",
}


def already_imported(
    names: Iterable[str], modules: Iterable[str], paths: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Name the packages whose modules are among those imported.

    Parameters
    ----------
    names
        Canonical names of distributions.
    modules
        Usually `sys.modules`.
    paths
        The folders of the packages; `sys.path` by default.

    Examples
    --------
    >>> already_imported(["pillow", "fastai"], ["PIL", "PIL.Image", "sys"])
    ('pillow',)
    """
    loaded = set(modules)
    loaded |= {module.partition(".")[0] for module in loaded}
    return tuple(name for name in names if not _modules_of(name, paths).isdisjoint(loaded))


def _modules_of(name: str, paths: Sequence[str] | None) -> set[str]:
    """The modules that a distribution brings, from its own lists of files, which are quick to read.

    `Distribution.files` makes an object of each of PyTorch's twenty thousand.
    """
    guess = {MODULES.get(name, name.replace("-", "_"))}
    dist = _find(name, paths)
    if dist is None:
        return guess
    record = dist.read_text("RECORD")
    if record is None:
        return guess | set((dist.read_text("top_level.txt") or "").split())
    files = (line.split(",")[0].strip('"').split("/") for line in record.splitlines())
    code = [parts for parts in files if parts[-1].endswith((".py", ".so", ".pyd"))]
    whole = {parts[0] for parts in code if parts[1:] == ["__init__.py"]}
    # Of a namespace (`google.protobuf`) only its own part: others share the first name.
    found = {parts[0] if parts[0] in whole else ".".join(parts[:2]) for parts in code}
    return guess | {
        re.sub(r"(\.cpython-|\.cp3|\.abi3|\.pyd$|\.so$|\.py$).*", "", each) for each in found
    }
