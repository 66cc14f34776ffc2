"""Stopping jobs: because the user says so, because their time is up, because the engine ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ipyjobs.errors import InvalidStateError, JobTimeout
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.records import Past
from ipyjobs.status import Reason, Status, Verb

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job
    from ipyjobs.running import Running

UNSTOPPABLE = 'it runs with execution="main" and can\'t be stopped'


class Stopping:
    """Ends the work of attempts, and parts jobs from work that cannot be ended."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def cancel(self, jobs: Sequence[Job], reason: Reason = Reason.USER) -> int:
        """Stop jobs; how many there were to stop."""
        count = sum(self._cancel(job, reason) for job in jobs)
        self._flow.pump_soon()
        return count

    def obey(self, jobs: Sequence[Job], refused: Collection[Job] = (), *, strict: bool) -> tuple[int, list[Job]]:
        """Stop jobs because somebody wants it; a plugin may have refused some.

        Returns
        -------
        tuple
            How many there were to stop, and the jobs that have not ended and can't be stopped; their `note` says why.

        Raises
        ------
        InvalidStateError
            With `strict`: one of them can't be stopped. None is, then.
        """
        kept = [job for job in jobs if not job.ended and (job in refused or self._unstoppable(job))]
        for job in kept:
            why = "a plugin refused to have it cancelled" if job in refused else UNSTOPPABLE
            if strict:
                raise InvalidStateError(f"job {job.name!r} was not cancelled: {why}")
            job._set({"note": why})
            self._flow.touch(job)
        return self.cancel([job for job in jobs if job not in kept] if kept else jobs), kept

    def remove(self, jobs: Sequence[Job], refused: Collection[Job] = ()) -> list[Job]:
        """Cancel jobs and forget them; those that can't be cancelled stay, and are given back."""
        flow = self._flow
        flow.ahead.take_back()
        _, kept = self.obey(jobs, refused, strict=len(jobs) == 1)
        for job in [each for each in jobs if each not in kept] if kept else jobs:
            if flow.jobs.pop(job.id, None) is not None:
                self._forget(job)
        return kept

    def _forget(self, job: Job) -> None:
        flow = self._flow
        if job.attempts:
            flow.past.append(Past.of(job))
        del flow.by_status[job.status][job.id]
        job._removed = True
        flow.edges.remove(job)
        for listener in flow.listeners:
            listener(job)

    def _unstoppable(self, job: Job) -> bool:
        running = self._flow.running.get(job.id) if job.exclusive else None
        return running is not None and not running.parted and running.attempt.started_at is not None

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
        if job.exclusive and self._unstoppable(job):
            job._set({"note": UNSTOPPABLE})
            flow.touch(job)
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

    def returned(self, running: Running) -> None:
        """Work that went on without its job has returned."""
        flow, job = self._flow, running.job
        job._set({"note": ""})
        flow.touch(job)
        if job.ended and job._log is not None:
            job._log.close()
        if job._held_back and job.status is Status.PENDING:
            flow.enqueue(job)

    def _part(self, running: Running, what: str) -> None:
        """The job goes on without an attempt that can't be stopped; its work keeps its slot until it returns."""
        running.parted = True
        if running.attempt.started_at is None:
            return
        kind = {"thread": "thread still running", "dask": "still running on the cluster"}.get(
            running.backend.name, "function still running"
        )
        if running.job.exclusive:
            what = "can't be stopped"
        running.job._set({"note": f"{what}, {kind}"})

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
        left = [running.job.name for running in flow.running.values() if running.attempt.started_at is not None]
        if left:
            names = ", ".join(map(repr, left[:10])) + (", …" if len(left) > 10 else "")
            logger.warning("the engine has stopped; what can't be stopped from outside goes on: {}", names)
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
