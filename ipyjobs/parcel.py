"""A job as signed bytes: to be kept in a file, or sent to oneself elsewhere."""

from __future__ import annotations

import json
import struct
from typing import Any, cast

from ipyjobs.envelope import SEAL_BYTES, Place, check_python, own_key
from ipyjobs.errors import ResultUnreadable, Unverified
from ipyjobs.failure import Failure
from ipyjobs.job import Job
from ipyjobs.output import JobLog
from ipyjobs.particulars import attempt_row, birth_of, call_of, event_rows, state_of
from ipyjobs.restoration import restored
from ipyjobs.status import Status
from ipyjobs.stores.rows import AttemptRow, Birth, EventRow, State, StoredJob
from ipyjobs.stores.sealing import call_bytes, result_bytes

_MAGIC = b"ipyjobs job 1\n"
_PLACE = Place("", "", "", "job")
_SIZE = struct.Struct(">Q")


def packed(job: Job) -> bytes:
    """All of a job, signed with the user's key. The engine and a running attempt stay behind.

    Raises
    ------
    NotPicklable
        Its result cannot travel.
    """
    call = call_bytes(call_of(job), {})
    parts: dict[str, bytes] = {}
    if isinstance(call, str):
        birth = birth_of(job, "", "")._replace(call_note=call)
    else:
        birth = birth_of(job, "", "")
        parts["function"], parts["arguments"] = call
    if job.status is Status.DONE and job._payload is not None:
        parts["result"] = result_bytes(job._payload)
    if job.status is Status.FAILED and job._failure is not None:
        parts["error"] = job._failure.to_bytes()
    shown = job._preview
    head = {
        "birth": birth._replace(call_seal=cast(bytes, "")),
        "state": state_of(job),
        "events": event_rows(job),
        "attempts": [attempt_row(job.id, each) for each in job.attempts],
        "preview": None if shown is None else [shown.type, shown.short, shown.text],
        "parts": {name: len(data) for name, data in parts.items()},
    }
    text = json.dumps(head).encode()
    data = b"".join((_SIZE.pack(len(text)), text, *parts.values()))
    return _MAGIC + own_key().seal(data, _PLACE) + data


def unpacked(given: bytes, *, trust: bool = False) -> Job:
    """The job that `packed` made bytes of.

    Raises
    ------
    Unverified
        The bytes are not signed with this user's key, and `trust` does not say that they are good all the same.
    ResultUnreadable
        They are another Python's, or no job at all.
    """
    seal, data = given[len(_MAGIC) : len(_MAGIC) + SEAL_BYTES], given[len(_MAGIC) + SEAL_BYTES :]
    if not given.startswith(_MAGIC):
        raise Unverified("these bytes are no job that ipyjobs wrote; they were not opened")
    if not trust:
        own_key().check(seal, data, _PLACE)
    check_python(seal, "job")
    try:
        (size,) = _SIZE.unpack_from(data)
        head = cast("dict[str, Any]", json.loads(data[_SIZE.size : _SIZE.size + size]))
        stored, source = _taken_apart(head, data[_SIZE.size + size :])
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ResultUnreadable(f"these bytes are no whole job: {error}") from error
    return restored(stored, source, None)


def _taken_apart(head: dict[str, Any], rest: bytes) -> tuple[StoredJob, _Parts]:
    parts: dict[str, bytes] = {}
    for name, size in head["parts"].items():
        parts[name], rest = rest[:size], rest[size:]
    birth = Birth._make(head["birth"])._replace(call_seal=b"")
    events = [EventRow._make(each) for each in head["events"]]
    attempts = [AttemptRow._make(each) for each in head["attempts"]]
    shown = head["preview"]
    return StoredJob(
        birth, State._make(head["state"]), "", "", events, attempts, None if shown is None else tuple(shown)
    ), _Parts(parts)  # fmt: skip


class _Parts:
    """What lies beside a job's particulars, as the source of what is opened when it is asked for."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self._parts = parts

    def result(self, job_id: str) -> bytes:
        if "result" not in self._parts:
            raise ResultUnreadable("the result is not among these bytes")
        return self._parts["result"]

    def failure(self, job_id: str) -> Failure | None:
        return Failure.from_bytes(self._parts["error"]) if "error" in self._parts else None

    def call(self, birth: Birth) -> tuple[bytes, bytes]:
        return self._parts["function"], self._parts["arguments"]

    def log(self, birth: Birth, state: State) -> JobLog | None:
        return None

    def job(self, job_id: str) -> Job | None:
        return None
