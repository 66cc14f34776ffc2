from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import Notebook

Opener = Callable[..., Notebook]

MIXED = """
def train(lr, seed):
    if lr > 0.2 and seed % 3 == 0:
        raise ValueError(f"NaN in loss at step {seed}")
    return {"auc": 0.9, "lr": lr}

%config IPyJobs.max_jobs = 200
jobs.options(name="train", group="sweep", backend="thread").map(train, lr=[.3, .1, .03, .01], seed=range(247))
await jobs
for i in range(5):
    jobs.options(name=f"long-{i}", group="tail").thread(wait_for, "never-made")
jobs[-1].cancel()
jobs.options(name="after", after=jobs[-2]).thread(train, 0.1, 1)
for i in range(6):
    jobs.options(name=f"next-{i}", after=jobs[-1]).thread(train, 0.1, 1)
len(jobs)
"""


def colours(of: Locator) -> tuple[int, int]:
    """How light an element's text and ground are, from 0 to 765."""
    return of.evaluate(
        """element => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
            const pen = canvas.getContext("2d", {willReadFrequently: true});
            const light = colour => {
                pen.fillStyle = colour;
                pen.fillRect(0, 0, 1, 1);
                const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
                return r + g + b;
            };
            const {color, backgroundColor} = getComputedStyle(element);
            return [light(color), light(backgroundColor)];
        }"""
    )


def test_the_board_follows_the_theme_with_no_jobs_and_with_a_thousand(notebook: Opener):
    page = notebook(LOAD, "jobs", MIXED, "jobs.failed[0]")
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    expect(board.part("empty")).to_contain_text("No jobs yet")
    text, ground = colours(board.root)
    assert text < 300 and ground > 700
    page.shot("empty-light", board.root)
    page.theme("Dark")
    expect(board.root).to_have_attribute("data-theme", "dark")
    text, ground = colours(board.root)
    assert text > 500 and ground < 150
    page.shot("empty-dark", board.root)

    page.run(2)
    page.run(3)
    board = Board.of(page.output(1))
    board.counts(done=905, failed=83, running=4, waiting=7, cancelled=1)
    board.part("tick-all").focus()
    page.page.keyboard.press("]")
    page.page.keyboard.press("Enter")
    expect(board.part("exception")).to_contain_text("NaN in loss")
    page.shot("thousand-dark", board.root)
    page.shot("card-dark", page.output(3).first)
    page.theme("Light")
    expect(board.root).to_have_attribute("data-theme", "light")
    page.shot("thousand-light", board.root)
    board.part("close-detail").click()
    page.page.keyboard.press("End")
    expect(board.row("next-5")).to_be_in_viewport()
    expect(board.rows).to_have_count(rows := board.rows.count())
    assert rows < 60
    page.shot("thousand-end-light", board.root)
    page.shot("page-light")
    assert page.errors == []


def test_rows_are_drawn_again_after_the_board_was_out_of_the_page_for_a_moment(notebook: Opener):
    page = notebook(LOAD, "runs = await jobs.options(backend='thread').map(str, range(300))\nruns[:9]", "runs")
    for index in range(3):
        page.run(index)
    for index, jobs in ((1, 9), (2, 300)):
        board = Board.of(page.output(index))
        board.counts(done=jobs)
        rows = board.rows.count()

        # As JupyterLab does while it lays the notebook out: away and back between two frames.
        board.part("grid").evaluate(
            """grid => new Promise(done => {
                const output = grid.closest(".jp-OutputArea-output");
                const place = output.parentElement;
                requestAnimationFrame(() => output.remove());
                grid.dispatchEvent(new Event("scroll"));
                requestAnimationFrame(() => place.append(output));
                requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)));
            })"""
        )

        expect(board.rows).to_have_count(rows)
        assert min(jobs, 9) <= rows <= jobs


def test_a_board_that_was_scrolled_away_in_a_long_notebook_is_live_when_it_is_back(notebook: Opener):
    more = ["\n".join(f"# {i}" for i in range(30))] * 12
    page = notebook(LOAD, "j = jobs.thread(str, 1)\njobs", "k = jobs.options(name='later').thread(str, 2)", *more)
    page.run(0)
    page.run(1)
    Board.of(page.output(1)).counts(done=1)

    page.cell(14)
    page.run(2)
    page.cell(14)

    board = Board.of(page.output(1))
    board.counts(done=2)
    board.shows(later="done")
    page.listeners(1)
