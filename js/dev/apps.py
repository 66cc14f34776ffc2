"""Pictures of a web app in the dashboard, reached in every way: build with `npm run dev` first.

``python js/dev/apps.py [NAME ...]`` takes those whose name begins with one of the arguments; all without.
"""

from __future__ import annotations

import sys
import threading
import urllib.request
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import Page, sync_playwright
from shots import FLAGS, SHOTS, WORK, Quiet, by, filtered, nothing, opened

BARS = "".join(
    f'<rect x="{40 + i * 58}" y="{200 - height}" width="38" height="{height}" fill="#4c78a8"/>'
    for i, height in enumerate((60, 95, 130, 110, 165, 150, 180))
)
PAGE = f"""<!doctype html><title>Sales</title>
<style>body {{ font: 15px system-ui; margin: 24px; color: #223 }} button {{ font: inherit; padding: 6px 14px }}</style>
<h2>Sales by week</h2><svg viewBox="0 0 460 210" width="100%">{BARS}</svg>
<p><button onclick="n.textContent = +n.textContent + 1">Count</button> clicked <b id="n">0</b> times</p>"""
PARTS = '<script src="app.js"></script><link rel="stylesheet" href="app.css">'


class App(BaseHTTPRequestHandler):
    """A page in one piece, or, below `/parts`, one that loads files."""

    def do_GET(self) -> None:
        """Give the page."""
        body = (PAGE + (PARTS if self.path.startswith("/parts") else "")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Host(Quiet):
    """Serves the page, and passes on what is for the app, as jupyter-server-proxy does."""

    def do_GET(self) -> None:  # noqa: N802
        """Give a file, or what the app gives."""
        if self.path.startswith("/server-proxy/"):
            self._give("application/json", b'{"server_processes": []}')
        elif self.path.startswith("/proxy/"):
            _, _, port, path = self.path.split("/", 3)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
                self._give("text/html", answer.read())
        else:
            super().do_GET()

    def _give(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def wide(page: Page) -> None:
    """Open the app over the table."""
    opened("job8")(page)
    page.click(by("wide"))


def ended(page: Page) -> None:
    """Look at the app, then let it end."""
    opened("job8")(page)
    page.wait_for_selector("iframe")
    page.evaluate(
        """() => {
            const job = kernel.jobs.get("job8");
            kernel.patch([{...job, status: "failed", ready: false, ended_at: Date.now() / 1000,
                           error: "JobFailed: killed by signal 9 (SIGKILL)"}]);
        }"""
    )


HERE, FAR = "127.0.0.1", "hub.example"
# What the page is asked for, where it comes from, how wide it is, and what is done; {app} is the app's address.
VIEWS: dict[str, tuple[str, str, int, Callable[[Page], None]]] = {
    "app": ("address={app}", HERE, 1180, opened("job8")),
    "app-row": ("address={app}", HERE, 1180, filtered("streamlit")),
    "app-starting": ("address={app}&starting", HERE, 1180, opened("job8", "app")),
    "app-wide": ("address={app}", HERE, 1180, wide),
    "app-ended": ("address={app}", HERE, 1180, ended),
    "app-gone": ("address={app}&state=gone", HERE, 1180, opened("job8", "app")),
    "app-proxied": ("address={app}&base", FAR, 1180, opened("job8")),
    "app-parts": ("address={app}/parts&base", FAR, 1180, opened("job8")),
    "app-elsewhere": ("address={app}", FAR, 1180, opened("job8")),
    "app-silent": ("address=http://127.0.0.1:9", HERE, 1180, opened("job8")),
    "app-hostile": ("address=http://127.0.0.1:80@evil.example:80", HERE, 1180, opened("job8")),
    "app-narrow": ("address={app}", HERE, 440, opened("job8")),
    "app-narrow-row": ("address={app}", HERE, 440, nothing),
    "app-middle": ("address={app}", HERE, 760, opened("job8")),
    "app-card": ("address={app}&card=job8", HERE, 760, nothing),
}
BOTH = {"app", "app-parts", "app-elsewhere", "app-ended", "app-narrow", "app-card"}


def main(wanted: list[str]) -> None:
    """Serve, look, write."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    host = ThreadingHTTPServer((HERE, 0), partial(Host, directory=str(WORK / "dev")))
    app = ThreadingHTTPServer((HERE, 0), App)
    for server in (host, app):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = [*FLAGS, f"--host-resolver-rules=MAP {FAR} {HERE}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for name, (query, origin, width, act) in VIEWS.items():
            if wanted and not any(name.startswith(each) for each in wanted):
                continue
            asked = query.format(app=f"http://{HERE}:{app.server_port}")
            for dark in (False, True) if name in BOTH else (False,):
                page = browser.new_page(viewport={"width": width, "height": 700}, device_scale_factor=1.5)
                page.on("console", lambda message: print("console:", message.text))
                page.on("pageerror", lambda error: print("error:", error))
                page.goto(f"http://{origin}:{host.server_port}/?{asked}{'&dark' if dark else ''}")
                page.wait_for_selector(f"{by('board')}, {by('card')}")
                page.wait_for_timeout(500)
                act(page)
                page.wait_for_timeout(700)
                page.screenshot(path=SHOTS / f"{name}{'-dark' if dark else ''}.png", full_page=True)
                page.close()
        browser.close()
    for server in (host, app):
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
