"""Libraries of the operating system that OpenCV needs: which are missing, and how to get them.

Asked only where something installed needs them: opencv-python links against X11 and OpenGL, its
headless build does not, and fastai alone needs none of them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fastmagic import child
from fastmagic.environment.installers import running
from fastmagic.environment.installers.running import Heard, Outcome, Tell
from fastmagic.environment.inventory import Interpreter
from fastmagic.errors import SetupError

NEEDY = ("opencv-python", "opencv-contrib-python")
PROBE = Path(__file__).with_name("opencv_probe.py")
TRY_SECONDS = 60.0
SILENCE = 300.0
LOCK_SECONDS = 60  # Ubuntu's automatic updates hold dpkg's lock for a while after a start
HEADLESS = "%pip uninstall -y opencv-python, then %pip install opencv-python-headless"

# Which package has a library. Debian: https://packages.debian.org (search in packages' contents),
# Ubuntu 24.04 calls the last libglib2.0-0t64, which provides libglib2.0-0; Fedora:
# https://packages.fedoraproject.org; Arch: https://archlinux.org/packages.
PACKAGES = {
    "libGL.so.1": ("libgl1", "libglvnd-glx", "libglvnd"),
    "libEGL.so.1": ("libegl1", "libglvnd-egl", "libglvnd"),
    "libSM.so.6": ("libsm6", "libSM", "libsm"),
    "libICE.so.6": ("libice6", "libICE", "libice"),
    "libX11.so.6": ("libx11-6", "libX11", "libx11"),
    "libXext.so.6": ("libxext6", "libXext", "libxext"),
    "libXrender.so.1": ("libxrender1", "libXrender", "libxrender"),
    "libxcb.so.1": ("libxcb1", "libxcb", "libxcb"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "glib2", "glib2"),
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2", "glib2"),
}
FAMILIES = {"debian": 0, "ubuntu": 0, "fedora": 1, "rhel": 1, "centos": 1, "arch": 2}
COMMANDS = (
    ("apt-get", "install", "-y", "--no-install-recommends"),
    ("dnf", "install", "-y"),
    ("pacman", "-S", "--noconfirm"),
)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@dataclass(frozen=True)
class System:
    """The operating system, for tests.

    Attributes
    ----------
    os_release
        The file that names it (https://www.freedesktop.org/software/systemd/man/os-release.html).
    is_root
        Says whether this process may install for the whole machine.
    apt_get
        The program that installs on Debian and Ubuntu.
    """

    os_release: Path = Path("/etc/os-release")
    is_root: Callable[[], bool] = _is_root
    apt_get: str = "apt-get"

    def family(self) -> int | None:
        """Give the column of `PACKAGES` that fits, or None where none is known."""
        try:
            lines = self.os_release.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        names = f"{said.get('ID', '')} {said.get('ID_LIKE', '')}".replace('"', " ").split()
        return next((FAMILIES[name] for name in names if name in FAMILIES), None)


HERE = System()


@dataclass(frozen=True)
class Lack:
    """What OpenCV misses.

    Attributes
    ----------
    libraries
        The names of the missing libraries, such as ``libGL.so.1``.
    error
        Why cv2 cannot be imported, in its own words; empty where it can or is not there.
    """

    libraries: tuple[str, ...] = ()
    error: str = ""

    def packages(self, family: int) -> tuple[str, ...]:
        """Name the packages that bring them, as far as they are known.

        Parameters
        ----------
        family
            The column of `PACKAGES`.

        Examples
        --------
        >>> Lack(("libGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0")).packages(0)
        ('libgl1', 'libglib2.0-0')
        """
        known = [PACKAGES[name][family] for name in self.libraries if name in PACKAGES]
        return tuple(dict.fromkeys(known))

    def command(self, system: System = HERE) -> str:
        """Give the one line to run in a terminal; words where the system is not known.

        Examples
        --------
        >>> Lack(("libFoo.so.3",)).command(System(os_release=Path("/nowhere")))
        'the package of your system that has libFoo.so.3'
        """
        family = system.family()
        known = [name for name in self.libraries if family is not None and name in PACKAGES]
        unknown = [name for name in self.libraries if name not in known]
        rest = f"the package of your system that has {', '.join(unknown)}" if unknown else ""
        if family is None or not known:
            return rest
        sudo = () if system.is_root() else ("sudo",)
        line = shlex.join((*sudo, *COMMANDS[family], *self.packages(family)))
        return f"{line}, and {rest}" if rest else line


def missing(interpreter: Interpreter, tick: Callable[[float], None] | None = None) -> Lack:
    """Find what OpenCV misses, by importing it in a process of its own.

    Looking a library up by name (`ctypes.util.find_library`) may find one that does not load, and
    miss one that lies elsewhere; the loader knows.

    Parameters
    ----------
    interpreter
        The Python whose cv2 is meant.
    tick
        Called now and then with the seconds passed.

    Returns
    -------
    Lack
        Empty where no OpenCV is installed that needs a screen's libraries; no process starts then.
    """
    folders = None if interpreter.paths is None else list(interpreter.paths)
    if not any(_installed(name, folders) for name in NEEDY):
        return Lack()
    answer = child.ask((interpreter.executable, str(PROBE)), TRY_SECONDS, tick)
    if answer.fault:
        return Lack(error=answer.words)
    lacking = answer.data.get("lacking")
    names = tuple(map(str, lacking)) if isinstance(lacking, list) else ()
    return Lack(names, str(answer.data.get("error", "")))


def _installed(name: str, folders: Sequence[str] | None) -> bool:
    found = (
        metadata.distributions(name=name)
        if folders is None
        else metadata.distributions(name=name, path=list(folders))
    )
    return next(iter(found), None) is not None


def can_install(lack: Lack, system: System = HERE) -> bool:
    """Say whether `install` may do it: as root, on Debian or Ubuntu, with every library known."""
    known = all(name in PACKAGES for name in lack.libraries)
    return bool(lack.libraries) and known and system.family() == 0 and system.is_root()


def install(
    lack: Lack, log: Path, tell: Tell = lambda *_: None, system: System = HERE
) -> tuple[str, ...]:
    """Install what is missing by apt-get, as root on Debian or Ubuntu.

    Parameters
    ----------
    lack
        What `missing` found.
    log
        The file that gets apt-get's whole output.
    tell
        Moves the progress line.
    system
        The operating system.

    Returns
    -------
    tuple
        The packages that were asked for.

    Raises
    ------
    SetupError
        Where that is not possible here, with the line to run, or where apt-get fails.
    """
    shown = lack.command(system)
    if not can_install(lack, system):
        raise SetupError(
            f"OpenCV (cv2) misses libraries of the operating system: {', '.join(lack.libraries)}.",
            f"Run in a terminal: {shown}. Or do without: {HEADLESS}.",
        )
    packages = lack.packages(0)
    outcome = _apt(system, ("install", "-y", "--no-install-recommends", *packages), log, tell)
    if outcome.code != 0 and not outcome.fell_silent:  # the lists may be missing or out of date
        _apt(system, ("update",), log, tell)
        outcome = _apt(system, ("install", "-y", "--no-install-recommends", *packages), log, tell)
    if outcome.code != 0 or outcome.fell_silent:
        errors = [line for line in outcome.lines if line.startswith("E:")]
        said = child.last_lines("".join(errors) or outcome.text)
        raise SetupError(
            f"apt-get could not install {', '.join(packages)}: {said}",
            f"Run in a terminal: {shown}. Or do without: {HEADLESS}. The whole output is in {log}.",
        )
    return packages


def _apt(system: System, arguments: Sequence[str], log: Path, tell: Tell) -> Outcome:
    wait = ("-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    label = f"apt-get {arguments[0]}"
    return running.run([system.apt_get, *wait, *arguments], log, label, _hear, tell, quiet, SILENCE)


def _hear(line: str) -> Heard:
    settling = line.startswith(("Preparing to unpack", "Unpacking", "Setting up"))
    return Heard("Installing system libraries", settling=True) if settling else Heard()
