"""What passes between the engine and a page: frozen records, the one source of `schema.gen.ts`.

``python -m ipyjobs.schema`` prints the TypeScript. Times are seconds since 1970 UTC, durations seconds.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal

from ipyjobs.status import Reason, Status, WaitingFor


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One row: a job as the page sees it."""

    id: str
    number: int
    """Order of submission, from 1."""
    name: str
    status: Status
    reason: Reason | None
    waiting_for: WaitingFor | None
    waiting: str
    """What a pending job waits for, in words: "after 12 jobs, 9 done"."""
    cancel_requested: bool
    """With status running: being stopped."""
    backend: str
    group: str | None
    tags: tuple[str, ...]
    queue: str
    priority: int
    arguments: str
    """The call in short: "lr=0.1 seed=0"."""
    attempt: int
    """Number of the current or last attempt; 0 before the first."""
    retries: int
    submitted_at: float | None
    started_at: float | None
    """When the current or last attempt began."""
    ended_at: float | None
    retry_at: float | None
    """When the next attempt may begin, while `waiting_for` is "retry"."""
    progress: float | None
    """0 to 1."""
    progress_at: float | None
    """When `progress` was reported."""
    left_s: float | None
    """Seconds left as of `progress_at`, where the job itself knows (tqdm)."""
    message: str
    error: str
    """Last line of the traceback: "ValueError: NaN in loss"."""
    result: str
    """The result in one short line."""
    origin: str
    """Cell that submitted it: "In[3]"."""
    log_bytes: int
    memory_bytes: int | None
    """Memory of the job's process, while it runs, where it has one of its own."""
    note: str
    """What else one must know: "thread still running"."""
    next_at: float | None
    """When a periodic job submits the next time."""
    address: str
    """Where a web app answers: "http://127.0.0.1:8000"; empty before it is known."""
    ready: bool
    """Whether the web app answers there."""


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """How many jobs may run at once, and how many do. `name` is a backend's, or "" for all together."""

    name: str
    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """The engine as the page sees it."""

    slots: tuple[SlotRecord, ...]
    memory_used_bytes: int
    """Of the whole machine (or the container's limit)."""
    memory_total_bytes: int
    busy_since: float | None
    """Since when a cell runs in the notebook."""
    busy_with: str
    """That cell: "In[6]"."""
    comm_subshell: bool
    """Whether clicks are handled while a cell runs; if not the page says they wait."""
    running: bool
    """False once the engine was stopped."""
    dask_dashboard: str
    """Address of the Dask cluster's own page; empty where there is none."""


@dataclass(frozen=True, slots=True)
class LineRecord:
    """One line of source."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One level of a traceback."""

    file: str
    """As shown: "In[2]" or a path."""
    line: int
    function: str
    own: bool
    """The user's code, as opposed to a library's."""
    lines: tuple[LineRecord, ...]
    """Some lines around `line`; empty where the source is not known."""
    column: int | None
    """First character of the faulty expression in `line`, from 0."""
    end_column: int | None


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """One exception of a chain."""

    type: str
    message: str
    notes: tuple[str, ...]
    frames: tuple[FrameRecord, ...]
    """Outermost first."""
    link: Literal["", "cause", "context", "member"]
    """How it belongs to the one before: its direct cause, what was being handled, or a member of that group."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try at a job."""

    number: int
    round: int
    """Counts reruns, from 1."""
    queued_at: float
    started_at: float | None
    ended_at: float | None
    outcome: Literal["", "done", "failed", "cancelled", "timeout", "released", "lost"]
    """Empty while it runs."""
    error: str
    worker: str
    """Where it ran: "pid 4711", "thread 3"."""


@dataclass(frozen=True, slots=True)
class ArgumentRecord:
    """One argument of the call."""

    name: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """Another job that this one depends on."""

    id: str
    name: str
    status: Status | None
    """None: unknown job."""
    via: Literal["value", "order"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is; the answer to `Hello`. What the page had before is void."""

    type: Literal["snapshot"]
    epoch: str
    """Changes with the kernel or engine."""
    seq: int
    now: float
    engine: EngineRecord
    jobs: tuple[JobRecord, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """What has changed since `seq - 1`: whole records. On a gap the page says hello again."""

    type: Literal["patch"]
    epoch: str
    seq: int
    now: float
    engine: EngineRecord | None
    jobs: tuple[JobRecord, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """Sign of life, every two seconds. `seq` is that of the last patch."""

    type: Literal["beat"]
    epoch: str
    seq: int
    now: float


@dataclass(frozen=True, slots=True)
class Detail:
    """All about one job; the answer to `Inspect`."""

    type: Literal["detail"]
    id: str
    found: bool
    errors: tuple[ErrorRecord, ...]
    """The exception first, then what led to it."""
    traceback: str
    """As plain text, to copy."""
    arguments: tuple[ArgumentRecord, ...]
    attempts: tuple[AttemptRecord, ...]
    upstream: tuple[LinkRecord, ...]
    result: str
    """The result as text, at most 64 KiB."""
    result_type: str


@dataclass(frozen=True, slots=True)
class LogPart:
    """A range of a job's log; the answer to `ReadLog`."""

    type: Literal["log"]
    id: str
    start: int
    """Byte offset in the whole output."""
    stop: int
    """Where `text` ends; may be less than asked for, so that no character is cut."""
    size: int
    dropped_from: int
    """Bytes from here to `dropped_to` are no longer kept; both 0 when all are."""
    dropped_to: int
    text: str


@dataclass(frozen=True, slots=True)
class LogMatches:
    """Where a text occurs in a job's log; the answer to `SearchLog`."""

    type: Literal["matches"]
    id: str
    query: str
    offsets: tuple[int, ...]
    """Byte offsets of the first 1,000 lines that match, oldest first."""
    total: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command that changes something."""

    type: Literal["answer"]
    request: int
    ok: bool
    text: str
    """For the reader: "3 cancelled", or why not."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The page asks for a snapshot and, from then on, patches."""

    type: Literal["hello"]


@dataclass(frozen=True, slots=True)
class Bye:
    """The page is closing and wants no more."""

    type: Literal["bye"]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel these jobs."""

    type: Literal["cancel"]
    request: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rerun:
    """Run these ended jobs again."""

    type: Literal["rerun"]
    request: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """Set how many jobs may run at once: of a backend, or "" for all."""

    type: Literal["limit"]
    request: int
    name: str
    limit: int


@dataclass(frozen=True, slots=True)
class Inspect:
    """The page wants `Detail`."""

    type: Literal["inspect"]
    id: str


@dataclass(frozen=True, slots=True)
class ReadLog:
    """The page wants `LogPart`; a negative `start` counts from the end."""

    type: Literal["read_log"]
    id: str
    start: int
    stop: int | None


@dataclass(frozen=True, slots=True)
class SearchLog:
    """The page wants `LogMatches`; upper and lower case count as one."""

    type: Literal["search_log"]
    id: str
    query: str


MessageOut = Snapshot | Patch | Beat | Detail | LogPart | LogMatches | Answer
MessageIn = Hello | Bye | Cancel | Rerun | Limit | Inspect | ReadLog | SearchLog


# Reading field by field takes a tenth of the time of `dataclasses.asdict`, which copies deeply.
@cache
def _plan(kind: type) -> tuple[tuple[str, bool], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((each.name, _holds_record(hints[each.name])) for each in fields(kind))


def _holds_record(hint: Any) -> bool:
    return is_dataclass(hint) or any(_holds_record(inner) for inner in typing.get_args(hint))


def to_wire(record: object) -> dict[str, Any]:
    """The record as a dict of plain JSON types."""
    row: dict[str, Any] = {}
    for name, nested in _plan(type(record)):
        value = getattr(record, name)
        if nested and value is not None:
            many = isinstance(value, tuple)
            value = [to_wire(each) for each in typing.cast("tuple[object, ...]", value)] if many else to_wire(value)
        row[name] = value
    return row


_KINDS_IN: dict[str, type] = {
    typing.get_args(typing.get_type_hints(kind)["type"])[0]: kind for kind in typing.get_args(MessageIn)
}


def from_wire(message: object) -> MessageIn:
    """The command that a page sent.

    Raises
    ------
    ValueError
        It is none of `MessageIn`, or a field is missing or of the wrong type.
    """
    if not isinstance(message, dict):
        raise ValueError(f"a message is an object, not {type(message).__name__}")
    given = typing.cast("dict[str, object]", message)
    kind = _KINDS_IN.get(given["type"]) if isinstance(given.get("type"), str) else None  # type: ignore[arg-type]
    if kind is None:
        raise ValueError(f"unknown message type {given.get('type')!r:.80}; known: {', '.join(_KINDS_IN)}")
    hints = typing.get_type_hints(kind)
    if extra := sorted(map(str, given.keys() - hints.keys())):
        raise ValueError(f"{given['type']}: unknown field {extra[0]!r:.80}")
    values: dict[str, Any] = {}
    for each in fields(kind):
        if each.name not in given:
            if each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"{given['type']}: field {each.name!r} is missing")
            continue
        values[each.name] = _checked(given[each.name], hints[each.name], f"{given['type']}.{each.name}")
    return kind(**values)


def _checked(value: object, hint: Any, where: str) -> Any:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is Literal and value in args:
        return value
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_checked(each, args[0], where) for each in typing.cast("list[object]", value))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return None if value is None else _checked(value, args[0], where)
    if isinstance(hint, type) and isinstance(value, hint) and not isinstance(value, bool):
        return value
    raise ValueError(f"{where} is {value!r:.80}, which is not possible")


def typescript() -> str:
    """The whole schema as a TypeScript module."""
    parts = [
        "// Printed from ipyjobs/schema.py by `python -m ipyjobs.schema`; change that file, not this one.",
        *(_ts_enum(kind) for kind in (Status, Reason, WaitingFor)),
        *(_ts_interface(kind) for kind in globals().values() if isinstance(kind, type) and is_dataclass(kind)),
        f"export type MessageOut = {' | '.join(kind.__name__ for kind in typing.get_args(MessageOut))};",
        f"export type MessageIn = {' | '.join(kind.__name__ for kind in typing.get_args(MessageIn))};",
    ]
    return "\n\n".join(parts) + "\n"


def _ts_enum(kind: type[Enum]) -> str:
    return f"export type {kind.__name__} = {' | '.join(repr(each.value).replace(chr(39), chr(34)) for each in kind)};"


def _ts_interface(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    first_line = (kind.__doc__ or "").strip().splitlines()[0]
    rows = [f"  readonly {each.name}: {_ts_type(hints[each.name])};" for each in fields(kind)]
    return "\n".join([f"/** {first_line} */", f"export interface {kind.__name__} {{", *rows, "}"])


def _ts_type(hint: Any) -> str:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return " | ".join(f'"{each}"' for each in args)
    if typing.get_origin(hint) is tuple:
        return f"readonly {_ts_type(args[0])}[]"
    if args:
        return " | ".join(_ts_type(each) for each in args)
    plain = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    return plain.get(hint) or str(hint.__name__)


__all__ = [
    "Answer", "ArgumentRecord", "AttemptRecord", "Beat", "Bye", "Cancel", "Detail", "EngineRecord", "ErrorRecord",
    "FrameRecord", "Hello", "Inspect", "JobRecord", "Limit", "LineRecord", "LinkRecord", "LogMatches", "LogPart",
    "MessageIn", "MessageOut", "Patch", "ReadLog", "Rerun", "SearchLog", "SlotRecord", "Snapshot",
    "from_wire", "to_wire", "typescript",
]  # fmt: skip

if __name__ == "__main__":
    print(typescript(), end="")
