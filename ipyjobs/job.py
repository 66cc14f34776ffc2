"""One piece of work and where it stands, as a reactive model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import Context
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ipyjobs.columns import record_of
from ipyjobs.conditions import AfterOthers, AllSatisfied, Condition
from ipyjobs.errors import InvalidOption, InvalidStateError, JobCancelled
from ipyjobs.events import Event, local_time
from ipyjobs.failure import Failure
from ipyjobs.frozen import FrozenJob
from ipyjobs.future import JobFuture
from ipyjobs.names import checked_name, checked_tags, name_of, new_id
from ipyjobs.options import arguments_tuple, check_options, checked_redirect, retry, seconds, whole, yes_or_no
from ipyjobs.output import JobLog, OutputFiles
from ipyjobs.pickling import Packed, Payload
from ipyjobs.portable import Portable
from ipyjobs.preview import Preview
from ipyjobs.retry import Retry
from ipyjobs.status import ENDED, Reason, Status, Verb, WaitingFor, checked_status, step
from ipyjobs.traits import Field, Input, Outcome, Reactive
from ipyjobs.waiting import Act, Countdown, Waiter

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.execution import Attempt, Launch
    from ipyjobs.schema import JobRecord
    from ipyjobs.streams import Stream

_NO_VARIABLES = Context()


class Job(Portable, Reactive):
    """A function call that an engine runs, and all that becomes of it.

    Parameters
    ----------
    func
        What to call. A coroutine function is awaited, on every backend.
    args, kwargs
        Its arguments. Wherever another job, or its `future`, stands in them (also inside lists, tuples and dicts), the
        function gets that job's result, and this job starts after it.
    callback
        Called as ``callback(result)`` on the user's loop when the job is done. May be a coroutine function.
    error_callback
        Called as ``error_callback(exception)`` on the user's loop when the job has failed for good.
    retries
        How often a failed attempt is tried again: a number, or a `Retry` with delay, backoff and jitter.
    retry_time_delta
        Seconds before each retry, where `retries` is a number.
    name
        What it is called; by default the function's name.
    condition
        When it may start.
    wait_time_delta
        Seconds between two looks at a condition that defines only `satisfy`.
    group, tags
        Words to find it by.
    priority
        Among jobs that could start, the one with the highest starts first. Default 0.
    queue
        A named line with a limit of its own (`Engine.set_limit`). Default "default".
    timeout
        Seconds one attempt may run, from when the function begins. Default: as long as it takes.
    redirect_out_err
        Also write what it prints into files, which are appended to and never cut. True: ``stdout.txt`` and
        ``stderr.txt`` in `cache_dir`; a path: this one file for both. The traceback of a failure goes there too.
    change_dir
        Run in `cache_dir` instead of the folder the notebook is in.
    options
        ``fresh=True`` gives a process job a worker of its own. All other keywords are kept in `attrs`.

    Raises
    ------
    InvalidOption
        A value makes no sense; the message says which one would.
    """

    # What is no trait has a slot: with over thirty attributes the instance's dictionary is a third of a job's memory.
    __slots__ = (
        "_attrs", "_callbacks", "_condition", "_described", "_failure", "_files", "_function", "_held_back", "_launch",
        "_log", "_onlookers", "_opaque", "_packed", "_payload", "_preview", "_queued_at", "_removed", "_retry",
        "_round", "_story", "_stream", "_told", "_unsaid", "_upstream", "_variables", "_waiters", "_wants_engine",
        "args", "attempts", "change_dir", "created_at", "engine", "func", "kwargs", "options", "redirect_out_err",
        "timeout", "wait_time_delta",
    )  # fmt: skip

    backend_name: ClassVar[str] = "thread"
    known_options: ClassVar[frozenset[str]] = frozenset()
    """What `options` may hold."""
    runs_on: ClassVar[str] = ""
    """The backend that runs it, where that is not the one whose slots it takes."""
    general_slot: ClassVar[bool] = True
    """Whether it counts among the engine's `max_jobs`, beside its backend's and queue's limits."""
    exclusive: ClassVar[bool] = False
    """Whether nothing else starts while it runs, and nothing can stop it."""

    name = Input("")
    group = Input(None)
    tags = Input(())
    priority = Input(0)
    queue = Input("default")
    backend = Input("")
    retries = Input(0)

    id = Outcome("")
    number = Outcome(0)
    status = Outcome(Status.CREATED)
    reason = Outcome()
    waiting_for = Outcome()
    cancel_requested = Outcome(False)
    attempt = Outcome(0)
    submitted_at = Outcome()
    started_at = Outcome()
    ended_at = Outcome()
    retry_at = Outcome()
    progress = Outcome()
    progress_at = Outcome()
    left_s = Outcome()
    message = Outcome("")
    error = Outcome("")
    origin = Outcome("")
    memory_bytes = Outcome()
    note = Outcome("")
    next_at = Outcome()
    address = Outcome("")
    ready = Outcome(False)
    saved = Outcome(False)
    unsaved = Outcome("")

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        retries: int | Retry = 0,
        retry_time_delta: float = 0.0,
        name: str | None = None,
        condition: Condition | None = None,
        wait_time_delta: float = 0.1,
        redirect_out_err: bool | str | Path = False,
        change_dir: bool = False,
        *,
        group: str | None = None,
        tags: Iterable[str] = (),
        priority: int = 0,
        queue: str = "default",
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        # `HasTraits.__init__` would set each trait with notifications held, at four times the cost of the rest.
        self._retry = retries if isinstance(retries, Retry) else retry(retries, retry_time_delta)
        self._trait_values.update(
            _DEFAULTS,
            id=new_id(),
            name=name_of(func) if name is None else checked_name("name", name),
            backend=self.backend_name,
            retries=self._retry.times,
        )
        if group is not None or tags or priority or queue != "default":
            self._trait_values.update(
                group=None if group is None else checked_name("group", group),
                tags=checked_tags(tags),
                priority=whole("priority", priority),
                queue=checked_name("queue", queue),
            )
        if not callable(func):
            raise InvalidOption("func", func, "something that can be called")
        if condition is not None and not isinstance(condition, Condition):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption("condition", condition, "a condition, such as AfterAnother(job)")
        attrs = None
        if options:
            options, attrs = check_options(type(self).__name__, self.known_options, options)
        self.func = func
        self.args: tuple[Any, ...] = arguments_tuple(args)
        self.kwargs: dict[str, Any] = dict(kwargs) if kwargs else {}
        self._condition = condition
        self.wait_time_delta = seconds("wait_time_delta", wait_time_delta)
        self.timeout = None if timeout is None else seconds("timeout", timeout)
        self.options = options
        self.redirect_out_err = checked_redirect(redirect_out_err) if redirect_out_err is not False else False
        self.change_dir = yes_or_no("change_dir", change_dir)
        self._attrs = attrs
        self.created_at = time.time()
        self.attempts: list[Attempt] = []
        self.engine: Engine | None = None
        self._callbacks: tuple[tuple[Callable[[Any], object], bool], ...] = ()
        if callback is not None:
            self._callbacks += ((callback, True),)
        if error_callback is not None:
            self._callbacks += ((error_callback, False),)
        self._launch: Launch | None = None
        self._round = 1
        self._queued_at = 0.0
        self._held_back = False
        self._opaque = False
        self._removed = False
        self._variables: Context = _NO_VARIABLES
        self._story: list[tuple[Any, ...]] = []
        self._told = -1  # how much of the story the store knows; below zero (inverted) it does not know the job
        self._payload: Payload | None = None
        self._preview: Preview | None = None
        self._failure: Failure | None = None
        self._packed: Packed | None = None
        self._function: Callable[..., Any] = func
        self._wants_engine = False
        self._files: OutputFiles | None = None
        self._stream: Stream | None = None
        self._upstream: tuple[str, ...] = ()
        self._described: tuple[tuple[str, str, str], ...] = ()
        self._log: JobLog | None = None
        # Made when first needed: a thousand jobs more or less is felt in every garbage collection.
        self._waiters: list[Countdown] | None = None
        self._onlookers: list[Waiter] | None = None
        self._unsaid: dict[str, object] | None = None

    # -- what became of it

    @property
    def future(self) -> JobFuture:
        """Stands for this job's result in the arguments of another job."""
        return JobFuture(self)

    @property
    def condition(self) -> Condition | None:
        """When it may start. Once submitted, that its arguments are there is a part of it."""
        if self._condition is None and self._upstream:
            return AllSatisfied([AfterOthers(self._upstream)])
        return self._condition

    @condition.setter
    def condition(self, condition: Condition | None) -> None:
        self._condition = condition

    @property
    def ended(self) -> bool:
        """Whether the job is over: done, failed or cancelled."""
        return self._trait_values["status"] in ENDED

    @property
    def task(self) -> Any:
        """The task (`ipyjobs.tasks`) that submitted it; None if it was made by hand."""
        return None if self._launch is None else self._launch.task

    @property
    def duration_s(self) -> float | None:
        """Seconds the last attempt took, or has taken so far; None before the first."""
        return None if self.started_at is None else (self.ended_at or time.time()) - self.started_at

    @property
    def attrs(self) -> dict[str, Any]:
        """The keywords it was given that mean nothing to ipyjobs; yours to use."""
        if self._attrs is None:
            self._attrs = {}
        return self._attrs

    @property
    def retry_remain(self) -> int:
        """How often it may still be tried again."""
        begun = self.attempt - (self.waiting_for is not WaitingFor.RETRY)
        return self.retries - min(max(0, begun), self.retries)

    @property
    def cache_dir(self) -> Path | None:
        """A folder of the job's own, made when it is first asked for; None before the job is submitted."""
        if self.engine is None:
            return None
        folder = self.engine.folder / self.id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def created_time(self) -> datetime:
        """When it was made, local time."""
        return local_time(self.created_at)

    @property
    def submit_time(self) -> datetime | None:
        """When it was last submitted, local time."""
        return None if self.submitted_at is None else local_time(self.submitted_at)

    @property
    def stoped_time(self) -> datetime | None:
        """When it ended, local time (a name kept from executor-engine)."""
        return None if self.ended_at is None else local_time(self.ended_at)

    @property
    def log(self) -> JobLog:
        """What the job has printed so far."""
        if self._log is None:
            return self._its_engine("read the log of").make_log(self)
        return self._log

    @property
    def stream(self) -> Stream | None:
        """Where the values of a generator job come from; None for other jobs.

        A function that returns a generator without being one has it a moment after it has begun.
        """
        if self._stream is None and self.engine is not None and not self.ended:
            return self.engine.stream_of(self)
        return self._stream

    def result(self) -> Any:
        """What the function returned; of a generator job its `stream`, from when it is submitted until it is done.

        Raises
        ------
        BaseException
            What the function raised, as it raised it: same type, same chain, same traceback.
        JobCancelled
            The job was cancelled.
        InvalidStateError
            It has not ended yet; wait for it with ``await job``, or `Engine.wait_job` outside of a notebook.
        ResultUnreadable
            The result came from another process and cannot be loaded in this one.
        """
        __tracebackhide__ = True
        match self.status:
            case Status.DONE if self._stream is not None:
                return self._stream
            case Status.DONE:
                assert self._payload is not None
                return self._payload.load()
            case Status.FAILED:
                error = self.exception()
                assert error is not None
                raise error
            case Status.CANCELLED:
                raise JobCancelled(self.name, why(self))
            case status:
                if (stream := self.stream) is not None:
                    return stream
                if self.ended:  # it has ended just now
                    return self.result()
                raise InvalidStateError(
                    f"job {self.name!r} is {status} and has no result yet; "
                    "wait for it with `await job` (in a script: `engine.wait_job(job)`)"
                )

    def exception(self) -> BaseException | None:
        """Why the job failed; None if it has not failed. The same object each time."""
        if self.status is not Status.FAILED or self._failure is None:
            return None
        return self._failure.exception()

    def story(self) -> list[Event]:
        """Every move of this job so far, oldest first. Printed line by line it reads as what happened."""
        return [Event(*each) for each in self._story]

    # -- steering

    def cancel(self) -> Act:
        """Stop the job if it has not ended; see `Engine.cancel`."""
        if self.engine is None:
            ended = {"status": step(self.status, Verb.CANCEL), "reason": Reason.USER, "ended_at": time.time()}
            self._set(ended)
            return Act()
        return self.engine.cancel(self)

    def rerun(self) -> Act:
        """Run an ended job again, with the same function and arguments; see `Engine.rerun`."""
        return self._its_engine("rerun").rerun(self)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until the job has ended, however it ends; then `status` and `result()` tell.

        Parameters
        ----------
        timeout
            Seconds to wait at most. Default: no limit.

        Raises
        ------
        TimeoutError
            It has not ended in time; it goes on.
        InvalidStateError
            It was never submitted.
        """
        __tracebackhide__ = True
        engine = self._its_engine("wait for")
        async with asyncio.timeout(timeout):
            await engine.until_ended([self])

    async def wait_until(self, check: Callable[[Job], bool], timeout: float | None = None) -> None:
        """Wait until ``check(job)`` is true; it is asked whenever something about the job changes.

        Raises
        ------
        TimeoutError
            It was not true within `timeout` seconds.
        """
        self._its_engine("wait for")
        async with asyncio.timeout(timeout):
            while not check(self):
                waiter = Waiter(asyncio.get_running_loop(), asyncio.get_running_loop().create_future())
                self._onlookers = [*(self._onlookers or ()), waiter]
                # Look again: it may have changed between the look and the list.
                if check(self):
                    return
                await waiter.future

    async def wait_until_status(self, status: Status | str, timeout: float | None = None) -> None:
        """Wait until the job has this status.

        Raises
        ------
        TimeoutError
            It did not within `timeout` seconds.
        RangeCheckError
            There is no such status.
        """
        wanted = checked_status(status)
        await self.wait_until(lambda job: job.status is wanted, timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the job and give its result. Cancelling the wait leaves the job alone."""
        __tracebackhide__ = True
        yield from self._its_engine("wait for").until_ended([self]).__await__()
        return self.result()

    # -- for the engine and its views

    def _add_callback(self, callback: Callable[[Any], object], *, wants_result: bool) -> None:
        if self.engine is None or not self.engine.alive:
            self._callbacks += ((callback, wants_result),)
        else:
            self.engine.inbox.post(self.engine.flow.add_callback, self, callback, wants_result)

    def record(self) -> JobRecord:
        """The job as a page sees it."""
        return record_of(self)

    @property
    def _called_on(self) -> str:
        return self.runs_on or self._trait_values["backend"]

    def _settle_in(self, engine: Engine) -> None:
        """Look once more at what it was given, on the thread that submits; raises `InvalidOption` if it cannot run."""

    def _its_engine(self, verb: str) -> Engine:
        if self.engine is None:
            raise InvalidStateError(f"cannot {verb} job {self.name!r}: it was never submitted (`engine.submit(job)`)")
        return self.engine

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Travels as what it is now: an engine, its loops and everything that hangs on them can't.
        return FrozenJob, (self.id, self.name, str(self.status), self._payload)

    def __repr__(self) -> str:
        more = f", {self.error}" if self.error else ""
        return f"<{type(self).__name__} {self.name!r}: {self.status}{more} (id {self.id})>"


class LocalJob(Job):
    """Runs on the user's loop: a coroutine function beside all else there, a plain one while nothing else does."""

    backend_name = "local"


class ThreadJob(Job):
    """Runs in a thread of this process; for work that waits for disk or network.

    A thread can't be stopped from outside: see `JobContext.cancelled`.
    """

    backend_name = "thread"


class ProcessJob(Job):
    """Runs in a worker process; for work that computes, and for all that must be stoppable.

    Function and arguments are copied when the job is submitted. ``fresh=True`` gives it a worker of its own.
    """

    backend_name = "process"
    known_options: ClassVar[frozenset[str]] = frozenset({"fresh"})


def why(job: Job) -> str:
    """Why a job was cancelled, in words."""
    last = Event(*job._story[-1]) if job._story else None
    return (last.text if last is not None else "") or str(job.reason or Reason.USER)


_DEFAULTS: dict[str, Any] = {
    name: trait.default_value for name, trait in Job.class_traits().items() if isinstance(trait, Field)
}
