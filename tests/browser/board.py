"""The dashboard and the card as a reader finds them on the page, and what notebooks under test begin with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, expect

LOAD = """
%load_ext ipyjobs
import os, time
from pathlib import Path

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.005)
    return name
"""
"""The first cell: `wait_for(file)` is a job that ends when the test makes the file in the notebook's folder."""


@dataclass(frozen=True)
class Board:
    """One dashboard, or one card, in a cell's output."""

    root: Locator

    @classmethod
    def of(cls, output: Locator, kind: str = "board") -> Board:
        """The one in this output, once it has an answer from the kernel."""
        board = cls(output.get_by_test_id(kind))
        expect(board.root).to_have_attribute("data-connection", "live")
        return board

    def part(self, name: str) -> Locator:
        """An element by its `data-testid`."""
        return self.root.get_by_test_id(name)

    @property
    def rows(self) -> Locator:
        """The rows that are drawn."""
        return self.part("row")

    def row(self, name: str) -> Locator:
        """The row of the job with this name."""
        return self.root.locator(f'[data-testid="row"][data-name="{name}"]')

    def shows(self, **statuses: str) -> None:
        """Wait until the jobs with these names have these statuses."""
        for name, status in statuses.items():
            expect(self.row(name)).to_have_attribute("data-status", status)

    def counts(self, **chips: int) -> None:
        """Wait until the chips show these counts."""
        for chip, count in chips.items():
            expect(self.part(f"chip-{chip}").locator("b")).to_have_text(str(count))

    def names(self) -> list[str]:
        """The names on the rows, from top to bottom."""
        places = [
            (float((each.bounding_box() or {"y": 0})["y"]), each.get_attribute("data-name") or "")
            for each in self.rows.all()
        ]
        return [name for _, name in sorted(places)]

    def stands_first(self, name: str) -> None:
        """Wait until this job's row is the top one."""
        expect(self.row(name)).to_have_attribute("aria-rowindex", "2")

    def answered(self, words: str) -> None:
        """Wait until the footer tells what came of the last command."""
        expect(self.part("answer")).to_have_text(re.compile(words))

    def open(self, name: str) -> Locator:
        """Click a row; the panel that opens beside the table."""
        self.row(name).click()
        panel = self.part("detail")
        expect(panel).to_be_visible()
        return panel
