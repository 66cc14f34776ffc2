"""Waiting for jobs to end: from coroutines on any loop, and from threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyjobs.mailbox import Mailbox
from ipyjobs.status import ENDED, Status, WaitingFor

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job
    from ipyjobs.jobs import Jobs


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody on some loop who waits for a job."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]

    def wake(self) -> None:
        """Only on `loop`."""
        if not self.future.done():
            self.future.set_result(None)


class Countdown:
    """Calls `finished` when all of some jobs have ended, once or more, from whichever thread sees the last one end."""

    def __init__(self, jobs: Iterable[Job], finished: Callable[[], None]) -> None:
        self._left = {job._trait_values["id"] for job in jobs}
        self._finished = finished

    def watch(self, jobs: Sequence[Job]) -> None:
        """Begin. Join the list first and look then: a job may end in between."""
        for job in jobs:
            waiters = job._waiters
            if waiters is None:
                waiters = job._waiters = []
            waiters.append(self)
        for job in jobs:
            if job._trait_values["status"] in ENDED:
                self.ended(job)

    def ended(self, job: Job) -> None:
        """A job has ended; saying it twice is harmless."""
        # Two threads that see the last two end may both find that none is left.
        self._left.discard(job._trait_values["id"])
        if not self._left:
            self._finished()

    def leave(self, jobs: Iterable[Job]) -> None:
        """Stop waiting."""
        for job in jobs:
            if job._waiters and self in job._waiters:
                job._waiters.remove(self)


async def until_ended(jobs: Sequence[Job], outbox: Mailbox) -> None:
    """Wait on the running loop until all `jobs` have ended. Being cancelled leaves them alone."""
    __tracebackhide__ = True
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    def finished() -> None:
        # Through the user's mailbox where possible: what observers and callbacks were told comes first.
        if loop is outbox.loop:
            outbox.post(wake)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(wake)

    waiting = [job for job in jobs if job._trait_values["status"] not in ENDED or job._unsaid]
    if not waiting:
        return
    countdown = Countdown(waiting, finished)
    countdown.watch(waiting)
    try:
        await future
    finally:
        countdown.leave(waiting)


async def until_told(outbox: Mailbox) -> None:
    """Wait on the running loop until all that was posted to the user's loop so far has been told."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    outbox.post(wake if loop is outbox.loop else lambda: loop.is_closed() or loop.call_soon_threadsafe(wake))
    await future


async def until_none(select: Callable[[Jobs], Collection[Job]], jobs: Jobs, flow: Flow) -> None:
    """Wait on the running loop until `select` names none of `jobs`, looking whenever one has changed."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wake(_: Job | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(changed.set)

    def join() -> None:
        flow.listeners.append(wake)
        # Look once more: something may have changed between the first look and now.
        wake(None)

    def leave() -> None:
        flow.listeners.remove(wake)

    flow.inbox.post(join)
    try:
        while select(jobs):
            await changed.wait()
            changed.clear()
    finally:
        flow.inbox.post(leave)


def see_them_start(jobs: Sequence[Job]) -> None:
    """Wait, a second at most, for work that has its slot and whose process is just being made."""
    until = time.monotonic() + 1.0
    slow = [job for job in jobs if job._called_on in ("process", "command")]
    for job in slow:
        while job.status is Status.PENDING and job.waiting_for is WaitingFor.BACKEND and time.monotonic() < until:
            if job.engine is None or job.engine.flow.ahead.has(job.id):
                break
            time.sleep(0.001)


class Act:
    """Something that has been set going: with or without ``await`` it happens; awaiting waits until it is complete."""

    def __init__(self, wait: Callable[[], Any] | None = None, value: Any = None) -> None:
        self._wait = wait
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        if self._wait is not None:
            waiting: Generator[Any, None, Any] = self._wait().__await__()
            answer = yield from waiting
            return answer if self._value is None else self._value
        return self._value
