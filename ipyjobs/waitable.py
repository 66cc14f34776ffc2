"""What one waits for: the end of some jobs of an engine or of all, from coroutines and from threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ipyjobs.blocking import block_until_ended, block_until_none, refuse_deadlock, refuse_waiting_alone
from ipyjobs.errors import EngineNotRunning, InvalidStateError
from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.residence import Residence
from ipyjobs.scheduling import Scheduler
from ipyjobs.status import Status
from ipyjobs.streams import watch_unread
from ipyjobs.verbs import AllJobs
from ipyjobs.waiting import until_ended, until_none, until_told


class Waitable(Residence):
    """The half of an engine that has to do with waiting for its jobs."""

    jobs: AllJobs
    scheduler: Scheduler

    async def join(self, jobs: Iterable[Job] | None = None, timeout: float | None = None) -> None:
        """Wait until `jobs` (all by default, also those submitted meanwhile) have ended.

        Raises
        ------
        TimeoutError
            They have not within `timeout` seconds; they go on.
        """
        __tracebackhide__ = True
        async with asyncio.timeout(timeout):
            if jobs is not None:
                await self.until_ended(list(jobs))
                return
            while True:
                if active := self.flow.active:
                    await self.until_ended(active)
                else:
                    # What is to be told of jobs that have ended may still be on its way, and may submit more.
                    if self.alive:
                        await until_told(self.inbox)
                    await until_told(self.outbox)
                    if not self.flow.active:
                        return

    async def until_ended(self, jobs: Sequence[Job]) -> None:
        """Wait until `jobs` have ended and observers and callbacks have been told. Cancelling it leaves them alone."""
        __tracebackhide__ = True
        for job in jobs:
            if job.status is Status.CREATED:
                raise InvalidStateError(f"cannot wait for job {job.name!r}: it was never submitted")
        if self._home is not None:
            watch_unread(jobs, self._home)
        if self.scheduler.alone is not None:
            refuse_waiting_alone(jobs, self.flow)
        await until_ended(jobs, self.outbox)

    def wait(
        self,
        timeout: float | None = None,
        time_delta: float | None = None,
        select_jobs: Callable[[Jobs], Collection[Job]] | None = None,
    ) -> bool:
        """Block until no job is left that has not ended.

        Parameters
        ----------
        timeout
            Seconds to wait at most. Default: no limit.
        time_delta
            Taken for executor-engine's sake; nothing is polled here.
        select_jobs
            Given `jobs`, says which of them to wait for, anew whenever a job has changed; the wait is over when it
            names none. Default: those that are pending or running.

        Returns
        -------
        bool
            False if `timeout` seconds passed first.

        Raises
        ------
        DeadlockError
            A job needs this very thread to go on; use ``await engine.join()``.
        """
        __tracebackhide__ = True
        deadline = None if timeout is None else time.monotonic() + timeout
        if select_jobs is not None:
            return self._wait_for_none(select_jobs, deadline)
        while True:
            active = self.flow.active
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self.wait_for(active, left_s):
                return False
            if not active and not self.flow.active:
                return True

    async def wait_async(
        self,
        timeout: float | None = None,
        time_delta: float | None = None,
        select_jobs: Callable[[Jobs], Collection[Job]] | None = None,
    ) -> bool:
        """As `wait`, without blocking."""
        try:
            async with asyncio.timeout(timeout):
                if select_jobs is None:
                    await self.join()
                else:
                    await until_none(select_jobs, self.jobs, self.flow)
        except TimeoutError:
            return False
        return True

    def wait_job(self, job: Job, timeout: float | None = None) -> Any:
        """Block until the job has ended; its result if it is done, else None."""
        __tracebackhide__ = True
        self.wait_for([job], timeout)
        return job.result() if job.status is Status.DONE else None

    def wait_for(self, jobs: Sequence[Job], timeout: float | None = None) -> bool:
        """Block until `jobs` have ended; see `wait`. Local functions, callbacks and observers go on meanwhile."""
        __tracebackhide__ = True
        self._check_fork()
        for job in jobs:
            if job.status is Status.CREATED:
                raise InvalidStateError(f"cannot wait for job {job.name!r}: it was never submitted")
        waiting = [job for job in jobs if not job.ended]
        home = self._home
        if not waiting:
            if home is not None and home.on_user_thread() and not home.one_loop:
                home.outbox.drain()
            return True
        if home is None or not home.alive:
            raise EngineNotRunning(f"job {waiting[0].name!r} is {waiting[0].status}, but the engine is not running")
        if timeout is None:
            watch_unread(waiting, home)
        return block_until_ended(waiting, home, self.flow, timeout)

    def _wait_for_none(self, select: Callable[[Jobs], Collection[Job]], deadline: float | None) -> bool:
        __tracebackhide__ = True
        home = self._here()
        refuse_deadlock(list(select(self.jobs)), home, self.flow)
        return block_until_none(lambda: select(self.jobs), home, self.flow, deadline)
