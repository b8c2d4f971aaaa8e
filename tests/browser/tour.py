"""The whole of `quickstart.ipynb` in a browser, with pictures to be looked at one by one.

    python -m tests.browser.tour FOLDER                          JupyterLab, of this environment
    python -m tests.browser.tour FOLDER --classic PYTHON         the notebook 6.5 of another one

PYTHON is that of an environment with Colab's versions: notebook 6.5, ipykernel 6.17.1, IPython
7.34. In each: Run All, what the live view shows meanwhile, stop in the middle of the training and
run again, TAB and Shift-TAB, save and reload, restart and run the training again. JupyterLab is
light and dark, wide and narrow. Pictures, and what each step showed, go into FOLDER.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from tests import notebooks
from tests.browser.front_ends import FRONT_ENDS, FrontEnd, page_of
from tests.browser.serving import serving

LOAD, CHECK, SETUP, DATA, TRAIN, PREDICT, OWN = range(1, 8)  # 0 installs
FREE = OWN + 1
MAGICS = ("%gpu_check", "%fastai_setup", "%get_data", "%train_lesson1")


def walk(front: FrontEnd, to: Path) -> None:
    """Go through the notebook as a beginner does."""
    front.run_all()
    for number in (CHECK, SETUP, DATA):
        front.wait_for_end(number, 600)
        front.picture(to / f"{number}.png", number)
    front.wait(lambda: "epoch 4 of" in front.text(TRAIN), 300)
    front.page.wait_for_timeout(2000)
    front.picture(to / "live.png", TRAIN)
    front.stop()
    front.wait_for_end(TRAIN)
    front.picture(to / "stopped.png", TRAIN)
    front.run(TRAIN)
    seen = front.seen_of(TRAIN, 600)
    say(to, f"live view: {len(seen)} different texts; goes on: {'goes on' in ' '.join(seen)}")
    front.picture(to / "report.png", TRAIN)
    for number in (PREDICT, OWN):
        front.run(number)
        front.wait_for_end(number, 600)
        front.picture(to / f"{number}.png", number)


def ask(front: FrontEnd, to: Path) -> None:
    """Press TAB and Shift-TAB."""
    for text in ("%get_data ", "%train_lesson1 --rec", "%train_lesson1 --recipe "):
        say(to, f"TAB after {text!r}: {' '.join(front.completions(FREE, text).split())[:300]}")
    for text in MAGICS:
        say(to, f"Shift-TAB on {text}: {' '.join(front.help_on(FREE, text).split())[:200]}")
    front.write(FREE, "%get_data ")
    front.page.keyboard.press("Tab")
    front.page.wait_for_timeout(2000)
    front.picture(to / "tab.png")
    front.page.keyboard.press("Escape")


def come_back(front: FrontEnd, notebook: str, to: Path) -> None:
    """Save, reload, restart, and run the training again."""
    front.save()
    front.page.reload()
    front.open(notebook)
    say(to, f"after reloading, the report is there: {'Finished' in front.text(TRAIN)}")
    front.picture(to / "reloaded.png", TRAIN)
    front.restart()
    for number in (LOAD, DATA, TRAIN):
        front.run(number)
    front.wait_for_end(TRAIN, 600)
    say(to, f"after a restart: {front.text(TRAIN)[:120]!r}")


def look(front: FrontEnd, notebook: str, to: Path) -> None:
    """Take pictures of what is saved, without running anything."""
    for number in (CHECK, SETUP, DATA, TRAIN):
        front.picture(to / f"saved-{number}.png", number)


def say(to: Path, text: str) -> None:
    """Print a line, and keep it beside the pictures."""
    print(f"{to.name}: {text}", flush=True)
    with (to / "said.txt").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def main() -> None:
    """Go through one front end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classic", metavar="PYTHON")
    asked = parser.parse_args()
    kind, python = ("classic", asked.classic) if asked.classic else ("lab", sys.executable)
    book = notebooks.written("quickstart")
    book.cells.append(nbformat.v4.new_code_cell(""))
    with tempfile.TemporaryDirectory() as work:
        nbformat.write(book, Path(work, "quickstart.ipynb"))
        looks = [("light", False, 1200), ("dark", True, 1200), ("narrow", False, 640)]
        for name, dark, width in looks if kind == "lab" else looks[:1]:
            to = asked.folder / f"{kind}-{name}"
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir(parents=True)
            with (
                serving(Path(work), kind, dark=dark, python=python) as server,
                page_of(width) as page,
            ):
                front = FRONT_ENDS[kind](page, server)
                front.open("quickstart.ipynb")
                if name == "light":
                    walk(front, to)
                    ask(front, to)
                    come_back(front, "quickstart.ipynb", to)
                else:
                    look(front, "quickstart.ipynb", to)


if __name__ == "__main__":
    main()
