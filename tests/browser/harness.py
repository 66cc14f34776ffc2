"""JupyterLab in Chromium, driven as a person drives it.

One server and one browser serve all tests; each test gets a notebook, a kernel and a page of its own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat
import psutil
from playwright.sync_api import Browser, Locator, Page, Playwright

from tools.workplace import WORK, end, free_port, quiet_lab

FUSE_S = 30.0
SHOTS = WORK / "shots"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELSEWHERE = "lab.example"
"""Another name of this machine, which only the browser knows: a page from there counts as another machine's."""
# No sandbox, since CI runs as root; nothing that calls home.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]  # fmt: skip
PANEL = "window.jupyterapp.shell.currentWidget"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab server."""

    url: str
    token: str
    folder: Path

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask the server's REST interface; the answer is parsed JSON, or None."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=FUSE_S) as answer:
            return json.loads(answer.read() or "null")


@contextmanager
def serve(folder: Path) -> Iterator[Lab]:
    """Start a JupyterLab server on `folder`, and end it and its kernels afterwards."""
    port, token = free_port(), secrets.token_hex(16)
    log = folder.parent / "jupyterlab.log"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
        "--ServerApp.local_hostnames=localhost", f"--ServerApp.local_hostnames={ELSEWHERE}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    env = {**os.environ, **quiet_lab(folder.parent / "lab"), "JUPYTER_TOKEN": token}
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    lab = Lab(f"http://127.0.0.1:{port}", token, folder)
    try:
        _await_answer(lab, server, log)
        yield lab
    finally:
        end(server, patience_s=15)


def _await_answer(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + FUSE_S
    while time.monotonic() < give_up_at and server.poll() is None:
        try:
            lab.ask("/api")
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # nothing else says that it is up
        else:
            return
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-4000:]}")


def launch(playwright: Playwright) -> Browser:
    """Start the Chromium that is installed; Playwright's own is never downloaded."""
    path = os.environ.get("IPYJOBS_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        raise RuntimeError("Chromium is missing: install Debian's chromium, or set IPYJOBS_CHROMIUM to its path")
    home = WORK / "home" / "chromium"
    home.mkdir(parents=True, exist_ok=True)
    return playwright.chromium.launch(executable_path=path, args=FLAGS, env={**os.environ, "HOME": str(home)})


class Notebook:
    """A notebook that is open in a page, with its kernel running."""

    def __init__(self, lab: Lab, page: Page, name: str) -> None:
        self.lab = lab
        self.page = page
        self.name = name
        self.errors: list[str] = []  # what the page's console calls an error, and what nobody caught
        page.set_default_timeout(FUSE_S * 1000)
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    def open(
        cls, lab: Lab, page: Page, cells: Sequence[str], name: str = "notebook.ipynb", *, host: str = "127.0.0.1"
    ) -> Notebook:
        """Write a notebook of code cells and open it, from the server under this name."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, lab.folder / name)
        notebook = cls(lab, page, name)
        page.goto(f"{lab.url.replace('127.0.0.1', host)}/lab/tree/{name}?reset&token={lab.token}")
        notebook._await_kernel()
        return notebook

    def close(self) -> None:
        """Shut the notebook's kernel down, wait until it is gone, and close the page."""
        for session in self.lab.ask("/api/sessions"):
            if session["path"] == self.name:
                self.lab.ask(f"/api/sessions/{session['id']}", "DELETE")
        self.page.close()

    def run(self, index: int, *, wait: bool = True) -> None:
        """Run one cell, counted from 0; with `wait=False` only start it."""
        self.page.evaluate(
            f"""index => {{
                const notebook = {PANEL}.content;
                notebook.activeCellIndex = index;
                notebook.deselectAll();
                notebook.activeCell.model.executionCount = null;
                void window.jupyterapp.commands.execute("notebook:run-cell");
            }}""",
            index,
        )
        if wait:
            self.wait(index)

    def wait(self, index: int, timeout_s: float = FUSE_S) -> None:
        """Wait for the end of a cell, by its own state: the kernel's turns idle after each widget message."""
        ended = f"""index => {{
            const {{executionCount, executionState}} = {PANEL}.content.widgets[index].model;
            return executionCount !== null && executionState === "idle";
        }}"""
        self.page.wait_for_function(ended, arg=index, timeout=timeout_s * 1000)

    def running(self, index: int) -> bool:
        """Whether a cell that was started has not ended, by its own state."""
        state = self.page.evaluate(f"index => {PANEL}.content.widgets[index].model.executionState", index)
        return state != "idle"

    def ask(self, expression: str) -> str:
        """The repr of an expression in the kernel, which must not be busy."""
        return self.page.evaluate(
            f"""async expression => {{
                const {{kernel}} = {PANEL}.sessionContext.session;
                const asked = kernel.requestExecute({{code: "", silent: true, user_expressions: {{it: expression}}}});
                const {{it}} = (await asked.done).content.user_expressions;
                return it.status === "ok" ? it.data["text/plain"] : `${{it.ename}}: ${{it.evalue}}`;
            }}""",
            expression,
        )

    def listeners(self, count: int) -> None:
        """Wait until this many pages hear what becomes of the engine's jobs: closed views have said goodbye."""
        give_up_at = time.monotonic() + FUSE_S
        while (there := self.ask("len(jobs.engine.notebook_listeners)")) != str(count):
            assert time.monotonic() < give_up_at, f"{there} listeners, not {count}"
            self.page.wait_for_timeout(20)  # the kernel tells nobody that a listener has gone

    def clear(self, index: int) -> None:
        """Clear the output of a cell."""
        self.page.evaluate(f"index => {PANEL}.content.widgets[index].model.clearExecution()", index)

    def error(self, index: int) -> str:
        """What a cell raised, or nothing."""
        return self.page.evaluate(
            f"""index => {{
                const outputs = {PANEL}.content.widgets[index].model.outputs.toJSON();
                const error = outputs.find(each => each.output_type === "error");
                return error ? `${{error.ename}}: ${{error.evalue}}` : "";
            }}""",
            index,
        )

    def cells(self) -> int:
        """How many cells the notebook has."""
        return self.page.evaluate(f"() => {PANEL}.content.widgets.length")

    def saved(self) -> nbformat.NotebookNode:
        """The notebook as it stands in its file."""
        return nbformat.read(self.lab.folder / self.name, as_version=4)

    def write(self, index: int, source: str) -> None:
        """Replace the source of a cell."""
        self.page.evaluate(
            f"([index, source]) => {PANEL}.content.widgets[index].model.sharedModel.setSource(source)", [index, source]
        )

    def cell(self, index: int) -> Locator:
        """The cell's element, scrolled into view; a notebook draws only the cells near the window."""
        self.page.evaluate(f"index => {PANEL}.content.scrollToItem(index)", index)
        return self.page.locator(f'.jp-NotebookPanel:visible .jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, index: int) -> Locator:
        """The element that holds what the cell put out."""
        return self.cell(index).locator(".jp-OutputArea-output")

    def theme(self, name: Literal["Light", "Dark"]) -> None:
        """Switch JupyterLab's theme."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg=str(name == "Light").lower()
        )

    def command(self, name: str, **args: object) -> None:
        """Run one of JupyterLab's commands, and wait for what it promises."""
        return self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)?.then(() => null)", [name, args]
        )

    def shot(self, name: str, of: Locator | None = None) -> Path:
        """Take a picture of the page, or of one element, into `.work/shots`."""
        path = SHOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((of or self.page).screenshot(animations="disabled"))
        return path

    def interrupt(self) -> None:
        """Do what the stop button does."""
        self.page.evaluate(f"() => {PANEL}.sessionContext.session.kernel.interrupt()")

    def restart(self) -> None:
        """Restart the kernel, and wait until it answers."""
        self.page.evaluate(f"() => {PANEL}.sessionContext.session.kernel.restart()")
        self._await_kernel()

    def shut_down(self) -> None:
        """End the kernel, and start no other."""
        self.page.evaluate(f"() => {PANEL}.sessionContext.shutdown()")

    def reload(self, *, save: bool = True) -> None:
        """Reload the page; the kernel goes on."""
        if save:
            self.command("docmanager:save")
        self.page.reload()
        self._await_kernel()

    def kernel(self) -> psutil.Process:
        """The process of the notebook's kernel."""
        wanted = self.page.evaluate(f"() => {PANEL}.sessionContext.session.kernel.id")
        for process in psutil.process_iter(["cmdline"]):
            if any(f"kernel-{wanted}.json" in word for word in process.info["cmdline"] or ()):
                return process
        raise ProcessLookupError(f"no process runs the kernel {wanted}")

    def _await_kernel(self) -> None:
        ready = f"""() => {{
            const panel = window.jupyterapp && {PANEL};
            if (!panel?.context?.isReady || !panel.sessionContext.isReady) return false;
            const kernel = panel.sessionContext.session?.kernel;
            return kernel?.connectionStatus === "connected" && kernel.status === "idle";
        }}"""
        self.page.wait_for_function(ready)
