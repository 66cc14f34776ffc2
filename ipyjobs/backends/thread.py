"""Jobs in warm daemon threads of this process."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any

from ipyjobs.backends import Backend
from ipyjobs.calling import context_of, resolved
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS
from ipyjobs.mailbox import Mailbox
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview
from ipyjobs.sources import LoopSource, ThreadSource


class ThreadBackend(Backend):
    """Threads that stay: calls go in by a queue, outcomes come back in batches with one wake-up.

    One thread is woken at a time: it wakes the next if there is more to do than its own call. So a call never waits
    behind one that blocks, while many short ones are done by the first thread before a second gets the interpreter.
    Threads rest on a stack, so that the warm ones are used. (The Go scheduler wakes its threads in this way: Dmitry
    Vyukov, "Scalable Go Scheduler Design Doc", 2012, section "Spinning".)
    """

    name = "thread"

    def __init__(self, inbox: Mailbox, limit: int | None = None) -> None:
        super().__init__(limit)
        self._inbox = inbox
        self._calls: deque[tuple[Call, Context]] = deque()
        self._threads: list[threading.Thread] = []
        self._resting: list[threading.Lock] = []
        self._waking = False
        """A thread has been woken and has not looked at the calls yet."""
        self._busy = 0
        """Calls that are waiting or running, as the engine's loop knows."""
        self._names = itertools.count(1)
        self._closing = False
        self._sources: dict[Context, ThreadSource | LoopSource] = {}

    def start(self, call: Call, context: Context) -> None:
        self._busy += 1
        # A free thread begins at once. Hearing that from the thread would wake this loop twice for each job.
        context.started()
        self._calls.append((call, context))
        if not self._waking:
            self._wake()

    def stop(self, context: Context) -> bool:
        source = self._sources.get(context)
        if source is None:
            return False
        # One that stands still is closed; one that is in the middle of a step is closed after it.
        idle = source.idle
        source.stop()
        return idle

    async def close(self) -> None:
        self._closing = True
        threads, self._threads = self._threads, []
        # Threads that still work can't be ended; they see that we are closing when they return.
        until = time.monotonic() + 1
        while True:
            # Also when all seem to be busy: one may have returned just now, and that is not heard yet.
            while self._resting:
                self._resting.pop().release()
            if sum(each.is_alive() for each in threads) <= self._busy or time.monotonic() >= until:
                return
            await asyncio.sleep(0.001)

    def _wake(self) -> None:
        """Have one more thread look at the calls. From any thread."""
        self._waking = True
        try:
            rest = self._resting.pop()
        except IndexError:
            if len(self._threads) < self._busy and not self._closing:
                thread = threading.Thread(target=self._work, name=f"ipyjobs-thread-{next(self._names)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._waking = False
        else:
            rest.release()

    def _work(self) -> None:
        label = threading.current_thread().name.removeprefix("ipyjobs-")
        rest = threading.Lock()
        rest.acquire()
        while True:
            self._waking = False
            self._take_calls(label)
            self._resting.append(rest)
            # A call that came just before is nobody's yet, unless this thread was woken for it meanwhile.
            if self._calls or self._closing:
                try:
                    self._resting.remove(rest)
                except ValueError:
                    rest.acquire()
                if self._closing and not self._calls:
                    return
                continue
            rest.acquire()

    def _take_calls(self, label: str) -> None:
        while self._calls:
            try:
                call, context = self._calls.popleft()
            except IndexError:  # another thread was quicker
                return
            if self._calls and not self._waking:
                self._wake()
            if context.stopping:
                self._inbox.post(self._over, context, label, context.stopped)
                continue
            try:
                value = call.variables.run(self._call, call, context)
            except BaseException as error:
                self._inbox.post(self._over, context, label, context.failed, Failure.of(error))
            else:
                self._inbox.post(self._over, context, label, context.done, Payload(value), preview(value))
                del value
            # Keep nothing of the job alive while waiting for the next.
            del call, context

    def _call(self, call: Call, context: Context) -> object:
        context_of(call, context, self._inbox.post)
        args, kwargs = resolved(call)
        value = call.function(*args, **kwargs)
        value = asyncio.run(value) if inspect.iscoroutine(value) else value
        return self._serve(value, context) if type(value) in GENERATORS else value

    def _serve(self, generator: Any, context: Context) -> object:
        """Stay with a generator until it ends."""
        try:
            if type(generator) is AsyncGeneratorType:
                source = LoopSource(generator, context, "")
                self._sources[context] = source
                return asyncio.run(source.serve(lambda: self._inbox.post(context.yields, source)))
            plain = self._sources[context] = ThreadSource(generator, context)
            # Look only now: who stops us looks first whether there is a source.
            if context.stopping:
                return None
            self._inbox.post(context.yields, plain)
            return plain.serve()
        finally:
            del self._sources[context]

    def _over(self, context: Context, label: str, say: Callable[..., None], *args: object) -> None:
        self._busy -= 1
        context.started(label)
        say(*args)
