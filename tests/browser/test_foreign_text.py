"""Names, messages and output are anybody's text: it is shown as text, wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import Notebook

Opener = Callable[..., Notebook]

HOSTILE = r"""
IMG = '<img src=x onerror="window.__pwn=1">'
SCRIPT = "<script>window.__pwn=1</script>"

class Odd(Exception):
    pass

def shout(text):
    print(IMG, SCRIPT)
    print("\x1b[31mred\x1b[0m \x1b]8;;javascript:window.__pwn=1\x07link\x1b]8;;\x07 \x1b[2J\x1b[5;5Hmoved")
    print('<a href="javascript:window.__pwn=1">a</a>')
    raise Odd(IMG + " \x1b[31m" + SCRIPT)

def give(text):
    return text

kind = type("<b>Bold</b>", (), {"__repr__": lambda self: IMG, "__reduce__": lambda self: (str, (IMG,))})
hostile = jobs.options(name=IMG, group=SCRIPT, tags=["<i>tag</i>"])
bad = hostile.thread(shout, IMG)
good = hostile.thread(give, kind())
await jobs
jobs
"""


def no_elements(root: Locator) -> None:
    assert root.locator("img, script, iframe, a, i.tag, [onerror]").count() == 0


IMAGE = '<img src=x onerror="window.__pwn=1">'


def test_html_and_escapes_in_foreign_text_stay_text(notebook: Opener):
    page = notebook(LOAD, HOSTILE, "bad")
    page.run(0)
    page.run(1)
    page.run(2)
    board = Board.of(page.output(1))
    failed, done = board.rows.nth(0), board.rows.nth(1)
    expect(failed).to_contain_text(IMAGE)
    expect(done).to_contain_text(IMAGE)
    no_elements(board.root)

    failed.click()
    panel = board.part("detail")
    expect(panel.get_by_test_id("exception")).to_contain_text(IMAGE)
    expect(panel.get_by_test_id("facts")).to_contain_text("<script>window.__pwn=1</script>")
    expect(panel.get_by_test_id("facts")).to_contain_text("#<i>tag</i>")
    no_elements(board.root)
    panel.get_by_test_id("as-text").click()
    expect(panel.get_by_test_id("traceback")).to_contain_text(IMAGE)
    no_elements(board.root)
    panel.get_by_test_id("tab-log").click()
    expect(panel.get_by_test_id("log")).to_contain_text(f"{IMAGE} <script>")
    expect(panel.get_by_test_id("log")).to_contain_text("red link")
    expect(panel.get_by_test_id("log")).to_contain_text('<a href="javascript:window.__pwn=1">a</a>')
    no_elements(board.root)
    panel.get_by_test_id("tab-arguments").click()
    expect(panel.get_by_test_id("arguments")).to_contain_text(IMAGE)
    done.click()
    panel.get_by_test_id("tab-result").click()
    expect(panel.get_by_test_id("result")).to_contain_text(IMAGE)
    no_elements(board.root)
    page.shot("hostile", board.root)
    board.part("filter").fill(IMAGE)
    no_elements(board.root)

    card = Board.of(page.output(2), "card")
    expect(card.root).to_contain_text(IMAGE)
    no_elements(card.root)
    assert page.page.evaluate("() => typeof window.__pwn") == "undefined"


def test_a_saved_notebook_holds_a_readable_table_no_jobs_in_widget_state_and_foreign_text_as_text(notebook: Opener):
    page = notebook(LOAD, HOSTILE, "bad")
    for index in range(3):
        page.run(index)

    page.command("docmanager:save")

    saved = page.saved()
    shown = [output["data"] for cell in saved.cells[1:] for output in cell.outputs]
    assert [set(each) for each in shown] == [
        {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    ] * 2
    assert shown[0]["text/plain"].startswith("2 jobs: 1 done, 1 failed")
    assert "<table" in shown[0]["text/html"] and "<script" not in shown[0]["text/html"]
    assert "window.__pwn" not in str(saved.metadata)
    assert page.ask("'window.__pwn' in str(__import__('ipywidgets').Widget.get_manager_state())") == "False"
    html = "".join(each["text/html"] for each in shown)
    assert html.count("&lt;img src=x onerror") > 3
    # Drawn as a page that trusts it would.
    page.page.evaluate(
        """html => {
            const div = document.createElement("div");
            div.id = "snapshot";
            div.innerHTML = html;
            document.body.append(div);
        }""",
        html,
    )
    no_elements(page.page.locator("#snapshot"))

    assert page.page.evaluate("() => typeof window.__pwn") == "undefined"
