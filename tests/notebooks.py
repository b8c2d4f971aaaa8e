"""Makes and runs the example notebooks.

    python -m tests.notebooks          run them, and write their outputs into examples/

Their text is in `notebook_cells.py`. The one address that a reader fills in is `url` in setup.cfg:
once it is there, the install cell takes it and `lesson1.ipynb` gets its open-in badges; until then
neither pretends that there is one.
"""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import functools
import http.server
import os
import re
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.notebook_cells import CELLS

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
WHEEL = "fastmagic-0.1.0-py3-none-any.whl"

FEW, MANY = 24, 320
"""Drawn pictures to train with: enough for a notebook to run, and for a head to learn from."""


def address() -> str:
    """Give the project's public address; empty until someone fills in `url` in setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config.get("metadata", "url", fallback="").strip()


def badges(url: str) -> str:
    """Make the open-in badges from the one address; nothing where there is none."""
    if not url:
        return ""
    path = f"{url.removeprefix('https://github.com/')}/blob/main/examples/lesson1.ipynb"
    colab = f"https://colab.research.google.com/github/{path}"
    kaggle = f"https://kaggle.com/kernels/welcome?src=https://github.com/{path}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})\n\n"
    )


def written(name: str) -> Any:
    """Make a notebook without outputs from its cells."""
    import nbformat

    url = address()
    cells = []
    filling = {
        "{badges}": badges(url),
        "{source}": f"git+{url}" if url else WHEEL,
        "{upload}": "" if url else ": upload that file beside this notebook first",
    }
    for number, (kind, text) in enumerate(CELLS[name]):
        for mark, words in filling.items():
            text = text.replace(mark, words)
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cells.append(make(text.strip(), id=f"{name}-{number}"))
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    return book


def execute(book: Any, work: Path, env: dict[str, str]) -> Any:
    """Run a notebook in a kernel of its own, in a folder and home of its own."""
    from nbclient import NotebookClient

    # nbclient sees the errors that a front end would see: a cell that fails raises.
    home = {"HOME": str(work), "FASTAI_HOME": str(work / ".fastai"), "MPLBACKEND": "agg"}
    client = NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    )
    asyncio.run(client.async_execute(env={**os.environ, **home, **env}))  # closes its own loop
    return book


def weights_of_drawings(folder: Path) -> Path:
    """Train resnet34 on drawn cats and dogs, from nothing: what stands in for ImageNet's weights.

    A head on a body that knows nothing learns nothing, and the saved outputs would show that.
    """
    import torch
    import torchvision

    import fastmagic

    result = fastmagic.train_lesson1(
        "sample", recipe="scratch", arch="resnet34", size=128, runs_folder=folder / "runs"
    )
    whole = torchvision.models.resnet34()
    body = torch.nn.Sequential(*list(whole.children())[:-2])
    body.load_state_dict(result.learn.model[0].state_dict())
    file = folder / "drawings.pth"
    torch.save(whole.state_dict(), file)
    return file


@contextlib.contextmanager
def stand_in(folder: Path, pictures: int) -> Iterator[dict[str, str]]:
    """Serve drawn pictures as `dogscats.tgz`, and give the settings that lead there."""
    from fastmagic.data.drawn.sample import draw_sample

    drawn = draw_sample(folder / "dogscats", train=pictures, valid=pictures // 2)
    with tarfile.open(folder / "dogscats.tgz", "w:gz") as archive:
        archive.add(drawn, "dogscats")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"FASTMAGIC_CATALOGUE": f"http://127.0.0.1:{server.server_address[1]}/"}
        server.shutdown()


def zip_photos(folder: Path, pictures: int) -> None:
    """Put a zip of drawn pictures, one folder a class, where a person would upload photographs."""
    from fastmagic.data.drawn.sample import draw_sample

    drawn = draw_sample(folder / "drawn", train=pictures, valid=4)
    with zipfile.ZipFile(folder / "my_photos.zip", "w") as archive:
        for file in sorted((drawn / "train").rglob("*.png")):
            archive.write(file, file.relative_to(drawn / "train"))
    shutil.rmtree(folder / "drawn")


def run(name: str, work: Path, weights: Path | None = None) -> Any:
    """Run one of the example notebooks, on stand-ins for what a reader would have.

    Parameters
    ----------
    name
        Of the notebook.
    work
        A folder for what it makes.
    weights
        What stands in for ImageNet's; None for a network that knows nothing, and few pictures:
        nothing is learned then, but it runs, and quickly.
    """
    home = work / "home"
    home.mkdir(parents=True, exist_ok=True)
    known, pictures = {"FASTMAGIC_WEIGHTS": "none"}, FEW
    if weights is not None:
        known, pictures = {"FASTMAGIC_WEIGHTS": str(shutil.copy(weights, home))}, MANY
    if name == "own_photos":
        zip_photos(home, pictures)
        return execute(written(name), home, known)
    if name == "survive":
        killed(written(name), home)
    if name != "lesson1":
        return execute(written(name), home, {})
    served = work / "served"
    served.mkdir(exist_ok=True)
    with stand_in(served, pictures) as settings:
        return execute(written(name), home, {**settings, **known})


def killed(book: Any, home: Path) -> None:
    """Run the notebook that kills its kernel, and see that it does."""
    from nbclient.exceptions import DeadKernelError

    try:
        execute(book, home, {})
    except DeadKernelError:
        return
    raise RuntimeError("the kernel was not killed")


def without_this_machine(book: Any, work: Path) -> Any:
    """Take the paths of the machine that ran it, and times of day, out of a notebook's outputs."""
    import nbformat

    text = nbformat.writes(book).replace(str(work / "home"), "/home/you")
    text = re.sub(r"/[^\s\"']*/site-packages/", "site-packages/", text)  # where a warning came from
    plain = nbformat.reads(text, as_version=4)
    for cell in plain.cells:
        cell.metadata.pop("execution", None)
    plain.metadata.pop("language_info", None)
    return plain


def main() -> None:
    """Run every notebook and write it with its outputs."""
    import nbformat

    with tempfile.TemporaryDirectory() as made:
        weights = weights_of_drawings(Path(made))
        for name in CELLS:
            with tempfile.TemporaryDirectory() as folder:
                work = Path(folder).resolve()
                book = without_this_machine(run(name, work, weights), work)
                text = nbformat.writes(book) + "\n"
                (EXAMPLES / f"{name}.ipynb").write_text(text, encoding="utf-8")
            print(f"examples/{name}.ipynb")


if __name__ == "__main__":
    main()
