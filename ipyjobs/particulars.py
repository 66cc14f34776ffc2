"""A job's particulars, as rows of plain values that can be kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ipyjobs.execution import Attempt
from ipyjobs.job import Job
from ipyjobs.stores.rows import AttemptRow, Birth, EventRow, State
from ipyjobs.stores.sealing import CallToKeep

_STATE: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(
    "status", "reason", "waiting_for", "attempt", "submitted_at", "started_at", "ended_at", "progress", "message",
    "error", "note",
)  # fmt: skip
"""The first columns of `State`, in one call: the engine's loop waits for it at every move."""


def state_of(job: Job) -> State:
    """Where a job stands."""
    attempts, log = job.attempts, job._log
    handle = attempts[-1].handle if attempts else ""
    return State._make((*_STATE(job._trait_values), job._round, handle, 0 if log is None else log.size))


def attempt_row(job_id: str, attempt: Attempt) -> AttemptRow:
    """One try at a job."""
    return AttemptRow(
        job_id, attempt.round, attempt.number, attempt.queued_at, attempt.started_at, attempt.ended_at, attempt.outcome,
        attempt.error, attempt.worker, attempt.log_start, attempt.handle,
    )  # fmt: skip


def event_rows(job: Job) -> list[EventRow]:
    """A job's story."""
    return [EventRow(job.id, position, *event) for position, event in enumerate(job._story)]


def birth_of(job: Job, session: str, log: str) -> Birth:
    """What never changes once a job was submitted."""
    values = job._trait_values
    retry = job._retry
    options: dict[str, Any] = {}
    if job.timeout is not None:
        options["timeout"] = job.timeout
    if retry.times:
        options["retry"] = [retry.delay_s, retry.backoff, retry.max_delay_s, retry.jitter]
    if job.change_dir:
        options["change_dir"] = True
    if job.redirect_out_err:
        options["redirect_out_err"] = str(job.redirect_out_err) if job.redirect_out_err is not True else True
    if job._attrs:
        options["attrs"] = {each: value for each, value in job._attrs.items() if _is_plain(value)}
    if job.options:
        options["options"] = {each: value for each, value in job.options.items() if _is_plain(value)}
    return Birth(
        values["id"], session, values["number"], values["name"], type(job).__name__, values["backend"],
        values["queue"], values["group"], _list(values["tags"]), values["priority"], values["retries"],
        values["origin"], job.created_at, json.dumps(options) if options else "{}", _list(job._described),
        _list(job._upstream), log,
    )  # fmt: skip


def call_of(job: Job) -> CallToKeep:
    """What it calls."""
    # What was made to travel takes the job's folder along, which a rerun gives it anew.
    return CallToKeep(job.func, job.args, job.kwargs, None if job.change_dir else job._packed)


def _list(values: tuple[Any, ...]) -> str:
    return json.dumps(values) if values else "[]"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
