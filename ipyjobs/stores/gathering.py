"""Changes of jobs, as the engine's loop posts them, and many of them on their way into batches."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from ipyjobs.failure import Failure
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview
from ipyjobs.status import Word
from ipyjobs.stores.rows import AttemptRow, Batch, Birth, ErrorRow, EventRow, PayloadRow, ResultRow, State
from ipyjobs.stores.sealing import CallToKeep, Sealer

_PLAIN: dict[str | None, Any] = {None: None, **{each: each.value for kind in Word.__subclasses__() for each in kind}}
_CALL = Birth._fields.index("function_hash")


class End(NamedTuple):
    """What an ended job leaves."""

    payload: Payload | None
    preview: Preview | None
    failure: Failure | None


class Change(NamedTuple):
    """What has become of one job."""

    order: int
    """Counts changes: of two the one with the higher number is newer."""
    job_id: str
    state: State
    position: int
    """Of the first of `events` in the job's story."""
    events: tuple[tuple[Any, ...], ...]
    attempt: AttemptRow | None
    birth: tuple[Birth, CallToKeep] | None
    """With the first change of a job that is new to the store."""
    end: End | None
    removed: bool = False


class Pending:
    """All changes of one job that are not written yet, as one."""

    __slots__ = ("attempt", "birth", "earlier_attempts", "end", "moves", "order", "removed", "rerun", "state")

    def __init__(self, change: Change) -> None:
        self.order = change.order
        self.state = change.state
        self.birth = change.birth
        self.moves: tuple[Change, ...] = ()
        self.attempt: AttemptRow | None = None
        self.earlier_attempts: tuple[AttemptRow, ...] = ()
        self.end: End | None = None
        self.rerun = change.state.round > 1 and change.end is None and bool(change.events)
        self.removed = False

    def add(self, change: Change) -> None:
        """Take one in; a newer one replaces an older one."""
        if change.birth is not None:
            self.birth = change.birth
        if change.state.round > self.state.round:
            self.rerun = True
        if change.events:
            self.moves += (change,)
            self.end = change.end
        self.removed = self.removed or change.removed
        new, old = change.attempt, self.attempt
        if change.order < self.order:
            # What was touched is read before what was posted, though it may be newer.
            if new is not None and old is not None and old[1:3] != new[1:3]:
                self.earlier_attempts += (new,)
            return
        self.order, self.state = change.order, change.state
        if new is not None:
            if old is not None and old[1:3] != new[1:3]:
                self.earlier_attempts += (old,)
            self.attempt = new

    def event_rows(self, rows: list[EventRow]) -> None:
        """Append what happened."""
        for change in self.moves:
            job_id = change.job_id
            for position, event in enumerate(change.events, change.position):
                number, at, verb, before, after, attempt, reason, text = event
                # Plain text: a database driver asks each word of an enumeration how it wants to be kept.
                plain = _PLAIN[verb], _PLAIN[before], _PLAIN[after], attempt, _PLAIN[reason], text
                rows.append(EventRow._make((job_id, position, number, at, *plain)))

    def attempt_rows(self, rows: list[AttemptRow]) -> None:
        """Append the tries."""
        rows.extend(self.earlier_attempts)
        if self.attempt is not None:
            rows.append(self.attempt)


class Gathering:
    """Changes that are not written yet, by job, in the order in which the jobs came."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, change: Change) -> None:
        """Take a change in."""
        pending = self._pending.get(change.job_id)
        if pending is None:
            pending = self._pending[change.job_id] = Pending(change)
        pending.add(change)

    def first(self, count: int) -> dict[str, Pending]:
        """The jobs that have waited longest, at most `count`; they stay until they are dropped."""
        return dict(islice(self._pending.items(), count))

    def drop(self, ids: Iterable[str]) -> None:
        """These have been written."""
        for each in ids:
            del self._pending[each]


def batch_of(pending: dict[str, Pending], sealer: Sealer | None) -> Batch:
    """The rows for some jobs; pickles what has to be."""
    births: dict[str, Birth] = {}
    payloads: dict[bytes, PayloadRow] = {}
    functions: dict[int, tuple[object, bytes]] = {}
    results: list[ResultRow] = []
    errors: list[ErrorRow] = []
    events: list[EventRow] = []
    attempts: list[AttemptRow] = []
    states: dict[str, State] = {}
    removed: list[str] = []
    for job_id, each in pending.items():
        if each.removed:
            removed.append(job_id)
            continue
        state = each.state
        status = _PLAIN[state[0]]
        state = states[job_id] = State._make((status, _PLAIN[state[1]], _PLAIN[state[2]], *state[3:]))
        each.event_rows(events)
        each.attempt_rows(attempts)
        if each.birth is not None:
            birth, call = each.birth
            if sealer is not None:
                # `_replace` takes three times as long.
                birth = Birth._make((*birth[:_CALL], *sealer.call(job_id, call, functions, payloads)))
            births[job_id] = birth
        end = each.end
        if end is None or sealer is None:
            continue
        if end.payload is not None and status == "done":
            results.append(sealer.result(job_id, state.round, state.attempt, end.payload, end.preview))
        elif end.failure is not None and status == "failed":
            errors.append(sealer.error(job_id, state.round, state.attempt, end.failure))
    return Batch(
        births,
        states,
        events,
        attempts,
        results,
        errors,
        list(payloads.values()),
        [job_id for job_id in states if pending[job_id].rerun],
        removed,
    )
