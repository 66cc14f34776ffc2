"""The table that is saved beside the widget."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ipyjobs.schema import JobRecord
from ipyjobs.status import Reason, Status
from ipyjobs.widget.snapshot import LIMIT_BYTES, as_html, as_text

PLAIN = JobRecord(
    id="a1", number=1, name="train", status=Status.DONE, reason=None, waiting_for=None, waiting="",
    cancel_requested=False, backend="process", group=None, tags=(), queue="default", priority=0,
    arguments="lr=0.1", attempt=1, retries=0, submitted_at=1e9, started_at=1e9, ended_at=1e9 + 124, retry_at=None,
    progress=None, progress_at=None, left_s=None, message="", error="", result="0.93", origin="In[3]", log_bytes=0,
    memory_bytes=None, note="", next_at=None, address="", ready=False,
)  # fmt: skip


def many(n: int, **changes: object) -> list[JobRecord]:
    return [replace(PLAIN, id=f"j{i}", number=i, **changes) for i in range(1, n + 1)]  # type: ignore[arg-type]  # any


class Page(HTMLParser):
    """Collects elements and text; fails on what is left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_counts_come_first_then_rows() -> None:
    failed = replace(PLAIN, number=2, status=Status.FAILED, result="", error="ValueError: NaN in loss")

    text = as_text([PLAIN, failed])

    assert text.splitlines() == [
        "2 jobs: 1 done, 1 failed",
        "  ✓ done       train lr=0.1   2m 04s  0.93",
        "  ✗ failed     train lr=0.1   2m 04s  ValueError: NaN in loss",
    ]


def test_the_html_says_the_same() -> None:
    page = Page(as_html([replace(PLAIN, group="sweep"), replace(PLAIN, number=2, status=Status.RUNNING, result="")]))

    assert set(page.tags) == {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert set(page.attributes) == {"style"}
    for part in ("◔ 1 running", "✓ 1 done", "train lr=0.1", "sweep", "0.93", "2m 04s", "In[3]"):
        assert part in page.text.replace("\xa0", " "), part


def test_without_jobs_it_says_so() -> None:
    assert as_text([]) == "no jobs yet"
    assert "no jobs yet" in Page(as_html([])).text


def test_neither_ids_nor_times_of_day_are_in_it() -> None:
    later = replace(PLAIN, id="zz", submitted_at=2e9, started_at=2e9 + 5, ended_at=2e9 + 129)

    assert as_html([later]) == as_html([PLAIN])
    assert as_text([later]) == as_text([PLAIN])


def test_a_running_job_looks_the_same_whenever_it_is_drawn() -> None:
    early = replace(
        PLAIN, status=Status.RUNNING, ended_at=None, progress=0.1, message="1/10", memory_bytes=1, log_bytes=1
    )
    late = replace(early, progress=0.9, message="9/10", memory_bytes=10**9, log_bytes=10**6)

    assert as_html([early]) == as_html([late])


def test_a_job_that_submits_others_says_when_it_does_so_next() -> None:
    at = time.time() + 60
    periodic = replace(PLAIN, status=Status.RUNNING, ended_at=None, message="3 runs", next_at=at)
    next_year = replace(periodic, next_at=at + 365 * 86400)

    assert time.strftime("next %H:%M:%S", time.localtime(at)) in as_text([periodic])
    assert time.strftime("next %H:%M:%S", time.localtime(at)) in as_html([periodic])
    assert time.strftime("next %Y-%m-%d %H:%M", time.localtime(at + 365 * 86400)) in as_text([next_year])


def test_the_address_of_a_web_app_is_text_whatever_it_is_and_only_while_it_runs() -> None:
    app = replace(PLAIN, status=Status.RUNNING, result="", address="http://127.0.0.1:8502")

    for address in ("http://127.0.0.1:8502", "javascript:alert(1)", "<a href='//evil.example'>x</a>"):
        page = Page(as_html([replace(app, address=address)]))
        assert address in page.text
        assert "a" not in page.tags
        assert set(page.attributes) == {"style"}
        assert address in as_text([replace(app, address=address)])
    assert "8502" not in as_html([replace(app, status=Status.CANCELLED)])
    assert as_html([app]) == as_html([replace(app, ready=True)])


def test_failed_jobs_stay_when_rows_must_go() -> None:
    jobs = many(1000)
    jobs[990] = replace(jobs[990], status=Status.FAILED, name="broken")

    page = Page(as_html(jobs))

    assert page.tags.count("tr") == 201
    assert "broken" in page.text
    assert "… and 800 more" in page.text
    assert "… and 980 more" in as_text(jobs)


def test_rows_stand_in_the_order_of_submission() -> None:
    jobs = many(300)
    jobs[250] = replace(jobs[250], status=Status.FAILED)

    numbers = re.findall(r"<tr><td[^>]*>(\d+)<", as_html(jobs))

    assert numbers == sorted(numbers, key=int)
    assert numbers[-1] == "251"


@pytest.mark.parametrize("char", ["x", "<", "é", "👩"])
def test_it_is_never_large(char: str) -> None:
    jobs = many(1000, name=char * 10_000, arguments=char * 10_000, error=char * 10_000, status=Status.FAILED)

    html = as_html(jobs)

    assert len(html.encode()) <= LIMIT_BYTES
    assert " more" in Page(html).text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror="alert(1)">',
        "</td></table></div><base href='//x'>",
        "{{constructor}}",
        "a & b &lt; c",
    ],
)
@pytest.mark.parametrize("field", ["name", "arguments", "group", "error", "origin"])
def test_foreign_text_makes_no_elements(field: str, text: str) -> None:
    job = replace(PLAIN, status=Status.FAILED, **{field: text})  # type: ignore[arg-type]  # these are all texts

    page = Page(as_html([job]))

    assert set(page.tags) <= {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert text[:16] in page.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("null\x00byte", "null␀byte"),
        ("\u200b\u200c\u200d\ufeff", r"\u200b\u200c\u200d\ufeff"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("line\u2028sep", r"line\u2028sep"),
        (" ", "(unnamed)"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;cm0=\x07copied", "copied"),
        ("two\nlines", "two lines"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("é", "é"),
    ],
)
def test_names_hide_nothing_and_stay_on_one_line(name: str, shown: str) -> None:
    job = replace(PLAIN, name=name, arguments="")

    assert shown in as_text([job])
    assert shown in Page(as_html([job])).text
    assert len(as_text([job]).splitlines()) == 2


def test_an_emoji_is_not_cut_in_half() -> None:
    job = replace(PLAIN, name="👩\u200d💻" * 30, arguments="")

    for line in as_text([job]).splitlines():
        assert "\u200d…" not in line


def test_why_a_job_was_cancelled_is_said() -> None:
    job = replace(PLAIN, status=Status.CANCELLED, reason=Reason.UPSTREAM, result="")

    assert "upstream" in as_text([job])
