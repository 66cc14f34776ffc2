"""Jobs on the user's own loop: plain functions one after another, coroutine functions side by side."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType
from typing import Any, Literal, cast

from ipyjobs.backends import Backend
from ipyjobs.backends.stopwatch import Stopwatch
from ipyjobs.calling import context_of, resolved
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS, Move, Step, advance
from ipyjobs.home import Home
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview
from ipyjobs.sources import LoopSource


class LocalBackend(Backend):
    """Calls functions on the user's loop, where the user's own objects live."""

    name = "local"

    def __init__(self, home: Home) -> None:
        super().__init__(None)
        self._outbox = home.outbox
        # On one loop there is nowhere to hop.
        self._say: Callable[..., None] = _now if home.one_loop else home.inbox.post
        self._aside = not home.one_loop
        """Whether the engine's loop goes on while a job holds the user's."""
        self._tasks: dict[Context, asyncio.Task[Any]] = {}
        self._watch = Stopwatch(self._say, lambda: bool(self._tasks) or home.outbox.full)
        self._plain: set[Context] = set()
        self._awaited: set[str] = set()
        self._sources: dict[Context, _LocalSource] = {}
        self.stack: list[str] = []
        """Ids of the jobs whose plain functions are being called at this moment, outermost first."""

    def start(self, call: Call, context: Context) -> None:
        if self._aside and not self._watch.looking:
            self._watch.look_soon()
        self._outbox.post(self._begin, call, context)

    def stop(self, context: Context) -> bool:
        if context in self._plain:
            return False
        self._outbox.post(self._stop, context)
        return True

    def awaiting(self, job_id: str) -> bool:
        """Whether the job has turned out to be a coroutine and is being awaited."""
        return job_id in self._awaited

    async def close(self) -> None:
        # Whoever can be stopped has been asked to.
        for context in [each for each in (*self._tasks, *self._sources) if each.stopping]:
            self._outbox.post(self._stop, context)

    def _stop(self, context: Context) -> None:
        task = self._tasks.get(context)
        if task is not None:
            if not task.cancelling():  # a second time would hit its cleaning up
                task.cancel()
        elif context in self._sources:
            self._sources[context].stop()

    def _begin(self, call: Call, context: Context) -> None:
        """On the user's loop."""
        say = self._say
        if context.stopping:
            say(context.stopped)
            return
        say(context.started)
        self.stack.append(call.job_id)
        self._plain.add(context)
        try:
            value = call.variables.run(self._call, call, context)
        except KeyboardInterrupt:
            # The stop button: this job is what stood in the way.
            say(context.interrupted)
            if self._outbox.waiting:
                raise
            return
        except BaseException as error:
            say(context.failed, Failure.of(error))
            return
        finally:
            self.stack.pop()
            self._plain.discard(context)
        if type(value) in _PLAIN:
            say(context.done, Payload(value), preview(value))
            return
        if type(value) in GENERATORS and (value := self._stream(value, call, context)) is None:
            return
        if not inspect.iscoroutine(value):
            say(context.done, Payload(value), preview(value))
            return
        if context.stopping:
            cast("Coroutine[Any, Any, Any]", value).close()
            say(context.stopped)
            return
        # Not `create_task` from elsewhere: this is the user's thread, so its loop wakes up for it.
        task = self._outbox.loop.create_task(
            self._watch.stepped(self._await(cast("Coroutine[Any, Any, Any]", value), context), context),
            context=call.variables,
        )
        self._tasks[context] = task
        self._awaited.add(call.job_id)
        task.add_done_callback(lambda ended: self._ended(ended, call.job_id, context))

    def _stream(self, generator: Any, call: Call, context: Context) -> Any:
        """Offer a generator's values; what is to be awaited for that, if anything."""
        if type(generator) is AsyncGeneratorType:
            source = LoopSource(generator, context, "user")
            return source.serve(lambda: self._say(context.yields, source))
        plain = self._sources[context] = _LocalSource(self, generator, call, context)
        self._say(context.yields, plain)
        return None

    def _call(self, call: Call, context: Context) -> Any:
        context_of(call, context, self._say)
        args, kwargs = resolved(call)
        return self._holding(context, call.function, *args, **kwargs)

    def _holding(self, context: Context, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call on the user's loop so that the stop button reaches it, and measure for how long."""
        watch = self._watch
        before, watch.held = watch.held, (context, time.monotonic())
        try:
            return _stoppable(call, *args, **kwargs)
        finally:
            watch.leave(before)

    async def _await(self, value: Coroutine[Any, Any, Any], context: Context) -> Any:
        answer = await value
        if type(answer) in GENERATORS:
            source = LoopSource(answer, context, "user")
            answer = await source.serve(lambda: self._say(context.yields, source))
        return answer

    def _ended(self, task: asyncio.Task[Any], job_id: str, context: Context) -> None:
        del self._tasks[context]
        self._awaited.discard(job_id)
        say = self._say
        if task.cancelled():
            say(context.stopped)
        elif (error := task.exception()) is not None:
            say(context.failed, Failure.of(error))
        else:
            value = task.result()
            say(context.done, Payload(value), preview(value))


class _LocalSource:
    """A plain generator on the user's loop; a reader on that loop's thread makes the steps itself."""

    needs: Literal["", "engine", "user"] = ""

    def __init__(self, backend: LocalBackend, generator: Any, call: Call, context: Context) -> None:
        self.thread = 0
        self._backend = backend
        self._generator = generator
        self._call = call
        self._context = context
        self._over = False

    def packed(self, move: Move, value: Any) -> Any:
        return value

    def advance(self, step: Step) -> None:
        outbox = self._backend._outbox
        if threading.get_ident() == outbox.thread:
            self._step(step, True)
        else:
            outbox.post(self._step, step, outbox.waiting)

    def stop(self) -> None:
        """Close the generator, which stands between two steps. On the user's loop."""
        if not self._over:
            self._run(None, True)

    def _step(self, step: Step, watched: bool) -> None:
        if not self._over:
            self._run(None if self._context.stopping else step, watched)

    def _run(self, step: Step | None, watched: bool) -> None:
        """Make a step, or, without one, close the generator because the job is to stop."""
        backend, context = self._backend, self._context
        backend.stack.append(self._call.job_id)
        backend._plain.add(context)
        self.thread = threading.get_ident()
        try:
            move, value = ("close", None) if step is None else (step.move, step.value)
            going, value = self._call.variables.run(backend._holding, context, advance, self._generator, move, value)
        except KeyboardInterrupt:
            self._end(context.interrupted)
            if watched:
                raise
            return
        except BaseException as error:
            self._end(context.failed, Failure.of(error))
            return
        finally:
            self.thread = 0
            backend.stack.pop()
            backend._plain.discard(context)
        if step is None:
            self._end(context.stopped)
        elif not going:
            self._end(context.done, Payload(value), preview(value))
        else:
            step.yielded(Payload(value))
            if context.stopping:
                self.stop()

    def _end(self, say: Callable[..., None], *args: Any) -> None:
        self._over = True
        del self._backend._sources[self._context]
        self._backend._say(say, *args)


def _stoppable(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call on the user's loop so that the stop button reaches it."""
    if _handler_of(signal.SIGINT) != signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        return call(*args, **kwargs)
    # Between cells a kernel ignores the stop button; a function that holds its loop must still be stoppable.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return call(*args, **kwargs)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raw_getsignal() -> Callable[[int], object]:
    try:
        return importlib.import_module("_signal").getsignal
    except ImportError:  # not CPython
        return signal.getsignal


# The public function makes an enum of the handler, which costs ten times as much as the look.
_handler_of = _raw_getsignal()


def _now(call: Callable[..., None], *args: object) -> None:
    call(*args)


_PLAIN = frozenset({type(None), int, float, str, bytes, bool, list, dict, tuple, set})
