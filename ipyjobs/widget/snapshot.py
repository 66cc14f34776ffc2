"""Jobs as a readable table in HTML and plain text: what GitHub, nbconvert and a reopened notebook show.

Nothing in it depends on ids, or on the time of day unless a job that submits others is running, so that a notebook that
runs twice is saved the same twice.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ipyjobs.schema import JobRecord
from ipyjobs.status import ENDED, Status

ROWS = 200
"""Rows of a table at most."""
LIMIT_BYTES = 50_000
"""Size of the HTML at most; rows are left out, aloud, to keep to it."""


@dataclass(frozen=True, slots=True)
class _Look:
    word: str
    shape: str
    colour: str


# Colours with at least 4.5:1 contrast on white and 3:1 on the dark grounds of GitHub and JupyterLab.
_LOOKS: dict[Status, _Look] = {
    Status.RUNNING: _Look("running", "◔", "#2f81c9"),
    Status.PENDING: _Look("waiting", "◌", "#6e7781"),
    Status.CREATED: _Look("waiting", "◌", "#6e7781"),
    Status.DONE: _Look("done", "✓", "#2a8644"),
    Status.FAILED: _Look("failed", "✗", "#d1363c"),
    Status.CANCELLED: _Look("cancelled", "⊘", "#9a6a14"),
}
_ORDER = ("running", "waiting", "done", "failed", "cancelled")


def as_html(jobs: Sequence[JobRecord], *, rows: int = ROWS) -> str:
    """The jobs as a table with inline styles, escaped, without scripts.

    Parameters
    ----------
    jobs
        In order of submission.
    rows
        How many to show at most. If some must go, failed ones are kept before running, waiting, cancelled and done
        ones; `LIMIT_BYTES` bounds the size as well.

    Returns
    -------
    str
        One `div`, at most `LIMIT_BYTES` bytes in UTF-8.
    """
    head = f'<div style="font-family:system-ui,sans-serif;font-size:13px"><div>{_counts_html(jobs)}</div>'
    if not jobs:
        return f"{head}</div>"
    has_group = any(job.group for job in jobs)
    columns = ["#", "Status", "Name", *(["Group"] if has_group else []), "Outcome", "Time", "From"]
    table = f'<table style="border-collapse:collapse"><thead><tr>{"".join(map(_th, columns))}</tr></thead><tbody>'
    drawn = {job.number: _row_html(job, has_group=has_group) for job in _kept(jobs, rows)}
    room = LIMIT_BYTES - len((head + table).encode()) - 200  # for the tail
    kept = dict(_fitting(drawn, room))
    left = len(jobs) - len(kept)
    more = f'<div style="opacity:.75">… and {left:,} more</div>' if left else ""
    return f"{head}{table}{''.join(kept[number] for number in sorted(kept))}</tbody></table>{more}</div>"


def as_text(jobs: Sequence[JobRecord], *, rows: int = 20) -> str:
    """The jobs in plain text: one line of counts, then one line each.

    Parameters
    ----------
    jobs
        In order of submission.
    rows
        How many to show at most, failed ones first.

    Returns
    -------
    str
        No line end at the end.
    """
    lines = [_counts_text(jobs)]
    shown = sorted(_kept(jobs, rows), key=lambda job: job.number)
    names = [_clip(_called(job), 40) for job in shown]
    width = max(map(len, names), default=0)
    for job, name in zip(shown, names, strict=True):
        look = _LOOKS[job.status]
        line = f"  {look.shape} {look.word:9}  {name:{width}}  {_time(job):>7}  {_clip(_outcome(job), 60)}"
        lines.append(line.rstrip())
    if left := len(jobs) - len(shown):
        lines.append(f"  … and {left:,} more")
    return "\n".join(lines)


_KEPT_FIRST = (Status.FAILED, Status.RUNNING, Status.PENDING, Status.CREATED, Status.CANCELLED, Status.DONE)


def _kept(jobs: Sequence[JobRecord], rows: int) -> list[JobRecord]:
    """At most `rows` jobs, those that matter most first."""
    if len(jobs) <= rows:
        return sorted(jobs, key=lambda job: job.status is not Status.FAILED)
    return sorted(jobs, key=lambda job: (_KEPT_FIRST.index(job.status), job.number))[: max(0, rows)]


def _fitting(drawn: dict[int, str], room: int) -> Iterable[tuple[int, str]]:
    for number, row in drawn.items():
        room -= len(row.encode())
        if room < 0:
            return
        yield number, row


def _counts(jobs: Sequence[JobRecord]) -> list[tuple[_Look, int]]:
    by_word = Counter(_LOOKS[job.status].word for job in jobs)
    looks = {look.word: look for look in _LOOKS.values()}
    return [(looks[word], by_word[word]) for word in _ORDER if by_word[word]]


def _counts_text(jobs: Sequence[JobRecord]) -> str:
    if not jobs:
        return "no jobs yet"
    parts = ", ".join(f"{n:,} {look.word}" for look, n in _counts(jobs))
    return f"{len(jobs):,} job{'' if len(jobs) == 1 else 's'}: {parts}"


def _counts_html(jobs: Sequence[JobRecord]) -> str:
    if not jobs:
        return "<b>no jobs yet</b>"
    return " &nbsp; ".join(
        f'<span style="color:{look.colour}">{look.shape}</span> <b>{n:,}</b> {look.word}' for look, n in _counts(jobs)
    )


def _row_html(job: JobRecord, *, has_group: bool) -> str:
    look = _LOOKS[job.status]
    called = escape(_clip(_shown(job.name) or "(unnamed)", 80))
    if job.arguments:
        called += f" <code>{escape(_clip(_shown(job.arguments), 80))}</code>"
    outcome = escape(_clip(_outcome(job), 120))
    cells = [
        _td(str(job.number)),
        _td(f"{look.shape} {look.word}", f"{_LEFT};color:{look.colour}"),
        _td(called, _LEFT),
        *([_td(escape(_clip(_shown(job.group or ""), 40)), _LEFT)] if has_group else []),
        _td(outcome, f"{_LEFT};color:{look.colour}" if job.status is Status.FAILED else _LEFT),
        _td(_time(job)),
        _td(escape(_clip(_shown(job.origin), 20))),
    ]
    return f"<tr>{''.join(cells)}</tr>"


# Jupyter sets cells to the right unless told otherwise; every byte of a style is there 200 times.
_LEFT = "text-align:left"


def _td(text: str, style: str = "") -> str:
    return f'<td style="{style}">{text}</td>' if style and text else f"<td>{text}</td>"


def _th(text: str) -> str:
    return f"<th>{text}</th>" if text in ("#", "Time", "From") else f'<th style="{_LEFT}">{text}</th>'


def _called(job: JobRecord) -> str:
    name = _shown(job.name) or "(unnamed)"
    return f"{name} {_shown(job.arguments)}".rstrip()


def _outcome(job: JobRecord) -> str:
    """What came of it, or what it waits for; running jobs are told apart by nothing that changes while one looks."""
    if job.status is Status.FAILED:
        return _shown(job.error or str(job.reason or ""))
    if job.status is Status.DONE:
        return _shown(job.result)
    if job.status is Status.CANCELLED:
        return _shown(job.note or str(job.reason or ""))
    if job.status is Status.PENDING:
        return _shown(job.waiting)
    if job.next_at is not None:
        near = job.next_at - time.time() < 86_400
        return time.strftime("next %H:%M:%S" if near else "next %Y-%m-%d %H:%M", time.localtime(job.next_at))
    if job.address:
        # As text: who reads this later, elsewhere, would find another server there, or none.
        return _shown(f"{job.address} {job.note}")
    return _shown(job.note)


def _time(job: JobRecord) -> str:
    """How long an ended job ran, as coarsely as is useful: two runs of a notebook should rarely differ."""
    if job.status not in ENDED or job.started_at is None or job.ended_at is None:
        return ""
    seconds = max(0.0, job.ended_at - job.started_at)
    if seconds < 1:
        return "< 1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m"


_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]{0,4096}(?:\x07|\x9c|\x1b\\)?")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINER = "\u200d"


def _shown(text: str) -> str:
    """`text` on one line; what is invisible or turns the direction of writing is spelt out, colours are dropped."""
    plain = _ANSI.sub("", text[:4000])
    return "".join(_spelt(char, plain[i - 1 : i]) for i, char in enumerate(plain)).strip()


def _spelt(char: str, before: str) -> str:
    if char in "\n\t":
        return " "
    if unicodedata.category(char) not in _HIDDEN:
        return char
    if char == _JOINER and before and ord(before) >= 0x2190:  # within an emoji
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _clip(text: str, limit: int) -> str:
    """At most `limit` characters; combining marks and joined emoji are not torn apart."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and (unicodedata.combining(text[end]) or _JOINER in text[end - 1 : end + 1]):
        end -= 1
    return text[: end or limit - 1] + "…"
