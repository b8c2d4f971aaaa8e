"""Two front ends as a person uses them: keys, buttons and menus of a page in a real browser."""

from __future__ import annotations

import abc
import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.browser.serving import Server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Find a Chromium on this machine; playwright's own is not downloaded."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextlib.contextmanager
def page_of(width: int = 1200, height: int = 900) -> Iterator[Any]:
    """Open a browser with one page, of so many CSS pixels."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


class FrontEnd(abc.ABC):
    """What both have in common; a cell is known by its number among the code cells, from 0."""

    CELLS = OUTPUTS = PROMPT = EDITOR = HINTS = HELP = STOP = ""

    def __init__(self, page: Any, server: Server) -> None:
        self.page, self.server = page, server

    @abc.abstractmethod
    def open(self, notebook: str) -> None:
        """Open a notebook of the server's folder, and wait until its kernel can be used."""

    @abc.abstractmethod
    def run_all(self) -> None:
        """Run all cells, as the menu does."""

    @abc.abstractmethod
    def restart(self) -> None:
        """Restart the kernel."""

    @abc.abstractmethod
    def save(self) -> None:
        """Save the notebook with its outputs."""

    def cell(self, number: int) -> Any:
        """Give the place of a code cell in the page."""
        return self.page.locator(self.CELLS).nth(number)

    def run(self, number: int) -> None:
        """Run one cell by its key."""
        self.cell(number).locator(self.EDITOR).first.click()
        self.page.keyboard.press("Control+Enter")

    def stop(self) -> None:
        """Press the stop button."""
        self.page.locator(self.STOP).first.click()

    def html(self, number: int) -> str:
        """Give the HTML of what stands below a cell."""
        return self._below(number, "innerHTML")

    def text(self, number: int) -> str:
        """Give what a person can read below a cell."""
        return self._below(number, "innerText")

    def _below(self, number: int, what: str) -> str:
        """Ask for all outputs at once: one by one, they are replaced in between."""
        ask = f"(cell, which) => [...cell.querySelectorAll(which)].map(o => o.{what}).join('\\n')"
        return str(self.cell(number).evaluate(ask, self.OUTPUTS))

    def is_busy(self, number: int) -> bool:
        """Say whether a cell runs or waits."""
        return "*" in self.cell(number).locator(self.PROMPT).first.inner_text()

    def has_run(self, number: int) -> bool:
        """Say whether a cell has run to its end."""
        prompt = self.cell(number).locator(self.PROMPT).first.inner_text()
        return any(letter.isdigit() for letter in prompt)

    def wait(self, what: Any, seconds: float = 180) -> None:
        """Wait until a question is answered by yes."""
        ends = time.monotonic() + seconds
        while not what():
            if time.monotonic() > ends:
                raise TimeoutError(f"after {seconds} s still not: {what}")
            self.page.wait_for_timeout(100)

    def wait_for_end(self, number: int, seconds: float = 240) -> None:
        """Wait until a cell has run."""
        self.wait(lambda: self.has_run(number) and not self.is_busy(number), seconds)

    def seen_of(self, number: int, seconds: float = 240) -> list[str]:
        """Watch what stands below a cell until it has run; give each text that was seen, once."""
        seen: list[str] = []
        ends = time.monotonic() + seconds
        while not self.has_run(number) or self.is_busy(number):
            now = self.text(number)
            if now and (not seen or now != seen[-1]):
                seen.append(now)
            self.page.wait_for_timeout(100)
            if time.monotonic() > ends:
                raise TimeoutError(f"cell {number} did not end in {seconds} s")
        return seen

    def write(self, number: int, text: str) -> None:
        """Write into a cell, in place of what is there."""
        self.cell(number).locator(self.EDITOR).first.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(text)

    def completions(self, number: int, text: str) -> str:
        """Write into a cell, press TAB, and give what is offered."""
        return self._asked(number, text, "Tab", self.HINTS)

    def help_on(self, number: int, text: str) -> str:
        """Write into a cell, press Shift-TAB, and give the help that is shown."""
        return self._asked(number, text, "Shift+Tab", self.HELP)

    def _asked(self, number: int, text: str, key: str, answer: str) -> str:
        self.write(number, text)
        self.page.keyboard.press(key)
        shown = self.page.locator(answer).first
        shown.wait_for(state="visible", timeout=20_000)
        self.page.wait_for_timeout(1000)  # the help before it may still be there
        said = str(shown.inner_text())
        self.page.keyboard.press("Escape")
        return said

    def picture(self, file: Path, number: int | None = None) -> None:
        """Save what the page shows, or one cell with its output, as a picture."""
        if number is None:
            self.page.screenshot(path=str(file))
            return
        size = self.page.viewport_size
        self.page.set_viewport_size({**size, "height": 2600})  # a report is taller than a page
        cell = self.cell(number)
        cell.scroll_into_view_if_needed()
        cell.screenshot(path=str(file))
        self.page.set_viewport_size(size)

    def address(self, path: str) -> str:
        """Give the whole address of a page."""
        return f"{self.server.address}/{path}?token={self.server.token}"


class JupyterLab(FrontEnd):
    """JupyterLab 4."""

    CELLS = ".jp-Notebook .jp-CodeCell"
    OUTPUTS = ".jp-OutputArea-output"
    PROMPT = ".jp-InputPrompt"
    EDITOR = ".cm-content"
    HINTS = ".jp-Completer"
    HELP = ".jp-Tooltip"
    STOP = '.jp-NotebookPanel-toolbar [data-command="notebook:interrupt-kernel"]'

    def _do(self, command: str) -> None:
        """Do what a menu's entry does, without waiting for its end."""
        self.page.evaluate(f"() => {{ window.jupyterapp.commands.execute({command!r}) }}")

    def open(self, notebook: str) -> None:
        """Open a notebook in a fresh workspace."""
        self.page.goto(self.address(f"lab/tree/{quote(notebook)}") + "&reset")
        self.page.locator(self.CELLS).first.wait_for(timeout=90_000)
        idle = self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first
        select = self.page.locator(".jp-Dialog .jp-mod-accept").first
        self.page.wait_for_timeout(1500)
        if select.is_visible():  # "Select Kernel"
            select.click()
        idle.wait_for(state="attached", timeout=90_000)
        self._do("application:toggle-left-area")

    def run_all(self) -> None:
        """Run > Run All Cells."""
        self._do("notebook:run-all-cells")

    def restart(self) -> None:
        """Press the restart button, and say yes."""
        restart = '.jp-NotebookPanel-toolbar [data-command="notebook:restart-kernel"]'
        self.page.locator(restart).first.click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.wait_for_timeout(1500)

    def save(self) -> None:
        """Save by the key."""
        self._do("docmanager:save")
        self.page.wait_for_timeout(1500)


class ClassicNotebook(FrontEnd):
    """The notebook up to version 6, which Colab's and Kaggle's images have."""

    CELLS = "#notebook-container .code_cell"
    OUTPUTS = ".output_subarea"
    PROMPT = ".input_prompt"
    EDITOR = ".CodeMirror"
    HINTS = "#complete, .completions"
    HELP = "#tooltip"
    STOP = '[data-jupyter-action="jupyter-notebook:interrupt-kernel"]'

    def completions(self, number: int, text: str) -> str:
        """Write into a cell, press TAB, and give what is offered; one answer alone is put there."""
        self.write(number, text)
        self.page.keyboard.press("Tab")
        editor = self.cell(number).locator(self.EDITOR).first
        now = "editor => editor.CodeMirror.getValue()"
        menu = self.page.locator(self.HINTS).first
        self.wait(lambda: menu.is_visible() or editor.evaluate(now) != text, 20)
        said = str(menu.inner_text() if menu.is_visible() else editor.evaluate(now))
        self.page.keyboard.press("Escape")
        return said

    def open(self, notebook: str) -> None:
        """Open a notebook, and wait for its kernel."""
        self.page.goto(self.address(f"notebooks/{quote(notebook)}"))
        self.page.locator(self.CELLS).first.wait_for(timeout=90_000)
        ready = "() => IPython.notebook.kernel && IPython.notebook.kernel.is_connected()"
        self.page.wait_for_function(ready, timeout=90_000)

    def run_all(self) -> None:
        """Cell > Run All."""
        self.page.evaluate("() => IPython.notebook.execute_all_cells()")

    def restart(self) -> None:
        """Press the restart button, and say yes."""
        restart = '[data-jupyter-action="jupyter-notebook:confirm-restart-kernel"]'
        self.page.locator(restart).first.click()
        self.page.locator(".modal-dialog .btn-danger").click()
        self.page.wait_for_timeout(3000)

    def save(self) -> None:
        """Save by the menu's action."""
        self.page.evaluate("() => IPython.notebook.save_notebook()")
        self.page.wait_for_timeout(1500)


FRONT_ENDS = {"lab": JupyterLab, "classic": ClassicNotebook}
