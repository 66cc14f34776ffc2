"""What a generator job yields, value by value, as whoever reads it sees it: from threads and from coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from ipyjobs.blocking import refuse_deadlock
from ipyjobs.errors import DeadlockError, EngineForked, EngineNotRunning, InvalidOption, JobCancelled, NotPicklable
from ipyjobs.generators import Move, Source, is_async_generator_function, is_generator_function
from ipyjobs.job import Job, why
from ipyjobs.log import logger
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview
from ipyjobs.status import Status

if TYPE_CHECKING:
    from ipyjobs.home import Home

TELL_S = 0.1
"""The count of values is shown at most once in this time."""
UNREAD_S = 5.0
"""After how many seconds somebody is warned who waits for a generator job that nobody reads."""

_OVER = object()
"""The answer to whoever asks for what will not come."""


class Stream:
    """The values of a generator job: both an iterator and an async iterator, whichever the generator is.

    The generator moves only when it is asked to, one value at a time. Several may read one stream: each value goes to
    one of them, in the order in which they asked. A reader that stops waiting loses nothing: the value that was on its
    way to it is the next one's.
    """

    # Nothing of it can travel, and without a dictionary that is all there is to say of why.
    __slots__ = (
        "_begun", "_error", "_home", "_job", "_kept", "_lock", "_over", "_said", "_source", "_steps", "_telling",
        "_told_at", "_value", "count",
    )  # fmt: skip

    def __init__(self, job: Job, home: Home) -> None:
        self.count = 0
        """Values yielded so far."""
        self._job = job
        self._home = home
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._steps: deque[_Asked] = deque()
        """Those without an answer. The first is with the generator, once there is one."""
        self._kept: deque[Payload] = deque()
        """What was on its way to a reader that stopped waiting."""
        self._begun = self._over = self._telling = False
        self._error: Callable[[], BaseException] | None = None
        self._value: Payload | None = None
        self._told_at = 0.0
        self._said = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    @property
    def value(self) -> Any:
        """What a plain generator returned at its end; None before."""
        return None if self._value is None else self._value.load()

    # -- for threads

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        """Block until the next value is there.

        Raises
        ------
        StopIteration
            The generator has returned; the job is done.
        BaseException
            What the generator raised, as it raised it; `WorkerDied` or `JobTimeout` where that ended the job.
        JobCancelled
            The job was cancelled.
        DeadlockError
            The value could not come while this thread stands still; use ``async for``.
        """
        __tracebackhide__ = True
        return self._given(self._block("next", None))

    def send(self, value: Any) -> Any:
        """The next value, after `value` has become that of the ``yield`` at which the generator stands."""
        __tracebackhide__ = True
        return self._given(self._block("send", value))

    def throw(self, error: BaseException | type[BaseException]) -> Any:
        """The next value, after `error` was raised where the generator stands."""
        __tracebackhide__ = True
        return self._given(self._block("throw", _checked(error)))

    def close(self) -> None:
        """Want no more: the generator's ``finally`` blocks run, and the job is done. Closing twice is harmless."""
        __tracebackhide__ = True
        if not self._over:
            self._closed(self._block("close", None))

    # -- for coroutines

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        """As ``next``, without blocking; at the end it raises `StopAsyncIteration`."""
        __tracebackhide__ = True
        return self._given(await self._wait("next", None), StopAsyncIteration)

    async def asend(self, value: Any) -> Any:
        """As `send`, without blocking."""
        __tracebackhide__ = True
        return self._given(await self._wait("send", value), StopAsyncIteration)

    async def athrow(self, error: BaseException | type[BaseException]) -> Any:
        """As `throw`, without blocking."""
        __tracebackhide__ = True
        return self._given(await self._wait("throw", _checked(error)), StopAsyncIteration)

    async def aclose(self) -> None:
        """As `close`, without blocking."""
        __tracebackhide__ = True
        if not self._over:
            self._closed(await self._wait("close", None))

    def __repr__(self) -> str:
        return f"<Stream of {self._job.name!r}: {_values(self.count)}{', ended' if self._over else ' so far'}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"the stream of job {self._job.name!r} stays in the process of its engine")

    # -- asking

    def _block(self, move: Move, value: Any) -> _Asked:
        """Ask, and wait with this thread."""
        __tracebackhide__ = True
        self._refuse_deadlock()
        home = self._home
        on_user_thread = home.on_user_thread()
        answered = threading.Lock()
        answered.acquire()

        def wake() -> None:
            answered.release()
            if on_user_thread:
                home.outbox.nudge()

        asked = self._asked(move, value, wake)
        try:
            self._ask(asked)
            if on_user_thread:
                if asked.answer is None:
                    home.outbox.wait(lambda: asked.answer is not None, None)
            else:
                while not answered.acquire(timeout=1):
                    if not home.alive:
                        raise EngineNotRunning(f"the engine ended while this thread waited for {self._job.name!r}")
        except BaseException:
            self._leave(asked)
            raise
        return asked

    async def _wait(self, move: Move, value: Any) -> _Asked:
        """Ask, and wait on the running loop."""
        __tracebackhide__ = True
        self._refuse_itself()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        thread = threading.get_ident()

        def wake() -> None:
            if threading.get_ident() == thread:
                _settle(answered)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_settle, answered)

        asked = self._asked(move, value, wake)
        try:
            self._ask(asked)
            # Whoever is answered at once gives the others on its loop a turn all the same.
            await (answered if asked.answer is None else asyncio.sleep(0))
        except BaseException:
            self._leave(asked)
            raise
        return asked

    def _asked(self, move: Move, value: Any, wake: Callable[[], None]) -> _Asked:
        if move == "send" and value is not None and not self._begun and not self._over:
            raise TypeError("can't send non-None value to a just-started generator")
        return _Asked(self, move, value, wake)

    def _ask(self, asked: _Asked) -> None:
        source = self._source
        if source is not None and not self._over:
            asked.pack(source)
        with self._lock:
            if self._over:
                asked.late, asked.answer = True, _OVER
            elif self._kept and asked.move == "next":
                asked.answer = self._kept.popleft()
            else:
                self._begun = True
                self._kept.clear()  # who sends, throws or closes does not want it
                self._steps.append(asked)
                source = self._source if len(self._steps) == 1 else None
        if asked.answer is not None:
            asked.wake()
        elif source is not None:
            self._go(asked, source)

    def _go(self, asked: _Asked, source: Source) -> None:
        try:
            asked.pack(source)
        except Exception as error:  # it was asked before there was a generator, and cannot travel
            self._answered(asked, error)
        else:
            source.advance(asked)

    def _leave(self, asked: _Asked) -> None:
        """Its reader waits no longer."""
        with self._lock:
            asked.left = True
            if isinstance(asked.answer, Payload):
                self._kept.append(asked.answer)
            elif asked in self._steps and (self._source is None or self._steps[0] is not asked):
                self._steps.remove(asked)

    def _given(self, asked: _Asked, end: type[StopIteration | StopAsyncIteration] = StopIteration) -> Any:
        __tracebackhide__ = True
        if isinstance(asked.answer, Payload):
            return asked.answer.load()
        if isinstance(asked.answer, Exception):
            raise asked.answer
        if self._error is not None:
            raise self._error()
        if asked.late and asked.move == "throw":
            raise asked.given
        raise StopIteration(self.value) if end is StopIteration else StopAsyncIteration

    def _closed(self, asked: _Asked) -> None:
        __tracebackhide__ = True
        if self._error is not None and not asked.late and self._job.status is not Status.CANCELLED:
            raise self._error()

    def _refuse_deadlock(self) -> None:
        __tracebackhide__ = True
        self._refuse_itself()
        home, job, source = self._home, self._job, self._source
        if self._over:
            return
        if source is None:
            flow = cast("Any", job.engine).flow
            running = flow.running.get(job.id)
            if running is None or running.backend.name not in ("local", "thread"):
                stuck = home.here()
            else:
                stuck = running.backend.name == "local" and is_async_generator_function(job.func)
                stuck = stuck and home.on_user_thread()
            if not stuck and running is None:
                refuse_deadlock([job], home, flow)
        else:
            stuck = (source.needs == "engine" and home.here()) or (source.needs == "user" and home.on_user_thread())
        if stuck:
            raise DeadlockError(
                f"the next value of {job.name!r} can only come while the loop of this thread runs, and blocking here "
                "would stop it; use `async for value in job.result()`"
            )

    def _refuse_itself(self) -> None:
        __tracebackhide__ = True
        job, source = self._job, self._source
        if source is not None and source.thread == threading.get_ident():
            raise DeadlockError(f"generator {job.name!r} cannot read its own stream")
        if job.engine is not None and job.engine.pid != os.getpid():
            raise EngineForked(job.engine.pid)
        if not self._over and not self._home.alive:
            raise EngineNotRunning(f"job {job.name!r} has not ended, but the engine is not running")

    # -- what the engine says

    def _attach(self, source: Source) -> None:
        """Here is the generator; whoever has asked already gets an answer. On the engine's loop."""
        with self._lock:
            self._source = source
            first = self._steps[0] if self._steps and not self._over else None
        if first is not None:
            self._go(first, source)

    @property
    def _attached(self) -> bool:
        return self._source is not None

    def _answered(self, asked: _Asked, answer: Payload | Exception) -> None:
        """The step that was under way has its answer; begin the next. From any thread."""
        with self._lock:
            if self._over or not self._steps or self._steps[0] is not asked:
                return
            self._steps.popleft()
            self.count += isinstance(answer, Payload)
            if asked.left and isinstance(answer, Payload):
                self._kept.append(answer)
            asked.answer = answer
            answered = [asked]
            while self._kept and self._steps and self._steps[0].move == "next":
                answered.append(self._steps.popleft())
                answered[-1].answer = self._kept.popleft()
            following = self._steps[0] if self._steps else None
        if not self._telling:
            self._telling = True
            self._home.inbox.post(self._tell)
        for each in answered:
            each.wake()
        if following is not None and self._source is not None:
            self._go(following, self._source)

    def _returned(self, value: Payload, preview: Preview) -> tuple[Payload, Preview]:
        """The generator has returned `value`: what the job's result is to be."""
        self._value = value
        returned = f", returned {preview.short}" if preview.short else ""
        text = f"{_values(self.count)}{returned}"
        return _Spent(self._job.name), Preview("Stream", text[:200], text)

    def _end(self, error: Callable[[], BaseException] | None) -> None:
        """The attempt is over, and the job has moved: tell all that wait."""
        with self._lock:
            if self._over:
                return
            self._over, self._error = True, error
            left, self._steps = self._steps, deque()
            for each in left:
                each.answer = _OVER
        for each in left:
            each.wake()

    def _end_with_job(self) -> None:
        """The job has ended, and the stream as it has."""
        job = self._job
        name, text, failure = job.name, why(job), job._failure
        match job.status:
            case Status.DONE:
                self._end(None)
            case Status.FAILED if failure is not None:
                self._end(failure.exception)
            case _:
                self._end(lambda: JobCancelled(name, text))

    def _words(self) -> dict[str, Any]:
        """What the job says of its progress, unless it has a message of its own."""
        job = self._job
        if not self.count or job.message not in ("", self._said):
            return {}
        self._said = _values(self.count)
        return {"message": self._said}

    def _tell(self) -> None:
        loop, job = self._home.loop, self._job
        early_s = self._told_at + TELL_S - loop.time()
        if early_s > 0:
            loop.call_later(early_s, self._tell)
            return
        self._told_at, self._telling = loop.time(), False
        if not self._over and job._stream is self and job.engine is not None:
            job._set(self._words())
            job.engine.flow.touch(job)


class _Asked:
    """One thing asked of a stream, until its answer."""

    __slots__ = ("_stream", "answer", "given", "late", "left", "move", "packed", "value", "wake")

    def __init__(self, stream: Stream, move: Move, value: Any, wake: Callable[[], None]) -> None:
        self._stream = stream
        self.move: Move = move
        self.given = self.value = value
        self.packed = move not in ("send", "throw")
        self.wake = wake
        self.answer: object = None
        self.late = self.left = False
        """It came after the end; its reader has gone."""

    def pack(self, source: Source) -> None:
        """Make what is sent or thrown ready to travel, once."""
        if not self.packed:
            self.value = source.packed(self.move, self.given)
            self.packed = True

    def yielded(self, value: Payload) -> None:
        self._stream._answered(self, value)


class _Spent(Payload):
    """Stands for the result where a job has yielded its values."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__(None)
        self._name = name

    def load(self) -> object:
        """Refuse: what was yielded is gone."""
        raise unusable(self._name)

    def view(self) -> Any:
        """Refuse as well; those who keep results know this error."""
        raise NotPicklable(f"the stream of {self._name!r}", "it stays with its engine", "return a list of its values")


def watch_unread(jobs: Iterable[Job], home: Home) -> None:
    """Somebody waits for the end of `jobs`: warn them soon of generators that nobody moves. From any thread."""
    unread = [job for job in jobs if is_generator_function(job.func) and _unread(job)]
    if unread:
        home.inbox.post(lambda: home.loop.call_later(UNREAD_S, _warn, unread))


def _unread(job: Job) -> bool:
    return not job.ended and (job._stream is None or not job._stream._begun)


def _warn(jobs: list[Job]) -> None:
    for job in jobs:
        if job.status is Status.RUNNING and _unread(job):
            logger.warning(
                "generator job {!r} is waited for, but nobody reads its values: it ends when `job.result()` has been "
                "read to its end or closed, or the job is cancelled",
                job.name,
            )


def unusable(name: str) -> InvalidOption:
    """The error of a job that needs the result of generator job `name`."""
    return InvalidOption(
        f"the result of generator job {name!r} as an argument",
        name,
        "a job that returns its values: make it `return list(…)`, or give the stream itself, `job.result()`, to a "
        "thread or local job",
    )


def _checked(error: object) -> BaseException:
    made = cast("Any", error)() if isinstance(error, type) else error
    if not isinstance(made, BaseException):
        raise TypeError(f"exceptions must derive from BaseException, not {type(made).__name__}")
    return made


def _values(count: int) -> str:
    return f"{count:,} value{'' if count == 1 else 's'}"


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
