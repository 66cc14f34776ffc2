from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import Lab, Notebook

Opener = Callable[..., Notebook]

FAILING = """import json

def read(text, *, strict):
    return json.loads(text, object_pairs_hook=check)

def check(pairs):
    raise ValueError("no pairs, please")

jobs.options(name="fails", retries=1).process(read, '{"a": 1}', strict=True)
jobs
"""

TALKING = r"""from tqdm import tqdm

def talk(n):
    print("plain \x1b[31mred\x1b[0m \x1b[1;32mbold green\x1b[0m")
    for i in tqdm(range(n), desc="steps", mininterval=0):
        pass
    for i in range(300):
        print("line", i)
    print("needle in the hay", flush=True)
    wait_for("talked")
    print("the last words", flush=True)
    return n

jobs.options(name="talks").process(talk, 200)
jobs
"""


def test_a_failure_is_told_with_the_cells_source(notebook: Opener):
    page = notebook(LOAD, FAILING)
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    board.shows(fails="failed")

    panel = board.open("fails")

    expect(panel.get_by_test_id("exception")).to_have_text("ValueError no pairs, please")
    frames = panel.locator(".ij-frame")
    expect(frames).to_have_count(2)
    expect(frames.nth(0)).to_contain_text(re.compile(r"In\[2\].*line 4, in read"))
    expect(frames.nth(0).locator(".ij-hit")).to_contain_text("json.loads(text")
    expect(frames.nth(1)).to_contain_text(re.compile(r"In\[2\].*line 7, in check"))
    expect(frames.nth(1).locator(".ij-hit")).to_contain_text('raise ValueError("no pairs, please")')
    folded = panel.get_by_test_id("library-frames")
    expect(folded).to_have_text(re.compile(r"\d library frames"))
    folded.click()
    expect(panel.locator(".ij-fold .ij-frame").first).to_contain_text("…/json/__init__.py")
    assert "ipyjobs/" not in panel.inner_text()
    page.shot("detail-error", board.root)

    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy traceback").click()
    expect(panel.get_by_text("Copied")).to_be_visible()
    copied = page.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("Traceback (most recent call last)")
    assert copied.rstrip().endswith("ValueError: no pairs, please")

    panel.get_by_test_id("tab-arguments").click()
    arguments = panel.get_by_test_id("arguments").locator("tr")
    expect(arguments.nth(0)).to_have_text(re.compile(r"text\s*str\s*'\{\"a\": 1\}'"))
    expect(arguments.nth(1)).to_have_text(re.compile(r"strict\s*bool\s*True"))
    panel.get_by_test_id("tab-attempts").click()
    expect(panel.get_by_test_id("attempt")).to_have_count(2)
    expect(panel.get_by_test_id("attempt").nth(0)).to_contain_text("ValueError")
    page.shot("detail-attempts", board.root)
    assert page.errors == []


def test_the_log_is_followed_searched_and_coloured(notebook: Opener, lab: Lab):
    page = notebook(LOAD, TALKING)
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    board.shows(talks="running")
    panel = board.open("talks")
    log = panel.get_by_test_id("log")
    expect(log).to_contain_text("needle in the hay")

    # Colours are colours, and a bar that was drawn over itself is one line.
    red = log.locator("span", has_text=re.compile("^red$"))
    expect(red).to_have_css("color", "rgb(179, 38, 30)")
    assert "\x1b" not in log.inner_text() and "[31m" not in log.inner_text()
    bars = [line for line in log.inner_text().splitlines() if "steps" in line]
    assert len(bars) == 1 and "200/200" in bars[0]

    panel.get_by_test_id("log-search").fill("NEEDLE")
    expect(panel.get_by_test_id("log-hits")).to_have_text("1 line")
    page.page.keyboard.press("Enter")
    expect(panel.get_by_test_id("log-hits")).to_have_text("1 of 1")
    expect(log.locator("mark")).to_have_text("needle")
    expect(log.locator("mark")).to_be_in_viewport()
    expect(panel.get_by_test_id("log-follow")).to_have_attribute("aria-pressed", "false")
    page.shot("detail-log", board.root)
    panel.get_by_test_id("log-search").fill("no such thing")
    expect(panel.get_by_test_id("log-hits")).to_have_text("none")
    panel.get_by_test_id("log-search").fill("")

    panel.get_by_test_id("log-follow").click()
    (lab.folder / "talked").touch()
    board.shows(talks="done")
    panel.get_by_test_id("tab-log").click()
    expect(log.get_by_text("the last words")).to_be_in_viewport()
    panel.get_by_test_id("tab-result").click()
    expect(panel.get_by_test_id("result")).to_have_text("200")
    assert page.errors == []
