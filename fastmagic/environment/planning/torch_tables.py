"""What builds of PyTorch there are, as tables; each names its source.

A build is a version and a label: `2.13.0+cu126` is version 2.13.0 for CUDA 12.6. What pip takes by
itself has no label; on Linux it is a build for CUDA, elsewhere it is not. `torch_builds.py` asks
these tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastmagic.gpu.drivers import DRIVER_FLOORS

WHEELS = "https://download.pytorch.org/whl"
REGISTRY = "registry"
CPU = "cpu"

Capability = tuple[int, int]
Minor = tuple[int, int]

# What a download of PyTorch and torchvision for Linux comes to, added up in November 2026 from the
# sizes that https://pypi.org/simple/ gives for 2.13.0 and all that it needs: 2,772 MB from the
# registry (with CUDA), 192 MB for the wheel 2.13.0+cpu alone.
REGISTRY_SIZE = "about 2.8 GB to download, 6 GB on the disk"
CPU_SIZE = "about 200 MB to download"

# The first torchvision for each torch. Until 0.29.0 each asks for exactly one torch; 0.29.1 and
# later take any from 2.14 on, and there is no 0.30. Sources: the table in
# https://github.com/pytorch/vision#installation, and torchvision's own metadata for 0.27 and later.
TORCHVISION: dict[Minor, str] = {(2, minor): f"0.{minor + 15}" for minor in range(15)}
TORCHVISION[2, 15] = "0.29"

# The Pythons that both torch and torchvision have wheels for, by torch's version (first, last).
# Source: the file names in https://pypi.org/simple/torch/ and …/torchvision/, November 2026; the
# indexes of download.pytorch.org are built for the same Pythons.
PYTHONS: dict[Minor, tuple[Minor, Minor]] = {
    (2, 0): ((3, 8), (3, 11)),
    (2, 1): ((3, 8), (3, 11)),
    (2, 2): ((3, 8), (3, 12)),
    (2, 3): ((3, 8), (3, 12)),
    (2, 4): ((3, 8), (3, 12)),
    (2, 5): ((3, 9), (3, 12)),
    (2, 6): ((3, 9), (3, 13)),
    (2, 7): ((3, 9), (3, 13)),
    (2, 8): ((3, 9), (3, 13)),
    **{(2, minor): ((3, 10), (3, 14)) for minor in range(9, 15)},
    (2, 15): ((3, 11), (3, 15)),
}
NEWEST: Minor = max(PYTHONS)


@dataclass(frozen=True)
class Build:
    """A line of PyTorch's builds for NVIDIA cards.

    Attributes
    ----------
    label
        Its label and the last part of its index.
    until
        The newest PyTorch that it runs with on these cards, as a specifier; empty for any.
    lowest, highest
        The compute capabilities that it has kernels for.
    driver
        The oldest driver branch it runs with.
    """

    label: str
    until: str
    lowest: Capability
    highest: Capability
    driver: int


# The PyTorch that each label exists with: the first, and the last as a specifier. Sources: the
# folders of https://download.pytorch.org/whl/ as https://data.pyg.org/whl/nightly/ and
# https://github.com/replicate/cog (pkg/config/torch_compatibility.json) list them.
LABELS: dict[str, tuple[str, str]] = {
    "cu118": ("2.0", "<=2.7.1"),
    "cu121": ("2.1", "<2.6"),
    "cu124": ("2.4", "<2.7"),
    "cu126": ("2.6", "<2.14"),
    "cu128": ("2.7", "<2.12"),
    "cu129": ("2.8", "<2.12"),
    "cu130": ("2.9", ""),
    "cu132": ("2.12", ""),
}

# A card newer than this table: the newest build is the one that may have kernels for it.
ANY_NEWER: Capability = (99, 0)

# The best first: newest PyTorch first. Sources: the "PyTorch CUDA Support Matrix" in
# https://github.com/pytorch/pytorch/blob/main/RELEASE.md; that CUDA 12.6 ends:
# https://github.com/pytorch/pytorch/issues/190385 (2.13.0+cu126 is the last that was seen; 2.14 has
# it as legacy). CUDA 11.8 was last built for 2.7.1, and since 2.4 with cuDNN 9, which has nothing
# for capability 3.7: 2.3.1 is a K80's last (2.7.1 fails on it:
# https://github.com/nelson-liu/pytorch-manylinux-binaries/issues/13).
CUDA_BUILDS = (
    Build("cu130", "", (7, 5), ANY_NEWER, DRIVER_FLOORS[13]),
    Build("cu126", "<2.14", (5, 0), (9, 0), DRIVER_FLOORS[12]),
    Build("cu128", "<2.12", (7, 5), (12, 1), DRIVER_FLOORS[12]),
    Build("cu118", "<=2.7.1", (5, 0), (9, 0), DRIVER_FLOORS[11]),
    Build("cu118", "<=2.3.1", (3, 7), (9, 0), DRIVER_FLOORS[11]),
)

# What the builds of some label have kernels for where it depends on PyTorch's version, else the
# rows above count. Source: the same matrix, and .ci/manywheel/build_cuda.sh beside it.
CAPABILITIES: dict[str, tuple[tuple[str, Capability, Capability], ...]] = {
    "cu128": ((">=2.8,<2.11", (7, 0), (12, 1)), ("", (7, 5), (12, 1))),
    "cu126": (("", (5, 0), (9, 0)),),
    "cu124": (("", (5, 0), (9, 0)),),
    "cu121": (("", (5, 0), (9, 0)),),
    "cu118": (("<2.4", (3, 7), (9, 0)), ("", (5, 0), (9, 0))),
}

# An Intel Mac's last wheels. Source: the file names in https://pypi.org/simple/torch/.
LAST_FOR_INTEL_MACS = "2.2.2"

# The first PyTorch whose wheels were built for numpy 2; an older one cannot share arrays with it.
# Source: https://github.com/pytorch/pytorch/issues/107302.
FIRST_WITH_NUMPY_2: Minor = (2, 3)
