"""Stopping jobs: because the user says so, because their time is up, because the engine ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipyjobs.errors import JobTimeout
from ipyjobs.failure import Failure
from ipyjobs.status import Reason, Status, Verb

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job
    from ipyjobs.running import Running


class Stopping:
    """Ends the work of attempts, and parts jobs from work that cannot be ended."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def cancel(self, jobs: Sequence[Job], reason: Reason = Reason.USER) -> int:
        """Stop jobs; how many there were to stop."""
        count = sum(self._cancel(job, reason) for job in jobs)
        self._flow.pump_soon()
        return count

    def _cancel(self, job: Job, reason: Reason) -> bool:
        flow = self._flow
        if job.ended:
            return False
        running = flow.running.get(job.id)
        if running is None or running.parted:
            flow.scheduler.remove(job.id)
            flow.end(job, Verb.CANCEL, reason)
            return True
        if running.stopping:
            return False
        running.stopping, running.why = True, reason
        job._set({"cancel_requested": True})
        flow.touch(job)
        if not running.backend.stop(running) and not running.over:
            self._part(running, "cancelled")
            flow.end(job, Verb.CANCEL, reason)
        return True

    def timed_out(self, running: Running) -> None:
        """An attempt has had its time."""
        flow, job = self._flow, running.job
        if running.over or running.parted or running.stopping:
            return
        running.stopping, running.why = True, Reason.TIMEOUT
        if not running.backend.stop(running):
            self._part(running, "timed out")
            running.attempt.outcome = "timeout"
            flow.tried(job, Failure.of(JobTimeout(job.name, job.timeout or 0)), Reason.TIMEOUT)

    def _part(self, running: Running, what: str) -> None:
        """The job goes on without an attempt that can't be stopped; its work keeps its slot until it returns."""
        running.parted = True
        if running.attempt.started_at is None:
            return
        kind = "thread" if running.job.backend == "thread" else "function"
        running.job._set({"note": f"{what}, {kind} still running"})

    async def close(self, grace_s: float) -> None:
        """Stop all jobs and end the backends; what doesn't end within `grace_s` seconds is left, and said to be."""
        flow = self._flow
        flow.closing = True
        flow._asking.rest()
        if flow.timer is not None:
            flow.timer.cancel()
        until = time.monotonic() + grace_s
        self.cancel(
            [*flow.by_status[Status.PENDING].values(), *flow.by_status[Status.RUNNING].values()], Reason.SHUTDOWN
        )
        closing = [asyncio.ensure_future(each.close()) for each in map(flow.backends.get, flow.opened) if each]
        await asyncio.wait(closing, timeout=grace_s)
        while any(not each.parted for each in flow.running.values()) and time.monotonic() < until:
            await asyncio.sleep(0.005)
        for running in list(flow.running.values()):
            if not running.parted:
                self._part(running, "cancelled")
                flow.end(running.job, Verb.CANCEL, Reason.SHUTDOWN, "its work did not end in time")
            running.over = True
            flow.scheduler.release(running.job.id)
        flow.running.clear()
        for each in closing:
            each.cancel()
        flow.home = None
