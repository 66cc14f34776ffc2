"""What runs on a Dask worker: one job, and the line on which it speaks."""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Mapping
from contextvars import copy_context
from itertools import groupby
from operator import itemgetter
from typing import Any

import distributed

from ipyjobs.backends.dask.book import FOLDER, Book, Page
from ipyjobs.backends.dask.register import BEGIN, SAY, STEP, STOP
from ipyjobs.backends.dask.steps import Steps
from ipyjobs.backends.process import linux
from ipyjobs.context import JobContext, running
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS, Move
from ipyjobs.output import dispatch_output
from ipyjobs.pickling import Payload, dump_result, unpack
from ipyjobs.preview import preview
from ipyjobs.progress import hook_tqdm
from ipyjobs.remote import Port, serve

TELL_S = 0.003
"""A job that takes longer is told to have begun."""
SAY_S = 0.1
"""What a job prints and reports is sent this often."""
SAY_BYTES = 1 << 21
"""A job that has printed so much since then waits; so it fills nobody's memory."""
SMALL_BYTES = 1 << 16
"""A result up to this size travels with the news of the end; a larger one is fetched from the worker."""


def run(
    head: tuple[str, int, str, str, int, str], function: bytes, arguments: bytes, upstream: Mapping[str, bytes]
) -> bytes | None:
    """Run a job, if it may begin; the result, as a pickle, if it is large."""
    key, number, job_id, name, attempt, client = head
    worker: Any = distributed.get_worker()
    desk = _desk(worker)
    if not desk.begin(key, number, client):
        return None
    line = _Line(desk, key, client)
    job = JobContext(job_id, name, attempt, line.report, lambda: key in desk.stopping, line.write)
    steps = desk.steps[key] = Steps(desk, key, client)
    kind, seen, data = copy_context().run(_outcome, job, function, arguments, upstream, steps)
    del desk.steps[key]
    desk.returned(key)
    large = kind == "done" and len(data) > SMALL_BYTES
    line.end((worker.address, os.getpid(), kind, *seen, b"" if large else data, large))
    desk.stopping.discard(key)
    return data if large else None


def _outcome(
    job: JobContext, function: bytes, arguments: bytes, upstream: Mapping[str, bytes], steps: Port
) -> tuple[str, tuple[str, ...], bytes]:
    dispatch_output()
    running.set(job)
    try:
        values = {each: Payload.of_bytes(data) for each, data in upstream.items()}
        call, args, kwargs = unpack(function, arguments, values)
        value = call(*args, **kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        if type(value) in GENERATORS:
            value = serve(value, steps)
        seen = preview(value)
        return "done", (seen.type, seen.short, seen.text), dump_result(value)
    except BaseException as error:
        return "failed", ("", "", ""), Failure.of(error).to_bytes()


class _Desk(distributed.WorkerPlugin):
    """One for each Dask worker: speaks with the scheduler, through the worker's own loop and connection."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._loop = worker.loop.asyncio_loop
        self.stopping: set[str] = set()
        """Keys of jobs that have been asked to stop."""
        self.steps: dict[str, Steps] = {}
        """Of the jobs that run here, by key."""
        folder = os.environ.get(FOLDER)
        if folder and linux.available():
            linux.become_subreaper()  # what a job orphans stays in its tree, and is killed with it
        self._book = Book(folder) if folder else None
        self._page = Page(folder, os.getpid()) if folder else None
        self._quiet: dict[str, str] = {}
        """Clients by the keys of jobs that have begun, which has not been told."""
        self._ends: dict[str, dict[str, Any]] = {}
        """What is to be told of jobs that are over, by key."""
        self._overdue: set[str] = set()
        self._first = True
        """This is made by the first job, whose handing over was not seen."""
        worker.stream_handlers[STOP] = self._stop
        worker.stream_handlers[STEP] = self._step
        worker.plugins[SAY] = self
        hook_tqdm()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """A task goes to a thread or comes back: what there is to say then travels with what Dask has to say.

        Said by the thread itself, each would be one more packet from worker to scheduler to engine.
        """
        if (end := self._ends.pop(key, None)) is not None:
            self._worker.batched_send(end)
        elif finish == "executing" and self._page is not None and str(key).startswith("ipyjobs-"):
            self._loop.call_later(TELL_S, self._tell, key)

    def _tell(self, key: str) -> None:
        client = self._quiet.pop(key, None)
        if client is not None:
            self.say(key, client, "begun", (self._worker.address, os.getpid()))
        elif any(key == each.key for each in self._worker.state.executing):
            self._overdue.add(key)

    def begin(self, key: str, number: int, client: str) -> bool:
        """Whether the job may begin, which it may once."""
        if self._book is None or self._page is None:
            return asyncio.run_coroutine_threadsafe(self._ask(key, client), self._loop).result()
        if not self._book.begin(number, self._page):
            return False
        self._quiet[key] = client
        if self._first or key in self._overdue:
            self._first = False
            self._overdue.discard(key)
            self._loop.call_soon_threadsafe(self._tell, key)
        return True

    async def _ask(self, key: str, client: str) -> bool:
        ask = getattr(self._worker.scheduler, BEGIN)
        return await ask(key=key, worker=self._worker.address, client=client, pid=os.getpid())

    def returned(self, key: str) -> None:
        """The function has returned: nobody needs to kill this worker for it any more."""
        self._quiet.pop(key, None)
        if self._page is not None:
            self._page.write(0)

    def yielding(self, key: str, client: str) -> None:
        """Have it told that a job has begun and given a generator."""
        self._quiet.pop(key, None)
        self.say(key, client, "yielding", (self._worker.address, os.getpid()))

    def _step(self, key: str, move: Move, data: bytes, **_: Any) -> None:
        if key in self.steps:
            self.steps[key].put((move, data))

    def say(self, key: str, client: str, kind: str, what: Any) -> None:
        """Have something told to the engine; what is said first arrives first, and before the end."""
        message = {"op": SAY, "key": key, "client": client, "kind": kind, "what": what}
        if kind == "end":
            self._ends[key] = message
        else:
            self._loop.call_soon_threadsafe(self._worker.batched_send, message)

    def _stop(self, key: str, **_: Any) -> None:
        self.stopping.add(key)
        if key in self.steps:
            self.steps[key].put(None)


_making = threading.Lock()


def _desk(worker: Any) -> _Desk:
    with _making:
        desk = worker.plugins.get(SAY)
        return _Desk(worker) if desk is None else desk


class _Line:
    """What one job says: gathered, and sent ten times a second."""

    def __init__(self, desk: _Desk, key: str, client: str) -> None:
        self._desk, self._key, self._client = desk, key, client
        self._lock = threading.Condition()
        self._printed: list[tuple[bytes, bool]] = []
        self._printed_bytes = 0
        self._progress: tuple[float | None, str | None, float | None] | None = None
        self._timer: threading.Timer | None = None
        self._sent_at = 0.0
        self._over = False

    def write(self, data: bytes, error: bool) -> None:
        with self._lock:
            while self._printed_bytes > SAY_BYTES and not self._over:
                self._lock.wait()
            self._printed.append((data, error))
            self._printed_bytes += len(data)
            self._soon()

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        with self._lock:
            before = self._progress
            if before is not None:
                progress, left_s = (progress, left_s) if progress is not None else (before[0], before[2])
                message = message if message is not None else before[1]
            self._progress = (progress, message, left_s)
            self._soon()

    def end(self, what: tuple[Any, ...]) -> None:
        """Send what is left, and then the end."""
        with self._lock:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._send()
        self._desk.say(self._key, self._client, "end", what)

    def _soon(self) -> None:
        if self._over:  # a thread that the job has left behind
            self._printed.clear()
            return
        if self._timer is None:
            self._timer = threading.Timer(max(0.0, self._sent_at + SAY_S - time.monotonic()), self._due)
            self._timer.daemon = True
            self._timer.start()

    def _due(self) -> None:
        with self._lock:
            self._timer = None
            if not self._over:
                self._send()

    def _send(self) -> None:
        self._sent_at = time.monotonic()
        printed, self._printed, self._printed_bytes = self._printed, [], 0
        if printed:
            parts = [(error, b"".join(data for data, _ in some)) for error, some in groupby(printed, itemgetter(1))]
            self._desk.say(self._key, self._client, "printed", parts)
        if self._progress is not None:
            self._desk.say(self._key, self._client, "report", self._progress)
            self._progress = None
        self._lock.notify_all()
