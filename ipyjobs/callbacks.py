"""Telling a job's callbacks how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
                task = loop.create_task(answer)
                _running.add(task)
                task.add_done_callback(_running.discard)
        except Exception:
            logger.exception("a callback of job {!r} raised", job.name)
