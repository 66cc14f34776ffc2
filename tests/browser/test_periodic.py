from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import Notebook


def test_what_comes_next_is_counted_down_in_the_browser(notebook: Callable[..., Notebook]):
    page = notebook(
        f"{LOAD}\nfrom datetime import datetime, timedelta\nfrom ipyjobs import after_timepoint",
        """
often = jobs.options(backend="thread").every("1s", print, "tick")
hourly = jobs.every("1h", print)
later = jobs.options(name="later", condition=after_timepoint(datetime.now() + timedelta(hours=2))).thread(print)
jobs
""",
        "often.cancel(), hourly.cancel()",
    )
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))

    waiting = board.row("later")
    expect(waiting).to_contain_text(re.compile(r"starts \d\d:\d\d · 1h 59m"))
    hourly = board.row("cron-sentinel-print").filter(has_text="m ")
    expect(hourly).to_contain_text(re.compile(r"next \d\d:\d\d:\d\d · 59m 5\ds"))
    before = hourly.inner_text()
    expect(hourly).not_to_have_text(before)
    expect(hourly).to_contain_text(re.compile(r"next \d\d:\d\d:\d\d · 59m"))
    often = board.row("cron-sentinel-print").filter(has_text="runs")
    expect(often).to_contain_text(re.compile(r"next \d\d:\d\d:\d\d .* · [2-9] runs"))

    page.run(2)
    expect(board.root.locator('[data-testid="row"][data-status="cancelled"]')).to_have_count(2)
    assert page.errors == []
