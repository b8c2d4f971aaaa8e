"""What the lesson's tests borrow from the GPU's, and a disk that is soon full."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.gpu.conftest import plug_in

__all__ = ["plug_in", "small_disk"]


@pytest.fixture
def small_disk(tmp_path):
    """Give what mounts a file system of so many bytes; only root can, on Linux."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small file system cannot be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
