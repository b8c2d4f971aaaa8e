"""Which build of PyTorch fits which driver, card and Python: questions to `torch_tables.py`."""

from __future__ import annotations

import re

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from fastmagic.environment.planning.torch_tables import (
    CAPABILITIES,
    CPU,
    CUDA_BUILDS,
    LABELS,
    LAST_FOR_INTEL_MACS,
    PYTHONS,
    TORCHVISION,
    Build,
    Capability,
    Minor,
)
from fastmagic.gpu.drivers import DRIVER_FLOORS

Choice = tuple[str, str, str]  # a specifier for torch, its label, and why


def driver_branch(driver: str | None) -> int:
    """Read the branch of a driver's version; 0 where there is none.

    Examples
    --------
    >>> driver_branch("550.54.15"), driver_branch(None), driver_branch("unknown")
    (550, 0, 0)
    """
    head = (driver or "").split(".")[0]
    return int(head) if head.isdigit() else 0


def python_fits(minor: Minor, python: str) -> bool:
    """Say whether a PyTorch has wheels for this Python; of an unknown one it is assumed.

    Examples
    --------
    >>> python_fits((2, 3), "3.12.3"), python_fits((2, 3), "3.13.15")
    (True, False)
    """
    first, last = PYTHONS.get(minor, ((0, 0), (99, 0)))
    return first <= minor_of(python) <= last


def newest_for(python: str, spec: str = "") -> Minor | None:
    """Give the newest PyTorch that a specifier allows and this Python has wheels for, or None.

    Examples
    --------
    >>> newest_for("3.13.15"), newest_for("3.10.2"), newest_for("3.13.1", "==2.3.1")
    ((2, 15), (2, 14), None)
    """
    fits = [minor for minor in PYTHONS if python_fits(minor, python) and _admits(spec, minor)]
    return max(fits, default=None)


def choose(
    system: str,
    machine: str,
    python: str,
    driver: str | None,
    capability: Capability | None,
    version: str = "",
) -> Choice | None:
    """Choose the build for a machine.

    Parameters
    ----------
    system, machine
        As `sys.platform` and `platform.machine()` give them.
    python
        Its version.
    driver
        The version of NVIDIA's driver, or None.
    capability
        The compute capability of the card, or None where it is not known.
    version
        A specifier that PyTorch must meet; empty for the newest that fits.

    Returns
    -------
    tuple of str or None
        The specifier for torch, the label (empty for pip's own build) and the reason; None where
        this Python has no wheels at all.

    Examples
    --------
    >>> choose("linux", "x86_64", "3.11.2", None, None)
    ('', 'cpu', 'no NVIDIA driver here: the build for the CPU')
    >>> choose("linux", "x86_64", "3.12.3", "470.82", (3, 7))[:2]
    ('<=2.3.1', 'cu118')
    >>> choose("linux", "x86_64", "3.13.15", "470.82", (3, 7))[:2]
    ('', 'cpu')
    >>> choose("linux", "x86_64", "3.20", None, None) is None
    True
    """
    if system == "darwin":
        return _for_a_mac(machine, python, version)
    if newest_for(python, version) is None:
        return None
    if driver is None:
        why = "no NVIDIA driver here: the build for the CPU"
        return version, CPU if system.startswith("linux") else "", why
    for build in CUDA_BUILDS:
        exists = _both(f">={LABELS[build.label][0]}", build.until, version)
        if not _runs(build, driver, capability) or newest_for(python, exists) is None:
            continue
        # On Linux pip's own build is for the newest CUDA; elsewhere it is for the CPU.
        own = build is CUDA_BUILDS[0] and system.startswith("linux")
        why = f"the newest build for driver {driver}{_on(capability)}"
        return _both(build.until, version), "" if own else build.label, why
    label = CPU if system.startswith("linux") else ""
    return version, label, _why_not(python, driver, capability, version)


def _both(*specs: str) -> str:
    return ",".join(filter(None, specs))


def with_label(label: str, spec: str, python: str) -> str | None:
    """Give the versions that exist with a label, within a specifier.

    Parameters
    ----------
    label
        A build's label.
    spec
        A specifier that PyTorch must meet; empty for any.
    python
        This Python's version.

    Returns
    -------
    str or None
        A specifier, or None where there is none.

    Examples
    --------
    >>> with_label("cu126", "", "3.12"), with_label("cpu", "==2.13.0", "3.12")
    ('<2.14', '==2.13.0')
    >>> with_label("cu118", "==2.13.0", "3.12") is None
    True
    """
    since, until = LABELS.get(label, ("2.0", ""))
    if newest_for(python, _both(f">={since}", until, spec)) is None:
        return None
    return spec or until


def _for_a_mac(machine: str, python: str, version: str) -> Choice | None:
    if machine == "arm64":
        fits = newest_for(python, version) is not None
        return (version, "", "the build for Macs, which trains on Apple's GPU") if fits else None
    spec = _both(f"<={LAST_FOR_INTEL_MACS}", version)
    if newest_for(python, spec) is None:
        return None
    return spec, "", "the last build for Intel Macs"


def _runs(build: Build, driver: str, capability: Capability | None) -> bool:
    if driver_branch(driver) < build.driver:
        return False
    return capability is None or build.lowest <= capability <= build.highest


def _why_not(python: str, driver: str, capability: Capability | None, version: str) -> str:
    would = [build for build in CUDA_BUILDS if _runs(build, driver, capability)]
    if not would and driver_branch(driver) < DRIVER_FLOORS[11]:
        return f"driver {driver} is too old for every build with CUDA: the build for the CPU"
    if not would:
        return f"no build with CUDA fits driver {driver}{_on(capability)}: the build for the CPU"
    if version:
        return f"{version} has no build that fits driver {driver}: the build for the CPU"
    last = would[0]
    return (
        f"the last build for this card, {last.until.lstrip('<=')}+{last.label}, has no wheel for "
        f"Python {'.'.join(python.split('.')[:2])}: the build for the CPU"
    )


def _on(capability: Capability | None) -> str:
    return f" and compute capability {capability[0]}.{capability[1]}" if capability else ""


def torchvision_for(torch: str) -> str | None:
    """Give the specifier of the torchvision that belongs to a PyTorch, or None if it is unknown.

    Parameters
    ----------
    torch
        A version, with or without a label, or its first two numbers.

    Examples
    --------
    >>> torchvision_for("2.13.0+cpu"), torchvision_for("2.15.0")
    ('==0.28.*', '>=0.29.1')
    >>> torchvision_for("3.0.0") is None
    True
    """
    minor = minor_of(torch)
    first = TORCHVISION.get(minor)
    if first is None:
        return None
    return ">=0.29.1" if minor == (2, 15) else f"=={first}.*"


def torchaudio_for(torch: str) -> str | None:
    """Give the specifier of the torchaudio that belongs to a PyTorch; the last one is 2.11.

    Source: the files in https://pypi.org/simple/torchaudio/; 2.11.0 asks for no certain torch.

    Examples
    --------
    >>> torchaudio_for("2.10.0+cu128"), torchaudio_for("2.13.0")
    ('==2.10.*', None)
    """
    major, minor = minor_of(torch)
    return f"=={major}.{minor}.*" if (major, minor) <= (2, 11) else None


def label_of(version: str, cuda: str | None, system: str) -> str:
    """Name the label that other builds must have to go with an installed PyTorch.

    Parameters
    ----------
    version
        Its version, with or without a label.
    cuda
        The CUDA it was built for, from its own `version.py`; None for a build for the CPU.
    system
        As `sys.platform` gives it.

    Returns
    -------
    str
        Empty where pip's own builds go with it.

    Examples
    --------
    >>> label_of("2.11.0+cu128", "12.8", "linux")
    'cu128'
    >>> label_of("2.13.0", None, "linux"), label_of("2.13.0", "13.0", "linux")
    ('cpu', '')
    >>> label_of("2.13.0", None, "darwin")
    ''
    """
    local = version.partition("+")[2]
    if local:
        return local
    return CPU if cuda is None and system.startswith("linux") else ""


def has_index(label: str) -> bool:
    """Say whether PyTorch publishes builds with this label.

    Examples
    --------
    >>> has_index("cu128"), has_index("cpu"), has_index("rocm6.4"), has_index("cu999")
    (True, True, True, False)
    """
    return label in (*LABELS, CPU, "xpu") or re.fullmatch(r"rocm\d+(\.\d+)+", label) is not None


def cuda_of(label: str) -> str:
    """Read the CUDA version from a label; empty where it is not one for CUDA.

    Examples
    --------
    >>> cuda_of("cu128"), cuda_of("cpu")
    ('12.8', '')
    """
    found = re.fullmatch(r"cu(\d{2})(\d)", label)
    return f"{found[1]}.{found[2]}" if found else ""


def has_kernels(torch: str, cuda: str, capability: Capability) -> bool:
    """Say whether an installed PyTorch should have kernels for a card; `%gpu_check` tries it.

    Parameters
    ----------
    torch, cuda
        Its version and the CUDA it was built for, "12.8".
    capability
        The card's compute capability.

    Examples
    --------
    >>> has_kernels("2.10.0+cu128", "12.8", (6, 0)), has_kernels("2.10.0+cu126", "12.6", (6, 0))
    (False, True)
    >>> has_kernels("2.10.0+cu128", "12.8", (7, 0)), has_kernels("2.11.0+cu128", "12.8", (7, 0))
    (True, False)
    """
    if cuda.split(".")[0] == "13":
        return capability >= (7, 5)
    for spec, lowest, highest in CAPABILITIES.get("cu" + cuda.replace(".", ""), ()):
        if fits(torch, spec):
            return lowest <= capability <= highest
    return True  # not in the table: nothing to say against it


def fits(version: str, span: str) -> bool:
    """Say whether a version is in a range; one that cannot be read is not.

    Examples
    --------
    >>> fits("2.11.0+cu128", "<3,>=1.10"), fits("unknown", "<3")
    (True, False)
    """
    try:
        return Version(version) in SpecifierSet(span, prereleases=True)
    except InvalidVersion:
        return False


def _admits(spec: str, minor: Minor) -> bool:
    """Whether a specifier allows some release of a minor version; patches go up to 2 so far."""
    return any(fits(f"{minor[0]}.{minor[1]}.{patch}", _plain(spec)) for patch in range(4))


def _plain(spec: str) -> str:
    """A specifier without labels, which the tables do not have."""
    return re.sub(r"\+[\w.]+", "", spec).replace("===", "==")


def minor_of(version: str) -> Minor:
    """Read the first two numbers of a version; (0, 0) where there are none.

    Examples
    --------
    >>> minor_of("2.13.0+cpu"), minor_of("")
    ((2, 13), (0, 0))
    """
    numbers = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
