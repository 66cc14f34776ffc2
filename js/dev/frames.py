"""Frame gaps while 10,000 rows are patched ten times a second, 500 records each: `python js/dev/frames.py`."""

from __future__ import annotations

import threading
from functools import partial
from http.server import ThreadingHTTPServer

from playwright.sync_api import sync_playwright
from shots import FLAGS, WORK, Quiet, by

RECORD = """seconds => new Promise(resolve => {
  const gaps = [];
  let last = performance.now();
  const end = last + seconds * 1000;
  const grid = document.querySelector('[data-testid=grid]');
  const step = now => {
    gaps.push(now - last);
    last = now;
    if (window.scrolling) grid.scrollTop += 40;
    now < end ? requestAnimationFrame(step) : resolve(gaps);
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    """Measure and print."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(WORK / "dev")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, query, before in [
            ("an empty page's own", "jobs=0&patches=0", ""),
            ("quiet", "jobs=10000&patches=0", ""),
            ("patched", "jobs=10000&patches=10&records=500", ""),
            ("patched, scrolling", "jobs=10000&patches=10&records=500", "window.scrolling = true"),
            ("patched, filtered", "jobs=10000&patches=10&records=500", "filter"),
            ("patched, by time", "jobs=10000&patches=10&records=500", "sort"),
            ("patched, log of 1 GB", "jobs=10000&patches=10&records=500", "log"),
        ]:
            page = browser.new_page(viewport={"width": 1180, "height": 760})
            page.goto(f"{base}?{query}")
            page.wait_for_timeout(1200)
            if before == "filter":
                page.fill(by("filter"), "status:done,running lr=0.03")
            elif before == "sort":
                page.click(by("sort-time"))
            elif before == "log":
                page.click(f"{by('row')}[data-id=job2] .ij-name")
            elif before:
                page.evaluate(before)
            page.wait_for_timeout(500)
            gaps = sorted(page.evaluate(RECORD, 5))
            rows = page.locator(by("row")).count()
            at = [gaps[min(len(gaps) - 1, int(len(gaps) * part))] for part in (0.5, 0.95, 0.99)]
            spread = f"median {at[0]:.1f}  p95 {at[1]:.1f}  p99 {at[2]:.1f}  max {gaps[-1]:.1f} ms"
            print(f"{name:22} {len(gaps)} frames: {spread}; {rows} rows in the document")
            page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
