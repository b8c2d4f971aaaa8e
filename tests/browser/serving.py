"""A notebook server in a folder and home of its own, for a browser on this machine alone."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAB = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""JupyterLab's settings: all cells stay in the page, so that they can be found, and no news."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes
    ----------
    address
        Where it answers, without a slash at the end.
    token
        What it asks for.
    folder
        Where its notebooks lie.
    kind
        `lab` or `classic`.
    """

    address: str
    token: str
    folder: Path
    kind: str


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


@contextlib.contextmanager
def serving(
    folder: Path, kind: str = "lab", *, dark: bool = False, python: str = sys.executable
) -> Iterator[Server]:
    """Serve a folder until the block ends.

    Parameters
    ----------
    folder
        Where notebooks lie; homes, settings and the server's log go into its `.home`.
    kind
        `lab` for JupyterLab, `classic` for the notebook as it was up to version 6.
    dark
        Whether JupyterLab is dark.
    python
        The Python that has the server and the kernel.
    """
    home = folder / ".home"
    settings = home / "settings"
    theme = {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}
    for name, values in {**LAB, "@jupyterlab/apputils-extension/themes": theme}.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), "utf-8")
    env = {
        **os.environ,
        "HOME": str(home),
        "FASTAI_HOME": str(home / "fastai"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    port, token = _free_port(), secrets.token_hex(16)
    app = {"lab": "ServerApp", "classic": "NotebookApp"}[kind]
    command = [python, "-m", {"lab": "jupyterlab", "classic": "notebook"}[kind]]
    command += ["--no-browser", "--allow-root", f"--port={port}", f"--{app}.token={token}"]
    command += [f"--{app}.port_retries=0", "--ip=127.0.0.1"]
    if kind == "lab":
        command.append("--LabApp.expose_app_in_browser=True")
    address = f"http://127.0.0.1:{port}"
    with Path(home, "server.log").open("w") as log:
        child = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            _wait(child, f"{address}/api/status?token={token}", Path(log.name))
            yield Server(address, token, folder, kind)
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def _wait(child: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 90) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and child.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.3)
    raise RuntimeError(f"the notebook server did not answer:\n{log.read_text('utf-8')[-3000:]}")
