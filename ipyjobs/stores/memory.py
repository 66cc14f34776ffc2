"""A store that goes with the process: for tests, and for where nothing can be written."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ipyjobs.status import ENDED
from ipyjobs.stores.rows import (
    AttemptRow,
    Batch,
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


class MemoryStore:
    """Remembers jobs in dictionaries."""

    durable = False
    place = "memory"
    logs: Path | None = None

    def __init__(self) -> None:
        self.id = os.urandom(8).hex()
        self.owner = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._host = socket.gethostname()
        self._births: dict[str, Birth] = {}
        self._states: dict[str, State] = {}
        self._owners: dict[str, str] = {}
        self._events: dict[str, dict[int, EventRow]] = {}
        self._attempts: dict[str, dict[tuple[int, int], AttemptRow]] = {}
        self._results: dict[str, ResultRow] = {}
        self._errors: dict[str, ErrorRow] = {}
        self._payloads: dict[str, PayloadRow] = {}
        self._sessions: dict[str, Session] = {}

    def check(self) -> None:
        """Nothing of it was made by another ipyjobs."""

    def open(self, *, write: bool = True) -> None:
        """Nothing is to be made ready."""

    def set_aside(self) -> str | None:
        return None

    def begin(self, session: Session) -> None:
        self._sessions[session.id] = session

    def end(self, session_id: str) -> None:
        if session_id in self._sessions:
            self._sessions[session_id] = self._sessions[session_id]._replace(ended_at=time.time())

    def write(self, batch: Batch) -> frozenset[str]:
        refused = frozenset(each for each in batch.states if self._refuses(each, batch))
        for job_id, state in batch.states.items():
            if job_id in refused:
                continue
            if job_id in batch.births:
                self._births[job_id] = batch.births[job_id]
                self._owners[job_id] = self.owner
            self._states[job_id] = state
        for event in batch.events:
            if event.job_id not in refused:
                self._events.setdefault(event.job_id, {}).setdefault(event.position, event)
        for attempt in batch.attempts:
            if attempt.job_id not in refused:
                self._attempts.setdefault(attempt.job_id, {})[attempt.round, attempt.number] = attempt
        for job_id in {*batch.rerun} - refused:
            self._results.pop(job_id, None)
            self._errors.pop(job_id, None)
        self._results.update((each.job_id, each) for each in batch.results if each.job_id not in refused)
        self._errors.update((each.job_id, each) for each in batch.errors if each.job_id not in refused)
        for payload in batch.payloads:
            self._payloads.setdefault(payload.hash, payload)
        self.remove(batch.removed)
        return refused

    def lose(self) -> int:
        return 0

    def expire(self, before: float, most: int) -> int:
        ended = [each for each in self.ids(Choice()) if self._states[each].status in ENDED]
        gone = {each for each in ended if (self._states[each].ended_at or before) < before}
        gone.update(ended[: max(0, len(self._states) - most)])
        self.remove(gone)
        return len(gone)

    def remove(self, ids: Iterable[str]) -> None:
        for job_id in ids:
            for each in (
                self._births, self._states, self._owners, self._events, self._attempts, self._results, self._errors,
            ):  # fmt: skip
                each.pop(job_id, None)

    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def alive(self, owner: str) -> bool:
        return owner == self.owner

    def counts(self, choice: Choice) -> dict[str, int]:
        return dict(Counter(self._states[each].status for each in self.ids(choice)))

    def ids(self, choice: Choice, start: int = 0, count: int | None = None) -> list[str]:
        births = sorted(self._births.values(), key=lambda each: (each.created_at, each.number, each.id))
        chosen = [each.id for each in births if self._chosen(each, choice)]
        return chosen[start : None if count is None else start + count]

    def has(self, job_id: str, choice: Choice) -> bool:
        return job_id in self._births and self._chosen(self._births[job_id], choice)

    def jobs(self, ids: Sequence[str]) -> Mapping[str, StoredJob | Unreadable]:
        return {each: self._job(each) for each in ids if each in self._births}

    def result(self, job_id: str) -> ResultRow | None:
        return self._results.get(job_id)

    def error(self, job_id: str) -> ErrorRow | None:
        return self._errors.get(job_id)

    def payload(self, hash: str) -> PayloadRow | None:
        return self._payloads.get(hash)

    def close(self) -> None:
        """Nothing is held open."""

    def _refuses(self, job_id: str, batch: Batch) -> bool:
        state, before = batch.states[job_id], self._states.get(job_id)
        mine = self._owners.get(job_id) == self.owner
        if job_id in batch.births:
            return before is not None and not mine and before.status not in ENDED
        return before is None or not mine or before.round > state.round

    def _chosen(self, birth: Birth, choice: Choice) -> bool:
        return (
            (choice.status is None or self._states[birth.id].status == choice.status)
            and (choice.name is None or birth.name == choice.name)
            and (choice.group is None or birth.group == choice.group)
            and birth.session not in choice.not_of
        )

    def _job(self, job_id: str) -> StoredJob:
        result = self._results.get(job_id)
        return StoredJob(
            self._births[job_id],
            self._states[job_id],
            self._owners[job_id],
            self._host,
            [each for _, each in sorted(self._events.get(job_id, {}).items())],
            [each for _, each in sorted(self._attempts.get(job_id, {}).items())],
            None if result is None else (result.type, result.short, result.text),
        )
