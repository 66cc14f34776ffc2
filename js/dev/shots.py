"""Pictures of the dashboard on a made-up feed, into `.work/shots/`: build with `npm run dev` first.

``python js/dev/shots.py [NAME ...]`` takes those whose name begins with one of the arguments; all without.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WORK = Path(__file__).parents[2] / ".work"
SHOTS = WORK / "shots"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def by(testid: str) -> str:
    """A selector."""
    return f"[data-testid={testid}]"


def opened(job: str, tab: str | None = None) -> Callable[[Page], None]:
    """Open a job, and one of its tabs."""

    def act(page: Page) -> None:
        page.click(f"{by('row')}[data-id={job}] .ij-name")
        if tab:
            page.click(by(f"tab-{tab}"))
        page.mouse.move(5, 5)

    return act


def filtered(text: str) -> Callable[[Page], None]:
    """Type into the filter box."""

    def act(page: Page) -> None:
        page.fill(by("filter"), text)

    return act


def hovered(page: Page) -> None:
    """Point at a row."""
    page.hover(f"{by('row')}[data-id=job3]")


def asking(page: Page) -> None:
    """Select all, then press the cancel key."""
    page.click(by("tick-all"))
    page.click(by("cancel-many"))


def selected(page: Page) -> None:
    """Tick a few and open one."""
    for job in ("job2", "job4", "job6"):
        page.click(f"{by('row')}[data-id={job}] {by('tick')}")
    opened("job4", "arguments")(page)


def helped(page: Page) -> None:
    """Open the list of keys."""
    page.click(by("help-button"))


def searched(page: Page) -> None:
    """Search in a long log and go to the third hit."""
    opened("job2", "log")(page)
    page.fill(by("log-search"), "fail")
    page.wait_for_timeout(500)
    for _ in range(3):
        page.click(by("log-next"))
        page.wait_for_timeout(200)


def scrolled(page: Page) -> None:
    """Scroll far down."""
    page.eval_on_selector(by("grid"), "grid => { grid.scrollTop = 150000 }")


def chipped(page: Page) -> None:
    """Show only what failed."""
    page.click(by("chip-failed"))


def folded(page: Page) -> None:
    """Unfold library frames and scroll to the cause."""
    opened("job1")(page)
    page.click(by("library-frames") + " >> nth=0")
    page.eval_on_selector(by("panel-error"), "panel => { panel.scrollTop = 260 }")


def nothing(_: Page) -> None:
    """Look only."""


VIEWS: dict[str, tuple[str, int, Callable[[Page], None]]] = {
    "empty": ("jobs=0", 900, nothing),
    "twelve": ("jobs=12", 1180, nothing),
    "error": ("jobs=12", 1180, opened("job1")),
    "folded": ("jobs=12", 1180, folded),
    "log": ("jobs=12", 1180, opened("job3", "log")),
    "search": ("jobs=12", 1180, searched),
    "result": ("jobs=12", 1180, opened("job6", "result")),
    "arguments": ("jobs=12", 1180, opened("job10", "arguments")),
    "attempts": ("jobs=12", 1180, opened("job1", "attempts")),
    "running": ("jobs=12", 1180, opened("job2")),
    "stopping": ("jobs=12", 1180, opened("job5", "arguments")),
    "hover": ("jobs=12", 1180, hovered),
    "selected": ("jobs=12", 1180, selected),
    "confirm": ("jobs=12", 1180, asking),
    "help": ("jobs=12", 1180, helped),
    "problem": ("jobs=12", 1180, filtered('group:sweep colour:"red"')),
    "thousand": ("jobs=1000", 1180, chipped),
    "ten-thousand": ("jobs=10000&patches=10&records=500", 1180, scrolled),
    "hostile": ("jobs=24&hostile", 1180, opened("job8")),
    "gone": ("jobs=12&state=gone", 1180, opened("job1")),
    "late": ("jobs=12&state=late", 1180, lambda page: page.wait_for_timeout(7000)),
    "absent": ("jobs=12&state=absent", 900, lambda page: page.wait_for_timeout(7000)),
    "card-failed": ("jobs=12&card=job1", 760, nothing),
    "card-running": ("jobs=12&card=job2", 760, nothing),
    "narrow": ("jobs=12", 440, opened("job1")),
    "narrow-log": ("jobs=12", 440, opened("job3", "log")),
    "narrow-plain": ("jobs=12", 440, nothing),
    "middle": ("jobs=12", 760, opened("job1")),
}
BOTH = {"empty", "twelve", "error", "log", "attempts", "selected", "confirm", "help", "gone", "narrow", "late"}


def main(wanted: list[str]) -> None:
    """Serve, look, write."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(WORK / "dev")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, (query, width, act) in VIEWS.items():
            if wanted and not any(name.startswith(each) for each in wanted):
                continue
            for dark in (False, True) if name in BOTH else (False,):
                page = browser.new_page(viewport={"width": width, "height": 700}, device_scale_factor=1.5)
                page.on("console", lambda message: print("console:", message.text))
                page.on("pageerror", lambda error: print("error:", error))
                page.goto(f"http://127.0.0.1:{server.server_port}/?{query}{'&dark' if dark else ''}")
                page.wait_for_selector(f"{by('board')}, {by('card')}")
                page.wait_for_timeout(500)
                act(page)
                page.wait_for_timeout(450)
                page.screenshot(path=SHOTS / f"{name}{'-dark' if dark else ''}.png", full_page=True)
                page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
