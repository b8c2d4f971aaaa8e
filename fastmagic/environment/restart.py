"""Restart the kernel where the front end brings it back, and say so where it does not."""

from __future__ import annotations

from typing import Any

from fastmagic import platforms


def restart_kernel(shell: Any = None) -> bool:
    """End this kernel so that its front end starts a new one.

    It ends after the cell; Jupyter, Colab, Kaggle and VS Code then start another one, as after
    their own restart button. A terminal or a script has nobody who would.

    Parameters
    ----------
    shell
        The running IPython shell; found by itself by default.

    Returns
    -------
    bool
        Whether it will restart; False where nobody would start it again.

    Notes
    -----
    `do_shutdown` is what ipykernel calls for the front end's own restart:
    https://jupyter-client.readthedocs.io/en/stable/messaging.html#kernel-shutdown.

    Examples
    --------
    >>> restart_kernel(shell=object())
    False
    """
    shell = platforms.running_shell() if shell is None else shell
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    kernel.do_shutdown(True)
    return True
