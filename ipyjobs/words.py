"""What a pending job waits for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyjobs.combinations import timed
from ipyjobs.conditions import job_ids
from ipyjobs.status import WaitingFor

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job


def waiting_text(job: Job, flow: Flow) -> str:
    """What a pending job waits for, in words."""
    match job.waiting_for:
        case WaitingFor.SLOT:
            return _slot_text(job, flow)
        case WaitingFor.RETRY:
            return f"retry {job.attempt} of {job.retries}"
        case WaitingFor.BACKEND:
            return job.note or "starting"
        case _:
            return _condition_text(job, flow)


def _slot_text(job: Job, flow: Flow) -> str:
    alone = flow.jobs.get(flow.scheduler.alone or "")
    if alone is not None:
        return f"waits until {alone.name!r} has ended, which has the engine to itself"
    launch = job._launch
    if launch is not None and launch.one_at_a_time and flow.scheduler.tasks[launch.name].used:
        return f"waits for the run of {launch.name!r} before"
    return "waits for a slot"


def _condition_text(job: Job, flow: Flow) -> str:
    ids = job_ids(job.condition)
    unknown = next((each for each in ids if each not in flow.jobs), None)
    if unknown is not None:
        return f"waits for unknown job {unknown}"
    if not ids:
        if job.condition is None:
            return ""
        # Not when: `next_at` says that, and a saved notebook should not.
        return "waits for its time" if timed(job.condition) else f"waits for {type(job.condition).__name__}"
    if len(ids) == 1:
        return f"after {flow.jobs[ids[0]].name}"
    return f"after {len(ids)} jobs, {max(0, len(ids) - flow.scheduler.missing(job.id))} done"
