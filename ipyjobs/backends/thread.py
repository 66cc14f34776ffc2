"""Jobs in warm daemon threads of this process."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import queue
import threading
import time
from collections.abc import Callable

from ipyjobs.backends import Backend
from ipyjobs.calling import context_of, resolved
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.mailbox import Mailbox
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview


class ThreadBackend(Backend):
    """Threads that stay: calls go in by a queue, outcomes come back in batches with one wake-up."""

    name = "thread"

    def __init__(self, inbox: Mailbox, limit: int | None = None) -> None:
        super().__init__(limit)
        self._inbox = inbox
        self._calls: queue.SimpleQueue[tuple[Call, Context] | None] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._names = itertools.count(1)
        self._busy = 0

    def start(self, call: Call, context: Context) -> None:
        self._busy += 1
        if self._busy > len(self._threads):
            self._add_thread()
        # There is a free thread, so it begins now. Hearing that from the thread would wake this loop twice a job.
        context.started()
        self._calls.put((call, context))

    def stop(self, context: Context) -> bool:
        return False

    async def close(self) -> None:
        threads, self._threads = self._threads, set()
        for _ in threads:
            self._calls.put(None)
        # Threads that still work can't be ended; they find the farewell in their queue when they return.
        until = time.monotonic() + 1
        while sum(each.is_alive() for each in threads) > self._busy and time.monotonic() < until:
            await asyncio.sleep(0.001)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"ipyjobs-thread-{next(self._names)}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        label = threading.current_thread().name.removeprefix("ipyjobs-")
        while (item := self._calls.get()) is not None:
            call, context = item
            if context.stopping:
                self._inbox.post(self._over, context, label, context.stopped)
                continue
            try:
                value = call.variables.run(self._call, call, context)
            except BaseException as error:
                self._inbox.post(self._over, context, label, context.failed, Failure.of(error))
            else:
                self._inbox.post(self._over, context, label, context.done, Payload(value), preview(value))
            # Keep nothing of the job alive while waiting for the next.
            del item, call, context

    def _call(self, call: Call, context: Context) -> object:
        context_of(call, context, self._inbox.post)
        args, kwargs = resolved(call)
        value = call.function(*args, **kwargs)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def _over(self, context: Context, label: str, say: Callable[..., None], *args: object) -> None:
        self._busy -= 1
        context.started(label)
        say(*args)
