"""The promise of the dashboard: it works while a cell does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import FUSE_S, Lab, Notebook

Opener = Callable[..., Notebook]

BUSY = """
%config IPyJobs.max_process_jobs = 1

def burn():
    Path("burning").write_text(str(os.getpid()))
    while True:
        pass

jobs.options(name="watched").thread(wait_for, "busy-watched")
jobs.options(name="busy").process(burn)
jobs.options(name="queued").process(wait_for, "busy-queued")
jobs
"""


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def text_of(path: Path) -> str:
    """What is in a file, once there is something in it."""
    give_up_at = time.monotonic() + FUSE_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < give_up_at, f"nothing came into {path.name}"
        time.sleep(0.005)
    return path.read_text()


@pytest.mark.parametrize("cell", ["time.sleep(60)", "for _ in range(10**11): pass"], ids=["sleeping", "spinning"])
def test_while_a_cell_runs_rows_move_and_a_click_ends_a_busy_process(
    notebook: Opener, lab: Lab, cell: str, capsys: pytest.CaptureFixture[str]
):
    for name in ("burning", "busy-watched", "busy-queued"):
        (lab.folder / name).unlink(missing_ok=True)
    page = notebook(LOAD, BUSY, cell)
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    pid = int(text_of(lab.folder / "burning"))
    board.shows(watched="running", busy="running", queued="pending")
    page.run(2, wait=False)
    expect(board.part("connection")).to_contain_text("In[3] running")
    board.row("busy").hover()

    # A row moves.
    (lab.folder / "busy-watched").touch()
    board.shows(watched="done")

    # A click ends the process, and the job that waited for its slot starts.
    clicked_at = time.perf_counter()
    board.row("busy").get_by_test_id("row-cancel").click()
    while not dead(pid):
        assert time.perf_counter() < clicked_at + FUSE_S, "the process lives on"
        time.sleep(0.001)
    took_s = time.perf_counter() - clicked_at
    assert page.running(2)
    board.shows(busy="cancelled", queued="running")
    board.counts(cancelled=1, done=1, running=1)

    # What was clicked in a panel is obeyed as well.
    panel = board.open("queued")
    (lab.folder / "busy-queued").touch()
    board.shows(queued="done")
    panel.get_by_test_id("rerun").click()
    board.answered("1 rerun")
    expect(panel.get_by_test_id("panel-result")).to_contain_text("'busy-queued'")
    assert page.running(2)

    page.interrupt()
    page.wait(2)
    with capsys.disabled():
        print(f"\nclick to dead process while a cell is {cell!r}: {took_s * 1000:.0f} ms")
    assert page.ask("jobs.engine.flow.engine.alive") == "True"


def test_a_job_submitted_by_the_running_cell_is_shown_and_cancelled_before_the_cell_ends(notebook: Opener):
    page = notebook(LOAD, "jobs", "j = jobs.options(name='inner').process(wait_for, 'never')\njobs.wait()\nj.status")
    page.run(0)
    page.run(1)
    board = Board.of(page.output(1))
    page.run(2, wait=False)
    board.shows(inner="running")

    board.row("inner").focus()
    page.page.keyboard.press("c")

    page.wait(2)
    expect(page.output(2).last).to_contain_text("cancelled")
    board.shows(inner="cancelled")
