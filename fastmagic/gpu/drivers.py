"""Which branch of NVIDIA's driver a CUDA needs."""

from __future__ import annotations

DRIVER_FLOORS = {13: 580, 12: 525, 11: 450, 10: 440}
"""CUDA's major version to the oldest branch of the driver that runs it (Linux). Source: NVIDIA's
CUDA Toolkit release notes, table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor
Version Compatibility", https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/."""
