"""Jobs on the user's own loop: plain functions one after another, coroutine functions side by side."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Coroutine
from typing import Any, cast

from ipyjobs.backends import Backend
from ipyjobs.calling import context_of, resolved
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.mailbox import Mailbox
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview


class LocalBackend(Backend):
    """Calls functions on the user's loop, where the user's own objects live."""

    name = "local"

    def __init__(self, inbox: Mailbox, outbox: Mailbox) -> None:
        super().__init__(None)
        self._inbox, self._outbox = inbox, outbox
        self._tasks: dict[Context, asyncio.Task[Any]] = {}
        self._plain: set[Context] = set()
        self.stack: list[str] = []
        """Ids of the jobs whose plain functions are being called at this moment, outermost first."""

    def start(self, call: Call, context: Context) -> None:
        self._outbox.post(self._begin, call, context)

    def stop(self, context: Context) -> bool:
        if context in self._plain:
            return False
        self._outbox.post(self._stop, context)
        return True

    def awaiting(self, job_id: str) -> bool:
        """Whether the job has turned out to be a coroutine and is being awaited."""
        return any(context.job_id == job_id for context in self._tasks)

    async def close(self) -> None:
        for context in list(self._tasks):
            self._outbox.post(self._stop, context)

    def _stop(self, context: Context) -> None:
        task = self._tasks.get(context)
        if task is not None:
            task.cancel()

    def _begin(self, call: Call, context: Context) -> None:
        """On the user's loop."""
        post = self._inbox.post
        if context.stopping:
            post(context.stopped)
            return
        post(context.started)
        self.stack.append(call.job_id)
        self._plain.add(context)
        try:
            value = call.variables.run(self._call, call, context)
        except KeyboardInterrupt:
            # The stop button: this job is what stood in the way.
            post(context.interrupted)
            if self._outbox.waiting:
                raise
            return
        except BaseException as error:
            post(context.failed, Failure.of(error))
            return
        finally:
            self.stack.pop()
            self._plain.discard(context)
        if type(value) in _PLAIN or not inspect.iscoroutine(value):
            post(context.done, Payload(value), preview(value))
            return
        if context.stopping:
            cast("Coroutine[Any, Any, Any]", value).close()
            post(context.stopped)
            return
        # Not `create_task` from elsewhere: this is the user's thread, so its loop wakes up for it.
        task = self._outbox.loop.create_task(self._await(cast("Coroutine[Any, Any, Any]", value)), context=call.variables)
        self._tasks[context] = task
        task.add_done_callback(lambda ended: self._ended(ended, context))

    def _call(self, call: Call, context: Context) -> Any:
        context_of(call, context, self._inbox.post)
        args, kwargs = resolved(call)
        if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            return call.function(*args, **kwargs)
        # Between cells a kernel ignores the stop button; a function that holds its loop must still be stoppable.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return call.function(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def _await(self, value: Coroutine[Any, Any, Any]) -> Any:
        return await value

    def _ended(self, task: asyncio.Task[Any], context: Context) -> None:
        del self._tasks[context]
        post = self._inbox.post
        if task.cancelled():
            post(context.stopped)
        elif (error := task.exception()) is not None:
            post(context.failed, Failure.of(error))
        else:
            value = task.result()
            post(context.done, Payload(value), preview(value))


_PLAIN = frozenset({type(None), int, float, str, bytes, bool, list, dict, tuple, set})
