from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import Lab, Notebook

Opener = Callable[..., Notebook]


def test_rows_move_while_they_are_watched_and_can_be_narrowed_down(notebook: Opener, lab: Lab):
    page = notebook(
        f"{LOAD}\n%config IPyJobs.max_process_jobs = 1",
        """
def fail():
    raise ValueError("NaN in loss")

jobs.options(name="first", group="sweep").process(wait_for, "watched-first")
jobs.options(name="second", group="sweep", tags=["big"]).process(wait_for, "watched-second")
jobs.options(name="broken").thread(fail)
jobs
""",
    )
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    board.shows(first="running", second="pending", broken="failed")
    board.counts(running=1, waiting=1, failed=1, done=0)

    (lab.folder / "watched-first").touch()

    board.shows(first="done", second="running")
    board.counts(running=1, waiting=0, failed=1, done=1)
    (lab.folder / "watched-second").touch()
    board.shows(second="done")
    board.counts(running=0, done=2)

    board.part("chip-failed").click()
    expect(board.rows).to_have_count(1)
    expect(board.row("broken")).to_contain_text("NaN in loss")
    expect(board.part("matching")).to_have_text("1 match")
    board.part("chip-failed").click()
    expect(board.rows).to_have_count(3)

    board.part("filter").fill("group:sweep -tag:big")
    expect(board.rows).to_have_count(1)
    expect(board.row("first")).to_be_visible()
    board.part("filter").fill("colour:red")
    expect(board.part("filter-problem")).to_contain_text("no key")
    board.part("filter").fill("nothing is called this")
    expect(board.part("no-match")).to_be_visible()
    board.part("clear-filter").click()
    expect(board.rows).to_have_count(3)

    assert board.names() == ["first", "second", "broken"]
    board.part("sort-name").click()
    board.stands_first("broken")
    assert board.names() == ["broken", "first", "second"]
    board.part("sort-name").click()
    board.stands_first("second")
    assert board.names() == ["second", "first", "broken"]
    assert page.errors == []


def test_jobs_are_cancelled_and_rerun_by_click(notebook: Opener, lab: Lab):
    page = notebook(
        LOAD,
        """
for i in range(4):
    jobs.options(name=f"job-{i}").thread(wait_for, "clicked")
jobs.options(name="other").process(wait_for, "never")
jobs
""",
    )
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    board.counts(running=5)

    # One, at its row.
    board.row("other").hover()
    board.row("other").get_by_test_id("row-cancel").click()
    board.shows(other="cancelled")
    board.answered("1 cancelled")
    board.row("other").hover()
    board.row("other").get_by_test_id("row-rerun").click()
    board.shows(other="running")

    # One, in its panel.
    panel = board.open("other")
    panel.get_by_test_id("cancel").click()
    board.shows(other="cancelled")
    panel.get_by_test_id("rerun").click()
    board.shows(other="running")
    panel.get_by_test_id("close-detail").click()
    expect(board.part("detail")).to_have_count(0)

    # A selection, after a question which may be declined.
    for name in ("job-1", "other"):
        board.row(name).get_by_test_id("tick").click()
    expect(board.part("selected")).to_have_text("2 selected")
    board.part("cancel-many").click()
    expect(board.part("confirmation")).to_contain_text("Cancel 2 jobs?")
    board.part("decline").click()
    board.shows(other="running")
    board.part("cancel-many").click()
    board.part("confirm").click()
    board.shows(other="cancelled", **{"job-1": "cancelled", "job-0": "running"})
    board.part("select-none").click()

    # All that match.
    board.part("filter").fill("job-")
    board.part("cancel-many").click()
    expect(board.part("confirmation")).to_contain_text("Cancel 3 jobs?")
    board.part("confirm").click()
    board.counts(running=0, cancelled=5)
    board.part("tick-all").click()
    (lab.folder / "clicked").touch()
    board.part("rerun-many").click()
    board.part("confirm").click()
    board.counts(done=4, cancelled=1)
    assert page.errors == []


def test_jobs_are_cancelled_and_rerun_by_key(notebook: Opener, lab: Lab):
    page = notebook(
        f"{LOAD}\n%config IPyJobs.max_process_jobs = 3",
        """
for i in range(3):
    jobs.options(name=f"job-{i}").process(wait_for, "keyed")
jobs
""",
        "'the last cell'",
    )
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    keys = page.page.keyboard
    board.row("job-1").focus()

    keys.press("c")
    board.shows(**{"job-1": "cancelled", "job-0": "running"})
    keys.press("r")
    board.shows(**{"job-1": "running"})
    keys.press("j")
    expect(board.row("job-2")).to_be_focused()
    keys.press("x")
    keys.press("k")
    keys.press("x")
    expect(board.part("selected")).to_have_text("2 selected")
    keys.press("c")
    expect(board.part("confirm")).to_be_focused()
    keys.press("Enter")
    board.shows(**{"job-0": "running", "job-1": "cancelled", "job-2": "cancelled"})

    # All that match, while the notebook's own keys (r, c, x, a, d d) leave its cells alone.
    board.row("job-0").focus()
    keys.press("Escape")
    keys.press("a")
    expect(board.part("selected")).to_have_text("3 selected")
    keys.press("d")
    keys.press("d")
    (lab.folder / "keyed").touch()
    board.shows(**{"job-0": "done"})
    keys.press("r")
    expect(board.part("confirmation")).to_contain_text("Rerun 3 jobs?")
    keys.press("Enter")
    board.counts(done=3, cancelled=0)
    keys.press("?")
    expect(board.part("help")).to_be_visible()
    keys.press("Escape")
    expect(board.part("help")).to_have_count(0)
    keys.press("/")
    expect(board.part("filter")).to_be_focused()
    assert page.cells() == 3
    assert page.errors == []


def test_a_reloaded_page_shows_the_jobs_again_and_they_are_live(notebook: Opener, lab: Lab):
    page = notebook(LOAD, "jobs.options(name='one').process(wait_for, 'reloaded')\njobs")
    page.run(0)
    page.run(1)
    Board.of(page.output(1)).shows(one="running")

    page.reload()

    board = Board.of(page.output(1))
    board.shows(one="running")
    (lab.folder / "reloaded").touch()
    board.shows(one="done")
    board.row("one").hover()
    board.row("one").get_by_test_id("row-rerun").click()
    board.answered("1 rerun")
    assert page.ask("len(jobs.engine.notebook_listeners)") == "1"


def test_after_a_restart_the_buttons_are_dead_and_the_board_says_so(notebook: Opener):
    page = notebook(LOAD, "jobs.options(name='one').process(wait_for, 'never')\njobs[0]", "jobs")
    for index in range(3):
        page.run(index)
    board = Board.of(page.output(2))
    board.open("one")

    page.restart()

    expect(board.root).to_have_attribute("data-connection", "gone")
    expect(board.part("banner")).to_contain_text("the kernel was restarted")
    expect(board.part("cancel")).to_be_disabled()
    expect(board.part("cancel-many")).to_be_disabled()
    expect(board.part("slots-more")).to_be_disabled()
    board.shows(one="running")
    card = page.output(1).get_by_test_id("card")
    expect(card).to_have_attribute("data-connection", "gone")
    expect(card.get_by_test_id("cancel")).to_be_disabled()

    page.run(0)
    page.write(1, "1")
    page.run(1)
    page.run(2)
    fresh = Board.of(page.output(2))
    expect(fresh.part("empty")).to_contain_text("No jobs yet")


@pytest.mark.parametrize("end", ["shut down", "killed"])
def test_after_the_kernels_end_the_board_says_so(notebook: Opener, end: str):
    page = notebook(LOAD, "jobs.options(name='one').process(wait_for, 'never')\njobs")
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    board.shows(one="running")

    if end == "killed":
        page.kernel().kill()
    else:
        page.shut_down()

    expect(board.root).to_have_attribute("data-connection", "gone")
    expect(board.part("banner")).to_contain_text("shut down" if end == "shut down" else "died")
    expect(board.part("cancel-many")).to_be_disabled()


def test_views_of_one_engine_stay_in_step_and_leave_no_listener(notebook: Opener, lab: Lab):
    page = notebook(
        LOAD,
        "runs = jobs.options(name='one').map(wait_for, ['stepped', 'stepped'])\nruns[0]",
        "jobs",
        "jobs",
        "runs[:1]",
    )
    for index in range(5):
        page.run(index)
    card = Board.of(page.output(1), "card")
    expect(card.part("detail")).to_contain_text("running")
    first, second, some = (Board.of(page.output(index)) for index in (2, 3, 4))
    expect(some.rows).to_have_count(1)
    expect(second.rows).to_have_count(2)
    assert page.ask("len(jobs.engine.notebook_listeners)") == "4"

    card.part("cancel").click()

    expect(card.part("detail")).to_contain_text("by you")
    expect(some.rows.first).to_have_attribute("data-status", "cancelled")
    for board in (first, second):
        board.counts(cancelled=1, running=1)
    (lab.folder / "stepped").touch()
    card.part("rerun").click()
    expect(card.part("panel-result")).to_contain_text("'stepped'")
    for board in (first, second):
        board.counts(done=2)

    for index in (1, 2, 3):
        page.clear(index)
    expect(page.page.get_by_test_id("board")).to_have_count(1)
    page.listeners(1)
    page.write(4, "None")
    page.run(4)
    page.listeners(0)
