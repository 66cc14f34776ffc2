"""The tables of a store that speaks SQL, as SQLAlchemy sees them; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

about = Table("about", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("group", Text),
    Column("tags", Text, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("options", Text, nullable=False),
    Column("described", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("function_hash", Text, nullable=False),
    Column("arguments_hash", Text, nullable=False),
    Column("call_seal", LargeBinary, nullable=False),
    Column("call_note", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("waiting_for", Text),
    Column("attempt", Integer, nullable=False),
    Column("submitted_at", Float),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("progress", Float),
    Column("message", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("handle", Text, nullable=False),
    Column("log_bytes", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    # The order in which they are listed; and how many there are of each status, which every move has to keep right.
    Index("jobs_by_time", "created_at", "number", "id", "session"),
    Index("jobs_by_session", "session", "status", "reason"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("verb", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("queued_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("outcome", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("log_start", BigInteger, nullable=False),
    Column("handle", Text, nullable=False),
    sqlite_with_rowid=False,
)

results = Table(
    "results",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("data", LargeBinary),
    Column("file", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("short", Text, nullable=False),
    Column("text", Text, nullable=False),
)

errors = Table(
    "errors",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("text", Text, nullable=False),
)

payloads = Table(
    "payloads",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

OF_A_JOB = (events, attempts, results, errors)
"""Tables whose rows go with a job's."""
