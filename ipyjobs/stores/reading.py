"""What is asked of a store that speaks SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import Connection, Row, Select, Table, func, inspect, select, text

from ipyjobs.stores import tables
from ipyjobs.stores.rows import (
    AttemptRow,
    Birth,
    Choice,
    ErrorRow,
    EventRow,
    PayloadRow,
    ResultRow,
    Session,
    State,
    StoredJob,
    Unreadable,
)


class _Row(Protocol):
    """A named tuple, as pyright understands it when it is a parameter."""

    _fields: tuple[str, ...]

    @classmethod
    def _make(cls, iterable: Iterable[Any], /) -> Self: ...


T = TypeVar("T", bound=_Row)


def version(connection: Connection) -> str | None:
    """Which version the tables have; None if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def about(connection: Connection, name: str) -> str | None:
    """What the store says of itself."""
    return connection.execute(select(tables.about.c.value).where(tables.about.c.name == name)).scalar()


def sessions(connection: Connection) -> list[Session]:
    """All, oldest first."""
    chosen = _columns(tables.sessions, Session).order_by(tables.sessions.c.started_at)
    return [Session(*row) for row in connection.execute(chosen)]


def counts(connection: Connection, choice: Choice) -> dict[str, int]:
    """How many jobs there are, by status."""
    jobs = tables.jobs.c
    chosen: Any = _chosen(select(jobs.status, func.count()), choice)
    rows: Any = connection.execute(chosen.group_by(jobs.status))
    return {str(status): int(count) for status, count in rows}


def ids(connection: Connection, choice: Choice, start: int, count: int | None) -> list[str]:
    """Ids in order of creation."""
    jobs = tables.jobs.c
    chosen = _chosen(select(jobs.id), choice).order_by(jobs.created_at, jobs.number, jobs.id).offset(start)
    if count is not None:
        chosen = chosen.limit(count)
    return [str(each) for each in connection.execute(chosen).scalars()]


def has(connection: Connection, job_id: str, choice: Choice) -> bool:
    """Whether a job is among those asked for."""
    chosen = _chosen(select(tables.jobs.c.id), choice).where(tables.jobs.c.id == job_id)
    return connection.execute(chosen).first() is not None


def jobs(connection: Connection, ids: Sequence[str]) -> Mapping[str, StoredJob | Unreadable]:
    """What is known of jobs, four questions for each 500 of them."""
    found: dict[str, StoredJob | Unreadable] = {}
    for start in range(0, len(ids), 500):
        found.update(_jobs(connection, ids[start : start + 500]))
    return found


def result(connection: Connection, job_id: str) -> ResultRow | None:
    """A job's result; its bytes may lie in a file."""
    return _one(connection, tables.results, ResultRow, job_id)


def error(connection: Connection, job_id: str) -> ErrorRow | None:
    """Why a job failed."""
    return _one(connection, tables.errors, ErrorRow, job_id)


def payload(connection: Connection, hash: str) -> PayloadRow | None:
    """A function or arguments."""
    row = connection.execute(_columns(tables.payloads, PayloadRow).where(tables.payloads.c.hash == hash)).first()
    return None if row is None else PayloadRow(*row)


def _one(connection: Connection, table: Table, kind: type[T], job_id: str) -> T | None:
    row = connection.execute(_columns(table, kind).where(table.c.job_id == job_id)).first()
    return None if row is None else kind._make(row)


def _jobs(connection: Connection, ids: Sequence[str]) -> dict[str, StoredJob | Unreadable]:
    columns = [*Birth._fields, *State._fields, "owner", "host"]
    chosen = select(*(tables.jobs.c[each] for each in columns)).where(tables.jobs.c.id.in_(ids))
    rows = connection.execute(chosen).all()
    events = _by_job(connection, tables.events, EventRow, ids)
    attempts = _by_job(connection, tables.attempts, AttemptRow, ids)
    seen = tables.results.c
    previews = {
        str(row[0]): (str(row[1]), str(row[2]), str(row[3]))
        for row in connection.execute(
            select(seen.job_id, seen.type, seen.short, seen.text).where(seen.job_id.in_(ids), seen.type != "")
        )
    }
    return {
        str(row[0]): _job(row, events[row[0]], attempts[row[0]], previews.get(row[0]))
        for row in sorted(rows, key=lambda row: ids.index(row[0]))
    }


def _job(
    row: Row[Any], events: list[EventRow], attempts: list[AttemptRow], preview: tuple[str, str, str] | None
) -> StoredJob:
    births = len(Birth._fields)
    values = tuple(row)
    birth, state = Birth._make(values[:births]), State._make(values[births:-2])
    return StoredJob(birth, state, values[-2], values[-1], events, attempts, preview)


def _by_job(connection: Connection, table: Table, kind: type[T], ids: Sequence[str]) -> Mapping[str, list[T]]:
    found: defaultdict[str, list[T]] = defaultdict(list)
    chosen = _columns(table, kind).where(table.c.job_id.in_(ids)).order_by(*table.primary_key.columns)
    for row in connection.execute(chosen):
        found[row[0]].append(kind._make(row))
    return found


def _columns(table: Table, kind: type[_Row]) -> Select[Any]:
    return select(*(table.c[each] for each in kind._fields))


def _chosen(chosen: Any, choice: Choice) -> Any:
    jobs = tables.jobs.c
    if choice.status is not None:
        chosen = chosen.where(jobs.status == choice.status)
    if choice.name is not None:
        chosen = chosen.where(jobs.name == choice.name)
    if choice.group is not None:
        chosen = chosen.where(jobs.group == choice.group)
    if choice.not_of:
        chosen = chosen.where(jobs.session.not_in(choice.not_of))
    return chosen
