"""Telling a job's callbacks how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ipyjobs.log import logger
from ipyjobs.status import Status

if TYPE_CHECKING:
    from ipyjobs.job import Job

_running: set[asyncio.Task[Any]] = set()
"""Coroutine callbacks under way: a loop keeps only weak references to its tasks."""


Callbacks = tuple[tuple[Callable[[Any], object], bool], ...]
"""Each with whether it wants the result of a job that is done; the others want the exception of one that has failed."""


def call_back(job: Job, status: Status, loop: asyncio.AbstractEventLoop, callbacks: Callbacks) -> None:
    """Tell a job's callbacks how it ended. On the user's loop; one that raises stops no other."""
    for callback, wants_result in callbacks:
        if wants_result is not (status is Status.DONE):
            continue
        try:
            answer: Any = callback(job.result() if wants_result else job.exception())
            if asyncio.iscoroutine(answer):
                go_on(answer, loop, f"a callback of job {job.name!r}")
        except Exception:
            logger.exception("a callback of job {!r} raised", job.name)


def go_on(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, what: str) -> None:
    """Have a callback's coroutine awaited on the user's loop. Only on that loop."""

    def ended(task: asyncio.Task[Any]) -> None:
        _running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("{} raised", what)

    task = loop.create_task(work)
    _running.add(task)
    task.add_done_callback(ended)
