"""What is changed in a store that speaks SQL. Every function works within the transaction of its `connection`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    and_,
    bindparam,
    create_mock_engine,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
    update,
)

from ipyjobs.status import ENDED, Reason, Status, Verb
from ipyjobs.stores import tables
from ipyjobs.stores.rows import (
    AttemptRow,
    Batch,
    Birth,
    ErrorRow,
    EventRow,
    PayloadRow,
    ResultRow,
    Session,
    State,
)

_UNFINISHED = tuple(str(each) for each in Status if each not in ENDED)
_Statement = Callable[[str], tuple[Any, tuple[str, ...]]]
"""Makes, for a dialect, a statement and says in which order it wants a row's values."""
_ENDED = tuple(str(each) for each in Status if each in ENDED)


def write(
    connection: Connection, batch: Batch, results: Sequence[ResultRow], owner: str, host: str
) -> tuple[frozenset[str], list[str]]:
    """Write a batch for `owner`; ids of jobs that are not its own any more, names of files that have become useless."""
    states, births = batch.states, batch.births
    _many(connection, _add_payloads, batch.payloads)
    added = [(*births[each], *state, owner, host) for each, state in states.items() if each in births]
    moved = [(*state, each, owner, state.round) for each, state in states.items() if each not in births]
    written = _many(connection, _add_jobs, added) + _many(connection, _move_jobs, moved)
    refused = _not_written(connection, states, owner) if written < len(states) else frozenset[str]()
    useless: list[str] = []
    if again := [each for each in batch.rerun if each not in refused]:
        useless = _files_of(connection, again)
        for table in (tables.results, tables.errors):
            connection.execute(delete(table).where(table.c.job_id.in_(again)))
    _many(connection, _add_events, _without(batch.events, refused))
    _many(connection, _set_attempts, _without(batch.attempts, refused))
    _many(connection, _set_results, _without(results, refused))
    _many(connection, _set_errors, _without(batch.errors, refused))
    useless += [each.file for each in results if each.file and each.job_id in refused]
    if batch.removed:
        useless += remove(connection, list(batch.removed))
    return refused, useless


def begin(connection: Connection, session: Session) -> None:
    """Add a session, or begin it again."""
    _many(connection, _set_sessions, [session])


def end(connection: Connection, session_id: str) -> None:
    """Say that a session is over."""
    sessions = tables.sessions
    connection.execute(update(sessions).where(sessions.c.id == session_id).values(ended_at=time.time()))


def tell(connection: Connection, name: str, value: str) -> None:
    """Say something of the store itself, unless it was said before."""
    added = _insert(connection.dialect.name, tables.about).values(name=name, value=value)
    connection.execute(added.on_conflict_do_nothing())


def owners_of_unfinished(connection: Connection) -> list[tuple[str, str]]:
    """Owners, and their hosts, who have something unfinished: jobs, or the session itself."""
    jobs, sessions = tables.jobs.c, tables.sessions.c
    chosen = union(
        select(jobs.owner, jobs.host).where(jobs.status.in_(_UNFINISHED)),
        select(sessions.owner, sessions.host).where(sessions.ended_at.is_(None)),
    )
    return [(str(owner), str(host)) for owner, host in connection.execute(chosen)]


def lose(connection: Connection, owner: str, why: str) -> int:
    """All that an owner left unfinished is lost; how many jobs there were."""
    jobs, events, attempts, sessions = tables.jobs, tables.events, tables.attempts, tables.sessions
    now = time.time()
    theirs = and_(jobs.c.owner == owner, jobs.c.status.in_(_UNFINISHED))
    last = (
        select(
            events.c.job_id, func.max(events.c.position).label("position"), func.max(events.c.number).label("number")
        )
        .where(events.c.job_id.in_(select(jobs.c.id).where(theirs)))
        .group_by(events.c.job_id)
        .subquery()
    )
    moves = select(
        jobs.c.id, func.coalesce(last.c.position + 1, 0), func.coalesce(last.c.number + 1, 1), literal(now),
        literal(str(Verb.LOSE)), jobs.c.status, literal(str(Status.FAILED)), jobs.c.attempt, literal(str(Reason.LOST)),
        literal(why),
    )  # fmt: skip
    moves = moves.select_from(jobs.outerjoin(last, last.c.job_id == jobs.c.id)).where(theirs)
    connection.execute(events.insert().from_select(list(EventRow._fields), moves))
    open_ = and_(attempts.c.outcome == "", attempts.c.job_id.in_(select(jobs.c.id).where(theirs)))
    connection.execute(update(attempts).where(open_).values(outcome="lost", ended_at=now, error=why))
    lost = connection.execute(
        update(jobs)
        .where(theirs)
        .values(
            status="failed",
            reason="lost",
            waiting_for=None,
            ended_at=now,
            progress=None,
            note="",
            error=f"JobLost: {why}",
        )
    )
    theirs_too = and_(sessions.c.owner == owner, sessions.c.ended_at.is_(None))
    connection.execute(update(sessions).where(theirs_too).values(ended_at=now))
    return lost.rowcount


def expired(connection: Connection, before: float, most: int) -> list[str]:
    """Ids of ended jobs that are to be forgotten."""
    jobs = tables.jobs.c
    ended = jobs.status.in_(_ENDED)
    ids = connection.execute(select(jobs.id).where(ended, jobs.ended_at < before)).scalars().all()
    total = connection.execute(select(func.count()).select_from(tables.jobs)).scalar() or 0
    if total > most:
        oldest = select(jobs.id).where(ended).order_by(jobs.created_at, jobs.number).limit(total - most)
        ids = [*ids, *connection.execute(oldest).scalars()]
    return list(dict.fromkeys(str(each) for each in ids))


def files(connection: Connection) -> set[str]:
    """Names of all results' files."""
    return set(connection.execute(select(tables.results.c.file).where(tables.results.c.file != "")).scalars())


def logs(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Places of the logs of jobs."""
    jobs = tables.jobs.c
    return list(connection.execute(select(jobs.log).where(jobs.id.in_(ids), jobs.log != "")).scalars())


def remove(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Forget jobs, and functions and arguments that no other job has; names of files that have become useless."""
    jobs, payloads = tables.jobs, tables.payloads
    names = _files_of(connection, ids)
    theirs = or_(jobs.c.function_hash == payloads.c.hash, jobs.c.arguments_hash == payloads.c.hash)
    mine = connection.execute(select(jobs.c.function_hash, jobs.c.arguments_hash).where(jobs.c.id.in_(ids))).all()
    hashes = sorted({str(each) for row in mine for each in row if each})
    for table in tables.OF_A_JOB:
        connection.execute(delete(table).where(table.c.job_id.in_(ids)))
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    for start in range(0, len(hashes), 500):
        some = payloads.c.hash.in_(hashes[start : start + 500])
        connection.execute(delete(payloads).where(some, ~select(jobs.c.id).where(theirs).exists()))
    return names


def _files_of(connection: Connection, ids: Sequence[str]) -> list[str]:
    results = tables.results.c
    return list(connection.execute(select(results.file).where(results.job_id.in_(ids), results.file != "")).scalars())


def _not_written(connection: Connection, states: Mapping[str, State], owner: str) -> frozenset[str]:
    jobs, ids = tables.jobs.c, list(states)
    written: set[str] = set()
    for start in range(0, len(ids), 500):
        chosen = select(jobs.id, jobs.round).where(jobs.id.in_(ids[start : start + 500]), jobs.owner == owner)
        written.update(each for each, its_round in connection.execute(chosen) if its_round == states[each].round)
    return frozenset(states) - written


def _without(rows: Iterable[Any], refused: frozenset[str]) -> list[Any]:
    return [each for each in rows if each.job_id not in refused] if refused else list(rows)


def _many(connection: Connection, statement: _Statement, rows: Sequence[Any]) -> int:
    """Run one statement for many rows, which are tuples; how many rows of the table it touched."""
    if not rows:
        return 0
    dialect = connection.dialect.name
    text = _positional(dialect, statement)
    if text is None:
        made, names = statement(dialect)
        return connection.execute(made, [dict(zip(names, each, strict=True)) for each in rows]).rowcount
    # SQLAlchemy's own way takes a dictionary for each row apart, at three times the cost of the rest.
    return connection.exec_driver_sql(text, list(rows)).rowcount


@cache
def _positional(dialect: str, statement: _Statement) -> str | None:
    """The statement's text, if this database takes parameters by position, and in the order in which rows have them."""
    made, names = statement(dialect)
    kind = create_mock_engine(f"{dialect}://", _nothing).dialect
    compiled: Any = made.compile(dialect=kind, column_keys=list(names))
    if not kind.positional or tuple(compiled.positiontup) != names:
        return None
    return str(compiled)


def _insert(dialect: str, table: Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def _set(dialect: str, table: Table, kind: Any, keys: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    names: tuple[str, ...] = kind._fields
    made = _insert(dialect, table)
    others = {each: made.excluded[each] for each in names if each not in keys}
    return made.on_conflict_do_update(index_elements=list(keys), set_=others), names


def _add_payloads(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _insert(dialect, tables.payloads).on_conflict_do_nothing(), PayloadRow._fields


def _add_jobs(dialect: str) -> tuple[Any, tuple[str, ...]]:
    names = (*Birth._fields, *State._fields, "owner", "host")
    jobs, made = tables.jobs, _insert(dialect, tables.jobs)
    others = {each: made.excluded[each] for each in names if each != "id"}
    free = or_(jobs.c.owner == made.excluded.owner, jobs.c.status.in_(_words(_ENDED)))
    return made.on_conflict_do_update(index_elements=["id"], set_=others, where=free), names


def _move_jobs(dialect: str) -> tuple[Any, tuple[str, ...]]:
    jobs = tables.jobs
    mine = and_(
        jobs.c.id == bindparam("its_id"), jobs.c.owner == bindparam("its_owner"), jobs.c.round <= bindparam("its_round")
    )
    return update(jobs).where(mine), (*State._fields, "its_id", "its_owner", "its_round")


def _add_events(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _insert(dialect, tables.events).on_conflict_do_nothing(), EventRow._fields


def _set_attempts(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _set(dialect, tables.attempts, AttemptRow, ("job_id", "round", "number"))


def _set_results(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _set(dialect, tables.results, ResultRow, ("job_id",))


def _set_errors(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _set(dialect, tables.errors, ErrorRow, ("job_id",))


def _set_sessions(dialect: str) -> tuple[Any, tuple[str, ...]]:
    return _set(dialect, tables.sessions, Session, ("id",))


def _nothing(*_: Any) -> None:
    return


def _words(words: Sequence[str]) -> list[Any]:
    """Words as part of a statement's text: no parameters beside those of the rows."""
    return [literal_column(f"'{each}'") for each in words]
