"""What a store keeps, as frozen rows of plain values: the one list of columns that every store shares.

Times are seconds since 1970 UTC. Words of closed sets (status, verb, reason) are kept as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Birth(NamedTuple):
    """What of a job never changes once it was submitted."""

    id: str
    session: str
    """The engine that submitted it."""
    number: int
    name: str
    kind: str
    """Its class, by name."""
    backend: str
    queue: str
    group: str | None
    tags: str
    """A JSON list."""
    priority: int
    retries: int
    origin: str
    created_at: float
    options: str
    """A JSON object: timeout, delays between retries, what only the backend understands."""
    described: str
    """The call's arguments as text: a JSON list of (name, type, text)."""
    upstream: str
    """Jobs whose values it needs: a JSON list of ids."""
    log: str
    """Its log's place below the store's folder of logs; empty where that is elsewhere."""
    function_hash: str = ""
    """Which `PayloadRow` holds the function; empty where it is not kept."""
    arguments_hash: str = ""
    call_seal: bytes = b""
    """Vouches for the two hashes."""
    call_note: str = ""
    """Why the job cannot be run again after a restart, where that is so."""


class State(NamedTuple):
    """Where a job stands."""

    status: str
    reason: str | None
    waiting_for: str | None
    attempt: int
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    progress: float | None
    message: str
    error: str
    note: str
    round: int
    """Counts reruns, from 1."""
    handle: str
    """The work's name outside of the kernel."""
    log_bytes: int


class EventRow(NamedTuple):
    """One move of a job."""

    job_id: str
    position: int
    """In the job's story, from 0."""
    number: int
    at: float
    verb: str
    before: str
    after: str
    attempt: int
    reason: str | None
    text: str


class AttemptRow(NamedTuple):
    """One try at a job."""

    job_id: str
    round: int
    number: int
    queued_at: float
    started_at: float | None
    ended_at: float | None
    outcome: str
    error: str
    worker: str
    log_start: int
    handle: str


class ResultRow(NamedTuple):
    """What a job returned."""

    job_id: str
    attempt: int
    round: int
    seal: bytes
    """Vouches for the bytes; empty where there are none."""
    data: bytes | None
    """A pickle and its buffers; None where they lie in a file, or nowhere."""
    file: str
    """Name of the file below the store's folder of results."""
    size_bytes: int
    note: str
    """Why there are no bytes, where that is so."""
    type: str
    short: str
    text: str


class ErrorRow(NamedTuple):
    """How a job failed."""

    job_id: str
    attempt: int
    round: int
    seal: bytes
    data: bytes
    """What `Failure.to_bytes` made."""
    text: str
    """The traceback as Python prints it."""


class PayloadRow(NamedTuple):
    """A function or arguments, by the SHA-256 of what they are; compressed, kept once for all jobs that have them."""

    hash: str
    size_bytes: int
    """Before compression."""
    data: bytes


class Session(NamedTuple):
    """One engine's life."""

    id: str
    owner: str
    host: str
    pid: int
    name: str
    """What the reader knows it by: the notebook's or script's name."""
    started_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that become true together or not at all."""

    births: Mapping[str, Birth] = field(default_factory=dict[str, Birth])
    """By job id: those new to the store, or taken over from an earlier session."""
    states: Mapping[str, State] = field(default_factory=dict[str, State])
    """The newest, by job id; every job of `births` has one."""
    events: Sequence[EventRow] = ()
    attempts: Sequence[AttemptRow] = ()
    results: Sequence[ResultRow] = ()
    errors: Sequence[ErrorRow] = ()
    payloads: Sequence[PayloadRow] = ()
    rerun: Collection[str] = ()
    """Jobs whose earlier result or error is void."""
    removed: Collection[str] = ()

    @property
    def holds_end(self) -> bool:
        """Whether a job's end is in it, so that it must have reached the disk before anybody is told."""
        return any(each.ended_at is not None for each in self.states.values())


@dataclass(frozen=True, slots=True)
class StoredJob:
    """All that a store knows of a job, without its result, error and call."""

    birth: Birth
    state: State
    owner: str
    host: str
    events: Sequence[EventRow] = ()
    attempts: Sequence[AttemptRow] = ()
    preview: tuple[str, str, str] | None = None
    """Type, short and long text of the result."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read."""

    id: str
    why: str


class Choice(NamedTuple):
    """Which jobs are asked for; what is None does not matter."""

    status: str | None = None
    name: str | None = None
    group: str | None = None
    not_of: tuple[str, ...] = ()
    """Sessions whose jobs are left out."""
