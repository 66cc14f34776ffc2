"""Waiting for jobs with a thread that stands still meanwhile, and what could then never end."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Collection, Sequence

from ipyjobs.backends.local import LocalBackend
from ipyjobs.conditions import job_ids
from ipyjobs.context import current_job
from ipyjobs.errors import DeadlockError, EngineNotRunning
from ipyjobs.flow import Flow
from ipyjobs.home import Home
from ipyjobs.job import Job
from ipyjobs.waiting import Countdown


def block_until_ended(jobs: Sequence[Job], home: Home, flow: Flow, timeout: float | None) -> bool:
    """Block this thread until `jobs` have ended; False if `timeout` seconds passed first.

    Raises
    ------
    DeadlockError
        One of them needs this very thread to go on.
    EngineNotRunning
        The engine was stopped meanwhile.
    """
    __tracebackhide__ = True
    refuse_deadlock(jobs, home, flow)
    ended = threading.Event()
    on_user_thread = home.on_user_thread()

    def wake() -> None:
        ended.set()
        if on_user_thread:
            home.outbox.nudge()

    countdown = Countdown(jobs, wake)
    countdown.watch(jobs)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        if on_user_thread:
            return home.outbox.wait(ended.is_set, deadline)
        while not ended.wait(1.0 if deadline is None else min(1.0, max(0.0, deadline - time.monotonic()))):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not home.alive:
                raise EngineNotRunning("the engine was stopped while this thread waited for a job")
        return True
    finally:
        countdown.leave(jobs)


def block_until_none(selected: Callable[[], Collection[Job]], home: Home, flow: Flow, deadline: float | None) -> bool:
    """Block this thread until `selected` names no job, looking whenever one has changed; False after `deadline`.

    Raises
    ------
    EngineNotRunning
        The engine was stopped meanwhile.
    """
    __tracebackhide__ = True
    changed = threading.Event()
    on_user_thread = home.on_user_thread()

    def wake(_: Job) -> None:
        changed.set()
        if on_user_thread:
            home.outbox.nudge()

    home.call(flow.listeners.append, wake)
    try:
        while selected():
            if not home.alive:
                raise EngineNotRunning("the engine was stopped while this thread waited for its jobs")
            patience_s = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
            if on_user_thread:
                home.outbox.wait(changed.is_set, time.monotonic() + patience_s)
            else:
                changed.wait(patience_s)
            changed.clear()
            if deadline is not None and time.monotonic() >= deadline:
                return not selected()
        return True
    finally:
        if home.alive:
            home.call(flow.listeners.remove, wake)


def refuse_waiting_alone(jobs: Sequence[Job], flow: Flow) -> None:
    """Raise `DeadlockError` if the running job has the engine to itself and waits for one that has no slot yet."""
    me = current_job()
    if me is None or me.id != flow.scheduler.alone:
        return
    holding = flow.scheduler.holding
    for job in jobs:
        if not job.ended and job.id not in holding:
            raise DeadlockError(
                f"job {job.name!r} can't start before {me.name!r} has ended, which runs with the engine to itself; "
                'so it can\'t be waited for here; use execution="async" or "thread"'
            )


def refuse_deadlock(jobs: Sequence[Job], home: Home, flow: Flow) -> None:
    """Raise `DeadlockError` if blocking this thread for `jobs` would keep one of them from ending."""
    if flow.scheduler.alone is not None:
        refuse_waiting_alone(jobs, flow)
    if home.here():
        names = ", ".join(repr(job.name) for job in jobs[:3])
        raise DeadlockError(
            f"waiting here for {names} would stop the loop that runs it; use `await job` or `await engine.join()`"
        )
    if not home.on_user_thread():
        return
    local = flow.backends["local"]
    assert isinstance(local, LocalBackend)
    seen: set[str] = set()
    stack = list(jobs)
    alone = flow.jobs.get(flow.scheduler.alone or "")
    if alone is not None:
        stack.append(alone)
    while stack:
        job = stack.pop()
        if job.id in seen or job.ended:
            continue
        seen.add(job.id)
        if job.id in local.stack:
            raise DeadlockError(f"job {job.name!r} cannot wait for itself: it runs on this very thread")
        if job.backend == "local" and (inspect.iscoroutinefunction(job.func) or local.awaiting(job.id)):
            raise DeadlockError(
                f"job {job.name!r} is a coroutine on the loop of this thread, so blocking here would stop it; "
                "use `await job` (or `await jobs`, `await engine.join()`)"
            )
        stack.extend(flow.jobs[each] for each in job_ids(job.condition) if each in flow.jobs)
