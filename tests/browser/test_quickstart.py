from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.board import Board
from tests.browser.harness import Notebook
from tools.workplace import NOTEBOOK

Opener = Callable[..., Notebook]


@pytest.mark.slow
def test_the_quickstart_runs_to_its_end_and_its_board_shows_it(notebook: Opener):
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    shows_board = next(index for index, cell in enumerate(cells) if cell.source == "jobs")
    meant_to_fail = {index for index, cell in enumerate(cells) if "raises-exception" in cell.metadata.get("tags", ())}
    page = notebook(*[cell.source for cell in cells])

    failed = set()
    for index in range(len(cells)):
        page.run(index, wait=False)
        page.wait(index, timeout_s=90)
        if page.error(index):
            failed.add(index)

    assert failed == meant_to_fail and len(failed) == 1
    board = Board.of(page.output(shows_board))
    board.counts(running=0, waiting=0, failed=2, cancelled=0)
    jobs, failures = int(page.ask("len(jobs)")), int(page.ask("len(jobs.failed)"))
    assert failures == 2
    board.counts(done=jobs - failures)
    board.part("filter").fill("name:slow")
    board.shows(slow="done")
    panel = board.open("slow")
    panel.get_by_test_id("tab-attempts").click()
    expect(panel.get_by_test_id("attempt")).to_have_count(2)
    expect(panel.get_by_test_id("attempt").nth(0)).to_contain_text("cancelled")
    board.part("clear-filter").click()
    page.shot("quickstart", board.root)
    assert page.errors == []
