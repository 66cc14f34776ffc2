"""The page that lists features one by one is true: each line has a test that carries its id, and a place to read on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "parity.md"
LINES = re.findall(r"^\| ([ERF]-\d\d) \|.*?(?:\]\(([^)]+)\) )?\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
MARKER = r'^\s*(?:@pytest\.mark|pytestmark = pytest\.mark)\.row\("([^"]+)"\)'
MARKED = {
    row
    for path in (ROOT / "tests").rglob("test_*.py")
    for row in re.findall(MARKER, path.read_text(encoding="utf-8"), re.MULTILINE)
}


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("row", [row for row, _ in LINES])
def test_each_line_has_a_test_that_carries_its_id(row: str):
    assert row in MARKED


@pytest.mark.parametrize(("row", "link"), [line for line in LINES if line[1]])
def test_each_line_leads_to_where_it_is_explained(row: str, link: str):
    page, _, anchor = link.partition("#")

    assert (PAGE.parent / page).exists()
    assert not anchor or anchor in anchors(PAGE.parent / page)


def test_each_id_on_a_test_is_on_the_page():
    assert MARKED - {row for row, _ in LINES} == set()


def test_no_line_is_missing():
    ids = [row for row, _ in LINES]

    assert ids == sorted(ids, key=lambda row: ("ERF".index(row[0]), row))
    assert len(set(ids)) == len(ids) > 100
