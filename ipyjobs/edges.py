"""Values that jobs need of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyjobs.pickling import Payload
from ipyjobs.status import Reason, Status, Verb

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job

_NOTHING: dict[str, Payload] = {}


class Edges:
    """Who needs whose value: holds jobs back until the values are there, and ends those that will never get them."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._dependents: dict[str, list[Job]] = {}

    def add(self, job: Job) -> None:
        """A new job needs values."""
        for each in job._upstream:
            dependents = self._dependents.get(each)
            if dependents is None:
                dependents = self._dependents[each] = []
            dependents.append(job)

    def wait(self, job: Job) -> None:
        """A job that waits for nothing but values is not asked: it is ready when the last of them is there."""
        flow = self._flow
        missing = [each for each in job._upstream if each not in flow.jobs or flow.jobs[each]._payload is None]
        if not missing:
            flow.scheduler.ready(job._trait_values["id"])
            flow._asking.became_ready.append(job)
        elif not self.spoiled(job):
            flow.scheduler.count_down(job._trait_values["id"], missing)
            flow._asking.parked(job, missing)

    def spoiled(self, job: Job) -> bool:
        """Cancel a pending job one of whose values will never come; whether that was so."""
        for each in job._upstream:
            upstream = self._flow.jobs.get(each)
            if upstream is not None and upstream.status in (Status.FAILED, Status.CANCELLED):
                was = "failed" if upstream.status is Status.FAILED else "was cancelled"
                self._end(job, f"needs the result of {upstream.name!r}, which {was}")
                return True
        return False

    def values(self, job: Job) -> dict[str, Payload] | None:
        """The values that a job needs; None if one is missing, because it has been rerun since the job became ready."""
        if not job._upstream:
            return _NOTHING
        values: dict[str, Payload] = {}
        for each in job._upstream:
            upstream = self._flow.jobs.get(each)
            if upstream is None or upstream._payload is None:
                return None
            values[each] = upstream._payload
        return values

    def ended_badly(self, job_id: str) -> None:
        """A job has ended without a value: so do all that need it and have not begun."""
        for each in list(self._dependents.get(job_id, ())):
            if self._waits(each):
                self.spoiled(each)

    def remove(self, job: Job) -> None:
        """A job is forgotten, and nobody will get its value any more."""
        for each in job._upstream:
            dependents = self._dependents.get(each, [])
            if job in dependents:
                dependents.remove(job)
        for each in self._dependents.pop(job.id, []):
            if self._waits(each):
                self._end(each, f"needs the result of {job.name!r}, which was removed")

    def _waits(self, job: Job) -> bool:
        return job.status is Status.PENDING and job.id not in self._flow.running

    def _end(self, job: Job, why: str) -> None:
        self._flow.scheduler.remove(job.id)
        self._flow.end(job, Verb.CANCEL, Reason.UPSTREAM, why)
